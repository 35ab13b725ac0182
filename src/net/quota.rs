//! What all reactors of a plan may hold together: connections, and bytes.

use super::slots::ConnectionId;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many connections all reactors of a plan may hold together; exactly so many fit.
#[derive(Debug)]
pub struct Quota {
    used: AtomicUsize,
    max: usize,
}

impl Quota {
    /// Room for `max` connections.
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { used: AtomicUsize::new(0), max })
    }

    /// Takes up to `wanted` places; gives how many it got.
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

/// How many bytes all connections of a plan keep together, and how many they may. It is the sum of what each reactor finds
/// when it has visited all of its connections, about once a second: so it costs no message anything.
#[derive(Debug)]
pub struct Buffers {
    used_bytes: AtomicUsize,
    max_bytes: usize,
}

impl Buffers {
    /// Room for `max_bytes`.
    pub fn new(max_bytes: u64) -> Arc<Self> {
        Arc::new(Self { used_bytes: AtomicUsize::new(0), max_bytes: usize::try_from(max_bytes).unwrap_or(usize::MAX) })
    }

    /// One reactor has so many now, where it had `before`.
    pub(super) fn update(&self, before: usize, now: usize) {
        self.used_bytes.fetch_add(now.wrapping_sub(before), Ordering::Relaxed);
    }

    /// Bytes beyond the limit, as the share of one who has `own` of all.
    pub(super) fn excess_bytes(&self, own: usize) -> usize {
        let used = self.used_bytes.load(Ordering::Relaxed);
        let share = used.saturating_sub(self.max_bytes) as u128 * own as u128 / used.max(1) as u128;
        share as usize
    }

    /// Whether all is used.
    pub(super) fn is_full(&self) -> bool {
        self.used_bytes.load(Ordering::Relaxed) >= self.max_bytes
    }

    /// Whether no more connections should come: four fifths are used.
    pub(super) fn is_tight(&self) -> bool {
        self.used_bytes.load(Ordering::Relaxed) >= self.max_bytes / 5 * 4
    }
}

/// What a round of visits has found so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) bytes: usize,
    /// Those who keep most, the least of them first.
    pub(super) largest: Vec<(usize, ConnectionId)>,
    /// What the last round found.
    pub(super) last_bytes: usize,
}

/// How many connections a reactor ends in a round at the most, where all buffers together are beyond their limit.
const SHED: usize = 64;

impl Tally {
    pub(super) fn add(&mut self, id: ConnectionId, bytes: usize) {
        self.bytes += bytes;
        if self.largest.len() < SHED || self.largest.first().is_some_and(|&(least, _)| bytes > least) {
            let at = self.largest.partition_point(|&(other, _)| other < bytes);
            self.largest.insert(at, (bytes, id));
            if self.largest.len() > SHED {
                self.largest.remove(0);
            }
        }
    }
}
