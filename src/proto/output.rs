//! The output of sessions, and what all sessions of a thread share to make it.

use super::deflate::{Deflate, Window};
use super::frame::{self, Opcode, RSV1, Role};
use super::http_write::DefaultHeaders;
use super::mask::{Mask, RandomSource};

/// Where a session's bytes go, and what it takes to make them. One serves all sessions of a thread.
#[derive(Debug)]
pub struct Output {
    /// What is to be sent.
    pub bytes: Vec<u8>,
    /// How many of the first of `bytes` are no frames: answers of HTTP, bytes without a protocol.
    pub head_bytes: usize,
    /// How many messages stand in `bytes`; control frames are none.
    pub messages: u32,
    /// The length of `bytes` from which on a sender has to check the limits of the queue; the shell sets it.
    pub check_from_bytes: usize,
    /// The time, in seconds by any clock, for the limit on control frames; the shell sets it.
    pub now_s: u32,
    /// Fresh random bytes, for a client's keys and masks.
    pub random: RandomSource,
    /// Compressors and decompressors.
    pub deflate: Deflate,
    /// What stands in every HTTP answer.
    pub default_headers: DefaultHeaders,
}

impl Output {
    /// An empty output over a source of random bytes.
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

    /// All that stands in `bytes` by now is no frame.
    pub fn seal_head(&mut self) {
        self.head_bytes = self.bytes.len();
    }

    /// Forgets what was to be sent; for the next connection.
    #[inline(always)]
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.head_bytes = 0;
        self.messages = 0;
    }

    /// A client masks each frame anew (RFC 6455 section 5.3), a server none.
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
