//! What a connection's turn works with: lent by the reactor, and the same for all of its connections.

use super::clock::TICK_MS;
use super::counters::Counters;
use super::outbox::QueueLimits;
use super::pool::Pool;
use super::settings::Settings;
use crate::proto::session::Output;

/// What one connection sends in its turn is gathered up to so many bytes, however much may be queued for it.
const GATHERED_BYTES: usize = 64 << 10;

/// No message takes less of the output: so by its length alone it is known that there are no more than so many.
pub(super) const LEAST_FRAME_BYTES: usize = 2;

/// How much may be queued, and when that is; what is known of it beside the connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Queueing {
    pub(super) limits: QueueLimits,
    /// How long a queue may be over its limits before [`Overflow::Close`] closes; 0 for not at all.
    pub(super) grace_ticks: u32,
    /// Bytes that are gathered before they are sent.
    pub(super) gathered_bytes: usize,
    pub(super) tick: u32,
    /// All buffers together are at their limit: nothing more waits.
    pub(super) is_full: bool,
    /// Where a turn begins to look at the limits.
    pub(super) look_from_bytes: usize,
}

impl Queueing {
    pub(super) fn new(limits: QueueLimits, grace_s: u32) -> Self {
        let gathered_bytes = limits.max_queued_bytes.min(GATHERED_BYTES);
        let grace_ticks = u32::try_from(u64::from(grace_s) * 1000 / TICK_MS).unwrap_or(u32::MAX);
        let by_messages = limits.max_queued_messages.saturating_mul(LEAST_FRAME_BYTES);
        let look_from_bytes = by_messages.min(gathered_bytes.saturating_add(1));
        Self { limits, grace_ticks, gathered_bytes, tick: 0, is_full: false, look_from_bytes }
    }
}

/// What a turn works with, apart from the connections.
pub(super) struct Tools<'a> {
    pub(super) pool: &'a mut Pool,
    pub(super) out: &'a mut Output,
    pub(super) message: &'a mut Vec<u8>,
    pub(super) counters: &'a Counters,
    /// Its limits; and its events of one connection in one turn: after them it goes to the back of the ready list. The other
    /// half of the budget is bytes: a turn reads once, and at most a ring.
    pub(super) settings: &'a Settings,
    pub(super) queueing: &'a Queueing,
    pub(super) tick: u32,
    pub(super) second: u32,
}
