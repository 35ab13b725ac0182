//! What the connections of a reactor keep, counted where it grows, and what gives way where that is too much.
//!
//! A connection that keeps something has [`Flags::KEEPS`] and an entry in a table; an ordinary message, which comes whole and
//! is sent whole, has neither. After each call that may change what a connection keeps, [`Core::account`] counts it anew.

use super::ending;
use super::link::{Cause, Deadline, Driver};
use super::outgoing;
use super::reactor::Core;
use super::slots::{Connection, ConnectionId, Flags};
use super::sweep::TICK_MS;
use super::sys;
use crate::proto::frame::Role;
use crate::proto::heap::block_bytes;
use crate::proto::ring::Ring;
use crate::proto::session::State;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many bytes all connections of a plan keep together, and how many they may.
#[derive(Debug)]
pub struct Buffers {
    used_bytes: AtomicUsize,
    /// The limit that was asked for, and what of it connections may use: the rest is for what cannot be counted.
    limit_bytes: usize,
    max_bytes: usize,
    /// Reactors that share it.
    reactors: AtomicUsize,
}

impl Buffers {
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
    fn tight_bytes(&self) -> usize {
        self.max_bytes / 5 * 4
    }

    /// From here on nothing is read that would make it more; and to here it goes back where it has become too much.
    fn full_bytes(&self) -> usize {
        self.max_bytes - self.max_bytes / 16
    }
}

/// Of the limit, for what is used within a turn and not counted: an eighth, and no more than this.
const MAX_TURN_BYTES: usize = 512 << 10;

/// How far what a reactor has told may be from what it has.
const UNTOLD_BYTES: usize = 4 << 10;

/// What an entry of the table takes, and its share of the table's growth.
const ENTRY_BYTES: usize = 64;

/// For what is shorter, the buffers that a reactor has anyway will do.
const RESERVED_FROM_BYTES: usize = 32 << 10;

/// Below this age nothing unfinished is old.
const MIN_AGE_TICKS: u32 = 8;

/// Why a connection keeps something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    /// It waits for the socket, or for its turn.
    Waits,
    /// Its peer has begun something, and not finished it.
    Unfinished,
    /// The window of a compressor is kept from message to message.
    Window,
}

/// What one connection keeps.
#[derive(Debug)]
struct Kept {
    bytes: usize,
    /// When what is unfinished was begun, or the window was last used.
    since_tick: u32,
    reason: Reason,
    is_paused: bool,
}

impl Kept {
    fn age_ticks(&self, now_tick: u32) -> u32 {
        if self.reason == Reason::Waits { 0 } else { now_tick.wrapping_sub(self.since_tick) }
    }
}

/// What the connections of one reactor keep.
#[derive(Debug)]
pub(super) struct MemoryUse {
    buffers: Arc<Buffers>,
    kept: HashMap<ConnectionId, Kept>,
    own_bytes: usize,
    told_bytes: usize,
    paused: Vec<ConnectionId>,
    /// The most that was used since those that are paused were last tried.
    tried_bytes: usize,
    second: u32,
}

/// Classes in which connections are ordered: eight for each power of two of their bytes, or one for each tick of their age.
const CLASSES: usize = 512;

impl MemoryUse {
    pub(super) fn new(buffers: Arc<Buffers>) -> Self {
        buffers.reactors.fetch_add(1, Ordering::Relaxed);
        Self {
            buffers,
            kept: HashMap::new(),
            own_bytes: 0,
            told_bytes: 0,
            paused: Vec::new(),
            tried_bytes: 0,
            second: 0,
        }
    }

    /// Bytes that all connections keep, those of this reactor exactly.
    fn used_bytes(&self) -> usize {
        self.buffers.used_bytes().wrapping_sub(self.told_bytes).wrapping_add(self.own_bytes)
    }

    /// How much one message may still inflate to: all reactors may take as much at the same time.
    fn room_bytes(&self) -> usize {
        let room_bytes = self.buffers.max_bytes.saturating_sub(self.used_bytes());
        room_bytes / self.buffers.reactors.load(Ordering::Relaxed).max(1)
    }

    /// Whether new connections are to be refused.
    pub(super) fn is_tight(&self) -> bool {
        self.used_bytes() >= self.buffers.tight_bytes()
    }

    fn count(&mut self, id: ConnectionId, bytes: usize, reason: Reason, begins: bool, now_tick: u32) {
        let fresh = Kept { bytes: 0, since_tick: now_tick, reason, is_paused: false };
        let kept = self.kept.entry(id).or_insert(fresh);
        self.own_bytes = self.own_bytes - kept.bytes + bytes;
        kept.bytes = bytes;
        if begins || kept.reason != reason || reason != Reason::Unfinished {
            kept.since_tick = now_tick;
        }
        kept.reason = reason;
        self.tell();
    }

    fn forget(&mut self, id: ConnectionId) {
        if let Some(kept) = self.kept.remove(&id) {
            self.own_bytes -= kept.bytes;
            self.tell();
        }
        if self.kept.is_empty() {
            self.kept.shrink_to(64);
        }
    }

