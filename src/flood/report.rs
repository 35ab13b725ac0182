//! What a flood found, as the table and the JSON have it.

use super::ledger::Counts;
use crate::stats::Cpu;
use hdrhistogram::Histogram;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// The version of the JSON document.
pub const SCHEMA: &str = "steadfast.flood/1";

/// Everything about one flood.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// The URL, or several with spaces between.
    pub target: String,
    /// How many connections came how far.
    pub connections: Connections,
    /// Why connections were lost; the counts sum to `connections.lost`.
    pub lost_by_cause: BTreeMap<String, u64>,
    /// From connect(2) to the open connection.
    pub connect: Phase,
    /// From a message to its answer, one in flight on a connection.
    pub reply: Phase,
    /// The same for the trickle of messages while the connections were held.
    pub hold: Phase,
    /// The same when each was asked, at the end of the hold, whether it is alive.
    pub alive: Phase,
    /// How long closing them took, in seconds.
    pub close_seconds: f64,
    /// Messages that were answered, each compared with what it had to be.
    pub replies: u64,
    /// What was compared: `content`, or only `status` if a page varies.
    pub reply_check: &'static str,
    /// Memory of each connection, when all were open and answered.
    pub memory: Sides<SideMemory>,
    /// CPU time from the first connect to the last reply.
    pub cpu: Sides<Option<Cpu>>,
    /// Threads of the flood.
    pub workers: usize,
    /// Whether all were opened, answered, held and closed.
    pub ok: bool,
}

/// How many connections came how far. Each is closed or lost in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Connections {
    /// Asked for.
    pub planned: u64,
    /// Open, whatever became of them.
    pub opened: u64,
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
        Self { planned, opened: counts.opened, answered: counts.answered, held: counts.held, closed, lost }
    }

    /// Whether every connection that was planned came all the way.
    pub fn complete(&self) -> bool {
        let Self { planned, opened, answered, held, closed, lost } = *self;
        [opened, answered, held, closed] == [planned; 4] && lost == 0
    }
}

/// How long something took, as a whole and each time.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Phase {
    /// From its beginning to its end.
    pub seconds: f64,
    /// Samples a second.
    pub per_second: f64,
    /// How many there were.
    pub samples: u64,
    /// The median; `None` without samples, as all that follow.
    pub p50_us: Option<u64>,
    /// 90 % took at most this.
    pub p90_us: Option<u64>,
    /// 99 % took at most this.
    pub p99_us: Option<u64>,
    /// 99.9 % took at most this.
    pub p99_9_us: Option<u64>,
    /// The longest.
    pub max_us: Option<u64>,
}

impl Phase {
    pub(super) fn of(histogram: &Histogram<u32>, took: Duration) -> Self {
        let (samples, seconds) = (histogram.len(), took.as_secs_f64());
        let at = |quantile: f64| (samples > 0).then(|| histogram.value_at_quantile(quantile));
        Self {
            seconds,
            per_second: if seconds > 0.0 { samples as f64 / seconds } else { 0.0 },
            samples,
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p99_9_us: at(0.999),
            max_us: (samples > 0).then(|| histogram.max()),
        }
    }
}

/// The two ends of every connection.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Sides<T> {
    /// The one that was flooded.
    pub server: T,
    /// This one.
    pub client: T,
}

/// What a connection costs one end.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct SideMemory {
    /// Growth of RssAnon over the number of connections; `None` where it cannot be had.
    pub user_bytes_per_connection: Option<f64>,
    /// Growth of the kernel's slabs over the growth of the number of TCP sockets; `None` where it cannot be had.
    pub kernel_bytes_per_connection: Option<f64>,
}
