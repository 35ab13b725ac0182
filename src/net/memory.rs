//! What the connections of a reactor keep, counted where it grows, and what gives way where that is too much.
//!
//! A connection that keeps something has [`Flags::KEEPS`] and an entry in a table; an ordinary message, which comes whole and
//! is sent whole, has neither. After each call that may change what a connection keeps, [`Core::account`] counts it anew.

use super::connection::{Connection, Flags};
use super::memory_limit::MemoryLimit;
use super::slots::ConnectionId;
use crate::proto::frame::Role;
use crate::proto::heap::block_bytes;
use crate::proto::ring::Ring;
use std::collections::HashMap;
use std::sync::Arc;

/// How far what a reactor has told may be from what it has.
const UNTOLD_BYTES: usize = 4 << 10;

/// What an entry of the table takes, and its share of the table's growth.
const ENTRY_BYTES: usize = 64;

/// Why a connection keeps something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeptFor {
    /// It waits for the socket, or for its turn.
    Waits,
    /// Its peer has begun something, and not finished it.
    Unfinished,
    /// The window of a compressor is kept from message to message.
    Window,
}

/// What one connection keeps.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) bytes: usize,
    /// When what is unfinished was begun, or the window was last used.
    pub(super) since_tick: u32,
    pub(super) reason: KeptFor,
    pub(super) is_paused: bool,
}

impl Kept {
    pub(super) fn age_ticks(&self, now_tick: u32) -> u32 {
        if self.reason == KeptFor::Waits { 0 } else { now_tick.wrapping_sub(self.since_tick) }
    }
}

/// What the connections of one reactor keep.
#[derive(Debug)]
pub(super) struct MemoryUse {
    pub(super) limit: Arc<MemoryLimit>,
    pub(super) kept: HashMap<ConnectionId, Kept>,
    pub(super) own_bytes: usize,
    pub(super) told_bytes: usize,
    pub(super) paused: Vec<ConnectionId>,
    /// The most that was used since those that are paused were last tried.
    pub(super) tried_bytes: usize,
    pub(super) second: u32,
}

/// Classes in which connections are ordered: eight for each power of two of their bytes, or one for each tick of their age.
const CLASSES: usize = 512;

impl MemoryUse {
    pub(super) fn new(limit: Arc<MemoryLimit>) -> Self {
        limit.join();
        Self { limit, kept: HashMap::new(), own_bytes: 0, told_bytes: 0, paused: Vec::new(), tried_bytes: 0, second: 0 }
    }

    /// Bytes that all connections keep, those of this reactor exactly.
    pub(super) fn used_bytes(&self) -> usize {
        self.limit.used_bytes().wrapping_sub(self.told_bytes).wrapping_add(self.own_bytes)
    }

    /// How much one message may still inflate to: all reactors may take as much at the same time.
    pub(super) fn room_bytes(&self) -> usize {
        let room_bytes = self.limit.max_bytes().saturating_sub(self.used_bytes());
        room_bytes / self.limit.reactors()
    }

    /// Whether new connections are to be refused.
    pub(super) fn is_tight(&self) -> bool {
        self.used_bytes() >= self.limit.tight_bytes()
    }

    /// A connection keeps so many bytes now, and for what; `begins` if what it has begun is another thing than before.
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
        self.tell();
    }

    pub(super) fn forget(&mut self, id: ConnectionId) {
        if let Some(kept) = self.kept.remove(&id) {
            self.own_bytes -= kept.bytes;
            self.tell();
        }
        if self.kept.is_empty() {
            self.kept.shrink_to(64);
        }
    }

    pub(super) fn tell(&mut self) {
        if self.own_bytes.abs_diff(self.told_bytes) >= UNTOLD_BYTES || self.own_bytes == 0 {
            self.limit.tell(self.told_bytes, self.own_bytes);
            self.told_bytes = self.own_bytes;
        }
    }

    /// Connections of the highest classes that keep `bytes` together, or all that have a class.
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
        // Of the lowest of these classes, only as many as it takes.
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

/// A class for each eighth of a power of two.
pub(super) fn size_class(bytes: usize) -> usize {
    let bytes = bytes.max(8);
    let log = bytes.ilog2();
    log as usize * 8 + (bytes >> (log - 3) & 7)
}

/// What a connection keeps, and why.
pub(super) fn kept_by<S>(connection: &Connection<S>, ring: Option<&Ring>) -> (usize, KeptFor) {
    if connection.session().role() == Role::Client {
        return (0, KeptFor::Waits); // what a client keeps it has asked for
    }
    let queued_bytes = connection.queue().map_or(0, |queue| queue.kept_bytes());
    let ring_bytes = ring.map_or(0, |ring| block_bytes(ring.capacity()) + size_of::<Ring>());
    let bytes = queued_bytes + ring_bytes + connection.session().kept_bytes();
    // Who has to wait for the socket, or for an answer, is not read, and cannot finish anything.
    let waits = connection.has_queue() || ring.is_some() || connection.has(Flags::WAITS);
    let reason = match connection.session().unfinished_bytes() {
        _ if waits => KeptFor::Waits,
        Some(_) => KeptFor::Unfinished,
        None => KeptFor::Window,
    };
    (if bytes > 0 { bytes + ENTRY_BYTES } else { 0 }, reason)
}

#[cfg(test)]
#[path = "../tests/unit/memory.rs"]
mod tests;