    fn tell(&mut self) {
        if self.own_bytes.abs_diff(self.told_bytes) >= UNTOLD_BYTES || self.own_bytes == 0 {
            self.buffers.used_bytes.fetch_add(self.own_bytes.wrapping_sub(self.told_bytes), Ordering::Relaxed);
            self.told_bytes = self.own_bytes;
        }
    }

    /// Connections of the highest classes that keep `bytes` together, or all that have a class.
    fn pick(&self, bytes: usize, class_of: impl Fn(&Kept) -> Option<usize>) -> Vec<ConnectionId> {
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
fn size_class(bytes: usize) -> usize {
    let bytes = bytes.max(8);
    let log = bytes.ilog2();
    log as usize * 8 + (bytes >> (log - 3) & 7)
}

/// What a connection keeps, and why.
fn kept_by<S>(connection: &Connection<S>, ring: Option<&Ring>) -> (usize, Reason) {
    if connection.session.role() == Role::Client {
        return (0, Reason::Waits); // what a client keeps it has asked for
    }
    let queued_bytes = connection.outbox.as_ref().map_or(0, |outbox| outbox.kept_bytes());
    let ring_bytes = ring.map_or(0, |ring| block_bytes(ring.capacity()) + size_of::<Ring>());
    let bytes = queued_bytes + ring_bytes + connection.session.kept_bytes();
    // Who has to wait for the socket, or for an answer, is not read, and cannot finish anything.
    let waits = connection.outbox.is_some() || ring.is_some() || connection.flags.has(Flags::WAITS);
    let reason = match connection.session.unfinished_bytes() {
        _ if waits => Reason::Waits,
        Some(_) => Reason::Unfinished,
        None => Reason::Window,
    };
    (if bytes > 0 { bytes + ENTRY_BYTES } else { 0 }, reason)
}

impl<S> Core<S> {
    /// Counts anew what a connection keeps; `begins` if what it has begun now is another thing than before.
    #[cold]
    #[inline(never)]
    pub(super) fn account(&mut self, id: ConnectionId, begins: bool) {
        self.calm.disturb();
        let Some(connection) = self.slots.get(id) else { return };
        let ring = if connection.flags.has(Flags::HOLDS_RING) { self.held.get(&id) } else { None };
        let (bytes, reason) = kept_by(connection, ring);
        if bytes > 0 {
            connection.flags.set(Flags::KEEPS);
            self.memory.count(id, bytes, reason, begins, self.now.tick);
        } else if connection.flags.has(Flags::KEEPS) {
            connection.flags.clear(Flags::KEEPS);
            self.memory.forget(id);
        }
        self.look_at_memory();
    }

    /// The connection is gone, or what it kept is.
    pub(super) fn forget(&mut self, id: ConnectionId) {
        self.memory.forget(id);
    }

    /// Sets memory aside for the answer to what a connection has begun, which takes as much again once it is complete; gives how
    /// much that is, for [`Core::give_back`]. `None` if the connection is not to be read now: there is no room for that, or
    /// none for more of what it has begun. It is read on when there is.
    #[cold]
    pub(super) fn reserve(&mut self, id: ConnectionId) -> Option<usize> {
        let connection = self.slots.get(id)?;
        // What has been read already is parsed in any case.
        let holds_ring = connection.flags.has(Flags::HOLDS_RING);
        let bytes = connection.session.unfinished_bytes().filter(|&bytes| bytes >= RESERVED_FROM_BYTES).unwrap_or(0);
        let memory = &mut self.memory;
        let has_room = !self.queueing.is_full && memory.used_bytes().saturating_add(bytes) <= memory.buffers.max_bytes;
        if !has_room
            && !holds_ring
            && let Some(kept) = memory.kept.get_mut(&id)
            && kept.reason == Reason::Unfinished
        {
            if !std::mem::replace(&mut kept.is_paused, true) {
                memory.paused.push(id);
                self.counters.memory_paused.add(1);
            }
            return None;
        }
        memory.own_bytes += bytes;
        memory.tell();
        Some(bytes)
    }

    /// What [`Core::reserve`] gave is not needed any more.
    pub(super) fn give_back(&mut self, reserved_bytes: usize) {
        if reserved_bytes > 0 {
            self.memory.own_bytes -= reserved_bytes;
            self.memory.tell();
        }
    }

    /// Finds out how much memory is left, and has what is too much go at once.
    fn look_at_memory(&mut self) {
        let (used, buffers) = (self.memory.used_bytes(), &self.memory.buffers);
        self.queueing.is_full = used >= buffers.full_bytes();
        if used > buffers.max_bytes {
            self.shed(used - buffers.full_bytes());
        }
        self.out.deflate.room_bytes = self.memory.room_bytes();
    }

    /// Ends those of this reactor's connections that keep most, until they have kept `excess_bytes`.
    fn shed(&mut self, excess_bytes: usize) {
        for id in self.memory.pick(excess_bytes, |kept| Some(size_class(kept.bytes))) {
            self.release(id);
        }
        // What was freed is of many sizes, and what grows next may not fit there.
        sys::trim_heap();
        self.queueing.is_full = self.memory.used_bytes() >= self.memory.buffers.full_bytes();
    }

    /// Frees what a connection keeps, and resets it.
    fn release(&mut self, id: ConnectionId) {
        self.memory.forget(id);
        let Some(connection) = self.slots.get(id) else { return };
        outgoing::discard(connection, &self.counters);
        connection.session.abandon();
        connection.flags.clear(Flags::KEEPS);
        if connection.flags.has(Flags::HOLDS_RING) {
            connection.flags.clear(Flags::HOLDS_RING);
            self.held.remove(&id);
        }
        if !connection.flags.has(Flags::DOOMED) {
            self.counters.shed.add(1);
            self.reset(id, Cause::Local(sys::errno::ENOBUFS));
        }
    }

    /// Those who have been at something for longest, if memory is short: as many as it takes. Where it is not, but some are
    /// paused for want of room, the oldest of these: else they might all wait for each other.
    fn oldest(&self) -> Vec<ConnectionId> {
        let excess_bytes = self.memory.used_bytes().saturating_sub(self.memory.buffers.tight_bytes());
        let (now_tick, is_tight) = (self.now.tick, excess_bytes > 0);
        let class_of = |kept: &Kept| {
            let age = kept.age_ticks(now_tick);
            (age >= MIN_AGE_TICKS && (is_tight || kept.is_paused)).then_some(age as usize)
        };
        self.memory.pick(excess_bytes.max(1), class_of)
    }

    /// Those whose messages come more slowly than they have to.
    fn slow_messages(&mut self) -> Vec<ConnectionId> {
        let (now_tick, deadlines) = (self.now.tick, self.settings.deadlines);
        let Self { memory, slots, .. } = self;
        let is_late = |(&id, kept): (&ConnectionId, &Kept)| {
            let age_ms = u64::from(kept.age_ticks(now_tick)) * TICK_MS;
            if kept.reason != Reason::Unfinished || age_ms < u64::from(deadlines.message_s) * 1000 {
                return None;
            }
            let session = &slots.get(id)?.session;
            let bytes = session.unfinished_bytes().filter(|_| session.state() == State::Open)?;
            let more_ms = bytes as u64 * 1000 / u64::from(deadlines.min_message_bytes_per_s.max(1));
            let is_late = age_ms >= u64::from(deadlines.message_s) * 1000 + more_ms && session.role() == Role::Server;
            is_late.then_some(id)
        };
        memory.kept.iter().filter_map(is_late).collect()
    }

    /// What was counted is what there is.
    #[cfg(debug_assertions)]
    fn check_memory(&mut self) {
        let mut sum = 0;
        for index in 0..self.slots.end_index() {
            let Some((id, connection)) = self.slots.at(index) else { continue };
            let (bytes, _) = kept_by(connection, self.held.get(&id));
            let counted = self.memory.kept.get(&id).map_or(0, |kept| kept.bytes);
            assert_eq!(
                (bytes, bytes > 0),
                (counted, connection.flags.has(Flags::KEEPS)),
                "{id:?}: {:?}",
                connection.flags
            );
            sum += bytes;
        }
        assert_eq!(sum, self.memory.own_bytes);
    }
}

/// Does what is due for memory before connections have their turns: `ticks` have passed.
pub(super) fn tend<D: Driver>(core: &mut Core<D::State>, driver: &mut D, ticks: u32) {
    core.look_at_memory();
    if ticks > 0 && !core.memory.kept.is_empty() {
        tend_on_tick(core, driver);
    }
    let (used, step) = (core.memory.used_bytes(), core.memory.buffers.max_bytes / 64);
    core.memory.tried_bytes = core.memory.tried_bytes.max(used);
    let is_less = used.saturating_add(step) <= core.memory.tried_bytes;
    if core.memory.paused.is_empty() || core.queueing.is_full || !(is_less || ticks > 0) {
        return;
    }
    core.memory.tried_bytes = used;
    for id in std::mem::take(&mut core.memory.paused) {
        if let Some(kept) = core.memory.kept.get_mut(&id) {
            kept.is_paused = false;
        }
        core.make_ready(id);
    }
}

fn tend_on_tick<D: Driver>(core: &mut Core<D::State>, driver: &mut D) {
    if core.memory.is_tight() {
        core.pool.clear();
    }
    if core.memory.is_tight() || !core.memory.paused.is_empty() {
        let oldest = core.oldest();
        for &id in &oldest {
            ending::end_unfinished(core, id);
        }
        if !oldest.is_empty() {
            sys::trim_heap();
        }
    }
    if core.memory.second != core.now.second {
        core.memory.second = core.now.second;
        for id in core.slow_messages() {
            ending::missed(core, driver, id, Deadline::Message);
        }
        #[cfg(debug_assertions)]
        core.check_memory();
    }
}

#[cfg(test)]
#[path = "../tests/unit/memory.rs"]
mod tests;
