//! Deadlines without timers: each tick visits a slice of the slab, and every connection is seen about once a second.

use super::link::Deadline;
use super::slots::{Connection, Flags};
use crate::proto::session::State;

/// Length of a tick, and so how exact a deadline is.
pub const TICK_MS: u64 = 250;

/// Ticks in which the whole slab is visited once.
const TICKS_PER_ROUND: usize = 4;

/// How long a connection may take for what, in seconds; the largest value stands for "no limit".
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// To connect and be upgraded, as a client.
    pub connect_s: u32,
    /// For a whole request head, from its first byte; for the first one from accept.
    pub head_s: u32,
    /// What has to come of a request's content in each second behind that, on average.
    pub min_body_bytes_per_s: u32,
    /// Between requests.
    pub keep_alive_s: u32,
    /// Silence after which a ping is sent, give or take a tenth.
    pub ping_s: u32,
    /// Silence after which a WebSocket is taken for dead.
    pub idle_s: u32,
    /// For the peer's Close, and for its FIN.
    pub close_s: u32,
    /// Without a byte taken of what is queued.
    pub stalled_s: u32,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            connect_s: 30,
            head_s: 10,
            min_body_bytes_per_s: 1024,
            keep_alive_s: 75,
            ping_s: 45,
            idle_s: 100,
            close_s: 5,
            stalled_s: 30,
        }
    }
}

/// What a visit found to be due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    Ping,
    Missed(Deadline),
}

pub(super) fn due<S>(connection: &Connection<S>, index: usize, now_tick: u32, deadlines: &Deadlines) -> Due {
    let over = |since_tick: u32, limit_s: u32| {
        let age_ms = u64::from(now_tick.wrapping_sub(since_tick)) * TICK_MS;
        age_ms >= u64::from(limit_s) * 1000
    };
    let stamp = connection.stamp_tick;
    let missed = |limit_s: u32, deadline: Deadline| {
        if over(stamp, limit_s) { Due::Missed(deadline) } else { Due::Nothing }
    };
    // Who waits for an answer waits for us.
    if connection.flags.has(Flags::DOOMED | Flags::WAITS) {
        return Due::Nothing;
    }
    if connection.outbox.as_ref().is_some_and(|outbox| over(outbox.moved_tick, deadlines.stalled_s)) {
        return Due::Missed(Deadline::Stalled);
    }
    if connection.flags.has(Flags::LINGERS) {
        return missed(deadlines.close_s, Deadline::Close);
    }
    if connection.flags.has(Flags::CONNECTING) {
        return missed(deadlines.connect_s, Deadline::Connect);
    }
    match connection.session.state() {
        State::Handshake => missed(deadlines.connect_s, Deadline::Connect),
        State::Head if connection.flags.has(Flags::BETWEEN) => missed(deadlines.keep_alive_s, Deadline::KeepAlive),
        State::Head => {
            let bytes = connection.session.request_bytes().unwrap_or(0);
            let more_s = bytes as u64 / u64::from(deadlines.min_body_bytes_per_s.max(1));
            let more_s = u32::try_from(more_s).unwrap_or(u32::MAX);
            missed(deadlines.head_s.saturating_add(more_s), Deadline::Head)
        }
        // What is left of an answer takes as long as it moves.
        State::Closed if connection.outbox.is_some() => Due::Nothing,
        State::Closing | State::Closed => missed(deadlines.close_s, Deadline::Close),
        State::Open if over(stamp, deadlines.idle_s) => Due::Missed(Deadline::Idle),
        State::Open if !connection.flags.has(Flags::PINGED) => {
            // Connections that were opened together shall not all be pinged together: 90 to 110 % of the interval,
            // by a multiplicative hash of the slot.
            let percent = 90 + ((index as u32).wrapping_mul(0x9E37_79B1) >> 16) % 21;
            let jittered_ms = u64::from(deadlines.ping_s) * 10 * u64::from(percent);
            let age_ms = u64::from(now_tick.wrapping_sub(stamp)) * TICK_MS;
            if age_ms >= jittered_ms { Due::Ping } else { Due::Nothing }
        }
        State::Open | State::Raw | State::Http => Due::Nothing,
    }
}

/// Which part of the slab the next tick visits.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    cursor: usize,
}

impl Sweep {
    /// The slice of `end_index` places that is due for a visit after `ticks` ticks.
    pub(super) fn next(&mut self, end_index: usize, ticks: u32) -> std::ops::Range<usize> {
        let share = end_index.div_ceil(TICKS_PER_ROUND) * (ticks as usize).min(TICKS_PER_ROUND);
        let start = if self.cursor >= end_index { 0 } else { self.cursor };
        let end = (start + share).min(end_index);
        self.cursor = end;
        start..end
    }
}
