//! What the coordinator and its workers say to each other.

use super::ledger::Ledger;
use super::plan::Routes;
use super::target::Target;
use crate::proto::extension::Compression;
use hdrhistogram::Histogram;
use std::io;
use std::sync::atomic::AtomicBool;

/// Latencies are kept to three digits, from a microsecond to ten minutes; what is longer counts as ten minutes.
pub(super) fn histogram() -> Histogram<u32> {
    // The bounds are constants that the library accepts; were they not, no test would get past this line.
    Histogram::new_with_bounds(1, 600_000_000, 3).expect("constant bounds")
}

/// What the flood does, one after the other. In each but the hold, a worker is done when its last connection is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Phase {
    Connect,
    Reply,
    /// A trickle of so many messages a second.
    Hold(f64),
    /// One more message on every connection: is it still alive?
    Check,
    Close,
}

/// From the coordinator to a worker.
#[derive(Debug)]
pub(super) enum Order {
    Begin(Phase),
    /// The hold is over; the next phase begins when others are done with it.
    Rest,
    /// Give up what is not open; the close comes next.
    Interrupt,
    Finish,
}

/// From a worker to the coordinator.
#[derive(Debug)]
pub(super) enum Done {
    /// Its reactor failed, with what epoll_wait(2) said.
    Failed(io::Error),
    Phase(Phase),
    All(Box<Results>),
}

/// What a worker has to show in the end.
#[derive(Debug)]
pub(super) struct Results {
    pub(super) ledger: Ledger,
    pub(super) connect: Histogram<u32>,
    pub(super) reply: Histogram<u32>,
    pub(super) hold: Histogram<u32>,
    pub(super) alive: Histogram<u32>,
    /// Whether every page was compared by content; those that vary are not.
    pub(super) by_content: bool,
}

impl Results {
    pub(super) fn new(ledger: Ledger) -> Self {
        let [connect, reply, hold, alive] = [histogram(), histogram(), histogram(), histogram()];
        Self { ledger, connect, reply, hold, alive, by_content: true }
    }
}

/// What all workers share.
#[derive(Debug)]
pub(super) struct Orders {
    pub(super) routes: Routes,
    pub(super) targets: Vec<Target>,
    pub(super) payload_bytes: usize,
    pub(super) compression: Option<Compression>,
    pub(super) messages: u16,
    /// Connects, replies and closes of one worker at a time.
    pub(super) window: usize,
    /// Connects a second of one worker.
    pub(super) rate: Option<f64>,
    pub(super) reply_timeout_s: u32,
    /// A page came from a server of ours: it can be asked for more.
    pub(super) is_ours: AtomicBool,
}
