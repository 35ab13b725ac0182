//! What a session takes and gives beside bytes: its limits, its output, its events.

use super::close::{CloseCode, Fault};
use super::frame::{self, Opcode, Role};
use super::http::{HeadError, HeadLimits, Request, Response};
use super::mask::RandomSource;
use super::upgrade::Rejected;

/// What a peer may make grow, with the defaults of this project.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Request line and head.
    pub head: HeadLimits,
    /// One frame, and one assembled message; more closes with 1009.
    pub max_message_bytes: u64,
    /// Frames of one message, empty ones too; more closes with 1008.
    pub max_fragments: u32,
    /// Close, Ping and Pong within one second; more closes with 1008.
    pub max_control_frames_per_s: u16,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: HeadLimits::default(),
            max_message_bytes: 1 << 20,
            max_fragments: 1024,
            max_control_frames_per_s: 100,
        }
    }
}

/// Where a session's bytes go, and where a client's masks come from. One serves all sessions of a thread.
#[derive(Debug)]
pub struct Output {
    /// What is to be sent.
    pub bytes: Vec<u8>,
    /// Fresh random bytes.
    pub random: RandomSource,
}

impl Output {
    /// An empty output over a source of random bytes.
    pub fn new(random: RandomSource) -> Self {
        Self { bytes: Vec::new(), random }
    }

    #[inline(always)]
    pub(super) fn frame(&mut self, role: Role, opcode: Opcode, payload: &[u8]) {
        let mask = match role {
            Role::Server => None,
            Role::Client => Some(self.random.take()),
        };
        frame::encode(&mut self.bytes, true, opcode, payload, mask);
    }
}

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

/// What [`Session::receive`] understood. What it borrows is valid until the next call.
#[derive(Debug)]
pub enum Event<'a> {
    /// Nothing to tell yet.
    NeedMore,
    /// A request's head; the caller answers it with [`Session::answer`] or [`Session::accept`].
    ///
    /// Boxed, so that an event is small: it is moved for every message, and a head comes once.
    Request(Box<Request<'a>>),
    /// The head of an answer to [`Session::request`]; body and end follow.
    Response(Box<Response<'a>>),
    /// A piece of that answer's body.
    Body(&'a [u8]),
    /// That answer is complete.
    ResponseEnd,
    /// The server accepted the upgrade: the connection is open.
    Opened,
    /// A message, whole.
    Message(MessageKind, &'a [u8]),
    /// A ping; its pong is already written.
    Ping(&'a [u8]),
    /// A pong.
    Pong(&'a [u8]),
    /// The peer's Close; the answer, if one is due, is already written.
    Closed(CloseCode, &'a [u8]),
    /// Raw bytes.
    Data(&'a [u8]),
    /// The peer broke RFC 6455; the Close that says so is already written.
    Failed(Fault),
    /// The peer's head cannot be taken; a server's answer is already written.
    BadHead(HeadError),
    /// The server did not upgrade.
    Rejected(Rejected),
}
