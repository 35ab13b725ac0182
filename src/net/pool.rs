//! Lends rings to connections that have something to read, and takes them back: the same warm one again and again.

use crate::proto::ring::Ring;

/// Bytes of a ring, and so the most that a connection reads in one turn.
pub const RING_BYTES: usize = 64 << 10;

/// Rings kept for the next turn; more than one are out only while connections wait with unparsed bytes.
const KEPT: usize = 4;

/// The rings of one reactor.
#[derive(Debug)]
pub struct Pool {
    free: Vec<Ring>,
}

impl Default for Pool {
    /// Has one ring ready: that is all an ordinary turn needs.
    fn default() -> Self {
        Self { free: vec![Ring::new(RING_BYTES)] }
    }
}

impl Pool {
    /// Lends an empty ring, the one that came back last.
    #[inline]
    pub fn lend(&mut self) -> Ring {
        self.free.pop().unwrap_or_else(|| Ring::new(RING_BYTES))
    }

    /// Takes a ring back, and forgets what is in it.
    #[inline]
    pub fn give_back(&mut self, mut ring: Ring) {
        if self.free.len() < KEPT && ring.capacity() == RING_BYTES {
            ring.clear();
            self.free.push(ring);
        }
    }
}
