//! Feeds a session through a ring, in every way that a socket may cut its bytes, and compares what comes out.

use super::wire;
use steadfast::proto::close::{CloseCode, Fault};
use steadfast::proto::deflate::Deflate;
use steadfast::proto::extension::{self, Compression};
use steadfast::proto::frame::Role;
use steadfast::proto::http::{HeadError, Request};
use steadfast::proto::http_write::{HttpResponse, RequestInfo};
use steadfast::proto::mask::RandomSource;
use steadfast::proto::ring::Ring;
use steadfast::proto::session::{Event, Limits, MessageKind, Output, Session, State};
use steadfast::proto::upgrade::{self, ClientHandshake, Policy, Rejected, ServerHandshake};

/// An event with what it borrowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Request {
        method: String,
        target: String,
        host: Option<String>,
        body: Vec<u8>,
    },
    /// The target of a request that expects to be told to send its body.
    Expects(String),
    Response(u16),
    Body(Vec<u8>),
    ResponseEnd,
    Opened,
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Closed(u16, Vec<u8>),
    Data(Vec<u8>),
    Failed(Fault),
    BadHead(HeadError),
    Rejected(Rejected),
    /// The input ended, and that was proper or not.
    End(bool),
}

impl Seen {
    pub(super) fn request(method: &str, target: &str, host: &str) -> Self {
        Self::request_with_body(method, target, host, b"")
    }

    pub(super) fn request_with_body(method: &str, target: &str, host: &str, body: &[u8]) -> Self {
        Self::Request { method: method.into(), target: target.into(), host: Some(host.into()), body: body.into() }
    }

    /// From HTTP/1.0, without Host.
    pub(super) fn old_request(target: &str) -> Self {
        Self::Request { method: "GET".into(), target: target.into(), host: None, body: Vec::new() }
    }

    pub(super) fn text(text: &str) -> Self {
        Self::Text(text.into())
    }

    fn of(event: &Event<'_>) -> Option<Self> {
        Some(match event {
            Event::NeedMore => return None,
            Event::Request(request) => Self::Request {
                method: request.method.into(),
                target: request.target.into(),
                host: request.fields.host.map(|host| String::from_utf8_lossy(host).into_owned()),
                body: request.body.to_vec(),
            },
            Event::Expects(request) => Self::Expects(request.target.into()),
            Event::Response(response) => Self::Response(response.status),
            Event::Body(body) => Self::Body(body.to_vec()),
            Event::ResponseEnd => Self::ResponseEnd,
            Event::Opened(_) => Self::Opened,
            Event::Message(MessageKind::Text, text) => Self::Text(text.to_vec()),
            Event::Message(MessageKind::Binary, bytes) => Self::Binary(bytes.to_vec()),
            Event::Ping(payload) => Self::Ping(payload.to_vec()),
            Event::Pong(payload) => Self::Pong(payload.to_vec()),
            Event::Closed(status, reason) => Self::Closed((*status).into(), reason.to_vec()),
            Event::Data(data) => Self::Data(data.to_vec()),
            Event::Failed(fault) => Self::Failed(*fault),
            Event::BadHead(error) => Self::BadHead(*error),
            Event::Rejected(rejected) => Self::Rejected(*rejected),
        })
    }
}

