//! The limit on the memory that all connections of a plan keep together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The bytes that all connections of a plan keep together, and the limit on them.
#[derive(Debug)]
pub struct MemoryLimit {
    used_bytes: AtomicUsize,
    /// The limit that was set, and the part of it for connections: the rest is for what cannot be counted.
    limit_bytes: usize,
    max_bytes: usize,
    /// The number of reactors that share the limit.
    reactors: AtomicUsize,
}

impl MemoryLimit {
    /// Limits the memory of the process to `limit_bytes` in addition to what it has when no connection keeps anything.
    /// Nearly all of that is for connections; the rest is for the gaps of the heap, and for what one message inflates
    /// to before its turn is over, which are not counted.
    pub fn new(limit_bytes: u64) -> Arc<Self> {
        let limit_bytes = usize::try_from(limit_bytes).unwrap_or(usize::MAX);
        let uncounted_bytes = limit_bytes / 16 + (limit_bytes / 8).min(MAX_TURN_BYTES);
        Arc::new(Self {
            used_bytes: AtomicUsize::new(0),
            limit_bytes,
            max_bytes: limit_bytes - uncounted_bytes,
            reactors: AtomicUsize::new(0),
        })
    }

    /// Returns how many bytes all connections keep, less or more what reactors have not reported yet.
    pub fn used_bytes(&self) -> usize {
        self.used_bytes.load(Ordering::Relaxed)
    }

    /// Returns the limit, in bytes.
    pub fn limit_bytes(&self) -> usize {
        self.limit_bytes
    }

    /// Returns from how many bytes on memory is short: the oldest unfinished messages end, and new connections are
    /// refused.
    pub(super) fn tight_bytes(&self) -> usize {
        self.max_bytes / 5 * 4
    }

    /// Returns from how many bytes on no connection is read that would keep more. It is also what remains after
    /// connections were reset because they kept too much.
    pub(super) fn full_bytes(&self) -> usize {
        self.max_bytes - self.max_bytes / 16
    }

    /// Returns how many bytes connections may keep.
    pub(super) fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    /// Counts one more reactor that shares the limit.
    pub(super) fn join(&self) {
        self.reactors.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the number of reactors that share the limit.
    pub(super) fn reactors(&self) -> usize {
        self.reactors.load(Ordering::Relaxed).max(1)
    }

    /// Replaces what a reactor has reported, `before_bytes`, by `now_bytes`.
    pub(super) fn report(&self, before_bytes: usize, now_bytes: usize) {
        self.used_bytes.fetch_add(now_bytes.wrapping_sub(before_bytes), Ordering::Relaxed);
    }
}

/// The most of the limit that is reserved for memory which is used within a turn and not counted; it is an eighth
/// otherwise.
const MAX_TURN_BYTES: usize = 512 << 10;
