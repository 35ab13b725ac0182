//! Whether there is room in memory for what a plan needs, before it starts: an allocation that fails later ends the process.

use super::sys;
use std::fmt;

/// What each reactor has beside its records and rings: its stack, its guard page, epoll's events, lists and tables.
const REACTOR_BYTES: usize = 512 << 10;

/// Rings that a reactor has at most while its connections keep up, see [`super::pool::Pool`].
const RINGS: usize = 4;

/// What the process needs beside its reactors.
const BASE_BYTES: usize = 16 << 20;

/// Address space that glibc's malloc(3) reserves for each arena, of which a process has eight for each core at most.
const ARENA_BYTES: usize = 64 << 20;
const ARENAS_PER_CORE: usize = 8;

/// With so much of it all arenas have room, and a million connections too.
const PLENTY_BYTES: usize = 4 << 30;

/// What a number of reactors needs.
#[derive(Clone, Copy, Debug)]
pub struct Need {
    /// Reactors, each with a thread.
    pub reactors: usize,
    /// Cores of this host.
    pub cores: usize,
    /// The most connections of one reactor, and of all.
    pub per_reactor: usize,
    /// The most of all reactors together.
    pub connections: usize,
    /// Bytes of the record of a connection.
    pub record_bytes: usize,
    /// Bytes of a ring.
    pub ring_bytes: usize,
}

/// There is no room for so many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom(pub usize);

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} MiB of memory are needed at the start, and this process may not have them; raise RLIMIT_AS (ulimit -v) and \
             RLIMIT_DATA (ulimit -d), or ask for fewer connections or reactors",
            self.0.div_ceil(1 << 20)
        )
    }
}

impl Need {
    /// Bytes of address space, without what malloc(3) reserves on top.
    fn bytes(&self) -> usize {
        // A slab that grows may have room for twice as many as it holds.
        let slabs =
            self.connections.min(self.per_reactor.saturating_mul(self.reactors)).saturating_mul(2 * self.record_bytes);
        let reactor = REACTOR_BYTES + RINGS * self.ring_bytes;
        BASE_BYTES.saturating_add(self.reactors.saturating_mul(reactor)).saturating_add(slabs)
    }

    /// Finds out whether this process may have that much. Where it may, but not as much as malloc(3) would reserve for the
    /// threads, all threads have to do with one arena.
    ///
    /// # Errors
    /// [`NoRoom`], with the number that is needed.
    pub fn check(&self) -> Result<(), NoRoom> {
        let bytes = self.bytes();
        let arenas = self.reactors.min(ARENAS_PER_CORE.saturating_mul(self.cores)).saturating_mul(2 * ARENA_BYTES);
        if sys::has_room(bytes.saturating_add(arenas)) {
            return Ok(());
        }
        if !sys::has_room(bytes) {
            return Err(NoRoom(bytes));
        }
        sys::use_one_arena();
        Ok(())
    }
}

/// Has malloc(3) reserve no address space for more threads, where there is not plenty of it: before the second one starts.
pub fn save_address_space() {
    if !sys::has_room(PLENTY_BYTES) {
        sys::use_one_arena();
    }
}

#[cfg(test)]
mod tests {
    use super::{BASE_BYTES, Need, NoRoom};

    const MILLION: Need = Need {
        reactors: 53,
        cores: 2,
        per_reactor: 19_000,
        connections: 1_000_000,
        record_bytes: 48,
        ring_bytes: 65_536,
    };

    #[test]
    fn a_million_needs_what_it_needs_and_more_than_there_is_does_not_fit() {
        assert!((100 << 20..200 << 20).contains(&MILLION.bytes()), "{}", MILLION.bytes());
        assert_eq!(MILLION.check(), Ok(()));
        let huge = Need { per_reactor: usize::MAX, connections: usize::MAX, ..MILLION };
        let no_room = huge.check().expect_err("all of the address space");
        assert_eq!(no_room, NoRoom(huge.bytes()));
        assert!(no_room.to_string().contains("RLIMIT_AS") && huge.bytes() > BASE_BYTES);
    }
}
