//! What a flood found, as the table, the charts and the JSON have it: the schema `steadfast.flood/2`.

use super::latency::{Latencies, Latency, Measure};
use super::ledger::Counts;
use crate::stats::Cpu;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;

/// The version of the JSON document.
pub const SCHEMA: &str = "steadfast.flood/2";

/// Everything about one flood, or about the shards of one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: String,
    /// The program that wrote it, with its version.
    pub program: String,
    /// The URL, or several with spaces between.
    pub target: String,
    /// Of a flood that several hosts make together, the parts that are in this report, such as `1/2`.
    pub shards: Vec<String>,
    /// When it began, in seconds since 1970-01-01 00:00 UTC.
    pub started_at_s: f64,
    /// From then to its end.
    pub seconds: f64,
    /// How many connections came how far.
    pub connections: Connections,
    /// Where they stand in the end; the states sum to `connections.planned`.
    pub states: States,
    /// Why connections were lost; the counts sum to `connections.lost`.
    pub lost_by_cause: BTreeMap<String, u64>,
    /// From connect(2) to the open connection.
    pub connect: Timing,
    /// The same for those that a storm had dropped.
    pub reconnect: Timing,
    /// From a message to its answer, one in flight on a connection.
    pub reply: Timing,
    /// The same for the trickle of messages while the connections were held.
    pub hold: Timing,
    /// The same when each was asked, at the end of the hold, whether it is alive.
    pub alive: Timing,
    /// At a constant rate: from when a message was due to its answer.
    pub response: Timing,
    /// At a constant rate: from when it was sent to its answer, which is less if the one before it took long.
    pub service: Timing,
    /// At a constant rate: how late the flood itself was. It is part of the response times.
    pub lag: Timing,
    /// From the stamp in a message that the server pushed to its arrival, by the clocks of both hosts.
    pub age: Timing,
    /// At a constant rate: what was due, and what became of it.
    pub schedule: Schedule,
    /// How long closing the connections took.
    pub close_seconds: f64,
    /// Messages that were sent, or requests.
    pub sent: u64,
    /// Messages that were answered, each compared with what it had to be.
    pub replies: u64,
    /// Messages that came without being asked for.
    pub received: u64,
    /// Pings of the server, each answered with a pong.
    #[serde(default)]
    pub pings: u64,
    /// What was compared: `content`, or only `status` if a page varies.
    pub reply_check: String,
    /// Memory of each connection, before the first check or the drain.
    pub memory: PerSide<SideMemory>,
    /// CPU time from the first connect to the end of the last ramp, reply, rate or storm.
    pub cpu: PerSide<Option<Cpu>>,
    /// Threads of the flood.
    pub workers: usize,
    /// What was done, one after the other.
    pub phases: Vec<PhaseReport>,
    /// How things stood, second by second.
    pub timeline: Vec<Second>,
    /// What the server says of itself against what the flood saw, if the server is one of ours and has no other guests.
    pub reconciliation: Option<Reconciliation>,
    /// What became of the connections that were open when the flood was interrupted; null if it was not.
    #[serde(default)]
    pub interrupted: Option<Interrupted>,
    /// What its reader has to know of it, in words.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// What was promised, and whether it holds.
    pub assertions: Vec<Verdict>,
    /// Whether every connection came all the way, and both sides agree.
    pub ok: bool,
}

/// What became of the connections that were open when a flood was interrupted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interrupted {
    /// Closed within the time that they had.
    pub closed: u64,
    /// Reset when that was over.
    pub reset: u64,
}

/// How many connections came how far. Each is closed or lost in the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connections {
    /// Asked for.
    pub planned: u64,
    /// Open, whatever became of them.
    pub opened: u64,
    /// How often one was opened again that a storm had dropped.
    pub reopened: u64,
    /// Answered in full.
    pub answered: u64,
    /// Alive at the end of the hold.
    pub held: u64,
    /// Closed as asked.
    pub closed: u64,
    /// Lost on the way.
    pub lost: u64,
}

impl Connections {
    pub(super) fn of(planned: u64, counts: &Counts) -> Self {
        let [.., closed, lost] = counts.stages;
        let Counts { opened, reopened, answered, held, .. } = *counts;
        Self { planned, opened, reopened, answered, held, closed, lost }
    }
}

/// How many connections are in which state; see [`super::ledger::Stage`].
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
    /// The counts, in the order of [`super::ledger::STAGES`].
    pub fn counts(&self) -> [u64; 9] {
        let Self { planned, connecting, upgrading, open, answered, held, closing, closed, lost } = *self;
        [planned, connecting, upgrading, open, answered, held, closing, closed, lost]
    }

    /// Connections that hold a socket which is open at both ends, as far as the flood knows.
    pub fn held_open(&self) -> u64 {
        // What is read from a file may be any number.
        self.open.saturating_add(self.answered).saturating_add(self.held)
    }
}

