//! Why a connection ends.

use crate::proto::close::{CloseStatus, Fault};
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
    Closed(CloseStatus),
    /// We answered a request with `Connection: close`.
    ResponseSent,
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
    /// The driver ended it.
    Driver(Reason),
}

/// Why a driver ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// A handler of the server aborted it.
    Aborted,
    /// A reply was not what was sent.
    WrongReply,
    /// A reply was longer than it may be.
    TooLong,
    /// A storm dropped it: no loss, since it comes back.
    Dropped,
    /// The flood was interrupted before the turn of the connection came.
    NotStarted,
    /// The flood was interrupted while the connection was being opened.
    Interrupted,
    /// The flood was interrupted, and the time to close was over before the connection was closed.
    Reset,
}
