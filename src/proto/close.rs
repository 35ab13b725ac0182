//! Close codes (RFC 6455 section 7.4), the body of a Close frame, and which fault closes with which code.

use super::utf8;
use std::fmt;

/// A code that a Close frame may carry (RFC 6455 section 7.4). How a connection ended is a [`CloseStatus`], which has the
/// codes that are never sent too.
///
/// Has the codes of the registry that RFC 6455 section 11.7 founded as constants. [`CloseCode::of`] returns a code of an
/// application, which the compiler checks, and `TryFrom` one that is known only when the program runs.
///
/// ```
/// use steadfast::proto::close::CloseCode;
///
/// const NOT_YOUR_TURN: CloseCode = CloseCode::of::<4001>();
/// assert_eq!(u16::from(NOT_YOUR_TURN), 4001);
/// assert_eq!(CloseCode::try_from(1008), Ok(CloseCode::POLICY));
/// assert_eq!(CloseCode::SERVICE_RESTART.to_string(), "1012 (service restart)");
/// let error = CloseCode::try_from(1006).expect_err("never sent");
/// assert_eq!(
///     error.to_string(),
///     "close code 1006 may not be sent; expected 1000 to 1003, 1007 to 1014, or 3000 to 4999 (RFC 6455 section 7.4)"
/// );
/// ```
///
/// A code that may not be sent does not compile:
///
/// ```compile_fail
/// let code = steadfast::proto::close::CloseCode::of::<1006>();
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1000: the purpose of the connection has been fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// 1001: the endpoint goes away; a server stops, or a browser leaves the page.
    pub const GOING_AWAY: Self = Self(1001);
    /// 1002: the peer broke the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// 1003: a kind of data that the endpoint does not take, such as binary.
    pub const UNSUPPORTED_DATA: Self = Self(1003);
    /// 1007: text that is not UTF-8, or other data that does not fit its type.
    pub const INVALID_DATA: Self = Self(1007);
    /// 1008: the peer broke a rule of this endpoint.
    pub const POLICY: Self = Self(1008);
    /// 1009: a message larger than this endpoint takes.
    pub const TOO_BIG: Self = Self(1009);
    /// 1010: a client that needs an extension which the server did not negotiate.
    pub const MANDATORY_EXTENSION: Self = Self(1010);
    /// 1011: the server met a condition that it did not expect.
    pub const INTERNAL_ERROR: Self = Self(1011);
    /// 1012: the server restarts; a client may reconnect after a random delay.
    pub const SERVICE_RESTART: Self = Self(1012);
    /// 1013: the server is overloaded for a while.
    pub const TRY_AGAIN_LATER: Self = Self(1013);
    /// 1014: a gateway got an invalid response from the server that it forwards to; as status 502 of HTTP.
    pub const BAD_GATEWAY: Self = Self(1014);
    /// 3000: the client has not said who it is; as status 401 of HTTP.
    pub const UNAUTHORIZED: Self = Self(3000);
    /// 3003: the client may not do this; as status 403 of HTTP.
    pub const FORBIDDEN: Self = Self(3003);
    /// 3008: the endpoint took too long; as status 408 of HTTP.
    pub const TIMEOUT: Self = Self(3008);

    /// Returns the code `CODE`. A code that may not be sent is an error of the compiler.
    ///
    /// 3000 to 3999 are for libraries and applications that register them, and 4000 to 4999 for private use.
    pub const fn of<const CODE: u16>() -> Self {
        const { assert!(may_be_sent(CODE), "expected 1000 to 1003, 1007 to 1014, or 3000 to 4999") };
        Self(CODE)
    }
}

const fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

impl From<CloseCode> for u16 {
    fn from(code: CloseCode) -> Self {
        code.0
    }
}

impl TryFrom<u16> for CloseCode {
    type Error = InvalidCloseCode;

