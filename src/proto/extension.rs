//! Negotiation of permessage-deflate (RFC 7692 sections 5 and 7.1), for both roles.

use std::fmt;

/// The registered name of the extension (RFC 7692 section 9.1).
const NAME: &str = "permessage-deflate";

/// The compression that an endpoint accepts, and how it compresses. These are bounds: what a peer asks for within them
/// is granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compression {
    /// Whether a window may be kept from one message to the next. That compresses short messages better, and costs each
    /// connection a compressor and a decompressor of its own; without it, all connections of a thread share them.
    pub context_takeover: bool,
    /// The most bits of a window that a connection keeps or compresses with, 8 to 15; see RFC 7692 section 7.1.2.
    pub max_window_bits: u8,
    /// The compression level, 1 to 9.
    pub level: u8,
    /// Messages shorter than this are sent uncompressed.
    pub min_message_bytes: usize,
}

impl Default for Compression {
    fn default() -> Self {
        Self { context_takeover: false, max_window_bits: 12, level: 1, min_message_bytes: 512 }
    }
}

/// The compression that two endpoints have negotiated, in 16 bits, since every connection has one. The default is no
/// compression.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct NegotiatedCompression(u16);

/// Bits of [`NegotiatedCompression`].
const ON: u16 = 1;
const OWN_NO_TAKEOVER: u16 = 1 << 1;
const PEER_NO_TAKEOVER: u16 = 1 << 2;
const OWN_BITS: u32 = 3;
const PEER_BITS: u32 = 7;
/// The response states the window sizes.
const SAYS_OWN_BITS: u16 = 1 << 11;
const SAYS_PEER_BITS: u16 = 1 << 12;
/// The last message was compressed.
const CAME_COMPRESSED: u16 = 1 << 13;

impl NegotiatedCompression {
    fn new(own_no_takeover: bool, peer_no_takeover: bool, own_bits: u8, peer_bits: u8) -> Self {
        let flag = |set: bool, flag: u16| if set { flag } else { 0 };
        Self(
            ON | flag(own_no_takeover, OWN_NO_TAKEOVER)
                | flag(peer_no_takeover, PEER_NO_TAKEOVER)
                | u16::from(own_bits) << OWN_BITS
                | u16::from(peer_bits) << PEER_BITS,
        )
    }

    /// Returns whether messages may be compressed at all.
    #[inline]
    pub fn is_on(self) -> bool {
        self.0 & ON != 0
    }

    /// Returns whether this endpoint keeps its window from message to message.
    #[inline]
    pub fn own_takeover(self) -> bool {
        self.0 & OWN_NO_TAKEOVER == 0
    }

    /// Returns whether the peer may keep its window from message to message.
    #[inline]
    pub fn peer_takeover(self) -> bool {
        self.0 & PEER_NO_TAKEOVER == 0
    }

    /// Returns the window that this endpoint compresses with, in bits.
    pub fn own_window_bits(self) -> u8 {
        (self.0 >> OWN_BITS & 15) as u8
    }

    /// Returns the window that the peer compresses with, in bits.
    pub fn peer_window_bits(self) -> u8 {
        (self.0 >> PEER_BITS & 15) as u8
    }

    /// Returns whether the last message was received compressed.
    #[inline]
    pub fn came_compressed(self) -> bool {
        self.0 & CAME_COMPRESSED != 0
    }

    pub(super) fn note(&mut self, compressed: bool) {
        if compressed { self.note_compressed() } else { self.note_plain() }
    }

    #[inline]
    pub(super) fn note_compressed(&mut self) {
        self.0 |= CAME_COMPRESSED;
    }

    #[inline]
    pub(super) fn note_plain(&mut self) {
        self.0 &= !CAME_COMPRESSED;
    }
}

impl fmt::Debug for NegotiatedCompression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.is_on() {
            return f.write_str("no compression");
        }
        let takeover = |takes_over: bool| if takes_over { "with takeover" } else { "without takeover" };
        write!(
            f,
            "{NAME}: own window {} bits {}, peer's {} bits {}",
            self.own_window_bits(),
            takeover(self.own_takeover()),
            self.peer_window_bits(),
            takeover(self.peer_takeover())
        )
    }
}