/// The state of a session when its transcript begins.
#[derive(Clone, Copy, Debug)]
pub(super) enum Start {
    Raw,
    Server,
    Handshake,
    HttpClient,
    Open(Role),
    /// It has negotiated permessage-deflate with these parameters, as the server's response has them.
    Deflated(Role, &'static str),
    /// It has sent Close 1000.
    Closing(Role),
}

/// The random bytes of tests: always the same mask.
pub(super) fn output() -> Output {
    Output::new(RandomSource::new(|block| {
        for four in block.chunks_mut(4) {
            four.copy_from_slice(&wire::MASK[..four.len()]);
        }
    }))
}

fn session(start: Start, out: &mut Output) -> Session {
    match start {
        Start::Raw => Session::raw(),
        Start::Server => Session::server(),
        Start::Handshake => Session::websocket_client(&opening(None), out),
        Start::HttpClient => Session::http_client(),
        Start::Open(Role::Server) => {
            let mut session = Session::server();
            let key = upgrade::accept_key(b"any");
            session.accept(&key.into(), out);
            session
        }
        Start::Deflated(role, parameters) => deflated(role, parameters, out),
        Start::Open(Role::Client) => {
            let mut session = session(Start::Handshake, out);
            let mut answer = wire::accepted().into_bytes();
            let mut message = Vec::new();
            let (_, event) = session.receive(&mut answer, &mut message, &Limits::default(), out);
            assert!(matches!(event, Event::Opened(_)));
            session
        }
        Start::Closing(role) => {
            let mut session = session(Start::Open(role), out);
            session.close(CloseCode::NORMAL, "", out);
            session
        }
    }
}

/// What the client of these tests asks for.
fn opening(compression: Option<&Compression>) -> ClientHandshake<'_> {
    ClientHandshake { host: "example.com", path: "/echo", compression, ..ClientHandshake::default() }
}

/// An open session of either role, by a handshake whose answer has these parameters.
fn deflated(role: Role, parameters: &str, out: &mut Output) -> Session {
    // The bounds are those within which anything can be agreed upon.
    let all =
        Compression { context_takeover: true, max_window_bits: 15, min_message_bytes: 1, ..Compression::default() };
    out.deflate = Deflate::new(&all);
    let mut message = Vec::new();
    if role == Role::Client {
        let mut session = Session::websocket_client(&opening(Some(&all)), out);
        let field = format!("\r\nSec-WebSocket-Extensions: permessage-deflate{parameters}\r\n\r\n");
        let mut answer = wire::accepted().replace("\r\n\r\n", &field).into_bytes();
        let (_, event) = session.receive(&mut answer, &mut message, &Limits::default(), out);
        assert!(matches!(event, Event::Opened(_)), "{event:?}");
        return session;
    }
    let offer = format!("permessage-deflate{parameters}");
    let compression = extension::choose([offer.as_bytes()], &all).expect("an offer that can be met");
    let mut session = Session::server();
    session.accept(&ServerHandshake { key: upgrade::accept_key(b"any"), subprotocol: None, compression }, out);
    session
}

/// A session with all that a reactor lends it.
pub(super) struct Peer {
    pub(super) session: Session,
    pub(super) out: Output,
    pub(super) seen: Vec<Seen>,
    limits: Limits,
    message: Vec<u8>,
    ring: Ring,
}

impl Peer {
    pub(super) fn new(start: Start, limits: Limits, ring_bytes: usize) -> Self {
        let mut out = output();
        let session = session(start, &mut out);
        out.bytes.clear();
        // A buffer that is shared between connections holds what the last one left there.
        let message = b"left by another connection".to_vec();
        Self { session, out, seen: Vec::new(), limits, message, ring: Ring::new(ring_bytes) }
    }

    /// A piece arrives and is understood.
    pub(super) fn feed(&mut self, piece: &[u8]) {
        self.arrive(piece, 0);
        self.drain();
    }

    /// Puts `piece` into the ring: after what is there, or `offset` bytes from its beginning.
    fn arrive(&mut self, piece: &[u8], offset: usize) {
        // A ring that runs empty starts at zero again: an offset is made of bytes that have been parsed.
        let offset = if self.ring.is_empty() && !piece.is_empty() { offset } else { 0 };
        let spare = self.ring.spare();
        spare[..offset].fill(0xaa);
        spare[offset..offset + piece.len()].copy_from_slice(piece);
        self.ring.wrote(offset + piece.len());
        self.ring.parsed(offset);
    }

    fn drain(&mut self) {
        while self.has_work() {
            self.step();
        }
    }

    fn has_work(&self) -> bool {
        !self.ring.is_empty() || self.session.has_event()
    }

