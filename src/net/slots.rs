//! The slab of connections: a record for each, found by an id that no later connection has.

use super::connection::Connection;
use crate::proto::session::Session;
use slab::Slab;
use std::os::fd::OwnedFd;

pub use super::id::ConnectionId;

/// All connections of one reactor.
#[derive(Debug)]
pub struct Slots<S> {
    slab: Slab<Connection<S>>,
    next_generation: u32,
}

impl<S> Slots<S> {
    /// Creates room for `capacity` connections. Memory is touched only where connections are, and a slab that outgrows
    /// its room is moved by the kernel, page table by page table (mremap(2)), and not copied.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { slab: Slab::with_capacity(capacity.min(1 << 15)), next_generation: 0 }
    }

    /// Returns the number of connections.
    #[inline]
    pub fn len(&self) -> usize {
        self.slab.len()
    }

    /// Returns whether there is no connection.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }

    /// Returns the end of the indexes that may be in use.
    pub fn end_index(&self) -> usize {
        self.slab.capacity()
    }

    pub(super) fn insert(&mut self, socket: OwnedFd, session: Session, now_tick: u32, state: S) -> ConnectionId {
        let generation = self.next_generation;
        self.next_generation = (generation + 1) & 0x7fff_ffff;
        let index = self.slab.insert(Connection::new(socket, session, generation, now_tick, state));
        ConnectionId::new(generation, index)
    }

    #[inline]
    pub(super) fn get(&mut self, id: ConnectionId) -> Option<&mut Connection<S>> {
        self.slab.get_mut(id.index()).filter(|connection| connection.generation() == id.generation())
    }

    /// Returns the connection at an index of the slab, if there is one.
    #[inline]
    pub(super) fn at(&mut self, index: usize) -> Option<(ConnectionId, &mut Connection<S>)> {
        let connection = self.slab.get_mut(index)?;
        Some((ConnectionId::new(connection.generation(), index), connection))
    }

    pub(super) fn remove(&mut self, id: ConnectionId) -> Option<Connection<S>> {
        self.get(id)?;
        self.slab.try_remove(id.index())
    }

    /// Returns the size of one record, including what the slab adds.
    pub const fn record_bytes() -> usize {
        size_of::<Entry<S>>()
    }
}

/// Has the same size as the slab's own entry, which is private.
#[expect(dead_code, reason = "only its size is asked for")]
enum Entry<S> {
    Vacant(usize),
    Occupied(Connection<S>),
}

#[cfg(test)]
#[path = "../tests/net/slots.rs"]
mod tests;
