//! The events of a session, its state, and the kinds of messages.

use super::close::{CloseStatus, Fault};
use super::frame::Opcode;
use super::http::{HeadError, Request, Response};
use super::upgrade::Rejected;

/// Text or binary, RFC 6455 section 5.6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageKind {
    /// UTF-8; it has been checked.
    Text,
    /// Bytes.
    Binary,
}

impl From<MessageKind> for Opcode {
    #[inline]
    fn from(kind: MessageKind) -> Self {
        match kind {
            MessageKind::Text => Self::Text,
            MessageKind::Binary => Self::Binary,
        }
    }
}

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Bytes without a protocol.
    Raw,
    /// A server between requests, or in the middle of a head.
    Head,
    /// A client that waits for the answer to its upgrade.
    Handshake,
    /// A client of plain HTTP.
    Http,
    /// WebSocket, open.
    Open,
    /// We sent Close, and wait for the peer's.
    Closing,
    /// Nothing is read any more, nothing sent.
    Closed,
}

/// What [`super::session::Session::receive`] understood. What it borrows is valid until the next call.
#[derive(Debug)]
pub enum Event<'a> {
    /// Nothing to tell yet.
    NeedMore,
    /// A request, with its content; the caller answers it with [`super::session::Session::respond`] or [`super::session::Session::accept`].
    ///
    /// Boxed, so that an event is small: it is moved for every message, and a head comes once.
    Request(Box<Request<'a>>),
    /// The head of a request whose client asks whether to send the content (`Expect: 100-continue`): the caller answers
    /// it finally, with [`super::session::Session::respond`], or says [`super::session::Session::proceed`], and the request comes again with its content.
    Expects(Box<Request<'a>>),
    /// The head of an answer to [`super::session::Session::request`]; body and end follow.
    Response(Box<Response<'a>>),
    /// A piece of that answer's body.
    Body(&'a [u8]),
    /// That answer is complete.
    ResponseEnd,
    /// The server accepted the upgrade with this answer: the connection is open.
    Opened(Box<Response<'a>>),
    /// A message, whole.
    Message(MessageKind, &'a [u8]),
    /// A ping; its pong is already written.
    Ping(&'a [u8]),
    /// A pong.
    Pong(&'a [u8]),
    /// The peer's Close; the answer, if one is due, is already written.
    Closed(CloseStatus, &'a [u8]),
    /// Raw bytes.
    Data(&'a [u8]),
    /// The peer broke RFC 6455; the Close that says so is already written.
    Failed(Fault),
    /// The peer's head cannot be taken; a server's answer is already written.
    BadHead(HeadError),
    /// The server did not upgrade.
    Rejected(Rejected),
}
