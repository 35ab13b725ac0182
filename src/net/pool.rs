//! Lends rings to connections that have something to read: the same warm ring in each turn.

use crate::proto::ring::Ring;

/// The default size of a ring, and so the most bytes that a connection reads in one turn.
pub const RING_BYTES: usize = 64 << 10;

/// Spare rings that are kept. More are made only while connections have unparsed bytes.
const KEPT: usize = 3;

/// The rings of one reactor.
#[derive(Debug)]
pub struct Pool {
    /// The ring that is lent for the current turn; empty between turns.
    pub(super) current: Ring,
    spare: Vec<Ring>,
    ring_bytes: usize,
}

impl Pool {
    /// Creates a pool with one ring, which is enough while connections keep up.
    pub fn new(ring_bytes: usize) -> Self {
        Self { current: Ring::new(ring_bytes), spare: Vec::new(), ring_bytes }
    }

    /// Takes the current ring, with its unparsed bytes, for a connection that goes on in a later turn.
    pub(super) fn detach(&mut self) -> Ring {
        let next = self.spare.pop().unwrap_or_else(|| Ring::new(self.ring_bytes));
        std::mem::replace(&mut self.current, next)
    }

    /// Makes a ring with unparsed bytes the current one.
    pub(super) fn attach(&mut self, parked: Ring) {
        let current = std::mem::replace(&mut self.current, parked);
        self.keep(current);
    }

    /// Replaces a smaller ring, which had only the unparsed bytes of one connection, by one of the full size.
    #[inline]
    pub(super) fn reset(&mut self) {
        if self.current.capacity() < self.ring_bytes {
            self.detach();
        }
    }

    /// Frees the spare rings, while memory is short.
    pub(super) fn clear(&mut self) {
        self.spare.clear();
    }

    fn keep(&mut self, mut ring: Ring) {
        if self.spare.len() < KEPT && ring.capacity() == self.ring_bytes {
            ring.clear();
            self.spare.push(ring);
        }
    }
}
