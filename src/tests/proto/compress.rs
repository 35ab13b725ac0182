//! Compressed messages as they are sent, RFC 7692 section 7.2.1: inflated by hand, and received by the other end.

use super::feed::output;
use super::inflate::Naive;
use super::wire::{BINARY, CLOSE, PING, TEXT};
use proptest::prelude::*;
use steadfast::proto::close::{CloseCode, Fault};
use steadfast::proto::deflate::Deflate;
use steadfast::proto::extension::Compression;
use steadfast::proto::frame::{self, Role};
use steadfast::proto::mask;
use steadfast::proto::session::{Event, Limits, MessageKind, Output, Session};
use steadfast::proto::upgrade::{self, ClientHandshake, Policy};

const RSV1: u8 = 0x40;

type Message = (MessageKind, Vec<u8>);

/// One end: its session, and what went through it.
struct End {
    session: Session,
    out: Output,
    buffer: Vec<u8>,
    limits: Limits,
    /// How much of `out.bytes` the other end has been given.
    delivered: usize,
    sent: Vec<Message>,
    received: Vec<Message>,
    failed: Option<Fault>,
}

impl End {
    fn new(session: Session, mut out: Output, settings: &Compression) -> Self {
        out.deflate = Deflate::new(settings);
        let (buffer, sent, received) = (Vec::new(), Vec::new(), Vec::new());
        Self { session, out, buffer, limits: Limits::default(), delivered: 0, sent, received, failed: None }
    }

    fn send(&mut self, kind: MessageKind, payload: &[u8]) {
        assert!(self.session.send(kind, payload, &mut self.out));
        self.sent.push((kind, payload.to_vec()));
    }

    /// The other end is given at most `bytes` of what this one sent.
    fn deliver(&mut self, bytes: usize, to: &mut Self, policy: &Policy) {
        let end = self.out.bytes.len().min(self.delivered.saturating_add(bytes));
        let mut piece = self.out.bytes[self.delivered..end].to_vec();
        self.delivered = end;
        to.receive(&mut piece, policy);
    }

    fn receive(&mut self, piece: &mut [u8], policy: &Policy) {
        let mut at = 0;
        while at < piece.len() {
            let Self { session, out, buffer, limits, .. } = self;
            let (consumed, event) = session.receive(&mut piece[at..], buffer, limits, out);
            at += consumed;
            match event {
                Event::Request(request) => {
                    session.accept(&upgrade::check_request(&request, policy).unwrap(), out);
                }
                Event::Message(kind, payload) => self.received.push((kind, payload.to_vec())),
                Event::Failed(fault) => self.failed = Some(fault),
                Event::NeedMore | Event::Opened(_) | Event::Ping(_) | Event::Closed(..) => {}
                event => panic!("{event:?}"),
            }
        }
    }

    /// What has been sent since the last time: first byte and payload of each frame, unmasked.
    fn frames(&self, from: usize) -> Vec<(u8, Vec<u8>)> {
        let mut rest = &self.out.bytes[from..];
        let mut found = Vec::new();
        while !rest.is_empty() {
            let header = frame::parse(rest).expect("a whole header");
            assert_eq!(header.mask.is_some(), self.session.role() == Role::Client, "only a client masks");
            let (payload, behind) = rest[header.header_bytes..].split_at(header.payload_bytes as usize);
            let mut payload = payload.to_vec();
            mask::apply_naive(&mut payload, header.mask.unwrap_or_default());
            found.push((header.first, payload));
            rest = behind;
        }
        found
    }
}

/// A client and a server that have agreed, and forgotten how.
fn open(client: &Compression, server: &Compression) -> [End; 2] {
    let policy = Policy { compression: Some(*server), ..Policy::default() };
    let mut out = output();
    let opening = ClientHandshake { host: "h", path: "/", compression: Some(client), ..ClientHandshake::default() };
    let session = Session::websocket_client(&opening, &mut out);
    let mut client = End::new(session, out, client);
    let mut server = End::new(Session::server(), output(), server);
    client.deliver(usize::MAX, &mut server, &policy);
    server.deliver(usize::MAX, &mut client, &policy);
    for end in [&mut client, &mut server] {
        assert!(end.session.compression().is_on());
        end.out.bytes.clear();
        end.delivered = 0;
    }
    [client, server]
}

fn settings(context_takeover: bool, max_window_bits: u8) -> Compression {
    Compression { context_takeover, max_window_bits, level: 1, min_message_bytes: 1 }
}

/// Delivers all that is under way, in pieces.
fn settle([client, server]: &mut [End; 2], bytes: usize) {
    let policy = Policy::default();
    while client.delivered < client.out.bytes.len() || server.delivered < server.out.bytes.len() {
        client.deliver(bytes, server, &policy);
        server.deliver(bytes, client, &policy);
    }
}

/// Bytes without any pattern.
fn noise(length: usize, salt: u32) -> Vec<u8> {
    let mut state = salt.wrapping_mul(0x9e37_79b1) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 11) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// Noise that comes again and again, `period` bytes later.
