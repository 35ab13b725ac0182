//! Status codes of responses.

use crate::proto::http_write::reason_phrase;
use std::fmt;

/// The status code of a response (RFC 9110 section 15): 200 to 599.
///
/// The codes from 100 to 199 are no final responses (RFC 9110 section 15.2); the server sends those that are needed by itself.
///
/// ```
/// use steadfast::server::{InvalidStatus, StatusCode};
///
/// assert_eq!(StatusCode::NOT_FOUND.as_u16(), 404);
/// assert_eq!(StatusCode::try_from(418)?.to_string(), "418");
/// assert_eq!(StatusCode::try_from(700), Err(InvalidStatus(700)));
/// # Ok::<(), InvalidStatus>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StatusCode(u16);

/// Declares the constants.
macro_rules! declare_codes {
    ($($name:ident = $code:literal,)*) => {
        impl StatusCode {
            $(
                #[doc = concat!(stringify!($code), ", see RFC 9110 section 15.")]
                pub const $name: Self = Self($code);
            )*
        }
    };
}

declare_codes! {
    OK = 200,
    CREATED = 201,
    ACCEPTED = 202,
    NON_AUTHORITATIVE_INFORMATION = 203,
    NO_CONTENT = 204,
    MOVED_PERMANENTLY = 301,
    FOUND = 302,
    SEE_OTHER = 303,
    NOT_MODIFIED = 304,
    TEMPORARY_REDIRECT = 307,
    PERMANENT_REDIRECT = 308,
    BAD_REQUEST = 400,
    UNAUTHORIZED = 401,
    PAYMENT_REQUIRED = 402,
    FORBIDDEN = 403,
    NOT_FOUND = 404,
    METHOD_NOT_ALLOWED = 405,
    NOT_ACCEPTABLE = 406,
    CONFLICT = 409,
    GONE = 410,
    LENGTH_REQUIRED = 411,
    PRECONDITION_FAILED = 412,
    CONTENT_TOO_LARGE = 413,
    UNSUPPORTED_MEDIA_TYPE = 415,
    MISDIRECTED_REQUEST = 421,
    UNPROCESSABLE_CONTENT = 422,
    TOO_MANY_REQUESTS = 429,
    UNAVAILABLE_FOR_LEGAL_REASONS = 451,
    INTERNAL_SERVER_ERROR = 500,
    NOT_IMPLEMENTED = 501,
    BAD_GATEWAY = 502,
    SERVICE_UNAVAILABLE = 503,
    GATEWAY_TIMEOUT = 504,
}

impl StatusCode {
    /// Returns the number.
    pub const fn as_u16(self) -> u16 {
        self.0
    }

    /// Returns the reason phrase that is sent with it.
    pub(super) fn reason(self) -> &'static str {
        reason_phrase(self.0)
    }
}

impl TryFrom<u16> for StatusCode {
    type Error = InvalidStatus;

    fn try_from(code: u16) -> Result<Self, InvalidStatus> {
        if (200..=599).contains(&code) { Ok(Self(code)) } else { Err(InvalidStatus(code)) }
    }
}

impl From<StatusCode> for u16 {
    fn from(code: StatusCode) -> Self {
        code.0
    }
}

impl fmt::Display for StatusCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A number that is not the status code of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidStatus(pub u16);

impl fmt::Display for InvalidStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is no status code of a response; expected 200 to 599", self.0)
    }
}

impl std::error::Error for InvalidStatus {}
