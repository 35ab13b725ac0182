//! What all reactors of a plan may hold together: connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many connections all reactors of a plan may hold together; exactly so many fit.
#[derive(Debug)]
pub struct ConnectionLimit {
    used: AtomicUsize,
    max: usize,
}

impl ConnectionLimit {
    /// Room for `max` connections.
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { used: AtomicUsize::new(0), max })
    }

    /// Takes up to `wanted` places; returns how many it got.
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
