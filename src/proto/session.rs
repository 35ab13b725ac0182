//! The state machine of a connection: every transition is in this file.
//!
//! ```text
//!   server:  Head -> Head ...            a request, with its response
//!            Head -> Open                a request, upgraded
//!   client:  Handshake -> Open           the response to our upgrade
//!            Http -> Http ...            responses to our requests
//!   both:    Open -> Closing -> Closed   we sent Close first
//!            Open -> Closed              the peer sent Close first, or it broke a rule
//!   raw:     Raw                         bytes without a protocol
//! ```

pub use super::event::{Event, MessageKind, State};
pub use super::limits::Limits;
pub use super::output::Output;

use super::body::Body;
use super::close::{self, CloseCode, CloseStatus, Fault};
use super::deflate::Window;
use super::extension::NegotiatedCompression;
use super::frame::{self, Opcode, RSV1, Role, WholeFrame};
use super::http_read;
use super::http_write::{self, HttpResponse, RequestInfo};
use super::mask;
use super::partial::{self, Inflation, Partial, Payload, Progress};
use super::reason::BadHead;
use super::upgrade::{self, ClientHandshake, ServerHandshake};
use super::utf8;

/// The protocol of one connection: bytes in, events and bytes out. It knows no socket and no clock, and an idle session
/// consists of these 16 bytes.
#[derive(Debug)]
pub struct Session {
    state: State,
    role: Role,
    control_frames: u16,
    control_second: u16,
    compression: NegotiatedCompression,
    pub(super) partial: Option<Box<Partial>>,
}

impl Session {
    fn new(state: State, role: Role) -> Self {
        Self {
            state,
            role,
            control_frames: 0,
            control_second: 0,
            compression: NegotiatedCompression::default(),
            partial: None,
        }
    }

    /// Creates a server that waits for a request.
    pub fn server() -> Self {
        Self::new(State::Head, Role::Server)
    }

    /// Creates a session for bytes without a protocol.
    pub fn raw() -> Self {
        Self::new(State::Raw, Role::Server)
    }

    /// Creates a client of plain HTTP, see [`Session::request`].
    pub fn http_client() -> Self {
        Self::new(State::Http, Role::Client)
    }

    /// Creates a WebSocket client, and writes its request for the upgrade.
    pub fn websocket_client(handshake: &ClientHandshake<'_>, out: &mut Output) -> Self {
        let key = upgrade::client_key(out.random.take());
        upgrade::encode_request(&mut out.bytes, handshake, &key);
        out.seal_head();
        let partial = Some(Box::new(Partial::head(upgrade::keep(handshake, &key))));
        Self { partial, ..Self::new(State::Handshake, Role::Client) }
    }

    /// Returns the state.
    #[inline]
    pub fn state(&self) -> State {
        self.state
    }

    /// Returns the compression that was negotiated.
    #[inline]
    pub fn compression(&self) -> NegotiatedCompression {
        self.compression
    }

