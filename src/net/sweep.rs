//! Deadlines without timers: each tick visits a slice of the slab, and every connection is seen about once a second.

use super::cause::Deadline;
use super::connection::{Connection, Flags};
use crate::proto::session::State;

pub use super::clock::TICK_MS;
pub use super::deadlines::Deadlines;

/// Ticks in which the whole slab is visited once.
const TICKS_PER_ROUND: usize = 4;

/// What a visit found to be due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    /// It has been silent for so many ticks, and has no ping to answer.
    Silent(u32),
    Missed(Deadline),
}

pub(super) fn due<S>(connection: &Connection<S>, now_tick: u32, deadlines: &Deadlines) -> Due {
    let over = |since_tick: u32, limit_s: u32| {
        let age_ms = u64::from(now_tick.wrapping_sub(since_tick)) * TICK_MS;
        age_ms >= u64::from(limit_s) * 1000
    };
    let stamp = connection.last_active_tick();
    let missed = |limit_s: u32, deadline: Deadline| {
        if over(stamp, limit_s) { Due::Missed(deadline) } else { Due::Nothing }
    };
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
            let more_s = bytes as u64 / u64::from(deadlines.min_body_bytes_per_s.max(1));
            let more_s = u32::try_from(more_s).unwrap_or(u32::MAX);
            missed(deadlines.head_s.saturating_add(more_s), Deadline::Head)
        }
        // What is left of an answer takes as long as it moves.
        State::Closed if connection.has_queue() => Due::Nothing,
        State::Closing | State::Closed => missed(deadlines.close_s, Deadline::Close),
        // The stamp of one that was pinged is that of the ping.
        State::Open if connection.has(Flags::PINGED) => missed(deadlines.unanswered_s(), Deadline::Idle),
        State::Open if deadlines.ping_s < u32::MAX => Due::Silent(now_tick.wrapping_sub(stamp)),
        State::Open => missed(deadlines.idle_s, Deadline::Idle),
        State::Raw | State::Http => Due::Nothing,
    }
}

/// The tick from which on a visit may have something to do, if nothing happens to the connection before.
pub(super) fn due_from_tick<S>(connection: &Connection<S>, deadlines: &Deadlines) -> u32 {
    if connection.has_queue() || connection.has(Flags::PINGED) || connection.is_draining() || connection.is_connecting()
    {
        return 0;
    }
    if connection.has(Flags::WAITS) {
        return u32::MAX; // its answer brings it back
    }
    let limit_ticks = match (connection.session().state(), deadlines.ping_s, deadlines.idle_s) {
        (State::Open, u32::MAX, u32::MAX) => return u32::MAX,
        (State::Open, u32::MAX, idle_s) => u64::from(idle_s) * 1000 / TICK_MS,
        // From half the interval on a ping may be sent.
        (State::Open, ping_s, _) => u64::from(ping_s) * 1000 / TICK_MS / 2,
        _ => return 0,
    };
    connection.last_active_tick().saturating_add(u32::try_from(limit_ticks).unwrap_or(u32::MAX))
}

/// Until when no visit has anything to do: a reactor in which nothing happens does not look at its connections again and
/// again.
#[derive(Debug, Default)]
pub(super) struct Calm {
    /// The first tick at which one of those visited in this round may be due.
    found_tick: u32,
    until_tick: u32,
}

impl Calm {
    /// Something has happened to a connection, or may have.
    #[inline]
    pub(super) fn disturb(&mut self) {
        *self = Self::default();
    }

    pub(super) fn begin_round(&mut self) {
        self.found_tick = u32::MAX;
    }

    /// One that was visited may be due from `tick` on.
    #[inline]
    pub(super) fn found(&mut self, tick: u32) {
        self.found_tick = self.found_tick.min(tick);
    }

    pub(super) fn end_round(&mut self) {
        self.until_tick = self.found_tick;
    }

    pub(super) fn lasts(&self, now_tick: u32) -> bool {
        now_tick < self.until_tick
    }
}

/// Slots that are visited in one iteration; what peers wait for comes in between.
pub(super) const MAX_VISITS: usize = 4096;

/// Pings that are sent in one iteration.
pub(super) const MAX_PINGS: usize = 64;

/// Which part of the slab is to be visited.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    cursor: usize,
    /// Slots from there on whose time has come.
    due: usize,
}

impl Sweep {
    /// So many ticks have passed: each has a quarter of the `end_index` slots visited, and no more than all of them wait.
    pub(super) fn pass(&mut self, end_index: usize, ticks: u32) {
        let share = end_index.div_ceil(TICKS_PER_ROUND) * (ticks as usize).min(TICKS_PER_ROUND);
        self.due = (self.due + share).min(end_index);
    }

    /// The slots to visit now, at most [`MAX_VISITS`], and not beyond the end of the slab.
    pub(super) fn next(&mut self, end_index: usize) -> std::ops::Range<usize> {
        let start = if self.cursor >= end_index { 0 } else { self.cursor };
        let end = (start + self.due.min(MAX_VISITS)).min(end_index);
        start..end
    }

    /// The slots up to `cursor` have been visited; whether that was the last of a slab of `end_index`.
    pub(super) fn visited(&mut self, slice_start: usize, cursor: usize, end_index: usize) -> bool {
        self.due = self.due.saturating_sub(cursor - slice_start);
        self.cursor = cursor;
        cursor >= end_index
    }

    /// Nobody need be visited now.
    pub(super) fn rest(&mut self) {
        self.due = 0;
    }

    /// Whether more slots wait for their visit.
    pub(super) fn is_behind(&self) -> bool {
        self.due > 0
    }
}

#[cfg(test)]
#[path = "../tests/unit/sweep.rs"]
mod tests;
