//! State that a worker keeps for the duration of a phase.

use crate::net::slots::ConnectionId;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

/// The order in which connections send at a constant rate: in rotation.
#[derive(Debug, Default)]
pub(super) struct SendSchedule {
    pub(super) senders: Vec<ConnectionId>,
    /// The number of the next due message, over all senders.
    pub(super) next: u64,
    /// Connections with due messages that still await a reply from before the schedule began.
    pub(super) pending_before_start: usize,
}

/// The progress of a phase that receives pushed messages.
#[derive(Debug, Default)]
pub(super) struct Receivers {
    /// Connections that have not received all the messages they wait for.
    pub(super) waiting: usize,
    /// Slow connections that have stopped reading, and until when.
    pub(super) paused: BinaryHeap<Reverse<(Instant, ConnectionId)>>,
    /// Slow connections that still have to read what they left unread.
    pub(super) catching_up: usize,
    /// Reading has resumed everywhere; the phase ends when `catching_up` is 0.
    pub(super) is_ending: bool,
}