impl NegotiatedCompression {
    /// Appends the server's response, as the value of Sec-WebSocket-Extensions. It is written without formatting, which
    /// would cost each handshake a thousand instructions.
    pub(super) fn encode(self, out: &mut Vec<u8>) {
        let bits = |out: &mut Vec<u8>, name: &[u8], bits: u8| {
            out.extend_from_slice(name);
            match bits {
                10.. => out.extend_from_slice(&[b'1', b'0' + bits - 10]),
                _ => out.push(b'0' + bits),
            }
        };
        out.extend_from_slice(NAME.as_bytes());
        if !self.own_takeover() {
            out.extend_from_slice(b"; server_no_context_takeover");
        }
        if !self.peer_takeover() {
            out.extend_from_slice(b"; client_no_context_takeover");
        }
        if self.0 & SAYS_OWN_BITS != 0 {
            bits(out, b"; server_max_window_bits=", self.own_window_bits());
        }
        if self.0 & SAYS_PEER_BITS != 0 {
            bits(out, b"; client_max_window_bits=", self.peer_window_bits());
        }
    }
}

/// The server's response, as the value of Sec-WebSocket-Extensions.
impl fmt::Display for NegotiatedCompression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut value = Vec::new();
        self.encode(&mut value);
        f.write_str(&String::from_utf8_lossy(&value))
    }
}

/// The parameters of one offer, or of a response (RFC 7692 section 7.1).
#[derive(Clone, Copy, Debug, Default)]
struct Parameters {
    server_no_takeover: bool,
    client_no_takeover: bool,
    server_bits: Option<u8>,
    /// `Some(None)` for the parameter without a value, which only an offer may have.
    client_bits: Option<Option<u8>>,
}

/// Chooses the first of a client's offers, the values of its Sec-WebSocket-Extensions fields, that can be granted.
///
/// Returns `None` if there is none. A malformed, unknown or repeated parameter declines the offer that it is in (RFC
/// 7692 section 7.1), and no other.
///
/// ```
/// use steadfast::proto::extension::{Compression, choose};
/// let offers = b"permessage-deflate; server_max_window_bits=99, permessage-deflate; server_max_window_bits=10";
/// let agreed = choose([&offers[..]], &Compression::default()).unwrap();
/// assert_eq!(
///     agreed.to_string(),
///     "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=10"
/// );
/// ```
pub fn choose<'a>(values: impl IntoIterator<Item = &'a [u8]>, ours: &Compression) -> Option<NegotiatedCompression> {
    let mut values = values.into_iter();
    let first = values.next()?;
    let others = || std::iter::once(first).chain(values).flat_map(|value| split(value, b',')).find_map(parameters);
    let offer = usual(first).or_else(others)?;
    let max = ours.max_window_bits;
    // A window of the peer that exceeds our bounds is not kept.
    let client_bits = offer.client_bits.map(|bits| bits.unwrap_or(15).min(max));
    let client_keeps = ours.context_takeover && !offer.client_no_takeover && (client_bits.is_some() || max == 15);
    let own_bits = offer.server_bits.unwrap_or(15).min(max);
    let peer_bits = if client_keeps { client_bits.unwrap_or(15) } else { 15 };
    let mut agreed = NegotiatedCompression::new(
        offer.server_no_takeover || !ours.context_takeover,
        !client_keeps,
        own_bits,
        peer_bits,
    );
    // 7.1.2.1: an offer with server_max_window_bits is accepted by a response that has it.
    if offer.server_bits.is_some() {
        agreed.0 |= SAYS_OWN_BITS;
    }
    // 7.1.2.2: the response may limit the client's window only if the client offered that.
    if client_keeps && client_bits.is_some() {
        agreed.0 |= SAYS_PEER_BITS;
    }
    Some(agreed)
}

/// Returns a client's offers, the best first, as the value of Sec-WebSocket-Extensions.
pub fn offer(ours: &Compression) -> String {
    match (ours.context_takeover, ours.max_window_bits) {
        (false, _) => {
            format!("{NAME}; server_no_context_takeover; client_no_context_takeover; client_max_window_bits")
        }
        (true, 15..) => format!("{NAME}; client_max_window_bits"),
        // A server that cannot limit its window may accept the second offer, without keeping it.
        (true, bits) => format!(
            "{NAME}; server_max_window_bits={bits}; client_max_window_bits, \
             {NAME}; server_no_context_takeover; client_max_window_bits"
        ),
    }
}

