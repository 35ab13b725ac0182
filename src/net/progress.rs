//! Judges whether a peer takes what is sent to it, by what it has acknowledged.
//!
//! A socket takes more only when much of its buffer has become free, so minutes may pass between two writes to a slow
//! peer that reads. The kernel knows what was acknowledged, and is asked only when a deadline is about to be judged.

use super::clock::TICK_MS;
use super::deadlines::{Deadlines, ms_at_rate};

/// Ticks after which a queue that is not empty is judged for the first time.
const FIRST_TICKS: u64 = 8;

/// What the peer had acknowledged when the kernel was last asked.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    asked_tick: u32,
    /// Ticks until the kernel is asked again.
    wait_ticks: u64,
    /// Bytes that the socket took, less those that were not acknowledged; `None` before the kernel has been asked.
    acknowledged: Option<i64>,
}

impl Progress {
    pub(super) fn new(now_tick: u32) -> Self {
        Self { asked_tick: now_tick, wait_ticks: FIRST_TICKS, acknowledged: None }
    }

    /// Creates a progress of which the kernel is asked at once.
    pub(super) fn due_at_once(now_tick: u32) -> Self {
        Self { asked_tick: now_tick, wait_ticks: 0, acknowledged: None }
    }

    /// Returns whether the kernel is to be asked.
    #[inline]
    pub(super) fn is_due(&self, now_tick: u32) -> bool {
        u64::from(now_tick.wrapping_sub(self.asked_tick)) >= self.wait_ticks
    }

    /// Returns whether enough has been acknowledged by now. From the first call on, a peer has `stalled_s`. What it
    /// acknowledges extends that by the time that this takes at the least rate, up to twice `stalled_s`.
    pub(super) fn is_enough(&mut self, now_tick: u32, acknowledged: i64, deadlines: &Deadlines) -> bool {
        let ticks = |ms: u64| ms / TICK_MS;
        let stalled_ticks = ticks(u64::from(deadlines.stalled_s) * 1000).max(1);
        let elapsed_ticks = u64::from(now_tick.wrapping_sub(self.asked_tick));
        let left_ticks = match self.acknowledged {
            None => stalled_ticks,
            Some(before) => {
                let moved = u64::try_from(acknowledged.saturating_sub(before)).unwrap_or(0);
                let earned_ticks = ticks(ms_at_rate(moved, deadlines.min_send_bytes_per_s));
                (self.wait_ticks.saturating_add(earned_ticks)).saturating_sub(elapsed_ticks).min(2 * stalled_ticks)
            }
        };
        *self = Self { asked_tick: now_tick, wait_ticks: left_ticks, acknowledged: Some(acknowledged) };
        left_ticks > 0
    }
}

#[cfg(test)]
mod tests {
    use super::Progress;
    use crate::net::clock::TICK_MS;
    use crate::net::deadlines::Deadlines;

    /// Returns how many of 600 seconds a peer is tolerated that acknowledges `bytes` every `every_s` seconds.
    fn lasts_s(bytes: i64, every_s: u32) -> u32 {
        let ticks_per_s = (1000 / TICK_MS) as u32;
        let mut progress = Progress::new(7);
        for tick in 0..600 * ticks_per_s {
            let acknowledged = 1_000_000 + bytes * i64::from(tick / (every_s * ticks_per_s));
            let now_tick = tick.wrapping_add(7);
            if progress.is_due(now_tick) && !progress.is_enough(now_tick, acknowledged, &Deadlines::default()) {
                return tick / ticks_per_s;
            }
        }
        600
    }

    #[test]
    fn peer_above_the_least_rate_is_tolerated() {
        for (bytes, every_s) in [(1 << 20, 1), (3000, 1), (1100, 1), (20_000, 10), (65_536, 25)] {
            assert_eq!(lasts_s(bytes, every_s), 600, "{bytes} bytes every {every_s} s");
        }
    }

    #[test]
    fn peer_below_the_least_rate_is_not_tolerated() {
        assert_eq!(lasts_s(0, 1), 32);
        for (bytes, every_s) in [(1, 1), (200, 1), (700, 1), (5000, 20)] {
            let seconds = lasts_s(bytes, every_s);
            assert!((32..=150).contains(&seconds), "{bytes} bytes every {every_s} s: {seconds} s");
        }
    }
}
