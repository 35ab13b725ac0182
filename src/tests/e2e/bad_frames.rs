//! What bad frames get: the close code that RFC 6455 names, then the end.

use crate::host::Local;
use crate::wire::{BINARY, CLOSE, Frame, PING, PONG, TEXT, Wire, close_body, frame, refusals_since};
use steadfast::proto::session::Limits;
use steadfast::server::{Config, Deadlines};

const CONTINUATION: u8 = 0x80;
/// Without it, a fragment is not the last of its message.
const FIN: u8 = 0x80;

/// Limits that take few bytes to exceed.
fn strict() -> Config {
    Config {
        limits: Limits { max_message_bytes: 1000, max_fragments: 4, max_control_frames_per_s: 5, ..Limits::default() },
        deadlines: Deadlines { close_s: 1, ..Deadlines::default() },
        ..Config::default()
    }
}

/// Frames that break a rule.
struct Bad {
    what: &'static str,
    bytes: Vec<u8>,
    code: u16,
}

fn bad(what: &'static str, bytes: impl Into<Vec<u8>>, code: u16) -> Bad {
    Bad { what, bytes: bytes.into(), code }
}

/// A header alone, as on the wire.
fn header(bytes: &[u8]) -> Vec<u8> {
    [bytes, &[1, 2, 3, 4]].concat()
}

fn broken_frames() -> Vec<Bad> {
    let fragments = |kinds: &[u8]| kinds.iter().flat_map(|&first| frame(first, b"x")).collect::<Vec<_>>();
    let first = TEXT & !FIN;
    vec![
        bad("unmasked text", *b"\x81\x05Hello", 1002),
        bad("unmasked close", *b"\x88\x02\x03\xe8", 1002),
        bad("RSV1", frame(TEXT | 0x40, b"x"), 1002),
        bad("RSV2", frame(BINARY | 0x20, b"x"), 1002),
        bad("RSV3 in a ping", frame(PING | 0x10, b""), 1002),
        bad("opcode 3", frame(0x83, b"x"), 1002),
        bad("opcode 7", frame(0x87, b""), 1002),
        bad("opcode 11", frame(0x8b, b""), 1002),
        bad("opcode 15", frame(0x8f, b"x"), 1002),
        bad("125 in two bytes", header(b"\x82\xfe\x00\x7d"), 1002),
        bad("65535 in eight bytes", header(b"\x82\xff\0\0\0\0\0\0\xff\xff"), 1002),
        bad("a length of 2^63", header(b"\x82\xff\x80\0\0\0\0\0\0\0"), 1002),
        bad("a ping of 126 bytes", frame(PING, &[0; 126]), 1002),
        bad("a ping in fragments", frame(PING & !FIN, b"x"), 1002),
        bad("a continuation of nothing", frame(CONTINUATION, b"x"), 1002),
        bad("a fragment of nothing", frame(0, b"x"), 1002),
        bad("a message in a message", fragments(&[first, TEXT]), 1002),
        bad("a binary one in one of text", fragments(&[first, 0, BINARY]), 1002),
        bad("a close body of one byte", frame(CLOSE, b"x"), 1002),
        bad("close code 999", frame(CLOSE, &close_body(999, b"")), 1002),
        bad("close code 1004", frame(CLOSE, &close_body(1004, b"")), 1002),
        bad("close code 1005", frame(CLOSE, &close_body(1005, b"")), 1002),
        bad("close code 1006", frame(CLOSE, &close_body(1006, b"")), 1002),
        bad("close code 1015", frame(CLOSE, &close_body(1015, b"")), 1002),
        bad("close code 2999", frame(CLOSE, &close_body(2999, b"")), 1002),
        bad("close code 5000", frame(CLOSE, &close_body(5000, b"")), 1002),
    ]
}

fn broken_text() -> Vec<Bad> {
    let first = TEXT & !FIN;
    let split = |one: &[u8], two: &[u8]| [frame(first, one), frame(CONTINUATION, two)].concat();
    vec![
        bad("a byte that UTF-8 has not", frame(TEXT, b"a\xffb"), 1007),
        bad("an overlong slash", frame(TEXT, b"\xc0\xaf"), 1007),
        bad("a surrogate", frame(TEXT, b"\xed\xa0\x80"), 1007),
        bad("beyond the last code point", frame(TEXT, b"\xf4\x90\x80\x80"), 1007),
        bad("half a character", frame(TEXT, b"\xe2\x82"), 1007),
        bad("half a character across fragments", split(b"\xe2", b"\x82"), 1007),
        bad("broken across fragments", split(b"\xe2", b"x"), 1007),
        // The message has not ended; RFC 6455 section 8.1 lets it fail at once.
        bad("broken in the first fragment", frame(first, b"\xff"), 1007),
        bad("a reason that is no text", frame(CLOSE, &close_body(1000, b"\xff")), 1007),
    ]
}

