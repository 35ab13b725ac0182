//! What is published to receivers that agreed upon different windows, or upon none, and what each gets of it.

use crate::host::Local;
use crate::inflate::Naive;
use crate::rig::{say, single, text, upgrade_at, websocket_at};
use crate::wire::{PATIENCE, Wire, frame};
use std::net::SocketAddr;
use std::time::Instant;
use steadfast::client::{self, Client, Heard};
use steadfast::proto::extension::Compression;
use steadfast::proto::session::MessageKind;
use steadfast::proto::upgrade::Policy;
use steadfast::server::{Config, Handler, Message, Peer, Request, Server};

const BYTES: usize = 5_000;

/// Where a message repeats itself: farther than the smallest window reaches, and not than the others do.
const PERIOD: usize = 2_500;

const WHOLE: u8 = 0x81;
const COMPRESSED: u8 = 0xc1;

/// All hear what one says, and what the server says to one.
struct Square;

impl Handler for Square {
    fn opened(&mut self, peer: &mut Peer, _request: &Request) {
        peer.subscribe("square");
    }

    fn message(&mut self, peer: &mut Peer, message: Message) {
        if let Some(number) = message.text().and_then(|text| text.parse().ok()) {
            peer.publish("square", &compressible(number));
        }
        // What is sent to one goes through the window that the next publication finds.
        peer.send(message);
    }
}

/// Text that repeats itself at once, and all of that once more from afar; another text for each number.
fn compressible(number: usize) -> String {
    let mut state = number as u32 + 1;
    let letters = std::iter::repeat_with(|| {
        // Numerical Recipes, "quick and dirty generators"; the high bits are good enough.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from(b'a' + (state >> 24) as u8 % 16)
    });
    let letters: Vec<char> = letters.take(PERIOD / 2).collect();
    let period: String = letters.chunks(10).map(|word| word.iter().collect::<String>().repeat(2)).collect();
    let text = period.repeat(BYTES / PERIOD);
    assert_eq!(text.len(), BYTES);
    text
}

fn serve(reactors: usize, context_takeover: bool) -> Local {
    let compression = Compression { context_takeover, max_window_bits: 15, ..Compression::default() };
    let upgrade = Policy { compression: Some(compression), ..Policy::default() };
    let server = Server::from(Config { reactors: Some(reactors), upgrade, ..single() });
    Local::serve(server.route("/", || Square))
}

/// A receiver that reads by hand.
struct Receiver {
    wire: Wire,
    /// The bits of the window that was agreed upon; `None` without compression.
    bits: Option<u32>,
    takes_over: bool,
    window: Naive,
}

impl Receiver {
    fn offering(address: SocketAddr, offer: &str) -> Self {
        let mut wire = Wire::connect(address);
        let field = format!("Sec-WebSocket-Extensions: {offer}\r\n");
        wire.send(upgrade_at("/", if offer.is_empty() { "" } else { &field }).as_bytes());
        let answer = wire.answer_without_body();
        assert_eq!(answer.status, 101, "{answer:?}");
        let agreed = answer.field("Sec-WebSocket-Extensions");
        let says = |name: &str| agreed.is_some_and(|agreed| agreed.contains(name));
        let bits = agreed.and_then(|agreed| agreed.split("server_max_window_bits=").nth(1));
        let bits = bits.and_then(|bits| bits.split(';').next()).map_or(15, |bits| bits.parse().expect("bits"));
        let takes_over = agreed.is_some() && !says("server_no_context_takeover");
        Self { wire, bits: agreed.map(|_| bits), takes_over, window: Naive::default() }
    }

    /// The next message, whether it came compressed, and in how many bytes.
    fn text(&mut self) -> (String, bool, usize) {
        let frame = self.wire.frame();
        let bytes = frame.payload.len();
        if frame.first == WHOLE {
            return (String::from_utf8(frame.payload).expect("text"), false, bytes);
        }
        assert_eq!(frame.first, COMPRESSED);
        let bits = self.bits.expect("compression was agreed upon");
        if !self.takes_over {
            self.window = Naive::default();
        }
        let text = self.window.message(&frame.payload).expect("what can be inflated");
        assert!(
            self.window.farthest <= 1 << bits,
            "a match beyond the window: {} of {bits} bits",
            self.window.farthest
        );
        (String::from_utf8(text).expect("text"), true, bytes)
    }
}

/// What clients offer, and the bits of the window that the server has then.
const OFFERS: [(&str, Option<u32>); 7] = [
    ("", None),
    ("permessage-deflate; server_max_window_bits=8", Some(8)),
    ("permessage-deflate; server_max_window_bits=9", Some(9)),
    ("permessage-deflate; server_max_window_bits=12; client_max_window_bits", Some(12)),
    ("permessage-deflate; client_max_window_bits", Some(15)),
    ("permessage-deflate; server_no_context_takeover; server_max_window_bits=10", Some(10)),
    ("permessage-deflate; server_max_window_bits=9; server_max_window_bits=9", None),
];

