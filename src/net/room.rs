//! Checks that there is memory for a plan before it starts: an allocation that fails later ends the process.

use super::sys;
use std::fmt;

/// The memory of a reactor beside its records and rings: its stack, its guard page, epoll's events, lists and tables.
const REACTOR_BYTES: usize = 512 << 10;

/// The most rings of a reactor while its connections keep up, see [`super::pool::Pool`].
const RINGS: usize = 4;

/// The memory of the process beside its reactors.
const BASE_BYTES: usize = 16 << 20;

/// Address space that malloc(3) of glibc reserves for each arena; a process has at most eight arenas for each core.
const ARENA_BYTES: usize = 64 << 20;
const ARENAS_PER_CORE: usize = 8;

/// With this much address space there is room for all arenas and for a million connections.
const PLENTY_BYTES: usize = 4 << 30;

/// The needs of a plan.
#[derive(Clone, Copy, Debug)]
pub struct Need {
    /// The number of reactors, each with a thread.
    pub reactors: usize,
    /// The number of cores.
    pub cores: usize,
    /// The most connections of one reactor.
    pub per_reactor: usize,
    /// The most connections of all reactors together.
    pub connections: usize,
    /// The size of the record of a connection.
    pub record_bytes: usize,
    /// The size of a ring.
    pub ring_bytes: usize,
}

/// There is not enough memory: the number of bytes that are needed.
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
    /// Returns how many bytes of address space are needed, without what malloc(3) reserves in addition.
    fn bytes(&self) -> usize {
        // A slab that grows may have room for twice as many records as it holds.
        let slabs =
            self.connections.min(self.per_reactor.saturating_mul(self.reactors)).saturating_mul(2 * self.record_bytes);
        let reactor = REACTOR_BYTES + RINGS * self.ring_bytes;
        BASE_BYTES.saturating_add(self.reactors.saturating_mul(reactor)).saturating_add(slabs)
    }

    /// Checks that this process may have that much. Where it may, but not as much as malloc(3) would reserve for the
    /// threads, all threads use one arena.
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

/// Has all threads use one arena if address space is limited, so that malloc(3) reserves none for more arenas. To be
/// called before the second thread starts.
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
    fn million_connections_fit_and_more_than_the_address_space_does_not() {
        assert!((100 << 20..200 << 20).contains(&MILLION.bytes()), "{}", MILLION.bytes());
        assert_eq!(MILLION.check(), Ok(()));
        let huge = Need { per_reactor: usize::MAX, connections: usize::MAX, ..MILLION };
        let no_room = huge.check().expect_err("all of the address space");
        assert_eq!(no_room, NoRoom(huge.bytes()));
        assert!(no_room.to_string().contains("RLIMIT_AS") && huge.bytes() > BASE_BYTES);
    }
}