fn beyond_limits() -> Vec<Bad> {
    let first = BINARY & !FIN;
    let fragments = |count: usize, payload: &[u8]| {
        let rest = std::iter::repeat_n(frame(0, payload), count - 1).flatten();
        frame(first, payload).into_iter().chain(rest).collect::<Vec<_>>()
    };
    vec![
        bad("a frame of 1001 bytes, by its header alone", header(b"\x82\xfe\x03\xe9"), 1009),
        bad("a frame of 2^62 bytes, by its header alone", header(b"\x82\xff\x40\0\0\0\0\0\0\0"), 1009),
        bad("a message of 1001 bytes", [frame(first, &[7; 1000]), header(b"\x80\x81")].concat(), 1009),
        bad("five fragments", fragments(5, b"x"), 1008),
        bad("five empty fragments", fragments(5, b""), 1008),
    ]
}

/// Expects one Close; what follows is not answered, and the other connection is not affected.
fn assert_failed(cases: Vec<Bad>) {
    let local = Local::start(strict());
    let mut stats = Wire::connect(local.address);
    let mut neighbour = Wire::websocket(local.address);
    for case in &cases {
        // In one write with a message after it, and byte by byte without.
        for behind in [frame(TEXT, b"behind"), Vec::new()] {
            let before = stats.stats();
            let mut wire = Wire::websocket(local.address);
            let bytes = [case.bytes.clone(), behind.clone()].concat();
            let piece_bytes = if behind.is_empty() { 1 } else { bytes.len() };
            for piece in bytes.chunks(piece_bytes) {
                wire.send_if_taken(piece);
            }
            assert_eq!(wire.frame().close_code(), case.code, "{}", case.what);
            wire.assert_ended();
            let counted = vec![(format!("failed_{}", case.code), 1)];
            assert_eq!(refusals_since(&before, &stats.stats()), counted, "{}", case.what);
            neighbour.echo(case.what.as_bytes());
        }
    }
}

#[test]
fn frames_that_break_the_protocol_close_with_1002() {
    assert_failed(broken_frames());
}

#[test]
fn invalid_utf8_closes_with_1007() {
    assert_failed(broken_text());
}

#[test]
fn exceeded_limit_closes_with_1008_or_1009() {
    assert_failed(beyond_limits());
}

#[test]
fn too_many_control_frames_close_with_1008() {
    let local = Local::start(strict());
    let mut stats = Wire::connect(local.address);
    let before = stats.stats();
    let mut wire = Wire::websocket(local.address);
    // All in one segment, and so within one second of the server's clock or two: eleven exceed five in both.
    wire.send(&frame(PING, b"hey").repeat(11));
    let frames: Vec<Frame> = std::iter::from_fn(|| Some(wire.frame()).filter(|frame| frame.first != CLOSE)).collect();
    assert!((5..=10).contains(&frames.len()), "{frames:?}");
    assert!(frames.iter().all(|pong| *pong == Frame { first: PONG, payload: b"hey".to_vec() }), "{frames:?}");
    wire.assert_ended();
    assert_eq!(refusals_since(&before, &stats.stats()), [("failed_1008".to_owned(), 1)]);
}

#[test]
fn messages_at_the_limit_are_accepted() {
    let local = Local::start(strict());
    let mut wire = Wire::websocket(local.address);
    wire.echo(&[7; 1000]);
    let fragments = [frame(BINARY & !FIN, &[8; 250]), frame(0, &[8; 250]), frame(0, b""), frame(FIN, &[8; 500])];
    for (at, fragment) in fragments.iter().enumerate() {
        wire.send(fragment);
        // A ping between fragments is answered at once.
        wire.send(&frame(PING, &[at as u8; 125]));
        if at == fragments.len() - 1 {
            assert_eq!(wire.frame(), Frame { first: BINARY, payload: vec![8; 1000] });
        }
        assert_eq!(wire.frame(), Frame { first: PONG, payload: vec![at as u8; 125] });
    }
}

#[test]
fn close_is_answered_with_its_own_code() {
    let local = Local::start(strict());
    let mut stats = Wire::connect(local.address);
    let before = stats.stats();
    for (code, reason) in [(1000, "bye"), (1001, ""), (1011, ""), (3000, ""), (4999, "käse")] {
        let mut wire = Wire::websocket(local.address);
        let close = frame(CLOSE, &close_body(code, reason.as_bytes()));
        wire.send(&[frame(TEXT, b"last"), close, frame(TEXT, b"behind")].concat());
        assert_eq!(wire.frame(), Frame { first: TEXT, payload: b"last".to_vec() });
        assert_eq!(wire.frame().close_code(), code);
        wire.assert_ended();
    }
    let mut wire = Wire::websocket(local.address);
    wire.send(&frame(CLOSE, b""));
    assert_eq!(wire.frame(), Frame { first: CLOSE, payload: Vec::new() });
    wire.assert_ended();
    assert_eq!(refusals_since(&before, &stats.stats()), []);
}
