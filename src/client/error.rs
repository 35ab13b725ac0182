//! Why a connection was not opened, and how one ended.

use crate::proto::close::{CloseStatus, Fault};
use crate::proto::http::{HeadError, HeadLimits, parse_response};
use crate::proto::upgrade::{BadSetting, Rejected};
use std::fmt;
use std::io;
use std::net::SocketAddr;

/// An answer other than 101, of which the fields are kept: they often say what would help.
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

    /// The value of the first field `name`, in any case of letters. It is the server's text: a terminal must not be
    /// given it as it is.
    pub fn field(&self, name: &str) -> Option<String> {
        // It has been taken before, with a limit; its own length is none to it now.
        let all = HeadLimits { max_request_line_bytes: self.head.len(), max_head_bytes: self.head.len() };
        let mut rest = &self.head[..];
        let response = loop {
            let (response, bytes) = parse_response(rest, all).ok()??;
            if response.status >= 200 {
                break response;
            }
            rest = &rest[bytes..]; // an interim answer stands before the one that counts
        };
        response.fields.values(name).next().map(|value| String::from_utf8_lossy(value).into_owned())
    }
}

/// Why there is no connection.
#[derive(Debug)]
pub enum ConnectError {
    /// What was asked for cannot be sent.
    Setting(BadSetting),
    /// The name has no address.
    Resolve(io::Error),
    /// None of the addresses takes a connection: the last of them, and what it said.
    Unreachable(SocketAddr, io::Error),
    /// Nothing answered in time.
    TimedOut,
    /// The connection ended before an answer had come.
    HungUp(Option<io::ErrorKind>),
    /// What answers does not speak HTTP, or says too much.
    NotHttp(HeadError),
    /// The server does not upgrade.
    Refused(Refused),
    /// The server says that it upgrades, and breaks RFC 6455 section 4.1 in saying it.
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
            Self::HungUp(Some(kind)) => write!(f, "the connection ended before an answer came: {kind}"),
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
            Self::Resolve(error) | Self::Unreachable(_, error) => Some(error),
            _ => None,
        }
    }
}

impl From<BadSetting> for ConnectError {
    fn from(bad: BadSetting) -> Self {
        Self::Setting(bad)
    }
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The peer closed first, and has been answered.
    ByPeer {
        /// Its code; [`CloseStatus::NO_STATUS`] where there was none.
        code: CloseStatus,
        /// Its reason. It is the peer's text: a terminal must not be given it as it is.
        reason: String,
    },
    /// We closed first, and this is the peer's answer.
    ByUs {
        /// Its code; [`CloseStatus::NO_STATUS`] where there was none.
        code: CloseStatus,
        /// Its reason.
        reason: String,
    },
    /// The peer broke RFC 6455, or a limit, and has been told so in a Close.
    Failed(Fault),
    /// The stream ended without the peer's Close: at its end, or with an error.
    Abnormal(Option<io::ErrorKind>),
}

impl Ending {
    /// The code of the connection (RFC 6455 section 7.1.5): the peer's, or that with which we failed it.
    pub fn code(&self) -> CloseStatus {
        match self {
            Self::ByPeer { code, .. } | Self::ByUs { code, .. } => *code,
            Self::Failed(fault) => fault.code().into(),
            Self::Abnormal(_) => CloseStatus::ABNORMAL,
        }
    }
}
