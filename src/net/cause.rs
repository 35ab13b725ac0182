//! Why a connection ends.

use crate::proto::close::{CloseCode, Fault};
use crate::proto::http::HeadError;
use crate::proto::upgrade::Rejected;

/// Which deadline a connection missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Deadline {
    /// To connect, and to be upgraded.
    Connect,
    /// To send a whole request: its head in so many seconds, its content at no less than so many bytes in each.
    Head,
    /// To send another request.
    KeepAlive,
    /// To send a whole message: in so many seconds, and what is longer at no less than so many bytes in each.
    Message,
    /// To show life.
    Idle,
    /// To answer a Close, or to close.
    Close,
    /// To take a byte of what is queued for it.
    Stalled,
    /// To answer a message; a driver's own.
    Reply,
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The close handshake, with the peer's code.
    Closed(CloseCode),
    /// We answered a request with `Connection: close`.
    Answered,
    /// The peer closed where its protocol allows it.
    EndOfStream,
    /// The peer closed without a Close, or in the middle of something.
    Abrupt,
    /// recv(2) or send(2) failed: errno.
    Io(u16),
    /// connect(2) failed: errno.
    Connect(u16),
    /// A limit of this host: errno of the call that hit it.
    Local(u16),
    /// It missed a deadline.
    Deadline(Deadline),
    /// It broke RFC 6455.
    Fault(Fault),
    /// Its head could not be taken.
    BadHead(HeadError),
    /// The server did not upgrade.
    Rejected(Rejected),
    /// The driver gave it up, for a reason of its own.
    Driver(u8),
}
