//! Why a connection was not opened, and how an open one ended.

use crate::proto::close::{CloseStatus, Fault};
use crate::proto::http::{HeadError, HeadLimits, parse_response};
use crate::proto::upgrade::{BadSetting, Rejected};
use std::fmt;
use std::io;
use std::net::SocketAddr;

/// A response other than 101. Its fields are kept, since they often say what would help.
#[derive(Clone, Debug)]
pub struct Refused {
    /// The status code.
    pub status: u16,
    head: Vec<u8>,
}

impl Refused {
    pub(super) fn new(status: u16, head: Vec<u8>) -> Self {
        Self { status, head }
    }

    /// Returns the value of the first field `name`, ignoring case. It is the server's text: do not print it to a
    /// terminal unescaped.
    pub fn field(&self, name: &str) -> Option<String> {
        // The head was accepted before, within a limit, so its own length is the limit now.
        let all = HeadLimits { max_request_line_bytes: self.head.len(), max_head_bytes: self.head.len() };
        let mut rest = &self.head[..];
        let response = loop {
            let (response, bytes) = parse_response(rest, all).ok()??;
            if response.status >= 200 {
                break response;
            }
            rest = &rest[bytes..]; // skip an interim response
        };
        response.fields.values(name).next().map(|value| String::from_utf8_lossy(value).into_owned())
    }
}

/// Why a connection was not opened.
#[derive(Debug)]
pub enum ConnectError {
    /// A setting cannot be sent.
    Setting(BadSetting),
    /// The name has no address.
    Resolve(io::Error),
    /// None of the addresses accepts a connection: the last one tried, and its error.
    Unreachable(SocketAddr, io::Error),
    /// Nothing answered in time.
    TimedOut,
    /// The connection ended before the response.
    HungUp(Option<io::Error>),
    /// The response is not HTTP, or its head is too large.
    NotHttp(HeadError),
    /// The server refused the upgrade.
    Refused(Refused),
    /// The server's 101 response violates RFC 6455 section 4.1.
    BadUpgrade(Rejected),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setting(bad) => write!(f, "{bad}"),
            Self::Resolve(error) => write!(f, "the host cannot be found: {error}"),
            Self::Unreachable(address, error) => write!(f, "{address} is not reachable: {error}"),
            Self::TimedOut => f.write_str("no answer in time"),
            Self::HungUp(None) => f.write_str("the connection ended before an answer came"),
            Self::HungUp(Some(error)) => write!(f, "the connection ended before an answer came: {error}"),
            Self::NotHttp(HeadError::TooLarge) => f.write_str("the head of the answer is too large"),
            Self::NotHttp(_) => f.write_str("what answers there does not speak HTTP/1.1"),
            Self::Refused(refused) => write!(f, "the server answers {} and does not upgrade", refused.status),
            Self::BadUpgrade(Rejected::Accept) => {
                f.write_str("the server answers 101 with a Sec-WebSocket-Accept that does not belong to this request")
            }
            Self::BadUpgrade(Rejected::NotOffered) => {
                f.write_str("the server answers 101 with a subprotocol or an extension that was not offered")
            }
            Self::BadUpgrade(_) => f.write_str("the server answers 101 without Upgrade and Connection"),
        }
    }
}

impl std::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Setting(bad) => Some(bad),
            Self::Resolve(error) | Self::Unreachable(_, error) | Self::HungUp(Some(error)) => Some(error),
            Self::NotHttp(error) => Some(error),
            Self::BadUpgrade(rejected) => Some(rejected),
            Self::TimedOut | Self::HungUp(None) | Self::Refused(_) => None,
        }
    }
}

impl From<BadSetting> for ConnectError {
    fn from(bad: BadSetting) -> Self {
        Self::Setting(bad)
    }
}

/// How an open connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The peer closed first, and was answered.
    ByPeer {
        /// The peer's code; [`CloseStatus::NO_STATUS`] if there was none.
        code: CloseStatus,
        /// The peer's reason. It is the peer's text: do not print it to a terminal unescaped.
        reason: String,
    },
    /// This side closed first; this is the peer's answer.
    ByUs {
        /// The peer's code; [`CloseStatus::NO_STATUS`] if there was none.
        code: CloseStatus,
        /// The peer's reason.
        reason: String,
    },
    /// The peer violated RFC 6455 or a limit, and was told so in a Close.
    Failed(Fault),
    /// The stream ended without a Close of the peer: by its end or by an error.
    Abnormal(Option<io::ErrorKind>),
}

impl Ending {
    /// Returns the code of the connection (RFC 6455 section 7.1.5): the peer's, or the one with which this side failed
    /// the connection.
    pub fn code(&self) -> CloseStatus {
        match self {
            Self::ByPeer { code, .. } | Self::ByUs { code, .. } => *code,
            Self::Failed(fault) => fault.code().into(),
            Self::Abnormal(_) => CloseStatus::ABNORMAL,
        }
    }
}
