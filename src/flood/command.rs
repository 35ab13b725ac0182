//! What the coordinator and its workers say to each other.

use super::latency::Latencies;
use super::ledger::Ledger;
use super::plan::Routes;
use super::report::Schedule;
use super::sizes::Sizes;
use super::target::Target;
use crate::proto::extension::Compression;
use std::io;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

/// What a worker does. In some of it a worker is done when its last connection is; the rest ends with [`Command::StopPhase`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum PhaseTask {
    /// Connects until so many of its own are begun, at so many a second.
    Connect { until: u32, per_s: Option<f64> },
    /// So many messages on each.
    Reply { messages: u16 },
    /// A trickle of so many messages a second; until it is told to rest.
    Hold { per_s: f64 },
    /// One more message on every connection: is it still alive?
    Check,
    /// Messages at a constant rate.
    Rate(ScheduleParams),
    /// Takes what comes; until it is told to rest, or each has had so many messages.
    Receive { messages: Option<u32>, slow: Slow },
    /// Drops this part of the connections, and opens them again.
    Storm { share: f64 },
    /// Closes all, at so many a second.
    Close { per_s: Option<f64> },
}

impl PhaseTask {
    /// Whether all workers do it at the same time. What loads the server is done by as many at a time as there are cores.
    pub(super) fn is_together(&self) -> bool {
        matches!(self, Self::Hold { .. } | Self::Rate(_) | Self::Receive { .. } | Self::Storm { .. })
    }
}

/// When messages are due on each connection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct ScheduleParams {
    /// When the schedule begins, the same for all workers.
    pub(super) start: Instant,
    /// From one message of a connection to the next.
    pub(super) interval_us: u64,
    /// Up to when messages are due.
    pub(super) for_us: u64,
    /// Which worker this is, and of how many: they take turns.
    pub(super) worker: u64,
    pub(super) workers: u64,
}

/// Which part of the connections reads how slowly.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Slow {
    pub(super) share: f64,
    pub(super) bytes_per_s: u32,
}

/// From the coordinator to a worker.
#[derive(Debug)]
pub(super) enum Command {
    /// The number of the phase comes back when it is done.
    Begin(usize, PhaseTask),
    /// What lasts until it is told otherwise is over.
    StopPhase,
    /// Tell what was measured so far.
    Sample,
    /// Give up what is not open; the close comes next, or goes on without a pace.
    Interrupt,
    /// The time to close is over: what is left is reset.
    Reset,
    Finish,
}

/// From a worker to the coordinator.
#[derive(Debug)]
pub(super) enum WorkerEvent {
    /// Its reactor failed, with what epoll_wait(2) said.
    Failed(io::Error),
    /// What was measured since the last time.
    Samples(Box<Samples>),
    /// The phase with this number is done; what was measured in it came before.
    Phase(usize),
    All(Box<Results>),
}

/// What a worker has measured within a while.
#[derive(Debug, Default)]
pub(super) struct Samples {
    pub(super) latencies: Latencies,
    pub(super) schedule: Schedule,
    /// Connections that had not received all that they waited for.
    pub(super) missing: u64,
}

/// What a worker has to show in the end.
#[derive(Debug)]
pub(super) struct Results {
    pub(super) ledger: Ledger,
    /// Whether every page was compared by content; those that vary are not.
    pub(super) by_content: bool,
}

/// What all workers share.
#[derive(Debug)]
pub(super) struct WorkerConfig {
    pub(super) routes: Routes,
    pub(super) targets: Vec<Target>,
    pub(super) sizes: Sizes,
    pub(super) compression: Option<Compression>,
    pub(super) subprotocols: Vec<String>,
    /// Field lines for every request, each with its CRLF.
    pub(super) fields: String,
    /// Connects, replies and closes of one worker at a time.
    pub(super) window: usize,
    /// The same where all workers work at the same time.
    pub(super) shared_window: usize,
    pub(super) reply_timeout_s: u32,
    pub(super) max_reply_bytes: u32,
    /// A page came from a server of ours: it can be asked for more.
    pub(super) is_ours: AtomicBool,
}
