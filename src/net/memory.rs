//! The memory that the connections of a reactor keep: how it is counted, and what is freed when it is too much.
//!
//! A connection that keeps memory has [`Flags::KEEPS`] and an entry in a table. An ordinary message, which is received
//! and sent whole, causes neither. After each call that may change what a connection keeps, `Core::account` counts it
//! again.

use super::connection::{Connection, Flags};
use super::memory_limit::MemoryLimit;
use super::slots::ConnectionId;
use crate::proto::frame::Role;
use crate::proto::heap::block_bytes;
use crate::proto::ring::Ring;
use std::collections::HashMap;
use std::sync::Arc;

/// The most bytes by which the shared counter may differ from what a reactor keeps.
const UNREPORTED_BYTES: usize = 4 << 10;

/// The size of an entry of the table, with its share of the table's growth.
const ENTRY_BYTES: usize = 64;

/// Why a connection keeps memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeptFor {
    /// Output waits for the socket, or input waits for its turn.
    Waits,
    /// The peer has begun a message or a request, and not finished it.
    Unfinished,
    /// The window of a compressor is kept from message to message.
    Window,
}

/// The memory that one connection keeps.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) bytes: usize,
    /// When the unfinished message or request was begun, or the window was last used.
    pub(super) since_tick: u32,
    pub(super) reason: KeptFor,
    pub(super) is_paused: bool,
}

impl Kept {
    pub(super) fn age_ticks(&self, now_tick: u32) -> u32 {
        if self.reason == KeptFor::Waits { 0 } else { now_tick.wrapping_sub(self.since_tick) }
    }
}

/// The memory that the connections of one reactor keep.
#[derive(Debug)]
pub(super) struct MemoryUse {
    pub(super) limit: Arc<MemoryLimit>,
    pub(super) kept: HashMap<ConnectionId, Kept>,
    pub(super) own_bytes: usize,
    pub(super) reported_bytes: usize,
    pub(super) paused: Vec<ConnectionId>,
    /// The most that was used since the paused connections were last tried.
    pub(super) peak_bytes: usize,
    pub(super) second: u32,
}

/// The classes by which connections are ordered: eight for each power of two of their bytes, or one for each tick of
/// their age.
const CLASSES: usize = 512;

impl MemoryUse {
    pub(super) fn new(limit: Arc<MemoryLimit>) -> Self {
        limit.join();
        Self {
            limit,
            kept: HashMap::new(),
            own_bytes: 0,
            reported_bytes: 0,
            paused: Vec::new(),
            peak_bytes: 0,
            second: 0,
        }
    }

    /// Returns how many bytes all connections keep; for this reactor the number is exact.
    pub(super) fn used_bytes(&self) -> usize {
        self.limit.used_bytes().wrapping_sub(self.reported_bytes).wrapping_add(self.own_bytes)
    }

    /// Returns how many bytes one message may still inflate to: all reactors may take as much at the same time.
    pub(super) fn room_bytes(&self) -> usize {
        let room_bytes = self.limit.max_bytes().saturating_sub(self.used_bytes());
        room_bytes / self.limit.reactors()
    }

    /// Returns whether new connections are to be refused.
    pub(super) fn is_tight(&self) -> bool {
        self.used_bytes() >= self.limit.tight_bytes()
    }

    /// Sets how many bytes a connection keeps, and for what; `begins` says that it has begun another message or request
    /// than before.
    pub(super) fn count(&mut self, id: ConnectionId, now: (usize, KeptFor), begins: bool, now_tick: u32) {
        let (bytes, reason) = now;
        let fresh = Kept { bytes: 0, since_tick: now_tick, reason, is_paused: false };
        let kept = self.kept.entry(id).or_insert(fresh);
        self.own_bytes = self.own_bytes - kept.bytes + bytes;
        kept.bytes = bytes;
        if begins || kept.reason != reason || reason != KeptFor::Unfinished {
            kept.since_tick = now_tick;
        }
        kept.reason = reason;
        self.report();
    }

    pub(super) fn forget(&mut self, id: ConnectionId) {
        if let Some(kept) = self.kept.remove(&id) {
            self.own_bytes -= kept.bytes;
            self.report();
        }
        if self.kept.is_empty() {
            self.kept.shrink_to(64);
        }
    }

    pub(super) fn report(&mut self) {
        if self.own_bytes.abs_diff(self.reported_bytes) >= UNREPORTED_BYTES || self.own_bytes == 0 {
            self.limit.report(self.reported_bytes, self.own_bytes);
            self.reported_bytes = self.own_bytes;
        }
    }

    /// Returns connections of the highest classes that keep `bytes` together, or all that have a class.
    pub(super) fn pick(&self, bytes: usize, class_of: impl Fn(&Kept) -> Option<usize>) -> Vec<ConnectionId> {
        let mut classes = [0_usize; CLASSES];
        let class_of = |kept: &Kept| class_of(kept).map(|class| class.min(CLASSES - 1));
        for kept in self.kept.values() {
            if let Some(class) = class_of(kept) {
                classes[class] += kept.bytes;
            }
        }
        let (mut least, mut above) = (CLASSES, 0);
        while least > 0 && above < bytes {
            least -= 1;
            above += classes[least];
        }
        // From the lowest of these classes, only as many as are needed.
        let mut left = (bytes + classes.get(least).copied().unwrap_or(0)).saturating_sub(above);
        let mut is_picked = |kept: &Kept| match class_of(kept) {
            Some(class) if class == least && left > 0 => {
                left = left.saturating_sub(kept.bytes);
                true
            }
            class => class.is_some_and(|class| class > least),
        };
        self.kept.iter().filter(|(_, kept)| is_picked(kept)).map(|(&id, _)| id).collect()
    }
}

/// Returns the class of a size: there are eight for each power of two.
pub(super) fn size_class(bytes: usize) -> usize {
    let bytes = bytes.max(8);
    let log = bytes.ilog2();
    log as usize * 8 + (bytes >> (log - 3) & 7)
}

/// Returns how many bytes a connection keeps, and why.
pub(super) fn kept_by<S>(connection: &Connection<S>, ring: Option<&Ring>) -> (usize, KeptFor) {
    if connection.session().role() == Role::Client {
        return (0, KeptFor::Waits); // a client keeps what it has asked for
    }
    let queued_bytes = connection.queue().map_or(0, |queue| queue.kept_bytes());
    let ring_bytes = ring.map_or(0, |ring| block_bytes(ring.capacity()) + size_of::<Ring>());
    let bytes = queued_bytes + ring_bytes + connection.session().kept_bytes();
    // A connection that waits for its socket or for a response is not read, and cannot finish anything.
    let waits = connection.has_queue() || ring.is_some() || connection.has(Flags::WAITS);
    let reason = match connection.session().unfinished_bytes() {
        _ if waits => KeptFor::Waits,
        Some(_) => KeptFor::Unfinished,
        None => KeptFor::Window,
    };
    (if bytes > 0 { bytes + ENTRY_BYTES } else { 0 }, reason)
}

#[cfg(test)]
#[path = "../tests/net/memory.rs"]
mod tests;
