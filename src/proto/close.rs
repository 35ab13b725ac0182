//! Close codes (RFC 6455 section 7.4), the body of a Close frame, and which fault closes with which code.

use super::utf8;

/// A status code of a Close frame, RFC 6455 section 7.4.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// The purpose of the connection has been fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// The endpoint goes away: a server stops, a browser leaves the page.
    pub const GOING_AWAY: Self = Self(1001);
    /// The peer broke the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// No code was present; never sent in a frame.
    pub const NO_STATUS: Self = Self(1005);
    /// The connection ended without a Close frame; never sent in a frame.
    pub const ABNORMAL: Self = Self(1006);
    /// Text that is not UTF-8.
    pub const INVALID_DATA: Self = Self(1007);
    /// The peer broke a rule of this endpoint.
    pub const POLICY: Self = Self(1008);
    /// A message larger than this endpoint takes.
    pub const TOO_BIG: Self = Self(1009);
    /// The server met what it did not expect.
    pub const INTERNAL_ERROR: Self = Self(1011);
    /// A server that is overloaded for a while.
    pub const TRY_AGAIN_LATER: Self = Self(1013);

    /// Whether the code may stand in a Close frame (RFC 6455 section 7.4.2, and the registry it founded).
    pub fn may_be_sent(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }
}

/// What a peer did wrong; each closes with the code that RFC 6455 names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// A reserved bit is set that no extension gave a meaning (section 5.2).
    ReservedBits,
    /// An opcode that is reserved (section 5.2).
    ReservedOpcode,
    /// A client's frame without a mask (section 5.1).
    Unmasked,
    /// A server's frame with a mask (section 5.1).
    Masked,
    /// A length in more bytes than it needs (section 5.2).
    LengthNotMinimal,
    /// A 64-bit length with its highest bit set (section 5.2).
    LengthOverflow,
    /// A control frame of more than 125 bytes (section 5.5).
    ControlTooLong,
    /// A control frame in fragments (section 5.5).
    ControlFragmented,
    /// A continuation of nothing (section 5.4).
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
    /// A message, within its limit, for which there is no memory left.
    OutOfMemory,
}

impl Fault {
    /// The code to close with.
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

    /// What is wrong, in words that fit a close reason.
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

/// Reads the body of a Close frame: its code and reason, or [`CloseCode::NO_STATUS`] for an empty one.
///
/// # Errors
/// A body of one byte, a code that may not be sent, a reason that is not UTF-8.
pub fn parse(body: &[u8]) -> Result<(CloseCode, &[u8]), Fault> {
    let Some((code, reason)) = body.split_first_chunk::<2>() else {
        return if body.is_empty() { Ok((CloseCode::NO_STATUS, body)) } else { Err(Fault::CloseBodyTooShort) };
    };
    let code = CloseCode(u16::from_be_bytes(*code));
    if !code.may_be_sent() {
        return Err(Fault::CloseCodeInvalid);
    }
    if !utf8::is_valid(reason) {
        return Err(Fault::CloseReasonNotUtf8);
    }
    Ok((code, reason))
}

/// Writes the body of a Close frame into `body` and gives the part that is filled.
///
/// [`CloseCode::NO_STATUS`] gives an empty body; a reason is cut at a character to the 123 bytes there are.
pub fn encode<'a>(body: &'a mut [u8; 125], code: CloseCode, reason: &str) -> &'a [u8] {
    if !code.may_be_sent() {
        return &[];
    }
    let reason = &reason.as_bytes()[..reason.floor_char_boundary(123)];
    body[..2].copy_from_slice(&code.0.to_be_bytes());
    body[2..2 + reason.len()].copy_from_slice(reason);
    &body[..2 + reason.len()]
}
