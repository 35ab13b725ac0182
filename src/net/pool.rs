//! Lends rings to connections that have something to read: the same warm one, turn after turn.

use crate::proto::ring::Ring;

/// Bytes of a ring if nothing else is asked for, and so the most that a connection reads in one turn.
pub const RING_BYTES: usize = 64 << 10;

/// Rings kept beside the one in use; more are made only while connections wait with unparsed bytes.
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
    /// One ring: that is all that ordinary turns need.
    pub fn new(ring_bytes: usize) -> Self {
        Self { current: Ring::new(ring_bytes), spare: Vec::new(), ring_bytes }
    }

    /// Takes the ring out of use with what is unparsed in it, for a connection that has the next turn but one.
    pub(super) fn detach(&mut self) -> Ring {
        let next = self.spare.pop().unwrap_or_else(|| Ring::new(self.ring_bytes));
        std::mem::replace(&mut self.current, next)
    }

    /// Puts a parked ring back in use.
    pub(super) fn attach(&mut self, parked: Ring) {
        let current = std::mem::replace(&mut self.current, parked);
        self.keep(current);
    }

    /// Puts a whole ring in use, where a smaller one served a connection that had waited.
    #[inline]
    pub(super) fn reset(&mut self) {
        if self.current.capacity() < self.ring_bytes {
            self.detach();
        }
    }

    /// Keeps no spare rings, while memory is short.
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
