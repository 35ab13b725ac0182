//! What a session takes and gives beside bytes: its limits, its output, its events, and where it stands.

use super::close::{CloseCode, Fault};
use super::deflate::{Deflate, Window};
use super::frame::{self, Opcode, RSV1, Role};
use super::http::{HeadError, HeadLimits, Request, Response};
use super::http_write::DefaultHeaders;
use super::mask::{Mask, RandomSource};
use super::upgrade::Rejected;

/// What a peer may make grow, with the defaults of this project.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Request line and head.
    pub head: HeadLimits,
    /// The content of a request; more is answered 413.
    pub max_body_bytes: u64,
    /// One frame, one assembled message, and one inflated message; more closes with 1009.
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
            max_body_bytes: 1 << 20,
            max_message_bytes: 1 << 20,
            max_fragments: 1024,
            max_control_frames_per_s: 100,
        }
    }
}

/// Where a session's bytes go, and what it takes to make them. One serves all sessions of a thread.
#[derive(Debug)]
pub struct Output {
    /// What is to be sent.
    pub bytes: Vec<u8>,
    /// How many of the first of `bytes` are no frames: answers of HTTP, bytes without a protocol.
    pub head_bytes: usize,
    /// How many messages stand in `bytes`; control frames are none.
    pub messages: u32,
    /// The length of `bytes` from which on a sender has to look at the limits of the queue; the shell sets it.
    pub look_from_bytes: usize,
    /// The time, in seconds by any clock, for the limit on control frames; the shell sets it.
    pub now_s: u32,
    /// Fresh random bytes, for a client's keys and masks.
    pub random: RandomSource,
    /// Compressors and decompressors.
    pub deflate: Deflate,
    /// What stands in every HTTP answer.
    pub default_headers: DefaultHeaders,
}

impl Output {
    /// An empty output over a source of random bytes.
    pub fn new(random: RandomSource) -> Self {
        Self {
            bytes: Vec::new(),
            head_bytes: 0,
            messages: 0,
            look_from_bytes: usize::MAX,
            now_s: 0,
            random,
            deflate: Deflate::default(),
            default_headers: DefaultHeaders::default(),
        }
    }

    /// All that stands in `bytes` by now is no frame.
    pub fn seal_head(&mut self) {
        self.head_bytes = self.bytes.len();
    }

    /// Forgets what was to be sent; for the next connection.
    #[inline(always)]
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.head_bytes = 0;
        self.messages = 0;
    }

    /// A client masks each frame anew (RFC 6455 section 5.3), a server none.
    #[inline(always)]
    fn mask(&mut self, role: Role) -> Option<Mask> {
        (role == Role::Client).then(|| self.random.take())
    }

    #[inline(always)]
    pub(super) fn frame(&mut self, role: Role, opcode: Opcode, payload: &[u8]) {
        let mask = self.mask(role);
        frame::encode(&mut self.bytes, true, opcode, payload, mask);
    }

    /// Appends a message: compressed, if that is worth it.
    pub(super) fn deflated(&mut self, role: Role, opcode: Opcode, payload: &[u8], window: Window<'_>) {
        let mask = self.mask(role);
        match self.deflate.compress(payload, window) {
            Some(compressed) => frame::encode_first(&mut self.bytes, 0x80 | RSV1 | opcode as u8, compressed, mask),
            None => frame::encode(&mut self.bytes, true, opcode, payload, mask),
        }
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
