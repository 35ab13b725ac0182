//! Interrupts: the first closes open connections within a grace period, the second ends the flood at once.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The interrupts so far.
#[derive(Debug)]
pub(super) struct Interrupt<'a> {
    /// The number of interrupts.
    count: &'a AtomicU32,
    /// How long connections may take to close.
    grace: Duration,
    /// The end of the grace period, and how many connections had been closed when the first interrupt was noticed.
    seen: Option<(Instant, u64)>,
    /// Whether the workers have been told of the interrupt.
    pub(super) is_told: bool,
    /// Whether the workers have been told to reset what was left.
    pub(super) is_reset: bool,
}

impl<'a> Interrupt<'a> {
    pub(super) fn new(count: &'a AtomicU32, grace_s: u32) -> Self {
        let grace = Duration::from_secs(grace_s.into());
        Self { count, grace, seen: None, is_told: false, is_reset: false }
    }

    pub(super) fn is_set(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }

    /// Returns whether there was a second interrupt: nothing is waited for any more.
    pub(super) fn is_final(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 1
    }

    /// Starts the grace period at the first interrupt, and notes how many connections had been closed by then.
    pub(super) fn note_first(&mut self, closed: impl FnOnce() -> u64) {
        if self.is_set() && self.seen.is_none() {
            self.seen = Some((Instant::now() + self.grace, closed()));
        }
    }

    /// Returns whether connections that are still open are to be reset.
    pub(super) fn is_over(&self) -> bool {
        self.is_final() || self.seen.is_some_and(|(until, _)| until <= Instant::now())
    }

    /// Returns how many connections had been closed before the interrupt; `None` if there was none.
    pub(super) fn closed_before(&self) -> Option<u64> {
        self.seen.map(|(_, closed)| closed)
    }
}
