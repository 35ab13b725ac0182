//! THE state machine: every transition of a connection stands in this file.
//!
//! ```text
//!   server:  Head -> Head ...            a request, answered
//!            Head -> Open                a request, upgraded
//!   client:  Handshake -> Open           the answer to our upgrade
//!            Http -> Http ...            answers to our requests
//!   both:    Open -> Closing -> Closed   we sent Close first
//!            Open -> Closed              the peer did, and we answered; or it broke a rule
//!   raw:     Raw                         bytes without a protocol
//! ```

pub use super::event::{Event, Limits, MessageKind, Output};

use super::body::Body;
use super::close::{self, CloseCode, Fault};
use super::frame::{self, Opcode, Role};
use super::http::{self, HeadError, Request, Response};
use super::mask;
use super::partial::{Partial, Payload, Progress};
use super::upgrade::{self, AcceptKey};
use super::utf8;
use std::ops::Range;

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

/// One connection's protocol: bytes in, events and bytes out. It knows no socket and no clock, and while it idles it
/// owns nothing but these 16 bytes.
#[derive(Debug)]
pub struct Session {
    state: State,
    role: Role,
    control_frames: u16,
    control_second: u16,
    partial: Option<Box<Partial>>,
}

impl Session {
    fn new(state: State, role: Role) -> Self {
        Self { state, role, control_frames: 0, control_second: 0, partial: None }
    }

    /// A server that waits for a request.
    pub fn server() -> Self {
        Self::new(State::Head, Role::Server)
    }

    /// Bytes without a protocol.
    pub fn raw() -> Self {
        Self::new(State::Raw, Role::Server)
    }

    /// A client of plain HTTP, see [`Session::request`].
    pub fn http_client() -> Self {
        Self::new(State::Http, Role::Client)
    }

    /// A WebSocket client: writes its upgrade request for `path` at `host` (which may carry a port).
    pub fn websocket_client(host: &str, path: &str, out: &mut Output) -> Self {
        let key = upgrade::client_key(out.random.take());
        upgrade::encode_request(&mut out.bytes, host, path, &key);
        let mut session = Self::new(State::Handshake, Role::Client);
        session.partial = Some(Box::new(Partial::head(&key)));
        session
    }

    /// Where it stands.
    #[inline]
    pub fn state(&self) -> State {
        self.state
    }

