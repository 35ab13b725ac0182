//! The limits on heads, and why a head is refused.

use std::fmt;

/// Why a head is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HeadError {
    /// Not HTTP (400).
    Malformed,
    /// The request line is longer than `max_request_line_bytes` (414).
    TargetTooLong,
    /// The head is longer than `max_head_bytes`, or has more than [`MAX_FIELDS`](super::http::MAX_FIELDS) fields (431).
    TooLarge,
    /// A version of HTTP other than 1.x (505).
    Version,
    /// The body is longer than `max_body_bytes` (413).
    BodyTooLarge,
    /// An expectation other than 100-continue (417).
    Expectation,
    /// A transfer coding other than chunked (501).
    TransferCoding,
}

impl HeadError {
    /// Returns the status code of the response to it.
    pub fn status(self) -> u16 {
        match self {
            Self::Malformed => 400,
            Self::TargetTooLong => 414,
            Self::TooLarge => 431,
            Self::Version => 505,
            Self::BodyTooLarge => 413,
            Self::Expectation => 417,
            Self::TransferCoding => 501,
        }
    }
}

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "it is not HTTP",
            Self::TargetTooLong => "the request line is too long",
            Self::TooLarge => "the head is too large",
            Self::Version => "its version of HTTP is not 1.x",
            Self::BodyTooLarge => "the body is too large",
            Self::Expectation => "it expects something other than 100-continue",
            Self::TransferCoding => "its transfer coding is not chunked",
        })
    }
}

impl std::error::Error for HeadError {}

/// The limits on the size of a head.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// The most bytes of a request line, including its end.
    pub max_request_line_bytes: usize,
    /// The most bytes of a whole head.
    pub max_head_bytes: usize,
}

impl HeadLimits {
    /// Returns the limits for a response: its status line has no limit of its own.
    pub(super) fn of_response(self) -> Self {
        Self { max_request_line_bytes: self.max_head_bytes, ..self }
    }

    /// Returns the part of a head within the limits, and the error if the head does not end there. Bytes beyond a limit
    /// are never looked at, so that the result does not depend on how the head was cut into pieces.
    pub(super) fn within(self, head: &[u8]) -> (&[u8], Option<HeadError>) {
        let (line, max) = (self.max_request_line_bytes, self.max_head_bytes);
        let judged = &head[..head.len().min(max)];
        if judged.len() > line && memchr::memchr(b'\n', &judged[..line]).is_none() {
            return (&judged[..line], Some(HeadError::TargetTooLong));
        }
        (judged, (head.len() > max).then_some(HeadError::TooLarge))
    }
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self { max_request_line_bytes: 8 << 10, max_head_bytes: 16 << 10 }
    }
}
