//! Deadlines without timers: each tick visits a part of the slab, so that every connection is visited about once a
//! second.

use super::cause::Deadline;
use super::connection::{Connection, Flags};
use crate::proto::session::State;

pub use super::clock::TICK_MS;
pub use super::deadlines::Deadlines;
use super::deadlines::ms_at_rate;

/// The ticks in which the whole slab is visited once.
const TICKS_PER_ROUND: usize = 4;

/// What is due for a connection at a visit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    /// The connection has been silent for this many ticks, and no ping is unanswered.
    Silent(u32),
    Missed(Deadline),
}

pub(super) fn due<S>(connection: &Connection<S>, now_tick: u32, deadlines: &Deadlines) -> Due {
    let age_ticks = now_tick.wrapping_sub(connection.last_active_tick());
    let missed_ms = |limit_ms: u64, deadline: Deadline| {
        if u64::from(age_ticks) * TICK_MS >= limit_ms { Due::Missed(deadline) } else { Due::Nothing }
    };
    let missed = |limit_s: u32, deadline: Deadline| missed_ms(u64::from(limit_s) * 1000, deadline);
    // No deadline applies while the peer waits for our response.
    if connection.is_freed() || connection.has(Flags::WAITS) {
        return Due::Nothing;
    }
    if connection.queue().is_some_and(|queue| queue.progress.is_due(now_tick)) {
        return Due::Missed(Deadline::Stalled);
    }
    if connection.is_draining() {
        return missed(deadlines.close_s, Deadline::Close);
    }
    if connection.is_connecting() {
        return missed(deadlines.connect_s, Deadline::Connect);
    }
    match connection.session().state() {
        State::Handshake => missed(deadlines.connect_s, Deadline::Connect),
        State::Head if connection.has(Flags::KEEP_ALIVE_IDLE) => missed(deadlines.keep_alive_s, Deadline::KeepAlive),
        State::Head => {
            let bytes = connection.session().request_bytes().unwrap_or(0);
            let more_ms = ms_at_rate(bytes as u64, deadlines.min_body_bytes_per_s);
            missed_ms((u64::from(deadlines.head_s) * 1000).saturating_add(more_ms), Deadline::Head)
        }
        // The rest of a response may take any time while it acknowledges_enough.
        State::Closed if connection.has_queue() => Due::Nothing,
        State::Closing | State::Closed => missed(deadlines.close_s, Deadline::Close),
        // For a connection that was pinged, this is the tick of the ping.
        State::Open if connection.has(Flags::PINGED) => missed(deadlines.unanswered_s(), Deadline::Idle),
        State::Open if deadlines.ping_s < u32::MAX => Due::Silent(age_ticks),
        State::Open => missed(deadlines.idle_s, Deadline::Idle),
        State::Raw | State::Http => Due::Nothing,
    }
}

/// Returns the tick from which on a visit may have something to do, if the connection does not change before.
pub(super) fn due_from_tick<S>(connection: &Connection<S>, deadlines: &Deadlines) -> u32 {
    if connection.has_queue() || connection.has(Flags::PINGED) || connection.is_draining() || connection.is_connecting()
    {
        return 0;
    }
    if connection.has(Flags::WAITS) {
        return u32::MAX; // the response restarts a deadline
    }
    let limit_ticks = match (connection.session().state(), deadlines.ping_window_ticks()) {
        (State::Open, Some((from_ticks, _))) => u64::from(from_ticks),
        (State::Open, None) if deadlines.idle_s == u32::MAX => return u32::MAX,
        (State::Open, None) => u64::from(deadlines.idle_s) * 1000 / TICK_MS,
        _ => return 0,
    };
    connection.last_active_tick().saturating_add(u32::try_from(limit_ticks).unwrap_or(u32::MAX))
}

/// The first tick at which anything may be due for any connection: a reactor in which nothing happens does not visit
/// its connections again and again.
#[derive(Debug, Default)]
pub(super) struct NextDue {
    /// The first tick at which a connection that was visited in this round may be due.
    found_tick: u32,
    until_tick: u32,
}

impl NextDue {
    /// Forgets the tick, because a connection has changed or may have.
    #[inline]
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }

    pub(super) fn begin_round(&mut self) {
        self.found_tick = u32::MAX;
    }

    /// Notes that a visited connection may be due from `tick` on.
    #[inline]
    pub(super) fn may_be_due_from(&mut self, tick: u32) {
        self.found_tick = self.found_tick.min(tick);
    }

    pub(super) fn end_round(&mut self) {
        self.until_tick = self.found_tick;
    }

    pub(super) fn is_after(&self, now_tick: u32) -> bool {
        now_tick < self.until_tick
    }
}

/// The most slots that are visited in one iteration; the work that peers wait for comes in between.
pub(super) const MAX_VISITS: usize = 4096;

/// The most pings that are sent in one iteration.
pub(super) const MAX_PINGS: usize = 64;

/// The part of the slab that is to be visited.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    cursor: usize,
    /// The number of slots from there on that are due for a visit.
    due: usize,
}

impl Sweep {
    /// Makes a quarter of the `end_index` slots due for each of `ticks`, and at most all of them.
    pub(super) fn pass(&mut self, end_index: usize, ticks: u32) {
        let share = end_index.div_ceil(TICKS_PER_ROUND) * (ticks as usize).min(TICKS_PER_ROUND);
        self.due = (self.due + share).min(end_index);
    }

    /// Returns the slots to visit now: at most [`MAX_VISITS`], and not beyond the end of the slab.
    pub(super) fn next(&mut self, end_index: usize) -> std::ops::Range<usize> {
        let start = if self.cursor >= end_index { 0 } else { self.cursor };
        let end = (start + self.due.min(MAX_VISITS)).min(end_index);
        start..end
    }

    /// Notes that the slots up to `cursor` have been visited; returns whether the last of the slab's `end_index` slots
    /// was among them.
    pub(super) fn visited(&mut self, slice_start: usize, cursor: usize, end_index: usize) -> bool {
        self.due = self.due.saturating_sub(cursor - slice_start);
        self.cursor = cursor;
        cursor >= end_index
    }

    /// Makes no slot due.
    pub(super) fn rest(&mut self) {
        self.due = 0;
    }

    /// Returns whether more slots are due.
    pub(super) fn is_behind(&self) -> bool {
        self.due > 0
    }
}

#[cfg(test)]
#[path = "../tests/net/sweep.rs"]
mod tests;
