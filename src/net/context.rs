//! What the work on one connection needs beside the connection: one of each reactor, lent for each event.

use super::clock::{Now, TICK_MS};
use super::counters::Counters;
use super::pool::Pool;
use super::settings::Settings;
use super::write_queue::QueueLimits;
use crate::proto::session::Output;
use std::sync::Arc;

/// What one connection sends in its turn is gathered up to so many bytes, however much may be queued for it.
const GATHERED_BYTES: usize = 64 << 10;

/// No message takes less of the output: so by its length alone it is known that there are no more than so many.
pub(super) const LEAST_FRAME_BYTES: usize = 2;

/// Where output is gathered, what limits it, and what counts it.
#[derive(Debug)]
pub(super) struct Context {
    /// What the connection whose turn it is has to say so far; empty between two turns.
    pub(super) output: Output,
    pub(super) counters: Arc<Counters>,
    pub(super) settings: Settings,
    pub(super) queueing: Queueing,
    /// The time of this iteration.
    pub(super) now: Now,
}

/// Where input goes.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) pool: Pool,
    /// A message that came in pieces, or compressed.
    pub(super) message: Vec<u8>,
}

/// How much may be queued, and when that is; what is known of it beside the connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Queueing {
    pub(super) limits: QueueLimits,
    /// How long a queue may be over its limits before [`Overflow::Close`] closes; 0 for not at all.
    pub(super) grace_ticks: u32,
    /// Bytes that are gathered before they are sent.
    pub(super) gathered_bytes: usize,
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
        Self { limits, grace_ticks, gathered_bytes, is_full: false, look_from_bytes }
    }
}