fn periodic(period: usize, length: usize, salt: u32) -> Vec<u8> {
    noise(period, salt).into_iter().cycle().take(length).collect()
}

/// All that an end sent is what was given to it, by an inflater that has seen nothing else; and no match looks further
/// back than was agreed upon.
fn check_sent(end: &End) {
    let agreed = end.session.compression();
    let mut naive = Naive::default();
    let frames = end.frames(0);
    assert_eq!(frames.len(), end.sent.len());
    for ((first, payload), (kind, message)) in frames.iter().zip(&end.sent) {
        assert_eq!(first & !RSV1, if *kind == MessageKind::Text { TEXT } else { BINARY });
        if first & RSV1 == 0 {
            assert!(payload == message, "a plain message is another one");
            continue;
        }
        if !agreed.own_takeover() {
            naive = Naive::default();
        }
        let inflated = naive.message(payload).unwrap_or_else(|error| panic!("{error}: {agreed:?}"));
        assert!(inflated == *message, "{} bytes are not {}: {agreed:?}", inflated.len(), message.len());
        assert!(naive.farthest <= 1 << agreed.own_window_bits(), "{} back: {agreed:?}", naive.farthest);
        assert!(agreed.own_takeover() || payload.len() < message.len(), "longer, and sent like that");
    }
}

#[test]
fn no_match_looks_back_further_than_the_window() {
    for level in 1..=9 {
        for bits in 8..=15 {
            for takeover in [false, true] {
                let ours = Compression { level, ..settings(takeover, bits) };
                let mut ends = open(&ours, &ours);
                for end in &mut ends {
                    assert_eq!(end.session.compression().own_window_bits(), bits);
                    for period in [1, 100, 249, 250, 251, 256, 257, 300, 511, 600, 1_024, 5_000] {
                        end.send(MessageKind::Binary, &periodic(period, 3 * period.min(700), period as u32));
                        end.send(MessageKind::Binary, &periodic(period, period + 200, period as u32));
                    }
                    let far = periodic(1 << bits, (1 << bits) + 500, 7);
                    end.send(MessageKind::Binary, &far);
                    check_sent(end);
                }
            }
        }
    }
}

/// It would be kept in vain if nothing looked back into it.
#[test]
fn a_window_that_is_kept_is_used() {
    for (takeover, bits) in [(true, 10), (true, 15), (false, 15)] {
        for level in [1, 6, 9] {
            let ours = Compression { level, ..settings(takeover, bits) };
            let [mut client, _] = open(&ours, &ours);
            let text: Vec<u8> = noise(400, 3).iter().map(|byte| b'a' + byte % 26).collect();
            client.send(MessageKind::Text, &text);
            client.send(MessageKind::Text, &text);
            let frames = client.frames(0);
            let (first, second) = (frames[0].1.len(), frames[1].1.len());
            assert_eq!(second < 40, takeover, "{second} after {first}");
            check_sent(&client);
        }
    }
}

#[test]
fn short_messages_go_out_as_they_are() {
    for takeover in [false, true] {
        let ours = Compression { min_message_bytes: 100, ..settings(takeover, 15) };
        for mut end in open(&ours, &ours) {
            for length in [0, 1, 99, 100, 101, 1_000] {
                let from = end.out.bytes.len();
                end.send(MessageKind::Text, &vec![b'x'; length]);
                let frames = end.frames(from);
                assert_eq!(frames.len(), 1);
                assert_eq!(frames[0].0, if length < 100 { TEXT } else { TEXT | RSV1 }, "{length} bytes");
            }
            // Nor has an empty one anything to compress, whatever the least is.
            end.out.deflate = Deflate::new(&Compression { min_message_bytes: 0, ..ours });
            let from = end.out.bytes.len();
            end.send(MessageKind::Binary, b"");
            assert_eq!(end.frames(from), [(BINARY, vec![])]);
            check_sent(&end);
        }
    }
}

#[test]
fn what_gets_no_shorter_goes_out_as_it_is() {
    for length in [1, 2, 5, 100, 3_000, 70_000] {
        let bytes = noise(length, length as u32);
        for mut end in open(&settings(false, 12), &settings(false, 12)) {
            end.send(MessageKind::Binary, &bytes);
            assert_eq!(end.frames(0), [(BINARY, bytes.clone())], "{length} bytes");
        }
        // The other end has to see what went into a window that is kept.
        for mut end in open(&settings(true, 12), &settings(true, 12)) {
            end.send(MessageKind::Binary, &bytes);
            end.send(MessageKind::Binary, &bytes[..length.min(500)]);
            assert_eq!(end.frames(0)[0].0, BINARY | RSV1, "{length} bytes");
            check_sent(&end);
        }
    }
}

