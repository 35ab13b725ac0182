//! The routes of `steadfast serve`: echo, broadcast, push, polling and long polling.

use crate::host::Local;
use crate::rig::{say, single, text, upgrade_at, websocket_at};
use crate::wire::{BINARY, Frame, PATIENCE, TEXT, Wire, frame};
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use steadfast::server::demo::DemoRoutes;
use steadfast::server::{Config, Server};

const INTERVAL: Duration = Duration::from_millis(20);

fn tour(reactors: usize, push_interval: Duration) -> Local {
    let config = Config { reactors: Some(reactors), ..single() };
    Local::serve(DemoRoutes { push_interval, ..DemoRoutes::default() }.add_to(Server::from(config)))
}

fn json(text: &[u8]) -> Value {
    serde_json::from_slice(text).unwrap_or_else(|error| panic!("{error}: {:?}", String::from_utf8_lossy(text)))
}

/// The number in what the ticker says, all else of which is as it should be.
fn number(document: &Value, interval: Duration) -> u64 {
    assert_eq!(document["interval_ms"], interval.as_millis() as u64, "{document}");
    let time = document["time"].as_str().expect("a time");
    assert!(httpdate::parse_http_date(time).is_ok(), "{document}");
    document["n"].as_u64().expect("a number")
}

#[test]
fn what_is_said_to_the_echo_comes_back() {
    let local = tour(2, INTERVAL);
    for path in ["/echo", "/", "/echo?x"] {
        let mut wire = websocket_at(local.address, path);
        for length in [0, 1, 125, 126, 2047, 2048, 70_000] {
            wire.echo(&vec![5; length]);
            say(&mut wire, &"ä".repeat(length));
            assert_eq!(text(&mut wire), "ä".repeat(length));
        }
    }
    let mut wire = Wire::connect(local.address);
    wire.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n\x00\x01\xfe\xff");
    let answer = wire.answer();
    assert_eq!((answer.status, &*answer.body), (200, &b"\x00\x01\xfe\xff"[..]));
    assert_eq!(answer.field("Content-Type"), Some("application/octet-stream"));
}

#[test]
fn what_is_said_to_the_broadcast_all_hear() {
    let local = tour(3, INTERVAL);
    let mut wires: Vec<Wire> = (0..20).map(|_| websocket_at(local.address, "/broadcast")).collect();
    let mut elsewhere = websocket_at(local.address, "/echo");
    for from in 0..wires.len() {
        say(&mut wires[from], &format!("from {from}"));
        for wire in &mut wires {
            assert_eq!(wire.frame(), Frame { first: TEXT, payload: format!("from {from}").into() });
        }
    }
    wires[7].send(&frame(BINARY, &[7; 100_000]));
    drop(wires.remove(3));
    for wire in &mut wires {
        assert_eq!(wire.frame(), Frame { first: BINARY, payload: vec![7; 100_000] });
    }
    elsewhere.echo(b"nothing of that");
}

/// A connection to `/push`, and what it is told when it opens.
fn pushed(address: SocketAddr, interval: Duration) -> (Wire, u64) {
    let mut wire = Wire::connect(address);
    let request = upgrade_at("/push", "X-Fields: some\r\n");
    wire.send(request.as_bytes());
    let answer = wire.answer_without_body();
    assert_eq!(answer.status, 101);
    let first = json(text(&mut wire).as_bytes());
    let bytes = &first["upgrade_bytes"];
    assert_eq!((&bytes["in"], &bytes["out"]), (&request.len().into(), &answer.head.len().into()), "{first}");
    (wire, number(&first, interval))
}

#[test]
fn push_says_at_once_what_time_it_is() {
    let hour = Duration::from_secs(3600);
    let local = tour(3, hour);
    for _ in 0..20 {
        let (mut wire, n) = pushed(local.address, hour);
        assert_eq!(n, 0);
        // What is said there is of no interest.
        say(&mut wire, "hello");
        wire.send(&frame(0x89, b"?"));
        assert_eq!(wire.frame().first, 0x8a);
    }
}

#[test]
fn push_says_what_time_it_is_once_in_each_interval() {
    let local = tour(3, INTERVAL);
    // Over all reactors, of which one tells the others.
    let mut wires: Vec<(Wire, u64)> = (0..30).map(|_| pushed(local.address, INTERVAL)).collect();
    let mut streams: Vec<Vec<u64>> = Vec::new();
    for (wire, first) in &mut wires {
        let since = Instant::now();
        let (mut stream, mut steps) = (Vec::new(), 0);
        // A host that is busy may miss a tick; it says what time it is then, and not twice.
        while steps < 10 {
            let document = json(text(wire).as_bytes());
            assert_eq!(document["upgrade_bytes"], Value::Null);
            let n = number(&document, INTERVAL);
            match stream.last() {
                Some(&last) => {
                    assert!(n > last, "{n} behind {stream:?}");
                    steps += u32::from(n == last + 1);
                }
                None => assert!(n >= *first, "{n} behind {first}"),
            }
            stream.push(n);
            assert!(since.elapsed() < PATIENCE, "it does not count: {stream:?}");
        }
        streams.push(stream);
    }
    // It is one clock: what one of them heard while another listened, that one heard too.
    for pair in streams.windows(2) {
        let [one, other]: [BTreeSet<u64>; 2] = [0, 1].map(|at| pair[at].iter().copied().collect());
        let (Some(from), Some(to)) = (other.first().max(one.first()), other.last().min(one.last())) else { continue };
        let both = |all: &BTreeSet<u64>| all.iter().filter(|n| (from..=to).contains(n)).copied().collect::<Vec<_>>();
        assert_eq!(both(&one), both(&other));
    }
}

