//! The state that work on any connection of a reactor needs: one for each reactor, lent for each event.

use super::clock::{Now, TICK_MS};
use super::counters::Counters;
use super::pool::Pool;
use super::settings::Settings;
use super::write_queue::QueueLimits;
use crate::proto::session::Output;
use std::sync::Arc;

/// The most bytes of output that are gathered in one turn, even if more may be queued.
const GATHERED_BYTES: usize = 64 << 10;

/// The length of the shortest frame. The length of the output thus says how many messages it has at most.
pub(super) const LEAST_FRAME_BYTES: usize = 2;

/// The output, its limits, and its counters.
#[derive(Debug)]
pub(super) struct Context {
    /// The output of the connection whose turn it is; empty between two turns.
    pub(super) output: Output,
    pub(super) counters: Arc<Counters>,
    pub(super) settings: Settings,
    pub(super) queueing: Queueing,
    /// The time of this iteration.
    pub(super) now: Now,
}

/// The buffers for input.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) pool: Pool,
    /// The buffer for a message that was received in pieces, or compressed.
    pub(super) message: Vec<u8>,
}

/// The limits on queues, which are the same for all connections.
#[derive(Clone, Copy, Debug)]
pub(super) struct Queueing {
    pub(super) limits: QueueLimits,
    /// How many ticks a queue may be over its limits before [`Overflow::Close`] closes the connection; with 0 it closes
    /// at once.
    pub(super) grace_ticks: u32,
    /// The most bytes that are gathered before they are sent.
    pub(super) gathered_bytes: usize,
    /// All connections together keep as much as they may: no more is queued.
    pub(super) is_full: bool,
    /// The length of the output at which a turn begins to compare it with the limits.
    pub(super) check_from_bytes: usize,
}

impl Queueing {
    pub(super) fn new(limits: QueueLimits, grace_s: u32) -> Self {
        let gathered_bytes = limits.max_queued_bytes.min(GATHERED_BYTES);
        let grace_ticks = u32::try_from(u64::from(grace_s) * 1000 / TICK_MS).unwrap_or(u32::MAX);
        let by_messages = limits.max_queued_messages.saturating_mul(LEAST_FRAME_BYTES);
        let check_from_bytes = by_messages.min(gathered_bytes.saturating_add(1));
        Self { limits, grace_ticks, gathered_bytes, is_full: false, check_from_bytes }
    }
}
