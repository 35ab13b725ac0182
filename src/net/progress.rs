//! Whether a peer takes what is sent to it, by what it has acknowledged.
//!
//! A socket takes more only when much of its buffer has become free, so a slow peer may read for minutes between two writes.
//! The kernel knows better, and is asked only when a deadline is about to be judged.

use super::clock::TICK_MS;
use super::deadlines::Deadlines;

/// Ticks after which a queue that is still there is looked at for the first time.
const FIRST_TICKS: u64 = 8;

/// What the peer had acknowledged when the kernel was last asked.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    asked_tick: u32,
    /// How long that is good for.
    wait_ticks: u64,
    /// Bytes that the socket took, less those that were not acknowledged; `None` before the kernel has been asked.
    acknowledged: Option<i64>,
}

impl Progress {
    pub(super) fn new(now_tick: u32) -> Self {
        Self { asked_tick: now_tick, wait_ticks: FIRST_TICKS, acknowledged: None }
    }

    /// The kernel is asked at once.
    pub(super) fn due_at_once(now_tick: u32) -> Self {
        Self { asked_tick: now_tick, wait_ticks: 0, acknowledged: None }
    }

    /// Whether the kernel is to be asked.
    #[inline]
    pub(super) fn is_due(&self, now_tick: u32) -> bool {
        u64::from(now_tick.wrapping_sub(self.asked_tick)) >= self.wait_ticks
    }

    /// Judges by what is acknowledged now; whether that is enough. From the first time on a peer has `stalled_s`, and what it
    /// acknowledges gives it as much more as that takes at the least rate, up to twice `stalled_s`.
    pub(super) fn is_enough(&mut self, now_tick: u32, acknowledged: i64, deadlines: &Deadlines) -> bool {
        let ticks = |ms: u64| ms / TICK_MS;
        let stalled_ticks = ticks(u64::from(deadlines.stalled_s) * 1000).max(1);
        let elapsed_ticks = u64::from(now_tick.wrapping_sub(self.asked_tick));
        let left_ticks = match self.acknowledged {
            None => stalled_ticks,
            Some(before) => {
                let moved = u64::try_from(acknowledged.saturating_sub(before)).unwrap_or(0);
                let rate = u64::from(deadlines.min_send_bytes_per_s.max(1));
                let earned_ticks = ticks(moved.saturating_mul(1000) / rate);
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

    /// For how many seconds a peer is borne with that acknowledges so many bytes every so many seconds, of ten minutes.
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
    fn a_peer_above_the_least_rate_is_borne_with() {
        for (bytes, every_s) in [(1 << 20, 1), (3000, 1), (1100, 1), (20_000, 10), (65_536, 25)] {
            assert_eq!(lasts_s(bytes, every_s), 600, "{bytes} bytes every {every_s} s");
        }
    }

    #[test]
    fn a_peer_below_the_least_rate_is_not() {
        assert_eq!(lasts_s(0, 1), 32);
        for (bytes, every_s) in [(1, 1), (200, 1), (700, 1), (5000, 20)] {
            let seconds = lasts_s(bytes, every_s);
            assert!((32..=150).contains(&seconds), "{bytes} bytes every {every_s} s: {seconds} s");
        }
    }
}
