//! Frames, RFC 6455 section 5: parsing and writing headers, and every rule for a header in [`check`].

use super::close::Fault;
use super::mask::{self, Mask};

/// The role of an endpoint, which decides which frames are masked (RFC 6455 section 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A server sends unmasked frames, and expects masked ones.
    Server,
    /// A client sends masked frames, and expects unmasked ones.
    Client,
}

/// An opcode that RFC 6455 section 5.2 defines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// The next fragment of a message.
    Continuation = 0,
    /// A text message, or its first fragment.
    Text = 1,
    /// A binary message, or its first fragment.
    Binary = 2,
    /// The close handshake.
    Close = 8,
    /// Asks for a Pong.
    Ping = 9,
    /// The reply to a Ping.
    Pong = 10,
}

impl Opcode {
    /// Returns whether this is Close, Ping or Pong.
    #[inline]
    pub fn is_control(self) -> bool {
        self as u8 & 8 != 0
    }
}

/// The bit that marks a message compressed with permessage-deflate (RFC 7692 section 6).
pub const RSV1: u8 = 0x40;

/// The longest header: two bytes, a 64-bit length, a mask.
pub const MAX_HEADER_BYTES: usize = 14;

/// A complete header, not yet checked.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    /// FIN, RSV1-3 and the opcode.
    pub first: u8,
    /// The masking key, if the frame is masked.
    pub mask: Option<Mask>,
    /// The length of the payload in bytes.
    pub payload_bytes: u64,
    /// The length of this header in bytes.
    pub header_bytes: usize,
}

impl Header {
    /// Returns whether this is the last frame of its message.
    #[inline]
    pub fn fin(&self) -> bool {
        self.first & 0x80 != 0
    }
}

/// Parses a header at the front of `input`; returns `None` while it is incomplete.
///
/// ```
/// use steadfast::proto::frame;
/// let header = frame::parse(b"\x81\x05Hello").unwrap();
/// assert_eq!((header.fin(), header.payload_bytes, header.header_bytes), (true, 5, 2));
/// assert!(frame::parse(b"\x81\xfe\x01").is_none());
/// ```
#[inline]
pub fn parse(input: &[u8]) -> Option<Header> {
    let [first, second, rest @ ..] = input else { return None };
    let (payload_bytes, length_bytes) = match second & 0x7f {
        126 => (u64::from(u16::from_be_bytes(*rest.first_chunk()?)), 2),
        127 => (u64::from_be_bytes(*rest.first_chunk()?), 8),
        short => (u64::from(short), 0),
    };
    let (mask, mask_bytes) = match second & 0x80 {
        0 => (None, 0),
        _ => (Some(*rest[length_bytes..].first_chunk()?), 4),
    };
    Some(Header { first: *first, mask, payload_bytes, header_bytes: 2 + length_bytes + mask_bytes })
}

/// A frame with a whole message, of which all bytes are in one input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WholeFrame {
    /// [`Opcode::Text`] or [`Opcode::Binary`].
    pub opcode: Opcode,
    /// The masking key, if the frame is masked.
    pub mask: Option<Mask>,
    /// The length of what is before the payload.
    pub header_bytes: usize,
    /// The length of the payload, with which the frame ends.
    pub payload_bytes: usize,
}

/// Reads a whole message of at most 125 bytes, masked as its sender must, from the front of `input`: as nearly all frames are.
///
/// For such a frame, the result is that of [`parse`] and [`check`], in a few instructions. Returns `None` for every other
/// frame, which is left to those two.
#[inline(always)]
pub fn parse_short(input: &[u8], role: Role) -> Option<WholeFrame> {
    let [first @ (0x81 | 0x82), second, rest @ ..] = input else { return None };
    let opcode = if *first == 0x81 { Opcode::Text } else { Opcode::Binary };
    match role {
        Role::Server if matches!(second, 0x80..=0xfd) => {
            let (mask, payload) = rest.split_first_chunk::<4>()?;
            let payload_bytes = usize::from(second & 0x7f);
            let frame = WholeFrame { opcode, mask: Some(*mask), header_bytes: 6, payload_bytes };
            (payload_bytes <= payload.len()).then_some(frame)
        }
        Role::Client if matches!(second, 0..=0x7d) => {
            let payload_bytes = usize::from(*second);
            let frame = WholeFrame { opcode, mask: None, header_bytes: 2, payload_bytes };
            (payload_bytes <= rest.len()).then_some(frame)
        }
        _ => None,
    }
}

/// What a header is checked against.
#[derive(Clone, Copy, Debug)]
pub struct Expect {
    /// The role of the receiver.
    pub role: Role,
    /// Whether a fragmented message is open.
    pub in_message: bool,
    /// The bytes of the open message that have arrived.
    pub message_bytes: u64,
    /// Whether the open message is compressed.
    pub compressed: bool,
    /// The most bytes that a message may have.
    pub max_message_bytes: u64,
    /// The reserved bits that a negotiated extension has defined, as in the first byte.
    pub extension_bits: u8,
}