    fn try_from(code: u16) -> Result<Self, InvalidCloseCode> {
        if may_be_sent(code) { Ok(Self(code)) } else { Err(InvalidCloseCode(code)) }
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        CloseStatus::from(*self).fmt(f)
    }
}

/// A number that is no [`CloseCode`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidCloseCode(pub u16);

impl fmt::Display for InvalidCloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let valid = "1000 to 1003, 1007 to 1014, or 3000 to 4999 (RFC 6455 section 7.4)";
        write!(f, "close code {} may not be sent; expected {valid}", self.0)
    }
}

impl std::error::Error for InvalidCloseCode {}

/// How a WebSocket ended: the code of the peer's Close, or one of those that stand for what no frame says (RFC 6455 sections
/// 7.1.5 and 7.4.1).
///
/// ```
/// use steadfast::proto::close::{CloseCode, CloseStatus};
///
/// assert!(CloseStatus::from(CloseCode::NORMAL) == CloseCode::NORMAL);
/// assert_eq!(CloseStatus::ABNORMAL.code(), None);
/// assert_eq!(u16::from(CloseStatus::ABNORMAL), 1006);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CloseStatus(u16);

impl CloseStatus {
    /// 1005: a Close frame without a code.
    pub const NO_STATUS: Self = Self(1005);
    /// 1006: the connection ended without a Close frame.
    pub const ABNORMAL: Self = Self(1006);
    /// 1015: the TLS handshake failed.
    pub const TLS_HANDSHAKE: Self = Self(1015);

    /// Returns the code that a Close frame carried, or carries; `None` for those that no frame has.
    pub fn code(self) -> Option<CloseCode> {
        CloseCode::try_from(self.0).ok()
    }
}

impl From<CloseCode> for CloseStatus {
    fn from(code: CloseCode) -> Self {
        Self(code.0)
    }
}

impl From<CloseStatus> for u16 {
    fn from(status: CloseStatus) -> Self {
        status.0
    }
}

impl PartialEq<CloseCode> for CloseStatus {
    fn eq(&self, code: &CloseCode) -> bool {
        self.0 == code.0
    }
}

impl fmt::Display for CloseStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.0;
        let meaning = match number {
            1000 => "normal",
            1001 => "going away",
            1002 => "protocol error",
            1003 => "unsupported data",
            1005 => "no code",
            1006 => "no Close",
            1007 => "invalid data",
            1008 => "policy violation",
            1009 => "message too big",
            1010 => "missing extension",
            1011 => "internal error",
            1012 => "service restart",
            1013 => "try again later",
            1014 => "bad gateway",
            1015 => "TLS handshake failed",
            3000 => "unauthorized",
            3003 => "forbidden",
            3008 => "timeout",
            4000.. => "private use",
            _ => "registered use",
        };
        write!(f, "{number} ({meaning})")
    }
}

/// A violation of the protocol by the peer; each closes the connection with the code that RFC 6455 names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// A reserved bit is set that no extension has defined (section 5.2).
    ReservedBits,
    /// A reserved opcode (section 5.2).
    ReservedOpcode,
    /// A client's frame without a mask (section 5.1).
    Unmasked,
    /// A server's frame with a mask (section 5.1).
    Masked,
    /// A length that is not in its shortest form (section 5.2).
    LengthNotMinimal,
    /// A 64-bit length with its highest bit set (section 5.2).
    LengthOverflow,
    /// A control frame of more than 125 bytes (section 5.5).
    ControlTooLong,
    /// A control frame in fragments (section 5.5).
    ControlFragmented,
    /// A continuation frame without a message (section 5.4).
    UnexpectedContinuation,
    /// A new message before the last one ended (section 5.4).
    ExpectedContinuation,
    /// A Close frame with a body of one byte (section 5.5.1).
    CloseBodyTooShort,
    /// A Close frame with a code that may not be sent (section 7.4).
    CloseCodeInvalid,
    /// A close reason that is not UTF-8 (section 5.5.1).
    CloseReasonNotUtf8,
    /// Text that is not UTF-8 (section 8.1).
    TextNotUtf8,
    /// A compressed message that cannot be inflated (RFC 7692 section 7.2.2).
    DeflateInvalid,
    /// A message larger than `max_message_bytes`.
    MessageTooBig,
    /// A message in more than `max_fragments` fragments.
    TooManyFragments,
    /// More than `max_control_frames_per_s`.
    TooManyControlFrames,
    /// A message within its limit for which there is no memory left.
    OutOfMemory,
}

