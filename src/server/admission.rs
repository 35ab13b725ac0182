//! How many upgrades a reactor grants in a second.

use std::time::{Duration, Instant};

/// The upgrades of one second: when it began, and how many there were.
#[derive(Debug)]
pub(super) struct Admission {
    began: Instant,
    upgrades: u32,
}

impl Admission {
    pub(super) fn new() -> Self {
        Self { began: Instant::now(), upgrades: 0 }
    }

    /// Whether one more is within `max` for a second. The clock is read only where that is a limit.
    pub(super) fn admit(&mut self, max: u32) -> bool {
        if self.upgrades >= max && self.began.elapsed() >= Duration::from_secs(1) {
            self.upgrades = 0;
        }
        if self.upgrades == 0 && max < u32::MAX {
            self.began = Instant::now();
        }
        self.upgrades = self.upgrades.saturating_add(1);
        self.upgrades <= max
    }
}
