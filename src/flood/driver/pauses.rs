//! Times in which this reactor did not run: a reply that came meanwhile could not be heard, and is not late.

use crate::net::counters::Counters;
use std::collections::VecDeque;
use std::sync::Arc;

/// Pauses that are remembered; a reply that is awaited through more of them is late.
const REMEMBERED: usize = 64;

/// The pauses of a reactor, as it counts them.
#[derive(Debug)]
pub(super) struct Pauses {
    counters: Arc<Counters>,
    /// How much of the counter is known.
    counted_ms: u64,
    /// When each was over, in wrapping microseconds as connections have them, and how long it was.
    known: VecDeque<(u32, u64)>,
}

impl Pauses {
    pub(super) fn new(counters: Arc<Counters>) -> Self {
        Self { counters, counted_ms: 0, known: VecDeque::new() }
    }

    /// Takes note of a pause that is over now.
    pub(super) fn note(&mut self, now_us: u32) {
        let paused_ms = self.counters.paused_ms.value();
        if paused_ms == self.counted_ms {
            return;
        }
        if self.known.len() == REMEMBERED {
            self.known.pop_front();
        }
        self.known.push_back((now_us, (paused_ms - self.counted_ms).saturating_mul(1000)));
        self.counted_ms = paused_ms;
    }

    /// How much of the last `waited_us` were pauses.
    pub(super) fn within_us(&self, waited_us: u64, now_us: u32) -> u64 {
        let is_within = |over_us: u32| u64::from(now_us.wrapping_sub(over_us)) <= waited_us;
        self.known.iter().filter(|(over_us, _)| is_within(*over_us)).map(|(_, us)| us).sum()
    }
}