#[test]
fn only_messages_are_compressed() {
    for mut end in open(&settings(true, 15), &settings(true, 15)) {
        assert!(end.session.ping(&[b'p'; 125], &mut end.out));
        assert!(end.session.send_plain(MessageKind::Text, &[b'x'; 500], &mut end.out));
        end.session.close(CloseCode::NORMAL, &"r".repeat(100), &mut end.out);
        assert!(!end.session.send(MessageKind::Text, b"too late", &mut end.out));
        let firsts: Vec<u8> = end.frames(0).into_iter().map(|(first, _)| first).collect();
        assert_eq!(firsts, [PING, TEXT, CLOSE]);
    }
}

/// A receiver's limit is one of messages, not of what a compressor makes of those that it can do nothing with.
#[test]
fn a_message_at_the_limit_arrives() {
    for takeover in [false, true] {
        for bits in [8, 15] {
            for bytes in [1_000_usize, 10_000, 100_000] {
                let mut ends = open(&settings(takeover, bits), &settings(takeover, bits));
                for end in &mut ends {
                    end.limits.max_message_bytes = bytes as u64;
                    end.send(MessageKind::Binary, &noise(bytes, 5));
                    end.send(MessageKind::Text, &vec![b'x'; bytes]);
                }
                settle(&mut ends, 1_460);
                let [client, server] = ends;
                assert!(client.failed.is_none() && server.failed.is_none(), "{:?}, {:?}", client.failed, server.failed);
                assert!(server.received == client.sent && client.received == server.sent);
            }
        }
    }
}

/// Where no window is kept, a connection owns nothing between its messages, whichever way they went.
#[test]
fn an_idle_session_without_windows_owns_nothing() {
    for cut in [1, 7, 1_000, usize::MAX] {
        let mut ends = open(&settings(false, 15), &settings(false, 15));
        for round in 0..3 {
            for end in &mut ends {
                end.send(MessageKind::Text, &[b'x'; 3_000]);
                end.send(MessageKind::Binary, &noise(300, round));
            }
            settle(&mut ends, cut);
            for end in &ends {
                assert_eq!((end.session.has_partial(), end.session.partial_bytes()), (false, 0));
                assert_eq!(end.received.len(), 2 * (round as usize + 1));
            }
        }
    }
}

/// Nor does one that may keep a window, and has not had anything to put into it.
#[test]
fn a_session_that_compressed_nothing_owns_nothing() {
    let ours = Compression { min_message_bytes: 100, ..settings(true, 15) };
    let mut ends = open(&ours, &ours);
    for end in &mut ends {
        end.send(MessageKind::Text, b"short");
        assert_eq!((end.session.has_partial(), end.session.partial_bytes()), (false, 0));
    }
    settle(&mut ends, usize::MAX);
    for end in &ends {
        assert_eq!((end.session.has_partial(), end.session.partial_bytes()), (false, 0));
    }
}

fn any_settings() -> impl Strategy<Value = Compression> {
    let least = prop_oneof![Just(0_usize), Just(1), Just(60)];
    (any::<bool>(), 8..=15_u8, 1..=9_u8, least).prop_map(
        |(context_takeover, max_window_bits, level, min_message_bytes)| Compression {
            context_takeover,
            max_window_bits,
            level,
            min_message_bytes,
        },
    )
}

/// Text or bytes, by their likeness to what compresses well, badly, and over a distance.
fn message() -> impl Strategy<Value = Message> {
    let length = prop_oneof![6 => 0..80_usize, 4 => 80..1_500_usize, 1 => 1_500..40_000_usize];
    (0..4_usize, length, 1..2_000_usize, any::<u32>()).prop_map(|(shape, length, period, salt)| match shape {
        0 => {
            (MessageKind::Text, "aé€😀 z".chars().cycle().skip(period % 6).take(length / 2).collect::<String>().into())
        }
        1 => (MessageKind::Text, noise(length, salt % 4).iter().map(|byte| b' ' + byte % 64).collect()),
        2 => (MessageKind::Binary, noise(length, salt % 4)),
        _ => (MessageKind::Binary, periodic(period, length, salt % 4)),
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_one_compresses_the_other_receives(
        client in any_settings(),
        server in any_settings(),
        messages in prop::collection::vec((0..2_usize, message(), 0..3_000_usize), 0..16),
        bytes in prop_oneof![1 => Just(1_usize), 3 => 2..60_usize, 3 => 100..9_000_usize, 1 => Just(usize::MAX)],
    ) {
        let mut ends = open(&client, &server);
        let policy = Policy::default();
        for (by, (kind, payload), some) in messages {
            ends[by].send(kind, &payload);
            let [client, server] = &mut ends;
            let (from, to) = if by == 0 { (client, server) } else { (server, client) };
            from.deliver(some, to, &policy);
        }
        settle(&mut ends, bytes);
        let [client, server] = &ends;
        for (this, other) in [(client, server), (server, client)] {
            prop_assert_eq!(this.failed, None);
            prop_assert!(this.received == other.sent, "{:?}", this.session.compression());
            check_sent(this);
            let agreed = this.session.compression();
            if !agreed.own_takeover() && !agreed.peer_takeover() {
                prop_assert_eq!(this.session.partial_bytes(), 0);
            }
        }
    }
}