    /// One call of receive, and what must hold for each: it gets ahead, and a closed session is silent.
    fn step(&mut self) {
        let (state, sent) = (self.session.state(), self.out.bytes.len());
        let offered = self.ring.unparsed().len();
        let (consumed, event) =
            self.session.receive(self.ring.unparsed(), &mut self.message, &self.limits, &mut self.out);
        let seen = Seen::of(&event);
        match &event {
            Event::Request(request) => answer(&mut self.session, request, &mut self.out),
            Event::Expects(request) if request.path() == "/refused" => {
                answer(&mut self.session, request, &mut self.out)
            }
            Event::Expects(_) => self.session.proceed(&mut self.out),
            _ => {}
        }
        self.ring.parsed(consumed);
        assert!(consumed > 0 || seen.is_some() || self.session.state() != state, "no progress over {offered} bytes");
        if state == State::Closed {
            assert!(seen.is_none() && self.out.bytes.len() == sent, "a closed session speaks: {seen:?}");
        }
        if self.session.state() == State::Closed {
            assert_eq!(self.session.partial_bytes(), 0, "a closed session keeps bytes");
        }
        if let Some(seen) = seen {
            self.note(seen);
        }
    }

    /// Where a body is cut is not promised, so its pieces are joined, and empty ones left out.
    fn note(&mut self, seen: Seen) {
        match (self.seen.last_mut(), seen) {
            (_, Seen::Body(piece)) if piece.is_empty() => {}
            (Some(Seen::Body(all)), Seen::Body(piece)) | (Some(Seen::Data(all)), Seen::Data(piece)) => {
                all.extend(piece)
            }
            (_, seen) => self.seen.push(seen),
        }
    }

    fn end_of_input(&mut self) {
        let proper = self.session.end_of_input();
        self.seen.push(Seen::End(proper));
        self.drain();
    }
}

/// A server in the least: `/echo` is a WebSocket, all else is a page.
fn answer(session: &mut Session, request: &Request<'_>, out: &mut Output) {
    let asked = RequestInfo::from(request);
    if request.path() == "/echo" {
        return match upgrade::check_request(request, &Policy::default()) {
            Ok(acceptance) => session.accept(&acceptance, out),
            Err(refusal) => session.respond(&refusal.response(), asked, out),
        };
    }
    let page = HttpResponse { status: 200, content_type: "text/plain", more_fields: "", body: b"hi", close: false };
    session.respond(&page, asked, out);
}

/// All that can be told of a session from outside.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) seen: Vec<Seen>,
    pub(super) sent: Vec<u8>,
    pub(super) state: State,
}

/// How soon what has arrived is understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// Before the next piece comes.
    AtOnce,
    /// One event for each piece that comes, as when a turn's budget is short; the rest at the end.
    Lagging,
}

/// Runs a session over `pieces`.
pub(super) fn run<'a>(
    start: Start,
    limits: Limits,
    pieces: impl IntoIterator<Item = &'a [u8]>,
    ends: bool,
    (offset, pace): (usize, Pace),
) -> Record {
    let pieces: Vec<&[u8]> = pieces.into_iter().collect();
    let total: usize = pieces.iter().map(|piece| piece.len()).sum();
    let mut peer = Peer::new(start, limits, offset + total);
    for piece in pieces {
        peer.arrive(piece, offset);
        match pace {
            Pace::AtOnce => peer.drain(),
            Pace::Lagging if peer.has_work() => peer.step(),
            Pace::Lagging => {}
        }
    }
    peer.drain();
    if ends {
        peer.end_of_input();
    }
    Record { seen: peer.seen, sent: peer.out.bytes, state: peer.session.state() }
}

/// Input, and what it must lead to however it is cut.
pub(super) struct Transcript {
    name: String,
    start: Start,
    limits: Limits,
    input: Vec<u8>,
    ends: bool,
    expected: Record,
    /// The status of the refusal that is sent at last, in words, and whether it has a body.
    refusal: Option<(String, bool)>,
}

impl Transcript {
    pub(super) fn new(name: impl Into<String>, start: Start, input: impl Into<Vec<u8>>) -> Self {
        let expected = Record { seen: Vec::new(), sent: Vec::new(), state: State::Closed };
        Self {
            name: name.into(),
            start,
            limits: Limits::default(),
            input: input.into(),
            ends: false,
            expected,
            refusal: None,
        }
    }