/// How long something took, as a whole and each time.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Timing {
    /// How long the phases were that it is of, together.
    pub seconds: f64,
    /// Samples a second.
    pub per_second: f64,
    /// Each time.
    #[serde(flatten)]
    pub latency: Latency,
}

impl Timing {
    pub(super) fn of(latency: Latency, seconds: f64) -> Self {
        let per_second = if seconds > 0.0 { latency.samples() as f64 / seconds } else { 0.0 };
        Self { seconds, per_second, latency }
    }
}

/// As it is read: what a report has beside this is not kept, however much it is.
#[derive(Deserialize)]
struct Told {
    seconds: f64,
    per_second: f64,
    samples: u64,
    histogram: String,
}

impl<'de> Deserialize<'de> for Timing {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Told { seconds, per_second, samples, histogram } = Told::deserialize(deserializer)?;
        let latency = Latency::read(samples, &histogram).map_err(D::Error::custom)?;
        Ok(Self { seconds, per_second, latency })
    }
}

/// What was due at a constant rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// Messages that were due on connections which were open when the phase began.
    pub due: u64,
    /// Those that were sent.
    pub sent: u64,
    /// Those that were answered; as many as there are samples of `response` and `service`.
    pub answered: u64,
}

impl Schedule {
    /// Adds another's.
    pub fn add(&mut self, other: &Self) {
        self.due += other.due;
        self.sent += other.sent;
        self.answered += other.answered;
    }
}

/// The two ends of every connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PerSide<T> {
    /// The one that was flooded.
    pub server: T,
    /// This one.
    pub client: T,
}

/// What a connection costs one end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SideMemory {
    /// How many connections were open when it was measured.
    pub connections: u64,
    /// Growth of RssAnon over the number of connections; `None` where it cannot be had.
    pub user_bytes_per_connection: Option<f64>,
    /// Growth of the kernel's slabs over the growth of the number of TCP sockets; `None` where it cannot be had.
    pub kernel_bytes_per_connection: Option<f64>,
}

/// One phase of the scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PhaseReport {
    /// Its name: what it does, with a number from the second of its kind on, such as `ramp` and `ramp2`.
    pub name: String,
    /// What it did: `ramp`, `reply`, `rate`, …
    pub kind: String,
    /// When it began, in seconds from the beginning of the flood.
    pub began_s: f64,
    /// How long it took.
    pub seconds: f64,
    /// What was measured in it.
    pub latencies: Latencies,
    /// What was due in it.
    pub schedule: Schedule,
    /// Connections that had not received all that they waited for when it ended.
    pub missing: u64,
    /// Where the connections stood at its end.
    pub states: States,
}

/// One second of the flood.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Second {
    /// The end of it, in seconds from the beginning of the flood.
    pub at_s: f64,
    /// The phase at its end.
    pub phase: String,
    /// Where the connections stood at its end: all of one moment for each worker, and they sum to what was planned.
    pub states: States,
    /// Connections opened until then, those that were opened again too.
    pub opened: u64,
    /// Messages answered until then.
    pub replies: u64,
    /// Messages that had come without being asked for.
    pub received: u64,
    /// What was measured within it.
    pub latencies: Latencies,
    /// Memory of the client, RssAnon.
    pub client_user_bytes: Option<u64>,
    /// Memory of the server, if it is on this host and its process named, or if it is one of ours.
    pub server_user_bytes: Option<u64>,
    /// The kernel's slabs, all of the host.
    pub slab_bytes: Option<u64>,
    /// TCP sockets of this network namespace.
    pub sockets: Option<u64>,
}

/// What both sides say of the same thing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reconciliation {
    /// Each figure.
    pub figures: Vec<Agreement>,
    /// Whether all of them agree.
    pub agrees: bool,
}

impl Reconciliation {
    pub(super) fn of(figures: Vec<Agreement>) -> Self {
        Self { agrees: figures.iter().all(|figure| figure.agrees), figures }
    }
}

/// One figure of both sides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// Of what.
    pub what: String,
    /// The least that the server has to say, from what the flood saw.
    pub at_least: u64,
    /// The most that it may say: more where something was lost on the way and the flood cannot know how far it came, `None`
    /// where there is no bound.
    pub at_most: Option<u64>,
    /// What the server says.
    pub server: u64,
    /// Whether that is so.
    pub agrees: bool,
}

/// What became of an assertion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// As it was written.
    pub assertion: String,
    /// The figure, in the unit of the report; `None` if it could not be measured.
    pub figure: Option<f64>,
    /// Whether it holds. What could not be measured does not.
    pub holds: bool,
}

impl Report {
    /// The timing of one measure, over all phases.
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
