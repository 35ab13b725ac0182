//! What connections keep is counted here after each call that may change it, and the largest go where it is too much.

use super::conn::Cause;
use super::connection::Flags;
use super::core::Core;
use super::memory::{Kept, KeptFor, kept_by, size_class};
use super::send;
use super::slots::ConnectionId;
use super::sweep::TICK_MS;
use super::sys;
use crate::proto::frame::Role;
use crate::proto::session::State;

/// For what is shorter, the buffers that a reactor has anyway will do.
const RESERVED_FROM_BYTES: usize = 32 << 10;

/// Below this age nothing unfinished is old.
const MIN_AGE_TICKS: u32 = 8;

impl<S> Core<S> {
    /// Counts anew what a connection keeps; `begins` if what it has begun now is another thing than before.
    #[cold]
    #[inline(never)]
    pub(super) fn account(&mut self, id: ConnectionId, begins: bool) {
        self.calm.disturb();
        let Some(connection) = self.slots.get(id) else { return };
        let ring = if connection.has(Flags::PARTIAL_INPUT) { self.partial_input.get(&id) } else { None };
        let (bytes, reason) = kept_by(connection, ring);
        if bytes > 0 {
            connection.set(Flags::KEEPS);
            self.memory.count(id, (bytes, reason), begins, self.context.now.tick);
        } else if connection.has(Flags::KEEPS) {
            connection.clear(Flags::KEEPS);
            self.memory.forget(id);
        }
        self.look_at_memory();
    }

    /// The connection is gone, or what it kept is.
    pub(super) fn forget(&mut self, id: ConnectionId) {
        self.memory.forget(id);
    }

    /// Sets memory aside for the answer to what a connection has begun, which takes as much again once it is complete; returns how
    /// much that is, for [`Core::give_back`]. `None` if the connection is not to be read now: there is no room for that, or
    /// none for more of what it has begun. It is read on when there is.
    #[cold]
    pub(super) fn reserve(&mut self, id: ConnectionId) -> Option<usize> {
        let connection = self.slots.get(id)?;
        // What has been read already is parsed in any case.
        let holds_ring = connection.has(Flags::PARTIAL_INPUT);
        let bytes = connection.session().unfinished_bytes().filter(|&bytes| bytes >= RESERVED_FROM_BYTES).unwrap_or(0);
        let memory = &mut self.memory;
        let has_room =
            !self.context.queueing.is_full && memory.used_bytes().saturating_add(bytes) <= memory.limit.max_bytes();
        if !has_room
            && !holds_ring
            && let Some(kept) = memory.kept.get_mut(&id)
            && kept.reason == KeptFor::Unfinished
        {
            if !std::mem::replace(&mut kept.is_paused, true) {
                memory.paused.push(id);
                self.context.counters.memory_paused.add(1);
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
    pub(super) fn look_at_memory(&mut self) {
        let (used, buffers) = (self.memory.used_bytes(), &self.memory.limit);
        self.context.queueing.is_full = used >= buffers.full_bytes();
        if used > buffers.max_bytes() {
            self.shed(used - buffers.full_bytes());
        }
        self.context.output.deflate.room_bytes = self.memory.room_bytes();
    }

    /// Ends those of this reactor's connections that keep most, until they have kept `excess_bytes`.
    fn shed(&mut self, excess_bytes: usize) {
        for id in self.memory.pick(excess_bytes, |kept| Some(size_class(kept.bytes))) {
            self.release(id);
        }
        // What was freed is of many sizes, and what grows next may not fit there.
        sys::trim_heap();
        self.context.queueing.is_full = self.memory.used_bytes() >= self.memory.limit.full_bytes();
    }

    /// Frees what a connection keeps, and resets it.
    fn release(&mut self, id: ConnectionId) {
        self.memory.forget(id);
        let Some(connection) = self.slots.get(id) else { return };
        send::discard(connection, &self.context.counters);
        connection.session_mut().abandon();
        connection.clear(Flags::KEEPS);
        if connection.has(Flags::PARTIAL_INPUT) {
            connection.clear(Flags::PARTIAL_INPUT);
            self.partial_input.remove(&id);
        }
        if !connection.is_freed() {
            self.context.counters.shed.add(1);
            self.reset(id, Cause::Local(sys::errno::ENOBUFS));
        }
    }

    /// Those who have been at something for longest, if memory is short: as many as it takes. Where it is not, but some are
    /// paused for want of room, the oldest of these: else they might all wait for each other.
    pub(super) fn oldest(&self) -> Vec<ConnectionId> {
        let excess_bytes = self.memory.used_bytes().saturating_sub(self.memory.limit.tight_bytes());
        let (now_tick, is_tight) = (self.context.now.tick, excess_bytes > 0);
        let class_of = |kept: &Kept| {
            let age = kept.age_ticks(now_tick);
            (age >= MIN_AGE_TICKS && (is_tight || kept.is_paused)).then_some(age as usize)
        };
        self.memory.pick(excess_bytes.max(1), class_of)
    }

    /// Those whose messages come more slowly than they have to.
    pub(super) fn slow_messages(&mut self) -> Vec<ConnectionId> {
        let (now_tick, deadlines) = (self.context.now.tick, self.context.settings.deadlines);
        let Self { memory, slots, .. } = self;
        let is_late = |(&id, kept): (&ConnectionId, &Kept)| {
            let age_ms = u64::from(kept.age_ticks(now_tick)) * TICK_MS;
            if kept.reason != KeptFor::Unfinished || age_ms < u64::from(deadlines.message_s) * 1000 {
                return None;
            }
            let session = &slots.get(id)?.session();
            let bytes = session.unfinished_bytes().filter(|_| session.state() == State::Open)?;
            let more_ms = bytes as u64 * 1000 / u64::from(deadlines.min_message_bytes_per_s.max(1));
            let is_late = age_ms >= u64::from(deadlines.message_s) * 1000 + more_ms && session.role() == Role::Server;
            is_late.then_some(id)
        };
        memory.kept.iter().filter_map(is_late).collect()
    }

    /// What was counted is what there is.
    #[cfg(debug_assertions)]
    pub(super) fn check_memory(&mut self) {
        let mut sum = 0;
        for index in 0..self.slots.end_index() {
            let Some((id, connection)) = self.slots.at(index) else { continue };
            let (bytes, _) = kept_by(connection, self.partial_input.get(&id));
            let counted = self.memory.kept.get(&id).map_or(0, |kept| kept.bytes);
            assert_eq!((bytes, bytes > 0), (counted, connection.has(Flags::KEEPS)), "{id:?}: {:?}", connection.flags());
            sum += bytes;
        }
        assert_eq!(sum, self.memory.own_bytes);
    }
}
