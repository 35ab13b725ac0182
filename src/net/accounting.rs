//! Counts the memory that connections keep, after each call that may change it, and frees it where it is too much.

use super::conn::Cause;
use super::connection::Flags;
use super::core::Core;
use super::deadlines::ms_at_rate;
use super::memory::{Kept, KeptFor, kept_by, size_class};
use super::send;
use super::slots::ConnectionId;
use super::sweep::TICK_MS;
use super::sys;
use crate::proto::frame::Role;
use crate::proto::session::State;

/// An unfinished message or request from this length on has memory set aside for its response; the buffers that a
/// reactor has anyway are enough for a shorter one.
const RESERVED_FROM_BYTES: usize = 32 << 10;

/// A message or request younger than this is not ended, however short memory is.
const MIN_AGE_TICKS: u32 = 8;

impl<S> Core<S> {
    /// Counts what a connection keeps. `begins` says that it has begun another message or request since it was last
    /// counted.
    #[cold]
    #[inline(never)]
    pub(super) fn account(&mut self, id: ConnectionId, begins: bool) {
        self.next_due.reset();
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
        self.check_memory_limit();
    }

    /// Stops counting a connection that keeps nothing any more, or is gone.
    pub(super) fn forget(&mut self, id: ConnectionId) {
        self.memory.forget(id);
    }

    /// Sets memory aside before a connection is read: its response takes as much again as what it has sent. Returns the
    /// number of bytes, for [`Core::give_back`], or `None` if the connection must not be read now because memory does
    /// not suffice; it is read again when it does.
    #[cold]
    pub(super) fn reserve(&mut self, id: ConnectionId) -> Option<usize> {
        let connection = self.slots.get(id)?;
        // Bytes that have been read already are parsed in any case.
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
        memory.report();
        Some(bytes)
    }

    /// Returns the memory that [`Core::reserve`] has set aside.
    pub(super) fn give_back(&mut self, reserved_bytes: usize) {
        if reserved_bytes > 0 {
            self.memory.own_bytes -= reserved_bytes;
            self.memory.report();
        }
    }

    /// Compares what is kept with the limit, and frees what is too much.
    pub(super) fn check_memory_limit(&mut self) {
        let (used, buffers) = (self.memory.used_bytes(), &self.memory.limit);
        self.context.queueing.is_full = used >= buffers.full_bytes();
        if used > buffers.max_bytes() {
            self.shed(used - buffers.full_bytes());
        }
        self.context.output.deflate.room_bytes = self.memory.room_bytes();
    }

    /// Resets the connections of this reactor that keep most, until `excess_bytes` have been freed.
    fn shed(&mut self, excess_bytes: usize) {
        for id in self.memory.pick(excess_bytes, |kept| Some(size_class(kept.bytes))) {
            self.release(id);
        }
        // The freed blocks have many sizes, so the next one may not fit into the gaps that they leave.
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

    /// Returns the connections whose messages or requests were begun first: enough of them to free what is too much.
    /// Where memory is not short, but connections are paused because it was, returns the oldest of those: otherwise all
    /// of them could wait for each other.
    pub(super) fn oldest(&self) -> Vec<ConnectionId> {
        let excess_bytes = self.memory.used_bytes().saturating_sub(self.memory.limit.tight_bytes());
        let (now_tick, is_tight) = (self.context.now.tick, excess_bytes > 0);
        let class_of = |kept: &Kept| {
            let age = kept.age_ticks(now_tick);
            (age >= MIN_AGE_TICKS && (is_tight || kept.is_paused)).then_some(age as usize)
        };
        self.memory.pick(excess_bytes.max(1), class_of)
    }

    /// Returns the connections that send a message more slowly than the deadlines allow.
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
            let more_ms = ms_at_rate(bytes as u64, deadlines.min_message_bytes_per_s);
            let is_late = age_ms >= u64::from(deadlines.message_s) * 1000 + more_ms && session.role() == Role::Server;
            is_late.then_some(id)
        };
        memory.kept.iter().filter_map(is_late).collect()
    }

    /// Checks that what has been counted is what connections keep.
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
