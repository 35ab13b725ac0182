//! Bodies of requests: the echo returns them, and their size and pace have limits.

use crate::host::{Local, Serve, quick};
use crate::wire::{PATIENCE, TEXT, UPGRADE, Wire, frame, refusals_since};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use steadfast::proto::session::Limits;
use steadfast::server::{Config, Deadlines};

const GET_STATS: &str = "GET /stats HTTP/1.1\r\nHost: a\r\n\r\n";
const LIMIT: usize = 1 << 20;

/// A request with `lines` as further fields, and what follows its head.
pub(crate) fn request(line: &str, lines: &str, body: &[u8]) -> Vec<u8> {
    [format!("{line} HTTP/1.1\r\nHost: a\r\n{lines}\r\n").as_bytes(), body].concat()
}

pub(crate) fn post(body: &[u8]) -> Vec<u8> {
    request("POST /echo", &format!("Content-Length: {}\r\n", body.len()), body)
}

/// A POST in chunks of these lengths.
fn chunked(body: &[u8], lengths: &[usize]) -> Vec<u8> {
    let mut framed = Vec::new();
    let mut rest = body;
    for length in lengths.iter().cycle() {
        let (chunk, behind) = rest.split_at(rest.len().min(*length));
        framed.extend(format!("{:x}\r\n", chunk.len()).as_bytes());
        framed.extend(chunk);
        framed.extend(b"\r\n");
        if chunk.is_empty() {
            break;
        }
        rest = behind;
    }
    request("POST /echo", "Transfer-Encoding: chunked\r\n", &framed)
}

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 7 + at / 256) as u8).collect()
}

fn with_limit(max_body_bytes: u64) -> Config {
    Config { limits: Limits { max_body_bytes, ..Limits::default() }, ..quick() }
}

pub(crate) fn hasty(min_body_bytes_per_s: u32, head_s: u32) -> Config {
    let deadlines = Deadlines { head_s, min_body_bytes_per_s, close_s: 1, ..Deadlines::default() };
    Config { deadlines, ..Config::default() }
}

fn assert_echoed(wire: &mut Wire, body: &[u8]) {
    let answer = wire.answer();
    assert_eq!((answer.status, answer.closes()), (200, false), "{}", answer.head);
    assert_eq!(answer.field("Content-Type"), Some("application/octet-stream"));
    assert!(answer.body == body, "{} bytes of {} came back, or others", answer.body.len(), body.len());
}

#[test]
fn body_is_echoed_and_the_connection_stays_open() {
    let local = Local::start(quick());
    let mut wire = Wire::connect(local.address);
    for length in [0, 1, 2, 4096, 65_536, 100_000, LIMIT] {
        let body = bytes(length);
        for request in [post(&body), chunked(&body, &[65_536]), chunked(&body, &[1000, 7, 30_000])] {
            wire.send(&request);
            assert_echoed(&mut wire, &body);
        }
        assert_eq!(wire.stats()["server"], "steadfast");
    }
    wire.upgrade();
    wire.echo(b"and now a WebSocket");
}

#[test]
fn pipelined_bodies_are_answered_in_order() {
    let local = Local::start(quick());
    let mut wire = Wire::connect(local.address);
    let bodies: Vec<Vec<u8>> = (0..40).map(|at| bytes(at * at * 3)).collect();
    let pipeline: Vec<u8> = bodies
        .iter()
        .enumerate()
        .flat_map(|(at, body)| if at % 2 == 0 { post(body) } else { chunked(body, &[at, 1, 500]) })
        .collect();
    let mut sender = Wire::over(wire.socket.try_clone().expect("a twin"));
    let sending =
        std::thread::spawn(move || sender.send(&[&*pipeline, UPGRADE.as_bytes(), &frame(TEXT, b"!")].concat()));
    for body in bodies {
        assert_echoed(&mut wire, &body);
    }
    wire.assert_upgraded();
    assert_eq!(wire.frame().payload, b"!");
    sending.join().expect("all is sent");
}

#[test]
fn chunked_body_may_arrive_byte_by_byte_with_extensions_and_a_trailer() {
    let local = Local::start(quick());
    let mut wire = Wire::connect(local.address);
    let framed = b"3;name=value\r\nabc\r\n00A \r\n0123456789\r\n0;last\r\nX-Trailer: Content-Length: 5\r\n\r\n";
    let request = request("POST /echo", "Transfer-Encoding: CHUNKED\r\n", framed);
    for byte in [&*request, &post(b"sized")].concat() {
        wire.send(&[byte]);
    }
    assert_echoed(&mut wire, b"abc0123456789");
    assert_echoed(&mut wire, b"sized");
    // Some write the size of a chunk with as many digits each time.
    let padded = b"00000003\r\nabc\r\n0000000000000000\r\n\r\n";
    wire.send(&self::request("POST /echo", "Transfer-Encoding: chunked\r\n", padded));
    assert_echoed(&mut wire, b"abc");
}

