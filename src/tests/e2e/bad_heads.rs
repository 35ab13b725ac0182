//! What bad heads get: the status that the issue names, `Connection: close`, and nothing more.

use crate::host::{Local, quick};
use crate::wire::{PATIENCE, TEXT, UPGRADE, Wire, frame, refusals_since};
use std::io::ErrorKind;
use std::time::{Duration, Instant};
use steadfast::server::{Config, Deadlines};

const GET_STATS: &[u8] = b"GET /stats HTTP/1.1\r\nHost: a\r\n\r\n";

/// A request that is refused, and how.
struct Bad {
    what: &'static str,
    request: String,
    status: u16,
    /// What the answer has to name.
    field: Option<(&'static str, &'static str)>,
}

fn bad(what: &'static str, request: impl Into<String>, status: u16) -> Bad {
    Bad { what, request: request.into(), status, field: None }
}

/// The upgrade with one line of it replaced.
fn upgrade(from: &str, to: &str) -> String {
    assert!(UPGRADE.contains(from));
    UPGRADE.replace(from, to)
}

fn not_requests() -> Vec<Bad> {
    let long = "x".repeat(20 << 10);
    let fields: String = (0..101).map(|number| format!("X-{number}: 1\r\n")).collect();
    vec![
        bad("words", "hello, how are you?\r\n\r\n", 400),
        bad("a TLS greeting", "\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03\r\n", 400),
        bad("no version", "GET /\r\n\r\n", 400),
        bad("line ends without CR", "GET / HTTP/1.1\nHost: a\n\n", 400),
        bad("a field that is none", "GET / HTTP/1.1\r\nHost a\r\n\r\n", 400),
        bad("HTTP/1.1 without Host", "GET / HTTP/1.1\r\n\r\n", 400),
        bad("two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        bad("a version to come", "GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505),
        bad("an endless request line", format!("GET /{long}"), 414),
        bad("a long request line", format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", &long[..8 << 10]), 414),
        bad("an endless field", format!("GET / HTTP/1.1\r\nX: {long}"), 431),
        bad("endless fields", format!("GET / HTTP/1.1\r\n{}", "X: 0123456789\r\n".repeat(1200)), 431),
        bad("more than 100 fields", format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"), 431),
    ]
}

fn not_upgrades() -> Vec<Bad> {
    let key = "dGhlIHNhbXBsZSBub25jZQ==";
    let needed = Some(("Upgrade", "websocket"));
    let version = Some(("Sec-WebSocket-Version", "13"));
    let allowed = Some(("Allow", "GET, HEAD, OPTIONS, POST"));
    let plain_echo = "GET /echo HTTP/1.1\r\nHost: a\r\n\r\n";
    vec![
        Bad { field: needed, ..bad("no upgrade where one is needed", plain_echo, 426) },
        Bad { field: needed, ..bad("another upgrade", upgrade("Upgrade: websocket", "Upgrade: h2c"), 426) },
        Bad { field: needed, ..bad("not by Connection", upgrade("Connection: Upgrade\r\n", ""), 426) },
        Bad { field: version, ..bad("an old version", upgrade("Version: 13", "Version: 8"), 426) },
        Bad { field: version, ..bad("no version", upgrade("Sec-WebSocket-Version: 13\r\n", ""), 426) },
        bad("no key", upgrade(&format!("Sec-WebSocket-Key: {key}\r\n"), ""), 400),
        bad("a short key", upgrade(key, "dGhlIHNhbXBsZQ=="), 400),
        bad("a long key", upgrade(key, "dGhlIHNhbXBsZSBub25jZSEhIQ=="), 400),
        bad("a key that is no base64", upgrade(key, "dGhlIHNhbXBsZSBub25j%Q=="), 400),
        bad("two keys", upgrade("Upgrade: w", &format!("Sec-WebSocket-Key: {key}\r\nUpgrade: w")), 400),
        Bad { field: needed, ..bad("an upgrade by HTTP/1.0", upgrade("HTTP/1.1", "HTTP/1.0"), 426) },
        bad("an upgrade with a body", upgrade("Upgrade: w", "Content-Length: 3\r\nUpgrade: w"), 400),
        bad("a foreign page", upgrade("Upgrade: w", "Origin: http://b\r\nUpgrade: w"), 403),
        bad("an unknown path", upgrade("/echo", "/nothing"), 404),
        Bad { field: allowed, ..bad("another method", upgrade("GET", "POST"), 405) },
        Bad { field: allowed, ..bad("yet another method", upgrade("GET", "PUT"), 405) },
        bad("a method that nobody knows", "FETCH / HTTP/1.1\r\nHost: a\r\n\r\n", 501),
    ]
}

/// Expects one refusal; what follows the request is not answered, and the other connection is not affected.
fn assert_refused(local: &Local, cases: Vec<Bad>) {
    let mut stats = Wire::connect(local.address);
    let mut neighbour = Wire::websocket(local.address);
    for case in cases {
        let before = stats.stats();
        let mut wire = Wire::connect(local.address);
        let mut bytes = case.request.clone().into_bytes();
        // Behind one that has no end, all would be part of it.
        if case.request.ends_with("\r\n\r\n") {
            bytes.extend([GET_STATS, &frame(TEXT, b"behind")].concat());
        }
        wire.send_if_taken(&bytes);
        let answer = wire.answer();
        assert_eq!((answer.status, answer.closes()), (case.status, true), "{}: {answer:?}", case.what);
        if let Some((name, value)) = case.field {
            assert_eq!(answer.field(name), Some(value), "{}: {answer:?}", case.what);
        }
        wire.send_if_taken(GET_STATS);
        wire.assert_ended();
        let counted = vec![(format!("refused_{}", case.status), 1)];
        assert_eq!(refusals_since(&before, &stats.stats()), counted, "{}", case.what);
        neighbour.echo(case.what.as_bytes());
    }
}

#[test]
fn malformed_request_is_refused() {
    assert_refused(&Local::start(quick()), not_requests());
}

#[test]
fn malformed_upgrade_is_refused() {
    assert_refused(&Local::start(quick()), not_upgrades());
}

#[test]
fn upgrade_on_a_plain_route_closes() {
    let local = Local::start(quick());
    let mut wire = Wire::connect(local.address);
    wire.send(&[upgrade("/echo", "/stats").as_bytes(), GET_STATS].concat());
    let answer = wire.answer();
    assert!(answer.status != 101 && answer.closes(), "{}", answer.head);
    wire.assert_ended();
}

#[test]
fn garbage_is_refused_at_the_first_invalid_byte() {
    let local = Local::start(quick());
    let mut wire = Wire::connect(local.address);
    // No end of a line, let alone of a head.
    for byte in b"GET \x01" {
        wire.send(&[*byte]);
    }
    assert_eq!(wire.answer().status, 400);
    wire.assert_ended();
}

#[test]
fn limits_of_a_head_are_exact() {
    let local = Local::start(quick());
    let line = |bytes: usize| format!("GET /{} HTTP/1.1\r\n", "x".repeat(bytes - "GET / HTTP/1.1\r\n".len()));
    let head = |bytes: usize| {
        let start = "GET / HTTP/1.1\r\nHost: a\r\nX: ";
        format!("{start}{}\r\n\r\n", "x".repeat(bytes - start.len() - 4))
    };
    let cases = [
        (format!("{}Host: a\r\n\r\n", line(8 << 10)), 404),
        (format!("{}Host: a\r\n\r\n", line((8 << 10) + 1)), 414),
        (head(16 << 10), 200),
        (head((16 << 10) + 1), 431),
    ];
    for (request, status) in cases {
        // Whole, and in pieces that end nowhere in particular.
        for piece_bytes in [request.len(), 997] {
            let mut wire = Wire::connect(local.address);
            for piece in request.as_bytes().chunks(piece_bytes) {
                wire.send_if_taken(piece);
            }
            let answer = wire.answer();
            assert_eq!((answer.status, answer.closes()), (status, status > 404), "{} bytes", request.len());
        }
    }
}

fn hasty() -> Config {
    Config { deadlines: Deadlines { head_s: 2, close_s: 1, ..Deadlines::default() }, ..Config::default() }
}

/// Sends `piece` again and again, until an answer or the end comes.
fn drip(wire: &mut Wire, piece: &[u8]) {
    let began = Instant::now();
    wire.socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout");
    loop {
        wire.send_if_taken(piece);
        match wire.socket.peek(&mut [0]) {
            Err(error) if error.kind() != ErrorKind::ConnectionReset => {}
            _ => break,
        }
        assert!(began.elapsed() < PATIENCE, "no answer to a head that never ends");
    }
    wire.socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
}

#[test]
fn head_that_does_not_end_is_answered_408_and_one_that_never_begins_is_not() {
    let local = Local::start(hasty());
    let mut stats = Wire::connect(local.address);
    let before = stats.stats();
    let mut neighbour = Wire::websocket(local.address);
    let mut silent = Wire::connect(local.address);
    let mut half = Wire::connect(local.address);
    half.send(b"GET / HTTP/1.1\r\nHo");
    // Between two requests another deadline runs; within the second one it is this.
    let mut second = Wire::connect(local.address);
    second.send(&[GET_STATS, b"GET / HT"].concat());
    assert_eq!(second.answer().status, 200);
    silent.assert_ended();
    for wire in [&mut half, &mut second] {
        let answer = wire.answer();
        assert_eq!((answer.status, answer.closes()), (408, true));
        wire.assert_ended();
    }
    let after = stats.stats_until("three deadlines", |stats| stats["counters"]["ended_by_deadline"] == 3);
    assert_eq!(refusals_since(&before, &after), [("refused_408".to_owned(), 2)]);
    neighbour.echo(b"still here");
}

#[test]
fn head_deadline_covers_the_whole_head() {
    let local = Local::start(hasty());
    let mut neighbour = Wire::websocket(local.address);
    let mut slow = Wire::connect(local.address);
    slow.send(b"GET / HTTP/1.1\r\nX: ");
    drip(&mut slow, b"x");
    assert_eq!(slow.answer().status, 408);
    // Empty lines are ignored, and so buy no time either.
    let mut empty = Wire::connect(local.address);
    drip(&mut empty, b"\r\n");
    empty.assert_gone();
    neighbour.echo(b"still here");
}
