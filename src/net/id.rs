//! The id of a connection, which epoll returns with each event.

/// The id of one connection of one reactor. A later connection in the same slot has another generation, of 2^31.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId {
    generation: u32,
    index: u32,
}

impl ConnectionId {
    #[inline]
    pub(crate) fn new(generation: u32, index: usize) -> Self {
        Self { generation, index: index as u32 }
    }

    #[inline]
    pub(super) fn generation(self) -> u32 {
        self.generation
    }

    /// Returns the id as an epoll token; the highest bit is left for the reactor's own tokens.
    #[inline]
    pub(super) fn token(self) -> mio::Token {
        mio::Token((self.generation as usize) << 32 | self.index as usize)
    }

    #[inline]
    pub(super) fn of_token(token: mio::Token) -> Self {
        Self { generation: (token.0 >> 32) as u32, index: token.0 as u32 }
    }

    /// Returns the index in the slab.
    #[inline]
    pub fn index(self) -> usize {
        self.index as usize
    }
}
