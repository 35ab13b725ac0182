//! Commands from the coordinator to its workers, and their events back.

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

/// The task of a worker in one phase. Some tasks end when the last connection is done; the others end with
/// [`Command::StopPhase`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum PhaseTask {
    /// Opens connections until `until` of the worker's own have been begun, `per_s` per second.
    Connect { until: u32, per_s: Option<f64> },
    /// Sends `messages` on each connection, one after the other.
    Reply { messages: u16 },
    /// Sends `per_s` messages per second over all connections, until the phase is stopped.
    Hold { per_s: f64 },
    /// Sends one more message on every connection, to see whether it is still alive.
    Check,
    /// Sends messages at a constant rate.
    Rate(ScheduleParams),
    /// Receives pushed messages, until the phase is stopped or each connection has received `messages`.
    Receive { messages: Option<u32>, slow: Slow },
    /// Resets a share of the connections and opens them again.
    Storm { share: f64 },
    /// Closes all connections, `per_s` per second.
    Close { per_s: Option<f64> },
}

impl PhaseTask {
    /// Returns whether all workers run the task at the same time. Of tasks that load the server, as many run at a time
    /// as there are cores.
    pub(super) fn is_together(&self) -> bool {
        matches!(self, Self::Hold { .. } | Self::Rate(_) | Self::Receive { .. } | Self::Storm { .. })
    }
}

/// When messages are due on each connection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct ScheduleParams {
    /// When the schedule begins, the same for all workers.
    pub(super) start: Instant,
    /// Time between two messages of a connection.
    pub(super) interval_us: u64,
    /// The length of the schedule; no message is due after it.
    pub(super) for_us: u64,
    /// The index of this worker; workers send in rotation.
    pub(super) worker: u64,
    /// The number of workers.
    pub(super) workers: u64,
}

/// The share of connections that read slowly, and how many bytes per second each of them reads.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Slow {
    pub(super) share: f64,
    pub(super) bytes_per_s: u32,
}

/// A command from the coordinator to a worker.
#[derive(Debug)]
pub(super) enum Command {
    /// Begin a task; the worker reports the serial number when the task is done.
    Begin(usize, PhaseTask),
    /// End a phase that has no end of its own.
    StopPhase,
    /// Send what was measured since the last time.
    Sample,
    /// Give up connections that are not open. A close follows, or continues without a pace.
    Interrupt,
    /// The time to close is over: reset the remaining connections.
    Reset,
    /// Send the results, and stop.
    Finish,
}

/// An event from a worker to the coordinator.
#[derive(Debug)]
pub(super) enum WorkerEvent {
    /// The worker's reactor failed with this error of epoll_wait(2).
    Failed(io::Error),
    /// What the worker measured since the last event of this kind.
    Samples(Box<Samples>),
    /// The task with this serial number is done; its samples were sent before.
    Phase(usize),
    /// The final results.
    All(Box<Results>),
}

/// Measurements of a worker over some time.
#[derive(Debug, Default)]
pub(super) struct Samples {
    pub(super) latencies: Latencies,
    pub(super) schedule: Schedule,
    /// Connections that did not receive all the messages they waited for.
    pub(super) missing: u64,
}

/// The final results of a worker.
#[derive(Debug)]
pub(super) struct Results {
    pub(super) ledger: Ledger,
    /// Whether every page was compared by content. Pages that vary are compared by status only.
    pub(super) by_content: bool,
}

/// The settings that all workers share.
#[derive(Debug)]
pub(super) struct WorkerConfig {
    pub(super) routes: Routes,
    pub(super) targets: Vec<Target>,
    pub(super) sizes: Sizes,
    pub(super) compression: Option<Compression>,
    pub(super) subprotocols: Vec<String>,
    /// Field lines for every request, each with its CRLF.
    pub(super) fields: String,
    /// Connects, replies and closes in progress at a time, for each worker, when only some workers run.
    pub(super) window: usize,
    /// The same, when all workers run at once.
    pub(super) shared_window: usize,
    pub(super) reply_timeout_s: u32,
    pub(super) max_reply_bytes: u32,
    /// Set when a page came from a Steadfast server, which can be asked for `/stats`.
    pub(super) is_ours: AtomicBool,
}