#[test]
fn unused_body_is_read_and_discarded() {
    let local = Local::start(quick());
    let mut wire = Wire::connect(local.address);
    let smuggled = GET_STATS.as_bytes();
    let length = format!("Content-Length: {}\r\n", smuggled.len());
    for (line, status) in [("GET /", 200), ("GET /nothing", 404), ("POST /nothing", 404), ("OPTIONS /", 204)] {
        wire.send(&request(line, &length, smuggled));
        let answer = wire.answer();
        assert_eq!((answer.status, answer.closes()), (status, false), "{line}: {answer:?}");
        assert!(
            answer.field("Content-Type") != Some("application/json"),
            "{line}: its content was taken for a request"
        );
    }
    wire.send(&post(b"next"));
    assert_echoed(&mut wire, b"next");
}

#[test]
fn post_without_length_is_answered_411() {
    let local = Local::start(quick());
    let mut wire = Wire::connect(local.address);
    wire.send(&[&*request("POST /echo", "", b""), GET_STATS.as_bytes()].concat());
    let answer = wire.answer();
    assert_eq!((answer.status, answer.closes()), (411, true), "{answer:?}");
    wire.assert_ended();
}

/// Sends `request`, expects `status` and the end, whatever part of the request the server has read by then.
pub(crate) fn assert_refused(address: SocketAddr, request: &[u8], status: u16) {
    let wire = Wire::connect(address);
    let mut sender = Wire::over(wire.socket.try_clone().expect("a twin"));
    let request = request.to_vec();
    let sending = std::thread::spawn(move || sender.send_if_taken(&request));
    let mut wire = wire;
    let answer = wire.answer();
    assert_eq!((answer.status, answer.closes()), (status, true), "{answer:?}");
    // The server continues to read after its response, so that the response arrives before any reset.
    sending.join().expect("all is sent, or no longer taken");
    wire.assert_ended();
}

#[test]
fn body_beyond_the_limit_is_refused_at_once() {
    let local = Local::start(with_limit(1000));
    let server = Serve::start(&["--max-body-bytes", "1000"]);
    assert_eq!(server.said[1], "limits: max_body_bytes 1000 (default 1048576)");
    for address in [local.address, server.address()] {
        let mut wire = Wire::connect(address);
        for request in [post(&bytes(1000)), chunked(&bytes(1000), &[999]), chunked(&bytes(1000), &[1])] {
            wire.send(&request);
            assert_echoed(&mut wire, &bytes(1000));
        }
        // A length that is declared is refused before anything of it comes.
        for length in ["1001", "18446744073709551615", "18446744073709551616", "99999999999999999999999999"] {
            assert_refused(address, &request("POST /echo", &format!("Content-Length: {length}\r\n"), b""), 413);
        }
        assert_refused(address, &chunked(&bytes(1001), &[1]), 413);
        assert_refused(address, &chunked(&bytes(1001), &[1001]), 413);
        // Nobody has to want it for it to be too long.
        assert_refused(address, &request("GET /nothing", "Content-Length: 1001\r\n", &bytes(1001)), 413);
        // One that grows for ever: much more of it than the kernel's buffers hold.
        assert_refused(address, &chunked(&bytes(8 * LIMIT), &[50_000]), 413);
    }
    let before = Wire::connect(local.address).stats();
    assert_eq!(before["counters"]["refused_413"], 8, "{before}");
    server.stop();
}

#[test]
fn body_limit_of_0_refuses_every_body() {
    let local = Local::start(with_limit(0));
    let mut wire = Wire::connect(local.address);
    for request in [post(b""), chunked(b"", &[1])] {
        wire.send(&request);
        assert_echoed(&mut wire, b"");
    }
    for request in [post(b"x"), chunked(b"x", &[1])] {
        assert_refused(local.address, &request, 413);
    }
}

