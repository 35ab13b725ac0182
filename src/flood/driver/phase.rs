//! What a worker keeps for the length of a phase.

use crate::net::slots::ConnectionId;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

/// The order in which connections send at a constant rate; they take turns.
#[derive(Debug, Default)]
pub(super) struct SendSchedule {
    pub(super) senders: Vec<ConnectionId>,
    /// The number of the message that is due next, of all.
    pub(super) next: u64,
    /// How many wait for an answer from before the schedule, and have messages due.
    pub(super) pending_before_start: usize,
}

/// The connections that receive, and those that read slowly.
#[derive(Debug, Default)]
pub(super) struct Receivers {
    /// How many have not had all that they wait for.
    pub(super) waiting: usize,
    /// Those who have stopped reading, and until when.
    pub(super) paused: BinaryHeap<Reverse<(Instant, ConnectionId)>>,
    /// How many have yet to take what they left unread.
    pub(super) behind: usize,
    /// The phase is over when nobody is behind.
    pub(super) is_ending: bool,
}
