//! The limit on the connections of all reactors of a plan.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The number of connections that all reactors of a plan may have together; exactly as many fit.
#[derive(Debug)]
pub struct ConnectionLimit {
    used: AtomicUsize,
    max: usize,
}

impl ConnectionLimit {
    /// Creates a limit of `max` connections.
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { used: AtomicUsize::new(0), max })
    }

    /// Takes up to `wanted` places; returns how many it took.
    pub(super) fn take(&self, wanted: usize) -> usize {
        let before = self.used.fetch_add(wanted, Ordering::Relaxed);
        let got = self.max.saturating_sub(before).min(wanted);
        self.give_back(wanted - got);
        got
    }

    pub(super) fn give_back(&self, places: usize) {
        if places > 0 {
            self.used.fetch_sub(places, Ordering::Relaxed);
        }
    }
}
