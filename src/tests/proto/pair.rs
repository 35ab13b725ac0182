//! A client and a server, wired to one another in memory.

use super::feed::output;
use super::wire::{CLOSE, shortest};
use proptest::prelude::*;
use steadfast::proto::close::{CloseCode, CloseStatus};
use steadfast::proto::frame::Role;
use steadfast::proto::session::{Event, Limits, MessageKind, Output, Session, State};
use steadfast::proto::upgrade::{self, ClientHandshake, Policy};

type Message = (MessageKind, Vec<u8>);

/// One end: its session, and all that went through it.
struct End {
    session: Session,
    out: Output,
    buffer: Vec<u8>,
    /// How much of `out.bytes` the other end has been given.
    delivered: usize,
    sent: Vec<Message>,
    received: Vec<Message>,
    pings: Vec<Vec<u8>>,
    pongs: Vec<Vec<u8>>,
    /// The code of the close that this end began.
    began: Option<CloseCode>,
    /// The code that the other end gave.
    closed: Option<CloseStatus>,
}

impl End {
    fn new(session: Session, out: Output) -> Self {
        let (buffer, delivered) = (Vec::new(), 0);
        let (sent, received, pings, pongs) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { session, out, buffer, delivered, sent, received, pings, pongs, began: None, closed: None }
    }

    fn both() -> [Self; 2] {
        let mut out = output();
        let client = Session::websocket_client(
            &ClientHandshake { host: "h", path: "/", ..ClientHandshake::default() },
            &mut out,
        );
        [Self::new(client, out), Self::new(Session::server(), output())]
    }

    fn send(&mut self, kind: MessageKind, payload: Vec<u8>) {
        let open = self.session.state() == State::Open;
        assert_eq!(self.session.send(kind, &payload, &mut self.out), open);
        if open {
            self.sent.push((kind, payload));
        }
    }

    fn ping(&mut self, payload: &[u8]) {
        if self.session.ping(payload, &mut self.out) {
            self.pings.push(payload.to_vec());
        }
    }

    fn close(&mut self, code: CloseCode) {
        if self.session.state() == State::Open {
            self.began = Some(code);
            self.session.close(code, "as the test has it", &mut self.out);
        }
    }

    /// The other end is given at most `bytes` of what this one sent.
    fn deliver(&mut self, bytes: usize, to: &mut Self) {
        let end = self.out.bytes.len().min(self.delivered + bytes);
        let mut piece = self.out.bytes[self.delivered..end].to_vec();
        self.delivered = end;
        to.receive(&mut piece);
    }

    fn receive(&mut self, piece: &mut [u8]) {
        let mut at = 0;
        while at < piece.len() {
            let Self { session, out, buffer, .. } = self;
            let (consumed, event) = session.receive(&mut piece[at..], buffer, &Limits::default(), out);
            at += consumed;
            match event {
                Event::Request(request) => {
                    let policy = Policy::default();
                    let accept = upgrade::check_request(&request, &policy).unwrap();
                    session.accept(&accept, out);
                }
                Event::Message(kind, payload) => self.received.push((kind, payload.to_vec())),
                Event::Pong(payload) => self.pongs.push(payload.to_vec()),
                Event::Closed(code, reason) => {
                    assert!(reason.is_empty() || reason == b"as the test has it");
                    self.closed = Some(code);
                }
                Event::NeedMore | Event::Opened(_) | Event::Ping(_) => {}
                event => panic!("{event:?}"),
            }
        }
    }

    fn has_undelivered(&self) -> bool {
        self.delivered < self.out.bytes.len()
    }
}

/// The payloads of the Close frames among what an endpoint sent after its head, and how many bytes follow the first.
fn closes(role: Role, sent: &[u8]) -> (Vec<Vec<u8>>, usize) {
    let head = sent.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let mut rest = &sent[head..];
    let (mut closes, mut behind) = (Vec::new(), 0);
    while let [first, second, more @ ..] = rest {
        let (length, more) = match second & 0x7f {
            126 => (u64::from(u16::from_be_bytes(more[..2].try_into().unwrap())), &more[2..]),
            127 => (u64::from_be_bytes(more[..8].try_into().unwrap()), &more[8..]),
            length => (u64::from(length), more),
        };
        assert_eq!(second & 0x80 != 0, role == Role::Client, "only a client masks");
        assert_eq!(second & 0x7f >= 126, shortest(length) != super::wire::Form::Bits7);
        let key = if role == Role::Client { &more[..4] } else { &[0] };
        let payload = &more[if role == Role::Client { 4 } else { 0 }..][..length as usize];
        rest = &rest[payload.as_ptr_range().end as usize - rest.as_ptr() as usize..];
        if *first == CLOSE {
            closes.push(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect());
            behind = rest.len();
        }
    }
    (closes, behind)
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Send { by: usize, kind: MessageKind, length: usize },
    Ping { by: usize, length: usize },
    Deliver { by: usize, bytes: usize },
    Close { by: usize, code: u16 },
}