    /// Parses the next event at the front of `input`, in place; returns the number of bytes taken, and the event.
    ///
    /// To be called again while bytes are left: all of them are taken, and incomplete parts are stored. `message` holds
    /// what an event borrows if it arrived in pieces.
    #[inline(always)]
    pub fn receive<'a>(
        &mut self,
        input: &'a mut [u8],
        message: &'a mut Vec<u8>,
        limits: &Limits,
        out: &mut Output,
    ) -> (usize, Event<'a>) {
        match self.state {
            State::Open | State::Closing => self.receive_frame(input, message, limits, out),
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
        let (partial, compression) = (&mut self.partial, &mut self.compression);
        let taken = match self.state {
            State::Head => http_read::take_request(partial, input, message, limits),
            State::Handshake => http_read::take_upgrade(partial, input, message, limits, compression),
            State::Http => http_read::take_response(partial, input, message, limits),
            _ => return (input.len(), Event::NeedMore),
        };
        match taken {
            Ok((consumed, event)) => {
                match event {
                    Event::Opened(_) => self.state = State::Open,
                    Event::Rejected(_) => self.abandon(),
                    _ => {}
                }
                (consumed, event)
            }
            Err(bad) => (0, self.refuse(&bad, out)),
        }
    }

    #[cold]
    fn refuse<'a>(&mut self, bad: &BadHead, out: &mut Output) -> Event<'a> {
        let BadHead { error, ref why, is_head } = *bad;
        if self.role == Role::Server {
            let asked = RequestInfo { without_body: is_head, ..RequestInfo::default() };
            let body = http_write::reason_body(error.status(), why);
            let response = HttpResponse { more_fields: http_write::NOSNIFF, ..HttpResponse::refusal(error.status()) };
            self.respond(&HttpResponse { body: body.as_bytes(), ..response }, asked, out);
        }
        self.abandon();
        Event::BadHead(error)
    }

    /// Writes the response to a request.
    pub fn respond(&mut self, response: &HttpResponse<'_>, asked: RequestInfo, out: &mut Output) {
        self.respond_head(response, asked, response.body.len() as u64, out);
        response.encode_body(&mut out.bytes, asked);
        out.seal_head();
    }

    /// Writes the head of a response whose body has `body_bytes`; the caller sends the body.
    pub fn respond_head(&mut self, response: &HttpResponse<'_>, asked: RequestInfo, body_bytes: u64, out: &mut Output) {
        // A client that receives this in place of `100 Continue` may send the content or not, so nothing can be read
        // after it.
        let asked = RequestInfo { closes: asked.closes || response.close || self.request_bytes().is_some(), ..asked };
        response.encode_head(&mut out.bytes, asked, &out.default_headers, body_bytes);
        out.seal_head();
        if asked.closes {
            self.abandon();
        }
    }

    /// Writes `100 Continue` for a client that asked with `Expect: 100-continue`.
    pub fn proceed(&mut self, out: &mut Output) {
        out.bytes.extend_from_slice(http_write::CONTINUE);
        out.seal_head();
    }

    /// Accepts an upgrade with status 101: the connection is open.
    #[inline]
    pub fn accept(&mut self, handshake: &ServerHandshake<'_>, out: &mut Output) {
        upgrade::encode_response(&mut out.bytes, handshake, &out.default_headers.fields);
        out.seal_head();
        (self.compression, self.state) = (handshake.compression, State::Open);
    }

    /// Writes a GET for `path` at `host`, with further field lines, each with its CRLF.
    pub fn request(&mut self, host: &str, path: &str, fields: &str, out: &mut Output) {
        http_write::encode_get(&mut out.bytes, host, path, fields);
        out.seal_head();
    }

    /// Writes a message, compressed where that was negotiated and is worth it; returns whether the state permits it.
    /// Text must be UTF-8.
    #[inline(always)]
    pub fn send(&mut self, kind: MessageKind, payload: &[u8], out: &mut Output) -> bool {
        if self.compression.is_on() {
            self.send_deflated(kind, payload, out)
        } else {
            self.send_plain(kind, payload, out)
        }
    }

    /// Writes a message as [`Session::send`] does, but always uncompressed.
    #[inline(always)]
    pub fn send_plain(&mut self, kind: MessageKind, payload: &[u8], out: &mut Output) -> bool {
        if self.state == State::Open {
            out.frame(self.role, kind.into(), payload);
            out.messages += 1;
        }
        self.state == State::Open
    }

    #[inline(never)]
    fn send_deflated(&mut self, kind: MessageKind, payload: &[u8], out: &mut Output) -> bool {
        if self.state == State::Open {
            let keeps_window = self.compression.own_takeover() && out.deflate.is_worth(payload);
            let own = keeps_window.then(|| Partial::own_deflater(&mut self.partial));
            out.deflated(self.role, kind.into(), payload, Window { bits: self.compression.own_window_bits(), own });
            out.messages += 1;
        }
        self.state == State::Open
    }

    /// Writes a ping of at most 125 bytes; returns whether the state permits it.
    pub fn ping(&mut self, payload: &[u8], out: &mut Output) -> bool {
        if self.state != State::Open || payload.len() > 125 {
            return false;
        }
        out.frame(self.role, Opcode::Ping, payload);
        true
    }

    /// Starts the close handshake (RFC 6455 section 7.1.2). A session that is not an open WebSocket is simply closed.
    pub fn close(&mut self, code: CloseCode, reason: &str, out: &mut Output) {
        if self.state == State::Open {
            self.send_close(code.into(), reason, out);
            self.state = State::Closing;
        } else if self.state != State::Closing {
            self.abandon();
        }
    }

    fn send_close(&mut self, status: CloseStatus, reason: &str, out: &mut Output) {
        let mut body = [0; 125];
        let body = close::encode(&mut body, status, reason);
        out.frame(self.role, Opcode::Close, body);
    }

    fn fail<'a>(&mut self, fault: Fault, out: &mut Output) -> Event<'a> {
        if self.state == State::Open {
            self.send_close(fault.code().into(), fault.reason(), out);
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
        out: &mut Output,
    ) -> (usize, Event<'a>) {
        // Nearly every frame is a whole message, and is unmasked in place.
        if self.partial.is_none() {
            if let Some(frame) = frame::parse_short(input, self.role)
                && frame.payload_bytes as u64 <= limits.max_message_bytes
            {
                return self.receive_whole(input, frame, out);
            }
            return self.receive_any(input, message, limits, out);
        }
        self.receive_piece(input, message, limits, out)
    }

    /// Receives a message whose frame is whole in `input`.
    #[inline(always)]
    fn receive_whole<'a>(&mut self, input: &'a mut [u8], frame: WholeFrame, out: &mut Output) -> (usize, Event<'a>) {
        let end = frame.header_bytes + frame.payload_bytes;
        let payload = &mut input[frame.header_bytes..end];
        if let Some(mask) = frame.mask {
            mask::apply(payload, mask);
        }
        let payload = &*payload;
        self.compression.note_plain();
        if frame.opcode == Opcode::Binary {
            return (end, self.message(MessageKind::Binary, payload));
        }
        if !utf8::is_valid(payload) {
            return (end, self.fail(Fault::TextNotUtf8, out));
        }
        (end, self.message(MessageKind::Text, payload))
    }

    /// Receives any frame while nothing has arrived in part.
    #[inline(never)]
    fn receive_any<'a>(
        &mut self,
        input: &'a mut [u8],
        message: &'a mut Vec<u8>,
        limits: &Limits,
        out: &mut Output,
    ) -> (usize, Event<'a>) {
        let whole = frame::parse(input)
            .filter(|header| header.fin() && header.payload_bytes <= (input.len() - header.header_bytes) as u64);
        let Some(header) = whole.filter(|header| header.first & RSV1 == 0 || !self.compression.peer_takeover()) else {
            return self.receive_piece(input, message, limits, out);
        };
        let opcode = match frame::check(&header, self.expect(limits)) {
            Ok(opcode) => opcode,
            Err(fault) => return (input.len(), self.fail(fault, out)),
        };
        let payload = header.header_bytes..header.header_bytes + header.payload_bytes as usize;
        if header.first & RSV1 != 0 {
            let kind = if opcode == Opcode::Text { MessageKind::Text } else { MessageKind::Binary };
            mask::apply(&mut input[payload.clone()], header.mask.unwrap_or_default());
            let (end, compressed, max_bytes) = (payload.end, &input[payload], limits.max_message_bytes);
            let inflated = partial::inflate_whole(&mut out.deflate, compressed, kind, message, max_bytes);
            return match inflated {
                Ok(()) => {
                    self.compression.note_compressed();
                    (end, self.message(kind, message))
                }
                Err(fault) => (end, self.fail(fault, out)),
            };
        }
        if !opcode.is_control() {
            let (header_bytes, payload_bytes) = (payload.start, payload.len());
            return self.receive_whole(
                input,
                WholeFrame { opcode, mask: header.mask, header_bytes, payload_bytes },
                out,
            );
        }
        let (end, payload) = (payload.end, &mut input[payload]);
        mask::apply(payload, header.mask.unwrap_or_default());
        (end, self.control(opcode, payload, limits, out))
    }

    /// Returns the event for a message; a message that arrives after we sent Close is not delivered.
    #[inline]
    fn message<'a>(&self, kind: MessageKind, payload: &'a [u8]) -> Event<'a> {
        if self.state == State::Open { Event::Message(kind, payload) } else { Event::NeedMore }
    }

    #[inline]
    fn expect(&self, limits: &Limits) -> frame::Expect {
        let message = self.partial.as_ref().filter(|partial| partial.in_message());
        frame::Expect {
            role: self.role,
            in_message: message.is_some(),
            message_bytes: message.map_or(0, |partial| partial.buffer.len() as u64),
            compressed: message.is_some_and(|partial| partial.is_compressed()),
            max_message_bytes: limits.max_message_bytes,
            extension_bits: if self.compression.is_on() { RSV1 } else { 0 },
        }
    }

    /// Receives a frame that arrives in pieces, or belongs to a fragmented message.
    #[inline(never)]
    fn receive_piece<'a>(
        &mut self,
        input: &'a mut [u8],
        message: &'a mut Vec<u8>,
        limits: &Limits,
        out: &mut Output,
    ) -> (usize, Event<'a>) {
        let partial = self.partial.get_or_insert_with(|| Box::new(Partial::frame()));
        let mut consumed = 0;
        if let Progress::Header(stored) = &mut partial.progress {
            let Some((header, taken)) = stored.take(input) else { return (input.len(), Event::NeedMore) };
            consumed = taken;
            let begun = frame::check(&header, self.expect(limits)).and_then(|opcode| match &mut self.partial {
                Some(partial) => partial.begin_payload(opcode, &header, limits.max_fragments),
                None => Ok(()),
            });
            if let Err(fault) = begun {
                return (input.len(), self.fail(fault, out));
            }
        }
        let Some(partial) = &mut self.partial else { return (consumed, Event::NeedMore) };
        let max_message_bytes = limits.max_message_bytes;
        let mut inflation = Inflation { deflate: &mut out.deflate, agreed: self.compression, max_message_bytes };
        let (taken, payload) = match partial.take_payload(&mut input[consumed..], message, &mut inflation) {
            Ok(taken) => taken,
            Err(fault) => return (input.len(), self.fail(fault, out)),
        };
        if !matches!(payload, Payload::Open) && !partial.in_message() {
            self.partial = self.partial.take().and_then(|partial| partial.rest(&mut inflation));
        }
        let event = match payload {
            Payload::Open => Event::NeedMore,
            Payload::Control(opcode) => self.control(opcode, message, limits, out),
            Payload::Message(kind, compressed) => {
                self.compression.note(compressed);
                self.message(kind, message)
            }
        };
        (consumed + taken, event)
    }

    #[inline(never)]
    fn control<'a>(&mut self, opcode: Opcode, payload: &'a [u8], limits: &Limits, out: &mut Output) -> Event<'a> {
        if self.control_second != out.now_s as u16 {
            self.control_second = out.now_s as u16;
            self.control_frames = 0;
        }
        self.control_frames = self.control_frames.saturating_add(1);
        if self.control_frames > limits.max_control_frames_per_s {
            return self.fail(Fault::TooManyControlFrames, out);
        }
        match opcode {
            Opcode::Ping => {
                // 5.5.2: a Pong is due "unless it already received a Close frame". After our own Close, 5.5.1 forbids
                // only data, but the peer needs no Pong any more.
                if self.state == State::Open {
                    out.frame(self.role, Opcode::Pong, payload);
                }
                Event::Ping(payload)
            }
            Opcode::Pong => Event::Pong(payload),
            _ => match close::parse(payload) {
                Ok((status, reason)) => {
                    if self.state == State::Open {
                        // 5.5.1: "the endpoint typically echos the status code it received".
                        self.send_close(status, "", out);
                    }
                    self.abandon();
                    Event::Closed(status, reason)
                }
                Err(fault) => self.fail(fault, out),
            },
        }
    }

    /// Returns whether there is an event that needs no further bytes: then [`Session::receive`] is to be called with
    /// none.
    #[inline]
    pub fn has_event(&self) -> bool {
        self.state == State::Http && self.partial.as_ref().is_some_and(|partial| partial.progress.is_ended_body())
    }

    /// Returns the role of this endpoint.
    #[inline]
    pub fn role(&self) -> Role {
        self.role
    }

    /// Notes that the peer will send no more; returns whether its stream may end here.
    ///
    /// A response that extends to the end of the stream is complete now, and [`Session::has_event`] returns true.
    pub fn end_of_input(&mut self) -> bool {
        match (self.state, &mut self.partial) {
            (State::Http, Some(partial)) if partial.progress.is_endless_body() => {
                **partial = Partial::body(Body::Sized(0));
                true
            }
            (state, partial) => {
                let between = partial.is_none();
                self.abandon();
                between && matches!(state, State::Closed | State::Raw | State::Head | State::Http)
            }
        }
    }

    /// Ends the session: nothing more is read or sent.
    pub fn abandon(&mut self) {
        (self.partial, self.state) = (None, State::Closed);
    }
}