fn assert_all_get_it(reactors: usize, context_takeover: bool) {
    let local = serve(reactors, context_takeover);
    // Three of each kind, so that some share what was compressed, over all reactors.
    let mut receivers: Vec<Receiver> = (0..3 * OFFERS.len())
        .map(|at| {
            let (offer, bits) = OFFERS[at % OFFERS.len()];
            let receiver = Receiver::offering(local.address, offer);
            assert_eq!(receiver.bits, bits, "{offer:?}");
            let keeps = context_takeover && bits.is_some() && !offer.contains("no_context_takeover");
            assert_eq!(receiver.takes_over, keeps, "{offer:?}");
            receiver
        })
        .collect();
    let mut speaker = websocket_at(local.address, "/");
    for number in 0..10 {
        say(&mut speaker, &number.to_string());
        assert_eq!(text(&mut speaker), number.to_string());
        let expected = compressible(number);
        assert_eq!(text(&mut speaker), expected);
        for receiver in &mut receivers {
            let (heard, compressed, bytes) = receiver.text();
            assert!(heard == expected, "message {number} is not what was published");
            assert_eq!(compressed, receiver.bits.is_some());
            // Half of it each window reaches back for, and half of the rest the large ones alone.
            let most = match receiver.bits {
                None => BYTES,
                Some(..=11) => BYTES * 7 / 10,
                Some(_) => BYTES * 4 / 10,
            };
            assert!(bytes <= most, "{bytes} bytes with {:?} bits", receiver.bits);
        }
    }
}

#[test]
fn all_get_what_is_published_whatever_window_they_agreed_upon() {
    assert_all_get_it(1, false);
}

#[test]
fn all_get_what_is_published_at_all_reactors_whatever_window_they_agreed_upon() {
    assert_all_get_it(3, false);
}

#[test]
fn all_get_what_is_published_though_some_keep_a_window_of_their_own() {
    assert_all_get_it(1, true);
    assert_all_get_it(3, true);
}

#[test]
fn what_is_sent_to_one_and_published_to_all_goes_through_one_window() {
    let local = serve(1, true);
    let mut receiver = Receiver::offering(local.address, "permessage-deflate; server_max_window_bits=15");
    let mut speaker = websocket_at(local.address, "/");
    let long = compressible(99);
    for number in 0..3 {
        // To it alone, to all, to it alone: each finds what was said before.
        receiver.wire.send(&frame(WHOLE, long.as_bytes()));
        let (heard, compressed, bytes) = receiver.text();
        assert!(heard == long && compressed && (number == 0 || bytes < BYTES / 8), "{bytes} bytes");
        say(&mut speaker, "1");
        assert_eq!(text(&mut speaker), "1");
        let (heard, compressed, bytes) = receiver.text();
        assert!(heard == compressible(1) && compressed && (number == 0 || bytes < BYTES / 8), "{bytes} bytes");
        assert_eq!(text(&mut speaker), heard);
        // One that is too short to be compressed leaves the window as it is.
        receiver.wire.send(&frame(WHOLE, b"short"));
        assert_eq!(receiver.text(), ("short".into(), false, 5));
    }
    // As far back as only a window that is kept reaches.
    assert!(receiver.window.farthest > BYTES, "{}", receiver.window.farthest);
}

/// The next text of a client of this library.
fn heard(client: &mut Client) -> String {
    let since = Instant::now();
    while since.elapsed() < PATIENCE {
        match client.receive(PATIENCE) {
            Some(Heard::Message(MessageKind::Text, text)) => return String::from_utf8(text).expect("text"),
            Some(Heard::Ping(_)) => {}
            other => panic!("{other:?} instead of a message"),
        }
    }
    panic!("no message");
}

#[test]
fn clients_of_this_library_get_what_is_published_as_they_agreed() {
    for context_takeover in [false, true] {
        let local = serve(2, context_takeover);
        let url = format!("ws://{}/", local.address);
        let offers = [None, Some((false, 15)), Some((true, 9)), Some((true, 10)), Some((true, 12)), Some((true, 15))];
        let mut clients: Vec<Client> = offers
            .iter()
            .cycle()
            .take(12)
            .map(|offer| {
                let mut config = client::Config::to(url.parse().expect("a URL"));
                config.compression = offer.map(|(context_takeover, max_window_bits)| Compression {
                    context_takeover,
                    max_window_bits,
                    ..Compression::default()
                });
                let client = Client::connect(&config).expect("a connection");
                let agreed = client.compression();
                assert_eq!(agreed.is_on(), offer.is_some());
                if let Some((takes_over, bits)) = offer {
                    assert_eq!(agreed.peer_takeover(), *takes_over && context_takeover, "{agreed:?}");
                    assert_eq!(agreed.peer_window_bits(), *bits, "{agreed:?}");
                }
                client
            })
            .collect();
        let mut speaker = websocket_at(local.address, "/");
        for number in 0..10 {
            say(&mut speaker, &number.to_string());
            assert_eq!(text(&mut speaker), number.to_string());
            let expected = compressible(number);
            assert_eq!(text(&mut speaker), expected);
            for client in &mut clients {
                assert!(heard(client) == expected, "with {:?}", client.compression());
            }
        }
    }
}