/// Something of about this length, and of this kind.
fn payload(kind: MessageKind, length: usize, salt: usize) -> Vec<u8> {
    match kind {
        MessageKind::Text => "aé€😀\0z".chars().cycle().skip(salt % 6).take(length).collect::<String>().into(),
        MessageKind::Binary => (0..length).map(|i| (i * 31 + salt) as u8).collect(),
    }
}

fn step() -> impl Strategy<Value = Step> {
    let length = prop_oneof![6 => 0..20_usize, 3 => 100..300_usize, 1 => 65_000..66_000_usize];
    let kind = prop_oneof![Just(MessageKind::Text), Just(MessageKind::Binary)];
    let bytes = prop_oneof![Just(1_usize), 1..200_usize, 1_000..100_000_usize];
    prop_oneof![
        4 => (0..2_usize, kind, length).prop_map(|(by, kind, length)| Step::Send { by, kind, length }),
        1 => (0..2_usize, 0..126_usize).prop_map(|(by, length)| Step::Ping { by, length }),
        6 => (0..2_usize, bytes).prop_map(|(by, bytes)| Step::Deliver { by, bytes }),
    ]
}

fn close() -> impl Strategy<Value = Step> {
    let code = prop_oneof![Just(1000_u16), Just(1001), Just(1013), 3000..5000_u16];
    (0..2_usize, code).prop_map(|(by, code)| Step::Close { by, code })
}

fn take(ends: &mut [End; 2], salt: usize, step: Step) {
    let [client, server] = ends;
    match step {
        Step::Send { by, kind, length } => ends[by].send(kind, payload(kind, length, salt)),
        Step::Ping { by, length } => ends[by].ping(&payload(MessageKind::Binary, length, salt)),
        Step::Deliver { by: 0, bytes } => client.deliver(bytes, server),
        Step::Deliver { bytes, .. } => server.deliver(bytes, client),
        Step::Close { by, code } => ends[by].close(CloseCode::try_from(code).expect("one that may be sent")),
    }
}

/// Runs all steps, closes from one side if none has, and delivers what is under way in pieces of `bytes`.
fn converse(steps: &[Step], bytes: usize, last_word: usize) -> [End; 2] {
    let mut ends = End::both();
    for (salt, &step) in steps.iter().enumerate() {
        take(&mut ends, salt, step);
    }
    let settle = |ends: &mut [End; 2]| {
        while ends[0].has_undelivered() || ends[1].has_undelivered() {
            take(ends, 0, Step::Deliver { by: 0, bytes });
            take(ends, 0, Step::Deliver { by: 1, bytes });
        }
    };
    if ends.iter().all(|end| end.session.state() != State::Closed) {
        settle(&mut ends);
    }
    take(&mut ends, 0, Step::Close { by: last_word, code: 1000 });
    settle(&mut ends);
    ends
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_one_sends_the_other_receives(
        before in prop::collection::vec(step(), 0..30),
        closing in prop::collection::vec(close(), 0..3),
        after in prop::collection::vec(step(), 0..10),
        bytes in prop_oneof![Just(1_usize), 1..50_usize, 100..9_000_usize],
        last_word in 0..2_usize,
    ) {
        let steps = [before, closing, after].concat();
        let ends = converse(&steps, bytes, last_word);
        for (this, other, role) in [(&ends[0], &ends[1], Role::Client), (&ends[1], &ends[0], Role::Server)] {
            prop_assert_eq!(this.session.state(), State::Closed);
            prop_assert_eq!(this.session.partial_bytes(), 0);
            // An endpoint that began to close may have missed messages on the way; no other one misses anything.
            prop_assert!(other.sent.starts_with(&this.received));
            prop_assert!(this.began.is_some() || other.sent == this.received);
            prop_assert!(this.pings.starts_with(&this.pongs));
            let code = other.began.or(this.began).map(CloseStatus::from);
            prop_assert!(code.is_some() && this.closed == code, "{:?} is not {:?}", this.closed, code);
            let (closes, behind) = closes(role, &this.out.bytes);
            prop_assert_eq!(closes.len(), 1, "each end sends one Close");
            prop_assert_eq!(behind, 0, "and nothing behind it");
        }
        // Where one endpoint began, both end with its code.
        if ends[0].began.is_none() || ends[1].began.is_none() {
            prop_assert_eq!(ends[0].closed, ends[1].closed);
        }
    }
}