#[test]
fn slow_body_is_answered_408() {
    let local = Local::start(hasty(1000, 1));
    let mut stats = Wire::connect(local.address);
    let before = stats.stats();
    let mut neighbour = Wire::websocket(local.address);
    let (sized, in_chunks) = ("Content-Length: 1000\r\n", "Transfer-Encoding: chunked\r\n");
    // What is sent slowly after each head: nothing; a body; chunks; the framing of chunks alone.
    let drips: [(&str, &[u8], &[u8]); 5] = [
        (sized, b"", b""),
        (sized, b"", b"x"),
        (in_chunks, b"", b""),
        (in_chunks, b"", b"1\r\nx\r\n"),
        (in_chunks, b"5;", b"x"),
    ];
    let mut slow: Vec<_> = drips
        .iter()
        .map(|&(lines, start, drip)| {
            let mut wire = Wire::connect(local.address);
            wire.send(&request("POST /echo", lines, start));
            wire.socket.set_read_timeout(Some(Duration::from_millis(5))).expect("a timeout");
            (wire, drip.iter().cycle())
        })
        .collect();
    let since = Instant::now();
    let mut answered = 0;
    while answered < slow.len() {
        assert!(since.elapsed() < PATIENCE, "only {answered} of them are answered");
        answered = 0;
        for (wire, drip) in &mut slow {
            match drip.next() {
                _ if wire.socket.peek(&mut [0]).is_ok() => answered += 1,
                Some(byte) => wire.send_if_taken(&[*byte]),
                None => {}
            }
        }
    }
    assert!(since.elapsed() >= Duration::from_millis(500), "after {:?} only", since.elapsed());
    for (mut wire, _) in slow {
        wire.socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let answer = wire.answer();
        assert_eq!((answer.status, answer.closes()), (408, true), "{answer:?}");
        wire.assert_ended();
    }
    let after = stats.stats_until("five deadlines", |stats| stats["counters"]["ended_by_deadline"] == 5);
    assert_eq!(refusals_since(&before, &after), [("refused_408".to_owned(), 5)]);
    neighbour.echo(b"not disturbed");
}

#[test]
fn body_at_the_minimum_rate_may_take_any_time() {
    // What comes with the head pays for a hundred seconds more; the head's own time alone would be over.
    let local = Local::start(hasty(10, 3));
    let mut wire = Wire::connect(local.address);
    let request = post(&bytes(1001));
    wire.send(&request[..request.len() - 1]);
    std::thread::sleep(Duration::from_millis(4500));
    wire.send(&request[request.len() - 1..]);
    assert_echoed(&mut wire, &bytes(1001));
}

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

#[test]
fn expect_100_continue_is_answered_100() {
    let local = Local::start(quick());
    let mut wire = Wire::connect(local.address);
    for expect in ["Expect: 100-continue\r\n", "expect: 100-Continue\r\nExpect: 100-continue\r\n"] {
        for request in [post(b"in good time"), chunked(b"in good time", &[5])] {
            let text = String::from_utf8(request).expect("text");
            let (head, body) = text.split_once("\r\n\r\n").expect("a head");
            wire.send(format!("{head}\r\n{expect}\r\n").as_bytes());
            assert_eq!(wire.read(CONTINUE.len()), CONTINUE);
            wire.assert_silent();
            wire.send(body.as_bytes());
            assert_echoed(&mut wire, b"in good time");
        }
    }
    // Who does not wait is answered all the same; and what needs no content is answered at once.
    wire.send(&request("POST /echo", "Expect: 100-continue\r\nContent-Length: 5\r\n", b"hasty"));
    assert_eq!(wire.read(CONTINUE.len()), CONTINUE);
    assert_echoed(&mut wire, b"hasty");
    wire.send(&request("GET /nothing", "Expect: 100-continue\r\n", b""));
    assert_eq!(wire.answer().status, 404);
    // HTTP/1.0 knows neither the question nor the answer.
    wire.send(b"POST /echo HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nold");
    let answer = wire.answer();
    assert_eq!((answer.status, &*answer.body, answer.closes()), (200, &b"old"[..], true), "{answer:?}");
}

#[test]
fn expect_100_continue_beyond_the_limit_is_refused_at_once() {
    let local = Local::start(quick());
    let mut stats = Wire::connect(local.address);
    let sized = "Content-Length: 45\r\n";
    let expect = format!("Expect: 100-continue\r\n{sized}");
    let cases = [
        ("POST /nothing", expect.clone(), 404),
        ("POST /stats", expect.clone(), 405),
        ("PUT /echo", expect.clone(), 405),
        ("FETCH /echo", expect.clone(), 501),
        ("GET /echo", expect.clone(), 426),
        ("POST /echo", expect.replace("45", "1048577"), 413),
        ("POST /echo", format!("Expect: tea\r\n{sized}"), 417),
        ("POST /echo", format!("Expect: 100-continue, tea\r\n{sized}"), 417),
        ("POST /echo", format!("Expect: 100-continue\r\nExpect: tea\r\n{sized}"), 417),
        ("GET /", "Expect: tea\r\n".to_owned(), 417),
    ];
    for (line, lines, status) in cases {
        let before = stats.stats();
        // After a refusal the body cannot be told from another request: it must not be answered as one.
        assert_refused(local.address, &request(line, &lines, GET_STATS.as_bytes()), status);
        let counted = vec![(format!("refused_{status}"), 1)];
        assert_eq!(refusals_since(&before, &stats.stats()), counted, "{line} {lines:?}");
    }
}
