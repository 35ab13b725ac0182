//! The receive ring: a block of bytes that is lent to a connection while it has something to read.

/// Bytes from a socket that a session has not parsed yet.
///
/// A session takes all bytes that it is given and stores an incomplete frame itself, so only the budget of a turn can
/// leave bytes here. The ring therefore never wraps: it is empty when it is lent to another connection, and begins at
/// zero again.
#[derive(Debug)]
pub struct Ring {
    bytes: Box<[u8]>,
    parsed: usize,
    written: usize,
}

impl Ring {
    /// Creates a ring for `capacity_bytes`; memory is touched only where bytes arrive.
    pub fn new(capacity_bytes: usize) -> Self {
        Self { bytes: vec![0; capacity_bytes].into_boxed_slice(), parsed: 0, written: 0 }
    }

    /// Returns the room after the bytes that are already here.
    #[inline]
    pub fn spare(&mut self) -> &mut [u8] {
        &mut self.bytes[self.written..]
    }

    /// Notes that the first `bytes` of [`Ring::spare`] have been written.
    #[inline]
    pub fn wrote(&mut self, bytes: usize) {
        self.written += bytes;
        self.check();
    }

    /// Returns the bytes that were written and not yet parsed.
    #[inline]
    pub fn unparsed(&mut self) -> &mut [u8] {
        &mut self.bytes[self.parsed..self.written]
    }

    /// Notes that the session has taken the first `bytes` of [`Ring::unparsed`].
    #[inline]
    pub fn parsed(&mut self, bytes: usize) {
        self.parsed += bytes;
        self.check();
        if self.parsed == self.written {
            self.parsed = 0;
            self.written = 0;
        }
    }

    /// Returns whether everything that was written has been parsed.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.parsed == self.written
    }

    /// Returns how many bytes the ring can hold.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.bytes.len()
    }

    /// Returns a ring just large enough for the unparsed bytes, for a connection that has to wait.
    pub fn unparsed_only(&self) -> Self {
        let bytes: Box<[u8]> = self.bytes[self.parsed..self.written].into();
        Self { parsed: 0, written: bytes.len(), bytes }
    }

    /// Empties the ring.
    pub fn clear(&mut self) {
        self.parsed = 0;
        self.written = 0;
    }

    #[inline]
    fn check(&self) {
        assert!(self.parsed <= self.written && self.written <= self.bytes.len());
    }
}