/// Checks a server's response to [`offer`], the values of its Sec-WebSocket-Extensions fields (RFC 7692 section 7.1).
///
/// Returns `None` for anything that was not offered; the client then fails the connection (RFC 6455 section 4.1).
pub fn confirm<'a>(values: impl IntoIterator<Item = &'a [u8]>, ours: &Compression) -> Option<NegotiatedCompression> {
    let mut accepted = values.into_iter().flat_map(|value| split(value, b',')).filter(|element| !element.is_empty());
    let answer = accepted.next().and_then(parameters)?;
    if accepted.next().is_some() || answer.client_bits == Some(None) {
        return None;
    }
    let max = ours.max_window_bits;
    let server_bits = answer.server_bits.unwrap_or(15);
    let server_keeps = !answer.server_no_takeover;
    if server_keeps && (!ours.context_takeover || server_bits > max) {
        return None;
    }
    let own_bits = answer.client_bits.flatten().unwrap_or(15).min(max);
    Some(NegotiatedCompression::new(
        answer.client_no_takeover || !ours.context_takeover,
        !server_keeps,
        own_bits,
        server_bits,
    ))
}

/// Recognises the offers of browsers literally, which saves parsing them in most handshakes.
fn usual(value: &[u8]) -> Option<Parameters> {
    match value {
        b"permessage-deflate; client_max_window_bits" => {
            Some(Parameters { client_bits: Some(None), ..Parameters::default() })
        }
        b"permessage-deflate" => Some(Parameters::default()),
        _ => None,
    }
}

/// Parses one element of the list; returns `None` unless it is permessage-deflate with known and valid parameters, each
/// at most once.
fn parameters(element: &[u8]) -> Option<Parameters> {
    let mut parts = split(element, b';');
    let name = parts.next()?;
    if !name.eq_ignore_ascii_case(NAME.as_bytes()) {
        return None;
    }
    let mut found = Parameters::default();
    let once = |flag: &mut bool, value: Option<&[u8]>| {
        (value.is_none() && !std::mem::replace(flag, true)).then_some(()) // 7.1.1: it has no value
    };
    for part in parts {
        let (name, value) = match memchr::memchr(b'=', part) {
            Some(at) => (part[..at].trim_ascii_end(), Some(part[at + 1..].trim_ascii_start())),
            None => (part, None),
        };
        match name {
            b"server_no_context_takeover" => once(&mut found.server_no_takeover, value)?,
            b"client_no_context_takeover" => once(&mut found.client_no_takeover, value)?,
            b"server_max_window_bits" if found.server_bits.is_none() => {
                found.server_bits = Some(window_bits(value?)?);
            }
            b"client_max_window_bits" if found.client_bits.is_none() => {
                let bits = match value {
                    Some(value) => Some(window_bits(value)?),
                    None => None,
                };
                found.client_bits = Some(bits);
            }
            _ => return None,
        }
    }
    Some(found)
}

/// 7.1.2: "a decimal integer value without leading zeroes between 8 to 15, inclusive"; RFC 6455 section 9.1 allows
/// quotes around it.
fn window_bits(value: &[u8]) -> Option<u8> {
    let value = value.strip_prefix(b"\"").map_or(Some(value), |quoted| quoted.strip_suffix(b"\""))?;
    match value {
        [digit @ b'8'..=b'9'] => Some(digit - b'0'),
        [b'1', digit @ b'0'..=b'5'] => Some(10 + digit - b'0'),
        _ => None,
    }
}

/// Returns the parts of a list, without the white space around them; a separator in a quoted string does not count.
fn split(list: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(list);
    std::iter::from_fn(move || {
        let list = rest?;
        let end = match memchr::memchr2(separator, b'"', list) {
            Some(at) if list[at] == b'"' => end_of_part(list, separator),
            end => end,
        };
        rest = end.map(|at| &list[at + 1..]);
        Some(list[..end.unwrap_or(list.len())].trim_ascii())
    })
}

/// Returns where the first separator outside of quoted strings is (RFC 9110 section 5.6.4).
fn end_of_part(list: &[u8], separator: u8) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    list.iter().position(|&byte| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ => return byte == separator && !quoted,
        }
        false
    })
}
