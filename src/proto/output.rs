//! The output of sessions, and what all sessions of a thread share to make it.

use super::deflate::{Deflate, Window};
use super::frame::{self, Opcode, RSV1, Role};
use super::http_write::DefaultHeaders;
use super::mask::{Mask, RandomSource};

/// The output of a session, and what all sessions of a thread share to make it.
#[derive(Debug)]
pub struct Output {
    /// The bytes to be sent.
    pub bytes: Vec<u8>,
    /// The number of bytes at the front of `bytes` that are not frames: HTTP responses, bytes without a protocol.
    pub head_bytes: usize,
    /// The number of messages in `bytes`; control frames do not count.
    pub messages: u32,
    /// The length of `bytes` from which on a sender has to check the limits of the queue; the shell sets it.
    pub check_from_bytes: usize,
    /// The time, in seconds by any clock, for the limit on control frames; the shell sets it.
    pub now_s: u32,
    /// Fresh random bytes, for a client's keys and masks.
    pub random: RandomSource,
    /// The shared compressors and decompressors.
    pub deflate: Deflate,
    /// The header fields of every HTTP response.
    pub default_headers: DefaultHeaders,
}

impl Output {
    /// Creates an empty output with a source of random bytes.
    pub fn new(random: RandomSource) -> Self {
        Self {
            bytes: Vec::new(),
            head_bytes: 0,
            messages: 0,
            check_from_bytes: usize::MAX,
            now_s: 0,
            random,
            deflate: Deflate::default(),
            default_headers: DefaultHeaders::default(),
        }
    }

    /// Marks all of `bytes` as not being frames.
    pub fn seal_head(&mut self) {
        self.head_bytes = self.bytes.len();
    }

    /// Clears the output, for the next connection.
    #[inline(always)]
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.head_bytes = 0;
        self.messages = 0;
    }

    /// Returns a fresh mask for a client's frame (RFC 6455 section 5.3); a server has none.
    #[inline(always)]
    fn mask(&mut self, role: Role) -> Option<Mask> {
        (role == Role::Client).then(|| self.random.take())
    }

    #[inline(always)]
    pub(super) fn frame(&mut self, role: Role, opcode: Opcode, payload: &[u8]) {
        let mask = self.mask(role);
        frame::encode(&mut self.bytes, true, opcode, payload, mask);
    }

    /// Appends a message: compressed, if that is worth it.
    pub(super) fn deflated(&mut self, role: Role, opcode: Opcode, payload: &[u8], window: Window<'_>) {
        let mask = self.mask(role);
        match self.deflate.compress(payload, window) {
            Some(compressed) => frame::encode_first(&mut self.bytes, 0x80 | RSV1 | opcode as u8, compressed, mask),
            None => frame::encode(&mut self.bytes, true, opcode, payload, mask),
        }
    }
}
