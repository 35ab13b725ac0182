//! Records pauses during which this reactor did not run. A reply that arrived in a pause is not late, since nothing
//! could read it.

use crate::net::counters::Counters;
use std::collections::VecDeque;
use std::sync::Arc;

/// How many pauses are remembered. A reply that is awaited through more of them counts as late.
const REMEMBERED: usize = 64;

/// The recent pauses of one reactor.
#[derive(Debug)]
pub(super) struct Pauses {
    counters: Arc<Counters>,
    /// The counter's value at the last call of `note`.
    counted_ms: u64,
    /// The end of each pause, in wrapping microseconds as [`super::Peer`] stores them, and its length in microseconds.
    known: VecDeque<(u32, u64)>,
}

impl Pauses {
    pub(super) fn new(counters: Arc<Counters>) -> Self {
        Self { counters, counted_ms: 0, known: VecDeque::new() }
    }

    /// Records a pause that has just ended, if the counter shows one.
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

    /// Returns how many of the last `waited_us` microseconds were pauses.
    pub(super) fn within_us(&self, waited_us: u64, now_us: u32) -> u64 {
        let is_within = |over_us: u32| u64::from(now_us.wrapping_sub(over_us)) <= waited_us;
        self.known.iter().filter(|(over_us, _)| is_within(*over_us)).map(|(_, us)| us).sum()
    }
}
