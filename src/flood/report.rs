//! The report of a flood, from which the table, the charts and the JSON are made: the schema `steadfast.flood/2`.

use super::latency::{Latencies, Latency, Measure};
use super::ledger::Counts;
use crate::stats::Cpu;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;

/// The version of the JSON document.
pub const SCHEMA: &str = "steadfast.flood/2";

/// The report of one flood, or of several shards of one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: String,
    /// The program that wrote the report, with its version.
    pub program: String,
    /// The target URLs, separated by spaces.
    pub target: String,
    /// The shards in this report, such as `1/2`, if several hosts run the flood together.
    pub shards: Vec<String>,
    /// The start of the flood, in seconds since 1970-01-01 00:00 UTC.
    pub started_at_s: f64,
    /// The duration of the flood.
    pub seconds: f64,
    /// How many connections came how far.
    pub connections: Connections,
    /// The states at the end; they sum to `connections.planned`.
    pub states: States,
    /// Why connections were lost; the counts sum to `connections.lost`.
    pub lost_by_cause: BTreeMap<String, u64>,
    /// From connect(2) to the open connection.
    pub connect: Timing,
    /// The same, for connections that a storm had reset.
    pub reconnect: Timing,
    /// From a message to its reply, one in flight on each connection.
    pub reply: Timing,
    /// The same, for the trickle of messages during a hold.
    pub hold: Timing,
    /// The same, for the message at the end of a hold that checks whether a connection is alive.
    pub alive: Timing,
    /// At a constant rate: from the time a message was due to its reply.
    pub response: Timing,
    /// At a constant rate: from the time a message was sent to its reply. This is less than `response` if the previous
    /// reply was late.
    pub service: Timing,
    /// At a constant rate: how late the flood itself sent. This is part of the response times.
    pub lag: Timing,
    /// From the timestamp in a pushed message to its arrival, by the clocks of both hosts.
    pub age: Timing,
    /// At a constant rate: how many messages were due, sent and answered.
    pub schedule: Schedule,
    /// How long it took to close the connections.
    pub close_seconds: f64,
    /// Messages or requests sent.
    pub sent: u64,
    /// Messages answered; each reply was compared with the expected one.
    pub replies: u64,
    /// Messages received that were not replies.
    pub received: u64,
    /// Pings of the server; each was answered with a pong.
    #[serde(default)]
    pub pings: u64,
    /// What was compared: `content`, or only `status` if a page varies.
    pub reply_check: String,
    /// Memory per connection, measured before the first check or the drain.
    pub memory: PerSide<SideMemory>,
    /// CPU time from the first connect to the end of the last ramp, reply, rate or storm.
    pub cpu: PerSide<Option<Cpu>>,
    /// The number of worker threads.
    pub workers: usize,
    /// The phases, in order.
    pub phases: Vec<PhaseReport>,
    /// The timeline, one row per second.
    pub timeline: Vec<Second>,
    /// The server's figures compared with the flood's, if the server is a Steadfast server without other clients.
    pub reconciliation: Option<Reconciliation>,
    /// How the connections that were open at an interrupt ended; null if there was no interrupt.
    #[serde(default)]
    pub interrupted: Option<Interrupted>,
    /// Remarks on how to read the report.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// The assertions, and whether they hold.
    pub assertions: Vec<Verdict>,
    /// Whether every connection completed the scenario and both sides agree.
    pub ok: bool,
}

/// How the connections that were open at an interrupt ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interrupted {
    /// Closed within the grace period.
    pub closed: u64,
    /// Reset after the grace period.
    pub reset: u64,
}

/// How many connections reached each step. In the end each is closed or lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connections {
    /// Connections to open.
    pub planned: u64,
    /// Connections that were ever open.
    pub opened: u64,
    /// How often a connection was opened again after a storm.
    pub reopened: u64,
    /// Connections whose messages were all answered.
    pub answered: u64,
    /// Connections that were alive at the end of a hold.
    pub held: u64,
    /// Connections closed as intended.
    pub closed: u64,
    /// Connections lost.
    pub lost: u64,
}

impl Connections {
    pub(super) fn of(planned: u64, counts: &Counts) -> Self {
        let [.., closed, lost] = counts.stages;
        let Counts { opened, reopened, answered, held, .. } = *counts;
        Self { planned, opened, reopened, answered, held, closed, lost }
    }
}

/// How many connections are in each state; see [`super::ledger::Stage`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are those of the stages")]
pub struct States {
    pub planned: u64,
    pub connecting: u64,
    pub upgrading: u64,
    pub open: u64,
    pub answered: u64,
    pub held: u64,
    pub closing: u64,
    pub closed: u64,
    pub lost: u64,
}

impl From<[u64; 9]> for States {
    fn from(stages: [u64; 9]) -> Self {
        let [planned, connecting, upgrading, open, answered, held, closing, closed, lost] = stages;
        Self { planned, connecting, upgrading, open, answered, held, closing, closed, lost }
    }
}

impl States {
    /// Returns the counts, in the order of [`super::ledger::STAGES`].
    pub fn counts(&self) -> [u64; 9] {
        let Self { planned, connecting, upgrading, open, answered, held, closing, closed, lost } = *self;
        [planned, connecting, upgrading, open, answered, held, closing, closed, lost]
    }