    /// Bytes on the heap that it keeps for what has arrived in part.
    pub fn partial_bytes(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| size_of::<Partial>() + partial.buffer.capacity())
    }

    /// Whether part of a head, a frame or a message has arrived.
    pub fn has_partial(&self) -> bool {
        self.partial.is_some()
    }

    /// Understands the next thing at the front of `input`, in place: how many bytes that took, and what it was.
    ///
    /// It is called again while bytes are left, and takes them all: what is incomplete it stores. `message` holds
    /// what an event borrows when it came in pieces; `now_s` is any clock that counts seconds.
    #[inline(always)]
    pub fn receive<'a>(
        &mut self,
        input: &'a mut [u8],
        message: &'a mut Vec<u8>,
        limits: &Limits,
        now_s: u32,
        out: &mut Output,
    ) -> (usize, Event<'a>) {
        match self.state {
            State::Open | State::Closing => self.receive_frame(input, message, limits, now_s, out),
            State::Raw => (input.len(), Event::Data(input)),
            _ => self.receive_head(input, message, limits, out),
        }
    }

    #[inline(never)]
    fn receive_head<'a>(
        &mut self,
        input: &'a mut [u8],
        message: &'a mut Vec<u8>,
        limits: &Limits,
        out: &mut Output,
    ) -> (usize, Event<'a>) {
        match self.state {
            State::Head => self.receive_request(input, message, limits, out),
            State::Handshake => self.receive_upgrade(input, message, limits),
            State::Http => self.receive_response(input, message, limits),
            _ => (input.len(), Event::NeedMore),
        }
    }

    /// Answers a request; `without_body` for one with the method HEAD.
    pub fn answer(&mut self, answer: &http::Answer<'_>, without_body: bool, out: &mut Output) {
        answer.encode(&mut out.bytes, without_body);
        if answer.close {
            self.state = State::Closed;
        }
    }

    /// Answers a request with 101: the connection is open.
    #[inline]
    pub fn accept(&mut self, accept: &AcceptKey, out: &mut Output) {
        upgrade::encode_response(&mut out.bytes, accept);
        self.state = State::Open;
    }

    /// Sends a GET for `path` at `host`.
    pub fn request(&mut self, host: &str, path: &str, out: &mut Output) {
        http::encode_get(&mut out.bytes, host, path);
    }

    /// Sends a message; gives whether the state allowed it. Text must be UTF-8.
    #[inline(always)]
    pub fn send(&mut self, kind: MessageKind, payload: &[u8], out: &mut Output) -> bool {
        if self.state == State::Open {
            out.frame(self.role, kind.into(), payload);
        }
        self.state == State::Open
    }

    /// Sends a ping of at most 125 bytes; gives whether the state allowed it.
    pub fn ping(&mut self, payload: &[u8], out: &mut Output) -> bool {
        if self.state != State::Open || payload.len() > 125 {
            return false;
        }
        out.frame(self.role, Opcode::Ping, payload);
        true
    }

    /// Starts the close handshake (RFC 6455 section 7.1.2). What is not open is simply closed.
    pub fn close(&mut self, code: CloseCode, reason: &str, out: &mut Output) {
        if self.state == State::Open {
            self.send_close(code, reason, out);
            self.state = State::Closing;
        } else if self.state != State::Closing {
            self.abandon();
        }
    }

    fn send_close(&mut self, code: CloseCode, reason: &str, out: &mut Output) {
        let mut body = [0; 125];
        let body = close::encode(&mut body, code, reason);
        out.frame(self.role, Opcode::Close, body);
    }

    fn fail<'a>(&mut self, fault: Fault, out: &mut Output) -> Event<'a> {
        if self.state == State::Open {
            self.send_close(fault.code(), fault.reason(), out);
        }
        self.abandon();
        Event::Failed(fault)
    }

    #[inline(always)]
    fn receive_frame<'a>(
        &mut self,
        input: &'a mut [u8],
        message: &'a mut Vec<u8>,
        limits: &Limits,
        now_s: u32,
        out: &mut Output,
    ) -> (usize, Event<'a>) {
        // Nearly every frame arrives whole, and is a message: it is unmasked where it lies.
        if self.partial.is_none() {
            if let Some((opcode, mask, payload_bytes)) = frame::parse_short(input, self.role)
                && payload_bytes as u64 <= limits.max_message_bytes
            {
                let from = if mask.is_some() { 6 } else { 2 };
                return self.receive_whole(input, opcode, mask, from..from + payload_bytes, out);
            }
            return self.receive_any(input, message, limits, now_s, out);
        }
        self.receive_piece(input, message, limits, now_s, out)
    }

    /// A message whose frame lies whole in `input`.
    #[inline(always)]
    fn receive_whole<'a>(
        &mut self,
        input: &'a mut [u8],
        opcode: Opcode,
        mask: Option<mask::Mask>,
        payload: Range<usize>,
        out: &mut Output,
    ) -> (usize, Event<'a>) {
        let end = payload.end;
        let payload = &mut input[payload];
        if let Some(mask) = mask {
            mask::apply(payload, mask);
        }
        let payload = &*payload;
        if opcode == Opcode::Binary {
            return (end, self.message(MessageKind::Binary, payload));
        }
        if !utf8::is_valid(payload) {
            return (end, self.fail(Fault::TextNotUtf8, out));
        }
        (end, self.message(MessageKind::Text, payload))
    }

    /// Any frame, while nothing has arrived in part.
    #[inline(never)]
    fn receive_any<'a>(
        &mut self,
        input: &'a mut [u8],
        message: &'a mut Vec<u8>,
        limits: &Limits,
        now_s: u32,
        out: &mut Output,
    ) -> (usize, Event<'a>) {
        let whole = frame::parse(input)
            .filter(|header| header.fin() && header.payload_bytes <= (input.len() - header.header_bytes) as u64);
        let Some(header) = whole else { return self.receive_piece(input, message, limits, now_s, out) };
        let opcode = match frame::check(&header, self.expect(limits)) {
            Ok(opcode) => opcode,
            Err(fault) => return (input.len(), self.fail(fault, out)),
        };
        let payload = header.header_bytes..header.header_bytes + header.payload_bytes as usize;
        if !opcode.is_control() {
            return self.receive_whole(input, opcode, header.mask, payload, out);
        }
        let (end, payload) = (payload.end, &mut input[payload]);
        mask::apply(payload, header.mask.unwrap_or_default());
        (end, self.control(opcode, payload, limits, now_s, out))
    }

    /// A message that comes while our Close is under way is read, and not delivered.
    #[inline]
    fn message<'a>(&self, kind: MessageKind, payload: &'a [u8]) -> Event<'a> {
        if self.state == State::Open { Event::Message(kind, payload) } else { Event::NeedMore }
    }

    #[inline]
    fn expect(&self, limits: &Limits) -> frame::Expect {
        let message = self.partial.as_ref().filter(|partial| partial.kind.is_some());
        frame::Expect {
            role: self.role,
            in_message: message.is_some(),
            message_bytes: message.map_or(0, |partial| partial.buffer.len() as u64),
            max_message_bytes: limits.max_message_bytes,
            extension_bits: 0,
        }
    }

    /// A frame that arrives in pieces, or belongs to a fragmented message.
    #[inline(never)]
    fn receive_piece<'a>(
        &mut self,
        input: &'a mut [u8],
        message: &'a mut Vec<u8>,
        limits: &Limits,
        now_s: u32,
        out: &mut Output,
    ) -> (usize, Event<'a>) {
        let partial = self.partial.get_or_insert_with(|| Box::new(Partial::frame()));
        let mut consumed = 0;
        if let Progress::Header(stored) = &mut partial.progress {
            let Some((header, taken)) = stored.take(input) else { return (input.len(), Event::NeedMore) };
            consumed = taken;
            let expect = self.expect(limits);
            let begun = frame::check(&header, expect).and_then(|opcode| self.begin(opcode, &header, limits));
            if let Err(fault) = begun {
                return (input.len(), self.fail(fault, out));
            }
        }
        let Some(partial) = &mut self.partial else { return (consumed, Event::NeedMore) };
        match partial.take_payload(&mut input[consumed..], message) {
            Ok((taken, payload)) => {
                let event = match payload {
                    Payload::Open => Event::NeedMore,
                    Payload::Control(opcode) => {
                        self.drop_idle_partial();
                        self.control(opcode, message, limits, now_s, out)
                    }
                    Payload::Message(kind) => {
                        self.partial = None;
                        self.message(kind, message)
                    }
                };
                (consumed + taken, event)
            }
            Err(utf8::Invalid) => (input.len(), self.fail(Fault::TextNotUtf8, out)),
        }
    }

    /// A checked header opens the payload behind it.
    fn begin(&mut self, opcode: Opcode, header: &frame::Header, limits: &Limits) -> Result<(), Fault> {
        let Some(partial) = &mut self.partial else { return Ok(()) };
        partial.begin_payload(opcode, header);
        if partial.fragments > limits.max_fragments { Err(Fault::TooManyFragments) } else { Ok(()) }
    }

    fn drop_idle_partial(&mut self) {
        if self.partial.as_ref().is_some_and(|partial| partial.kind.is_none()) {
            self.partial = None;
        }
    }

    #[inline(never)]
    fn control<'a>(
        &mut self,
        opcode: Opcode,
        payload: &'a [u8],
        limits: &Limits,
        now_s: u32,
        out: &mut Output,
    ) -> Event<'a> {
        if self.control_second != now_s as u16 {
            self.control_second = now_s as u16;
            self.control_frames = 0;
        }
        self.control_frames = self.control_frames.saturating_add(1);
        if self.control_frames > limits.max_control_frames_per_s {
            return self.fail(Fault::TooManyControlFrames, out);
        }
        match opcode {
            Opcode::Ping => {
                // 5.5.2: a Pong is due "unless it already received a Close frame"; once we sent ours, 5.5.1 forbids
                // only data, but the peer has what it needs to know.
                if self.state == State::Open {
                    out.frame(self.role, Opcode::Pong, payload);
                }
                Event::Ping(payload)
            }
            Opcode::Pong => Event::Pong(payload),
            _ => match close::parse(payload) {
                Ok((code, reason)) => {
                    if self.state == State::Open {
                        // 5.5.1: "the endpoint typically echos the status code it received".
                        self.send_close(code, "", out);
                    }
                    self.abandon();
                    Event::Closed(code, reason)
                }
                Err(fault) => self.fail(fault, out),
            },
        }
    }

    fn receive_request<'a>(
        &mut self,
        input: &'a mut [u8],
        message: &'a mut Vec<u8>,
        limits: &Limits,
        out: &mut Output,
    ) -> (usize, Event<'a>) {
        let taken = Partial::take_head::<Request<'_>>(&mut self.partial, input, message, limits.head);
        let (consumed, head) = match taken {
            Ok(taken) => taken,
            Err(error) => {
                http::Answer::refusal(error.status()).encode(&mut out.bytes, false);
                return self.bad_head(error);
            }
        };
        (consumed, head.map_or(Event::NeedMore, |head| Event::Request(Box::new(head))))
    }

    fn receive_upgrade<'a>(
        &mut self,
        input: &'a mut [u8],
        message: &'a mut Vec<u8>,
        limits: &Limits,
    ) -> (usize, Event<'a>) {
        let key = self.partial.as_ref().and_then(|partial| partial.key());
        match Partial::take_head::<Response<'_>>(&mut self.partial, input, message, limits.head) {
            Ok((consumed, None)) => (consumed, Event::NeedMore),
            Ok((consumed, Some(response))) => {
                self.partial = None;
                let key = key.unwrap_or_default();
                match upgrade::check_response(&response, &key) {
                    Ok(()) => {
                        self.state = State::Open;
                        (consumed, Event::Opened)
                    }
                    Err(rejected) => {
                        self.state = State::Closed;
                        (consumed, Event::Rejected(rejected))
                    }
                }
            }
            Err(error) => self.bad_head(error),
        }
    }

    fn receive_response<'a>(
        &mut self,
        input: &'a mut [u8],
        message: &'a mut Vec<u8>,
        limits: &Limits,
    ) -> (usize, Event<'a>) {
        if let Some(partial) = &mut self.partial
            && let Progress::Body(body) = &mut partial.progress
        {
            if *body == Body::Sized(0) {
                self.partial = None;
                return (0, Event::ResponseEnd);
            }
            let Ok(piece) = body.take(input) else { return self.bad_head(HeadError::Malformed) };
            if piece.done {
                // The end is an event of its own: it comes with the next call, and takes no bytes.
                *body = Body::Sized(0);
            }
            return (piece.consumed, Event::Body(&input[piece.data_from..piece.consumed]));
        }
        match Partial::take_head::<Response<'_>>(&mut self.partial, input, message, limits.head) {
            Ok((consumed, None)) => (consumed, Event::NeedMore),
            Ok((consumed, Some(response))) => {
                let Ok(body) = Body::of_response(&response) else { return self.bad_head(HeadError::Malformed) };
                let body = body.unwrap_or(Body::Sized(0));
                self.partial = Some(Box::new(Partial::body(body)));
                (consumed, Event::Response(Box::new(response)))
            }
            Err(error) => self.bad_head(error),
        }
    }

    /// Whether an event waits that needs no further bytes: then [`Session::receive`] is called with none.
    #[inline]
    pub fn has_event(&self) -> bool {
        self.state == State::Http && self.partial.as_ref().is_some_and(|partial| partial.progress.is_ended_body())
    }

    /// Which end of the connection it is.
    #[inline]
    pub fn role(&self) -> Role {
        self.role
    }

    /// Tells that the peer will send no more; whether that is the proper end of what it was sending.
    ///
    /// A response that reaches to the end of the stream is complete now: [`Session::has_event`] says so.
    pub fn end_of_input(&mut self) -> bool {
        match (self.state, &mut self.partial) {
            (State::Http, Some(partial)) if matches!(partial.progress, Progress::Body(Body::UntilClose)) => {
                partial.progress = Progress::Body(Body::Sized(0));
                true
            }
            (state, partial) => {
                let between = partial.is_none();
                self.abandon();
                between && matches!(state, State::Closed | State::Raw | State::Head | State::Http)
            }
        }
    }

    /// Gives up: nothing more is read or sent.
    pub fn abandon(&mut self) {
        self.partial = None;
        self.state = State::Closed;
    }

    fn bad_head<'a>(&mut self, error: HeadError) -> (usize, Event<'a>) {
        self.abandon();
        (0, Event::BadHead(error))
    }
}
