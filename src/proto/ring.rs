//! The receive ring: one block of bytes that a connection is lent while it has something to read.

/// Bytes from a socket on their way into a session.
///
/// A session takes all that it is given: it stores half a frame itself, and only the budget of a turn can leave
/// bytes here. So the ring never wraps: it is empty whenever it changes hands, and starts at zero again.
#[derive(Debug)]
pub struct Ring {
    bytes: Box<[u8]>,
    parsed: usize,
    written: usize,
}

impl Ring {
    /// A ring for `capacity_bytes`; memory is touched only where bytes arrive.
    pub fn new(capacity_bytes: usize) -> Self {
        Self { bytes: vec![0; capacity_bytes].into_boxed_slice(), parsed: 0, written: 0 }
    }

    /// Room for what a socket has, behind what is already here.
    #[inline]
    pub fn spare(&mut self) -> &mut [u8] {
        &mut self.bytes[self.written..]
    }

    /// The first `bytes` of [`Ring::spare`] have been written.
    #[inline]
    pub fn wrote(&mut self, bytes: usize) {
        self.written += bytes;
        self.check();
    }

    /// What was written and not yet parsed.
    #[inline]
    pub fn unparsed(&mut self) -> &mut [u8] {
        &mut self.bytes[self.parsed..self.written]
    }

    /// The first `bytes` of [`Ring::unparsed`] have been taken by the session.
    #[inline]
    pub fn parsed(&mut self, bytes: usize) {
        self.parsed += bytes;
        self.check();
        if self.parsed == self.written {
            self.parsed = 0;
            self.written = 0;
        }
    }

    /// Whether everything that was written has been parsed.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.parsed == self.written
    }

    /// Bytes that it holds at most.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.bytes.len()
    }

    /// A ring just large enough for what is unparsed here: for a connection that has to wait.
    pub fn unparsed_only(&self) -> Self {
        let bytes: Box<[u8]> = self.bytes[self.parsed..self.written].into();
        Self { parsed: 0, written: bytes.len(), bytes }
    }

    /// Forgets whatever is here.
    pub fn clear(&mut self) {
        self.parsed = 0;
        self.written = 0;
    }

    #[inline]
    fn check(&self) {
        assert!(self.parsed <= self.written && self.written <= self.bytes.len());
    }
}
