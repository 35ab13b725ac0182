//! The memory that all connections of a plan may keep together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many bytes all connections of a plan keep together, and how many they may.
#[derive(Debug)]
pub struct MemoryLimit {
    used_bytes: AtomicUsize,
    /// The limit that was asked for, and what of it connections may use: the rest is for what cannot be counted.
    limit_bytes: usize,
    max_bytes: usize,
    /// Reactors that share it.
    reactors: AtomicUsize,
}

impl MemoryLimit {
    /// Keeps the memory of the process within `limit_bytes` beside what it has when nothing is kept. Connections may use nearly
    /// all of it: the gaps of the heap are not counted, nor is what one message inflates to before its turn is over.
    pub fn new(limit_bytes: u64) -> Arc<Self> {
        let limit_bytes = usize::try_from(limit_bytes).unwrap_or(usize::MAX);
        let uncounted_bytes = limit_bytes / 32 + (limit_bytes / 8).min(MAX_TURN_BYTES);
        Arc::new(Self {
            used_bytes: AtomicUsize::new(0),
            limit_bytes,
            max_bytes: limit_bytes - uncounted_bytes,
            reactors: AtomicUsize::new(0),
        })
    }

    /// Bytes that all connections keep, give or take what reactors have not told yet.
    pub fn used_bytes(&self) -> usize {
        self.used_bytes.load(Ordering::Relaxed)
    }

    /// The limit, in bytes.
    pub fn limit_bytes(&self) -> usize {
        self.limit_bytes
    }

    /// From here on memory is short: the oldest unfinished messages end, and new connections are refused.
    pub(super) fn tight_bytes(&self) -> usize {
        self.max_bytes / 5 * 4
    }

    /// From here on nothing is read that would make it more; and to here it goes back where it has become too much.
    pub(super) fn full_bytes(&self) -> usize {
        self.max_bytes - self.max_bytes / 16
    }

    /// Bytes that connections may use.
    pub(super) fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    /// One reactor more shares it.
    pub(super) fn join(&self) {
        self.reactors.fetch_add(1, Ordering::Relaxed);
    }

    /// Reactors that share it.
    pub(super) fn reactors(&self) -> usize {
        self.reactors.load(Ordering::Relaxed).max(1)
    }

    /// A reactor that has told of `before_bytes` keeps `now_bytes`.
    pub(super) fn tell(&self, before_bytes: usize, now_bytes: usize) {
        self.used_bytes.fetch_add(now_bytes.wrapping_sub(before_bytes), Ordering::Relaxed);
    }
}

/// Of the limit, for what is used within a turn and not counted: an eighth, and no more than this.
const MAX_TURN_BYTES: usize = 512 << 10;