    /// Returns how many connections have a socket that is open at both ends, as far as the flood knows.
    pub fn held_open(&self) -> u64 {
        // A file may contain any number.
        self.open.saturating_add(self.answered).saturating_add(self.held)
    }
}

/// The timing of one measure: the whole and each sample.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Timing {
    /// The total length of the phases that the measure belongs to.
    pub seconds: f64,
    /// Samples per second.
    pub per_second: f64,
    /// The samples.
    #[serde(flatten)]
    pub latency: Latency,
}

impl Timing {
    pub(super) fn of(latency: Latency, seconds: f64) -> Self {
        let per_second = if seconds > 0.0 { latency.samples() as f64 / seconds } else { 0.0 };
        Self { seconds, per_second, latency }
    }
}

/// The members that are read. All others are skipped, however many there are.
#[derive(Deserialize)]
struct Read {
    seconds: f64,
    per_second: f64,
    samples: u64,
    histogram: String,
}

impl<'de> Deserialize<'de> for Timing {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Read { seconds, per_second, samples, histogram } = Read::deserialize(deserializer)?;
        let latency = Latency::read(samples, &histogram).map_err(D::Error::custom)?;
        Ok(Self { seconds, per_second, latency })
    }
}

/// Messages at a constant rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// Messages due on connections that were open when the phase began.
    pub due: u64,
    /// Messages sent of those due.
    pub sent: u64,
    /// Messages answered of those due; as many as there are samples of `response` and `service`.
    pub answered: u64,
}

impl Schedule {
    /// Adds another schedule's counts.
    pub fn add(&mut self, other: &Self) {
        self.due += other.due;
        self.sent += other.sent;
        self.answered += other.answered;
    }
}

/// A figure for each end of the connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PerSide<T> {
    /// The server's.
    pub server: T,
    /// The flood's.
    pub client: T,
}

/// The memory that a connection costs at one end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SideMemory {
    /// Connections that were open when the memory was measured.
    pub connections: u64,
    /// Growth of RssAnon divided by the number of connections; `None` if it is not available.
    pub user_bytes_per_connection: Option<f64>,
    /// Growth of the kernel's slabs divided by the growth of the number of TCP sockets; `None` if it is not available.
    pub kernel_bytes_per_connection: Option<f64>,
}

/// The report of one phase.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PhaseReport {
    /// The name: the kind, with a number from the second of its kind on, such as `ramp` and `ramp2`.
    pub name: String,
    /// The kind: `ramp`, `reply`, `rate`, …
    pub kind: String,
    /// The start of the phase, in seconds from the start of the flood.
    pub began_s: f64,
    /// The duration of the phase.
    pub seconds: f64,
    /// The latencies that were measured in the phase.
    pub latencies: Latencies,
    /// The messages that were due in the phase.
    pub schedule: Schedule,
    /// Connections that had not received all the messages they waited for when the phase ended.
    pub missing: u64,
    /// The states at the end of the phase.
    pub states: States,
}

/// One row of the timeline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Second {
    /// The end of the second, in seconds from the start of the flood.
    pub at_s: f64,
    /// The phase at the end of the second.
    pub phase: String,
    /// The states at the end of the second. Each worker's counts are of one moment, so they sum to the planned
    /// connections.
    pub states: States,
    /// Connections opened so far, including those that were opened again.
    pub opened: u64,
    /// Messages answered so far.
    pub replies: u64,
    /// Messages received so far that were not replies.
    pub received: u64,
    /// The latencies that were measured in this second.
    pub latencies: Latencies,
    /// Memory of the flood, RssAnon.
    pub client_user_bytes: Option<u64>,
    /// Memory of the server, if its process is named or if it is a Steadfast server.
    pub server_user_bytes: Option<u64>,
    /// The kernel's slabs, of the whole host.
    pub slab_bytes: Option<u64>,
    /// TCP sockets in this network namespace.
    pub sockets: Option<u64>,
}

/// The figures of both sides compared.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reconciliation {
    /// The figures.
    pub figures: Vec<Agreement>,
    /// Whether all of them agree.
    pub agrees: bool,
}

impl Reconciliation {
    pub(super) fn of(figures: Vec<Agreement>) -> Self {
        Self { agrees: figures.iter().all(|figure| figure.agrees), figures }
    }
}

/// One figure of both sides compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// The name of the figure.
    pub what: String,
    /// The least value that the server may report, from what the flood saw.
    pub at_least: u64,
    /// The largest value that the server may report; `None` if there is no bound. It is larger than `at_least` if
    /// something was lost on the way.
    pub at_most: Option<u64>,
    /// The server's value.
    pub server: u64,
    /// Whether the value is within the bounds.
    pub agrees: bool,
}

/// The result of an assertion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The assertion as it was written.
    pub assertion: String,
    /// The figure, in the unit of the report; `None` if it was not measured.
    pub figure: Option<f64>,
    /// Whether the assertion holds. It does not if its figure was not measured.
    pub holds: bool,
}

impl Report {
    /// Returns the timing of one measure, over all phases.
    pub fn timing(&self, measure: Measure) -> &Timing {
        match measure {
            Measure::Connect => &self.connect,
            Measure::Reconnect => &self.reconnect,
            Measure::Reply => &self.reply,
            Measure::Hold => &self.hold,
            Measure::Alive => &self.alive,
            Measure::Response => &self.response,
            Measure::Service => &self.service,
            Measure::Lag => &self.lag,
            Measure::Age => &self.age,
        }
    }
}
