//! Shared frames: a server's message is encoded once for all receivers, and compressed once for all that negotiated the
//! same compression.

use super::deflate::{Deflate, Window};
use super::event::MessageKind;
use super::extension::NegotiatedCompression;
use super::frame::{self, Opcode, RSV1};
use std::sync::OnceLock;

/// Windows have 8 to 15 bits; 8 is compressed as 9 is.
const LEAST_WINDOW_BITS: u8 = 9;

/// A message as a server's frame, which all receivers share, even those of other threads.
///
/// It is compressed when it is first sent to a receiver that negotiated compression, once for each size of window.
///
/// ```
/// use steadfast::proto::session::MessageKind;
/// use steadfast::proto::shared_frame::SharedFrame;
/// let message = SharedFrame::new(MessageKind::Text, b"Hello");
/// assert_eq!(message.frame(), b"\x81\x05Hello");
/// assert_eq!(message.payload(), b"Hello");
/// ```
#[derive(Debug)]
pub struct SharedFrame {
    kind: MessageKind,
    frame: Box<[u8]>,
    header_bytes: usize,
    /// The compressed frames, by the bits of the window; `None` where compression makes it no shorter.
    deflated: [OnceLock<Option<Box<[u8]>>>; 7],
}

impl SharedFrame {
    /// Encodes a message; text must be UTF-8.
    pub fn new(kind: MessageKind, payload: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(frame::MAX_HEADER_BYTES + payload.len());
        frame::encode(&mut bytes, true, kind.into(), payload, None);
        let header_bytes = bytes.len() - payload.len();
        Self { kind, frame: bytes.into(), header_bytes, deflated: [const { OnceLock::new() }; 7] }
    }

    /// Returns whether the message is text or binary.
    pub fn kind(&self) -> MessageKind {
        self.kind
    }

    /// Returns the uncompressed frame.
    #[inline]
    pub fn frame(&self) -> &[u8] {
        &self.frame
    }

    /// Returns the payload.
    pub fn payload(&self) -> &[u8] {
        &self.frame[self.header_bytes..]
    }

    /// Returns the frame for a receiver with this compression. `None` where its connection keeps a window of its own
    /// from message to message: then no two receivers can share a compressed frame (RFC 7692 section 7.2.1).
    #[inline]
    pub fn frame_for(&self, agreed: NegotiatedCompression, deflate: &mut Deflate) -> Option<&[u8]> {
        if !agreed.is_on() || !deflate.is_worth(self.payload()) {
            return Some(&self.frame);
        }
        if agreed.own_takeover() {
            return None;
        }
        let bits = agreed.own_window_bits().max(LEAST_WINDOW_BITS);
        let made = self.deflated[usize::from(bits - LEAST_WINDOW_BITS)].get_or_init(|| self.compress(bits, deflate));
        Some(made.as_deref().unwrap_or(&self.frame))
    }

    #[cold]
    fn compress(&self, window_bits: u8, deflate: &mut Deflate) -> Option<Box<[u8]>> {
        let compressed = deflate.compress(self.payload(), Window { bits: window_bits, own: None })?;
        let mut bytes = Vec::with_capacity(frame::MAX_HEADER_BYTES + compressed.len());
        frame::encode_first(&mut bytes, 0x80 | RSV1 | Opcode::from(self.kind) as u8, compressed, None);
        Some(bytes.into())
    }
}
