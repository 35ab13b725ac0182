//! Interrupts: the first closes what is open for as long as it may, the second ends the flood at once.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// What has come of interrupts so far.
#[derive(Debug)]
pub(super) struct Interrupt<'a> {
    /// How many there were.
    count: &'a AtomicU32,
    /// How long connections may take to close.
    grace: Duration,
    /// When that is over, and how many connections were closed when the first interrupt was seen.
    seen: Option<(Instant, u64)>,
    /// The workers know of it.
    pub(super) is_told: bool,
    /// The workers have reset what was left.
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

    /// Whether a second one says that nothing is waited for any more.
    pub(super) fn is_final(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 1
    }

    /// Takes the time of the first one, when so many connections had been closed.
    pub(super) fn note_first(&mut self, closed: impl FnOnce() -> u64) {
        if self.is_set() && self.seen.is_none() {
            self.seen = Some((Instant::now() + self.grace, closed()));
        }
    }

    /// Whether what is still open is to be reset.
    pub(super) fn is_over(&self) -> bool {
        self.is_final() || self.seen.is_some_and(|(until, _)| until <= Instant::now())
    }

    /// How many connections had been closed before it; `None` if there was none.
    pub(super) fn closed_before(&self) -> Option<u64> {
        self.seen.map(|(_, closed)| closed)
    }
}
