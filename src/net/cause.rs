//! Why a connection ends.

use crate::proto::close::{CloseStatus, Fault};
use crate::proto::http::HeadError;
use crate::proto::upgrade::Rejected;

/// Which deadline a connection missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Deadline {
    /// To connect, and to be upgraded.
    Connect,
    /// To send a whole request: its head within a time, its content at a least rate.
    Head,
    /// To send another request.
    KeepAlive,
    /// To send a whole message: within a time, or longer for a longer one, at a least rate.
    Message,
    /// To send anything, or to answer a ping.
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
    /// The response to a request closed the connection.
    ResponseSent,
    /// The peer closed at a point where its protocol allows that.
    EndOfStream,
    /// The peer closed without a Close frame, or in the middle of a message or a request.
    Abrupt,
    /// recv(2) or send(2) failed: errno.
    Io(u16),
    /// connect(2) failed: errno.
    Connect(u16),
    /// A call failed because of a limit of this host: errno.
    Local(u16),
    /// The connection missed a deadline.
    Deadline(Deadline),
    /// The peer broke RFC 6455.
    Fault(Fault),
    /// The peer sent a malformed or oversized HTTP head.
    BadHead(HeadError),
    /// The server refused the upgrade.
    Rejected(Rejected),
    /// The driver ended the connection.
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
    /// A storm dropped the connection. That is no loss: the connection is opened again.
    Dropped,
    /// The flood was interrupted before the connection was opened.
    NotStarted,
    /// The flood was interrupted while the connection was being opened.
    Interrupted,
    /// The flood was interrupted, and the time to close was over before the connection was closed.
    Reset,
}