/// Checks a header by every rule of RFC 6455 sections 5.1 to 5.5 that it can break.
///
/// # Errors
/// The first rule that it broke.
#[inline]
pub fn check(header: &Header, expect: Expect) -> Result<Opcode, Fault> {
    // 5.2: "MUST be 0 unless an extension is negotiated that defines meanings for non-zero values."
    if header.first & 0x70 & !expect.extension_bits != 0 {
        return Err(Fault::ReservedBits);
    }
    let opcode = match header.first & 0x0f {
        0 => Opcode::Continuation,
        1 => Opcode::Text,
        2 => Opcode::Binary,
        8 => Opcode::Close,
        9 => Opcode::Ping,
        10 => Opcode::Pong,
        // 5.2: "If an unknown opcode is received, the receiving endpoint MUST _Fail the WebSocket Connection_."
        _ => return Err(Fault::ReservedOpcode),
    };
    match (expect.role, header.mask) {
        // 5.1: "The server MUST close the connection upon receiving a frame that is not masked."
        (Role::Server, None) => return Err(Fault::Unmasked),
        // 5.1: "A client MUST close a connection if it detects a masked frame."
        (Role::Client, Some(_)) => return Err(Fault::Masked),
        _ => {}
    }
    let length_bytes = header.header_bytes - 2 - if header.mask.is_some() { 4 } else { 0 };
    match (length_bytes, header.payload_bytes) {
        // 5.2: "the minimal number of bytes MUST be used to encode the length"
        (2, 0..=125) | (8, 0..=0xffff) => return Err(Fault::LengthNotMinimal),
        // 5.2: "the most significant bit MUST be 0"
        (8, 0x8000_0000_0000_0000..) => return Err(Fault::LengthOverflow),
        _ => {}
    }
    if opcode.is_control() {
        // 5.5: "All control frames MUST have a payload length of 125 bytes or less and MUST NOT be fragmented."
        if header.payload_bytes > 125 {
            return Err(Fault::ControlTooLong);
        }
        if !header.fin() {
            return Err(Fault::ControlFragmented);
        }
        return if header.first & 0x70 == 0 { Ok(opcode) } else { Err(Fault::ReservedBits) };
    }
    // RFC 7692 section 6.1: RSV1 on "any frame other than the first" fragment of a message is an error.
    if opcode == Opcode::Continuation && header.first & RSV1 != 0 {
        return Err(Fault::ReservedBits);
    }
    match (opcode, expect.in_message) {
        // 5.4: a message's first frame has "an opcode other than 0", all that follow "an opcode of 0".
        (Opcode::Continuation, false) => return Err(Fault::UnexpectedContinuation),
        (Opcode::Text | Opcode::Binary, true) => return Err(Fault::ExpectedContinuation),
        _ => {}
    }
    // 7.4.1, 1009: "a message that is too big for it to process". The header shows it, so nothing of the message is
    // read.
    let max_bytes = match expect.compressed || header.first & RSV1 != 0 {
        // The limit is for the inflated message, and is checked again there. Data that does not compress becomes a
        // little longer.
        true => expect.max_message_bytes.saturating_add(expect.max_message_bytes / 8 + 64),
        false => expect.max_message_bytes - expect.message_bytes,
    };
    if header.payload_bytes > max_bytes {
        return Err(Fault::MessageTooBig);
    }
    Ok(opcode)
}

/// Appends one frame to `out`, masked if there is a `mask`, as a client's frames must be.
///
/// ```
/// use steadfast::proto::frame::{self, Opcode};
/// let mut out = Vec::new();
/// frame::encode(&mut out, true, Opcode::Text, b"Hello", None);
/// assert_eq!(out, b"\x81\x05Hello"); // the example of RFC 6455 section 5.7
/// ```
#[inline(always)]
pub fn encode(out: &mut Vec<u8>, fin: bool, opcode: Opcode, payload: &[u8], mask: Option<Mask>) {
    encode_first(out, u8::from(fin) << 7 | opcode as u8, payload, mask);
}

/// Appends one frame with the given first byte of the header.
#[inline(always)]
pub(super) fn encode_first(out: &mut Vec<u8>, first: u8, payload: &[u8], mask: Option<Mask>) {
    let masked = if mask.is_some() { 0x80 } else { 0 };
    let (header, header_bytes) = encode_header(first, masked, payload.len());
    out.reserve(MAX_HEADER_BYTES + payload.len());
    // All ten bytes are copied, and then cut: a copy of constant length is two moves, and not a call.
    let header_end = out.len() + header_bytes;
    out.extend_from_slice(&header);
    out.truncate(header_end);
    let Some(mask) = mask else { return out.extend_from_slice(payload) };
    out.extend_from_slice(&mask);
    let start = out.len();
    out.extend_from_slice(payload);
    mask::apply(&mut out[start..], mask);
}

/// Encodes a header without its mask, from its `first` byte and the bit that says whether a mask follows; returns the
/// bytes and their number.
#[inline]
pub fn encode_header(first: u8, masked: u8, payload_bytes: usize) -> ([u8; 10], usize) {
    let mut header = [0; 10];
    header[0] = first;
    let header_bytes = match payload_bytes {
        short @ 0..=125 => {
            header[1] = masked | short as u8;
            2
        }
        medium @ 126..=0xffff => {
            header[1] = masked | 126;
            header[2..4].copy_from_slice(&(medium as u16).to_be_bytes());
            4
        }
        long => {
            header[1] = masked | 127;
            header[2..].copy_from_slice(&(long as u64).to_be_bytes());
            10
        }
    };
    (header, header_bytes)
}
