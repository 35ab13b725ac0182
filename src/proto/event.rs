//! The events of a session, its state, and the kinds of messages.

use super::close::{CloseStatus, Fault};
use super::frame::Opcode;
use super::http::{HeadError, Request, Response};
use super::upgrade::Rejected;

/// Text or binary, RFC 6455 section 5.6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageKind {
    /// Text; it has been checked to be UTF-8.
    Text,
    /// Binary data.
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

/// The state of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Bytes without a protocol.
    Raw,
    /// A server between requests, or in the middle of a head.
    Head,
    /// A client that waits for the response to its upgrade.
    Handshake,
    /// A client of plain HTTP.
    Http,
    /// An open WebSocket.
    Open,
    /// A WebSocket that has sent Close and waits for the peer's.
    Closing,
    /// Nothing more is read or sent.
    Closed,
}

/// An event, as [`super::session::Session::receive`] returns it. What it borrows is valid until the next call.
#[derive(Debug)]
pub enum Event<'a> {
    /// No event: more bytes are needed.
    NeedMore,
    /// A request with its content; the caller responds with [`super::session::Session::respond`] or
    /// [`super::session::Session::accept`].
    ///
    /// It is boxed so that an event is small: an event is moved for every message, and a head is rare.
    Request(Box<Request<'a>>),
    /// The head of a request whose client asks whether to send the content (`Expect: 100-continue`). The caller either
    /// sends the final response with [`super::session::Session::respond`], or asks for the content with
    /// [`super::session::Session::proceed`]; then the request comes again with it.
    Expects(Box<Request<'a>>),
    /// The head of a response to [`super::session::Session::request`]; body and end follow.
    Response(Box<Response<'a>>),
    /// A piece of the body of that response.
    Body(&'a [u8]),
    /// That response is complete.
    ResponseEnd,
    /// The server accepted the upgrade with this response: the connection is open.
    Opened(Box<Response<'a>>),
    /// A complete message.
    Message(MessageKind, &'a [u8]),
    /// A ping; the pong has been written to the output.
    Ping(&'a [u8]),
    /// A pong.
    Pong(&'a [u8]),
    /// The peer's Close; the Close in return, if one is due, has been written to the output.
    Closed(CloseStatus, &'a [u8]),
    /// Bytes without a protocol.
    Data(&'a [u8]),
    /// The peer broke RFC 6455; the Close that says so has been written to the output.
    Failed(Fault),
    /// The peer's head is malformed or too large; a server's response has been written to the output.
    BadHead(HeadError),
    /// The server refused the upgrade.
    Rejected(Rejected),
}