/// Asks for `target`, and gives the number that it is answered with.
fn ask(wire: &mut Wire, target: &str, interval: Duration) -> u64 {
    let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\nX-Fields: some\r\n\r\n");
    wire.send(request.as_bytes());
    let answer = wire.answer();
    assert_eq!((answer.status, answer.field("Content-Type")), (200, Some("application/json")), "{answer:?}");
    assert_eq!(answer.field("X-Request-Bytes"), Some(&*request.len().to_string()), "{answer:?}");
    assert!(!answer.closes());
    number(&json(&answer.body), interval)
}

#[test]
fn polling_tells_what_time_it_is() {
    let local = tour(2, INTERVAL);
    let mut wire = Wire::connect(local.address);
    let since = Instant::now();
    let first = ask(&mut wire, "/poll", INTERVAL);
    let mut last = first;
    while last < first + 3 {
        let n = ask(&mut wire, "/poll", INTERVAL);
        assert!(n >= last && since.elapsed() < PATIENCE, "{n} behind {last}");
        last = n;
    }
    assert!(since.elapsed() >= 2 * INTERVAL, "and not faster than it should");
}

#[test]
fn long_polling_tells_at_once_what_is_newer_and_else_waits_for_it() {
    let hour = Duration::from_secs(3600);
    let local = tour(1, hour);
    let mut wire = Wire::connect(local.address);
    // With a tick that is an hour away, whatever is answered is answered at once.
    for target in ["/long-poll", "/long-poll?after=", "/long-poll?after=no", "/long-poll?before=7"] {
        assert_eq!(ask(&mut wire, target, hour), 0);
    }
    // Ticks of another life of the server, and what is none.
    for after in [1, 7, u128::from(u64::MAX), u128::from(u64::MAX) + 1] {
        assert_eq!(ask(&mut wire, &format!("/long-poll?after={after}"), hour), 0);
    }
    wire.send(b"GET /long-poll?x=1&after=0 HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut neighbour = Wire::connect(local.address);
    assert_eq!(ask(&mut neighbour, "/poll", hour), 0);
    wire.socket.set_nonblocking(true).expect("O_NONBLOCK");
    assert!(wire.socket.peek(&mut [0]).is_err(), "it waits");
}

#[test]
fn who_asks_by_long_polling_for_what_is_newer_gets_it() {
    let local = tour(3, INTERVAL);
    let mut wire = Wire::connect(local.address);
    let mut last = ask(&mut wire, "/long-poll", INTERVAL);
    for _ in 0..25 {
        let n = ask(&mut wire, &format!("/long-poll?after={last}"), INTERVAL);
        assert!(n > last, "{n} is not newer than {last}");
        last = n;
    }
    let many_ago = last.saturating_sub(10);
    assert!(ask(&mut wire, &format!("/long-poll?after={many_ago}"), INTERVAL) >= last);
    // Just behind a tick, too, when it may not yet have been told to all.
    for _ in 0..25 {
        let before = ask(&mut wire, "/poll", INTERVAL);
        let since = Instant::now();
        while ask(&mut wire, "/poll", INTERVAL) == before {
            assert!(since.elapsed() < PATIENCE, "time stands still");
        }
        let now = ask(&mut wire, "/poll", INTERVAL);
        let n = ask(&mut wire, &format!("/long-poll?after={now}"), INTERVAL);
        assert!(n > now, "{n} is not newer than {now}");
    }
}

#[test]
fn each_route_has_a_page_for_browsers() {
    let local = tour(1, INTERVAL);
    let mut wire = Wire::connect(local.address);
    for path in ["/", "/echo", "/push", "/chat", "/chat/", "/chat/room", "/compare"] {
        wire.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\n\r\n").as_bytes());
        let page = wire.answer();
        assert_eq!((page.status, page.field("Content-Type")), (200, Some("text/html; charset=utf-8")), "{path}");
        assert!(page.body.starts_with(b"<!doctype html>"), "{path}");
    }
    for path in ["/broadcast", "/push", "/chat/room"] {
        let mut wire = Wire::connect(local.address);
        wire.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        assert_eq!(wire.answer().status, 426, "{path}");
    }
}