impl Fault {
    /// Returns the code to close with.
    pub fn code(self) -> CloseCode {
        match self {
            // 7.4.1, 1007: "data within a message that was not consistent with the type of the message".
            Self::TextNotUtf8 | Self::CloseReasonNotUtf8 | Self::DeflateInvalid => CloseCode::INVALID_DATA,
            Self::MessageTooBig => CloseCode::TOO_BIG,
            Self::OutOfMemory => CloseCode::TRY_AGAIN_LATER,
            Self::TooManyFragments | Self::TooManyControlFrames => CloseCode::POLICY,
            _ => CloseCode::PROTOCOL_ERROR,
        }
    }

    /// Returns what is wrong, in words that fit into a close reason.
    pub fn reason(self) -> &'static str {
        match self {
            Self::ReservedBits => "reserved bits are set",
            Self::ReservedOpcode => "reserved opcode",
            Self::Unmasked => "client frame is not masked",
            Self::Masked => "server frame is masked",
            Self::LengthNotMinimal => "length is not in its shortest form",
            Self::LengthOverflow => "length has its highest bit set",
            Self::ControlTooLong => "control frame is longer than 125 bytes",
            Self::ControlFragmented => "control frame is fragmented",
            Self::UnexpectedContinuation => "continuation of no message",
            Self::ExpectedContinuation => "new message inside a fragmented one",
            Self::CloseBodyTooShort => "close body of one byte",
            Self::CloseCodeInvalid => "close code may not be sent",
            Self::CloseReasonNotUtf8 => "close reason is not UTF-8",
            Self::TextNotUtf8 => "text is not UTF-8",
            Self::DeflateInvalid => "compressed message is damaged",
            Self::MessageTooBig => "message is too big",
            Self::TooManyFragments => "too many fragments",
            Self::TooManyControlFrames => "too many control frames",
            Self::OutOfMemory => "no memory is left for this message",
        }
    }
}

/// Parses the body of a Close frame: its code and reason, or [`CloseStatus::NO_STATUS`] for an empty body.
///
/// # Errors
/// A body of one byte, a code that may not be sent, a reason that is not UTF-8.
pub fn parse(body: &[u8]) -> Result<(CloseStatus, &[u8]), Fault> {
    let Some((code, reason)) = body.split_first_chunk::<2>() else {
        return if body.is_empty() { Ok((CloseStatus::NO_STATUS, body)) } else { Err(Fault::CloseBodyTooShort) };
    };
    let code = CloseCode::try_from(u16::from_be_bytes(*code)).map_err(|_| Fault::CloseCodeInvalid)?;
    if !utf8::is_valid(reason) {
        return Err(Fault::CloseReasonNotUtf8);
    }
    Ok((code.into(), reason))
}

/// Writes the body of a Close frame into `body`, and returns the part that is filled.
///
/// A status that no frame carries makes an empty body; a reason is cut at a character to the 123 bytes there are.
pub fn encode<'a>(body: &'a mut [u8; 125], status: CloseStatus, reason: &str) -> &'a [u8] {
    let Some(CloseCode(code)) = status.code() else { return &[] };
    let reason = &reason.as_bytes()[..reason.floor_char_boundary(123)];
    body[..2].copy_from_slice(&code.to_be_bytes());
    body[2..2 + reason.len()].copy_from_slice(reason);
    &body[..2 + reason.len()]
}