    pub(super) fn under(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The peer sends no more after the input.
    pub(super) fn then_ends(mut self) -> Self {
        self.ends = true;
        self
    }

    pub(super) fn sees(mut self, seen: impl IntoIterator<Item = Seen>) -> Self {
        self.expected.seen.extend(seen);
        self
    }

    pub(super) fn sends(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.expected.sent.extend(bytes.as_ref());
        self
    }

    /// Sends a refusal that says why, the same however the input is cut.
    pub(super) fn refuses(mut self, status: u16, phrase: &str, has_body: bool) -> Self {
        self.refusal = Some((format!("{status} {phrase}"), has_body));
        self
    }

    /// What is expected of a refusal, from one run: the reason is for people, and each has tests of its own.
    fn expect_refusal(&mut self) {
        let Some((status, has_body)) = self.refusal.take() else { return };
        let record = run(self.start, self.limits, [&*self.input], self.ends, (0, Pace::AtOnce));
        let sent = String::from_utf8(record.sent).expect("text");
        let before = String::from_utf8(self.expected.sent.clone()).expect("text");
        let answer = sent.strip_prefix(&before).unwrap_or_else(|| panic!("{}: {sent:?}", self.name));
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{}: {sent:?}", self.name));
        let length = head.split("Content-Length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
        let length: usize = length.and_then(|length| length.parse().ok()).expect("a length");
        let expected = format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\n\
             X-Content-Type-Options: nosniff\r\nConnection: close"
        );
        assert_eq!((head, body.len()), (&*expected, if has_body { length } else { 0 }), "{}", self.name);
        let phrase = &status[4..];
        let is_plain = |byte: u8| matches!(byte, b' '..=b'~') && !b"<>&'".contains(&byte);
        if has_body {
            let reason = body.strip_prefix(phrase).and_then(|body| body.strip_prefix(": ")?.strip_suffix('\n'));
            let reason = reason.unwrap_or_else(|| panic!("{}: {body:?}", self.name));
            assert!(reason.len() < 1_000 && reason.bytes().all(is_plain), "{}: {reason:?}", self.name);
        }
        self.expected.sent = sent.into_bytes();
    }

    /// Runs it whole, cut in two at each byte, and in single bytes; and at several offsets in the ring.
    pub(super) fn leaves(mut self, state: State) {
        self.expect_refusal();
        self.expected.state = state;
        for offset in [0, 1, 3, 7, 64] {
            for pace in [Pace::AtOnce, Pace::Lagging] {
                self.compare("whole", [&*self.input], (offset, pace));
                self.compare("in single bytes", self.input.chunks(1), (offset, pace));
            }
        }
        for at in cuts(self.input.len()) {
            let (left, right) = self.input.split_at(at);
            self.compare(&format!("cut at {at}"), [left, right], (at % 5, Pace::AtOnce));
            self.compare(&format!("cut at {at}"), [left, right], (at % 3, Pace::Lagging));
        }
    }

    fn compare<'a>(&self, way: &str, pieces: impl IntoIterator<Item = &'a [u8]>, place: (usize, Pace)) {
        let record = run(self.start, self.limits, pieces, self.ends, place);
        if record != self.expected {
            let short = |record: &Record| {
                let sent = String::from_utf8_lossy(&record.sent);
                let all = format!("{:?}, sent {sent:?}, {:?}", record.seen, record.state);
                all.chars().take(1_500).collect::<String>()
            };
            let (found, expected) = (short(&record), short(&self.expected));
            panic!("{}, {way}, {place:?}:\n   found {found}\nexpected {expected}", self.name);
        }
    }
}

/// Where to cut: everywhere; in what is long, everywhere near its ends, and here and there between.
fn cuts(length: usize) -> impl Iterator<Item = usize> {
    (1..length).filter(move |&at| length <= 1_200 || at < 150 || length - at < 150 || at % 1_021 == 0)
}
