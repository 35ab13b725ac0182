//! HTTP/1.1 by its letter: methods, targets in every form, dates, old clients; and requests that two readers could take
//! in two ways, each of which ends its connection.

use crate::bodies::{assert_refused, hasty, post, request};
use crate::host::{Local, quick};
use crate::wire::{Answer, PATIENCE, UPGRADE, Wire, refusals_since};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};
use steadfast::proto::upgrade::Policy;
use steadfast::server::{Config, Hook, Refused, StatusCode, Totals};

const GET_STATS: &str = "GET /stats HTTP/1.1\r\nHost: a\r\n\r\n";

/// The answer to `request` on a connection of its own.
fn ask(address: SocketAddr, request: &[u8]) -> (Wire, Answer) {
    let mut wire = Wire::connect(address);
    wire.send_if_taken(request);
    let answer = wire.answer();
    (wire, answer)
}

#[test]
fn a_method_that_is_not_allowed_keeps_the_connection() {
    let local = Local::start(quick());
    let mut wire = Wire::connect(local.address);
    let before = wire.stats();
    let (page, echo) = ("GET, HEAD, OPTIONS", "GET, HEAD, OPTIONS, POST");
    let cases =
        [("POST /", page), ("DELETE /stats", page), ("PUT /echo", echo), ("TRACE /echo", echo), ("PATCH /", page)];
    for (line, allow) in cases {
        for body in [&b""[..], b"content"] {
            wire.send(&request(line, &format!("Content-Length: {}\r\n", body.len()), body));
            let answer = wire.answer();
            assert_eq!((answer.status, answer.closes()), (405, false), "{line}: {answer:?}");
            assert_eq!(answer.field("Allow"), Some(allow), "{line}: {answer:?}");
        }
    }
    assert_eq!(refusals_since(&before, &wire.stats()), [("refused_405".to_owned(), 10)]);
}

#[test]
fn status_426_names_upgrade_in_connection() {
    let local = Local::start(quick());
    for request in [request("GET /echo", "", b""), UPGRADE.replace("Version: 13", "Version: 8").into()] {
        let (mut wire, answer) = ask(local.address, &request);
        assert_eq!((answer.status, answer.closes()), (426, true), "{answer:?}");
        // RFC 9110 section 7.8: without it, a proxy would hand the field Upgrade on to whom it does not concern.
        let named =
            answer.fields("Connection").flat_map(|value| value.split(',')).any(|option| option.trim() == "Upgrade");
        assert!(named && answer.field("Upgrade") == Some("websocket"), "{answer:?}");
        wire.assert_ended();
    }
}

#[test]
fn options_lists_the_allowed_methods() {
    let local = Local::start(quick());
    let mut wire = Wire::connect(local.address);
    let (page, echo) = ("GET, HEAD, OPTIONS", "GET, HEAD, OPTIONS, POST");
    // The asterisk asks about the server as a whole, RFC 9110 section 9.3.7.
    let cases =
        [("/", page), ("/echo", echo), ("/stats?x=y", page), ("*", echo), ("http://b", page), ("http://b/echo", echo)];
    for (target, allow) in cases {
        wire.send(&request(&format!("OPTIONS {target}"), "", b""));
        let answer = wire.answer();
        assert_eq!((answer.status, answer.closes()), (204, false), "{target}: {answer:?}");
        assert_eq!(answer.field("Allow"), Some(allow), "{target}: {answer:?}");
        assert_eq!((answer.field("Content-Length"), answer.field("Content-Type")), (None, None), "{answer:?}");
    }
    wire.send(&request("OPTIONS /nothing", "", b""));
    assert_eq!(wire.answer().status, 404);
    assert_eq!(wire.stats()["server"], "steadfast");
}

#[test]
fn a_target_may_be_a_whole_uri() {
    let local = Local::start(quick());
    let mut wire = Wire::connect(local.address);
    let cases = [
        ("http://b/stats", "application/json"),
        ("HTTPS://b:443/stats?x=/", "application/json"),
        ("http://b", "text/html; charset=utf-8"),
        ("http://[::1]:80?x", "text/html; charset=utf-8"),
        ("http://b/nothing", "text/plain; charset=utf-8"),
    ];
    for (target, content_type) in cases {
        wire.send(&request(&format!("GET {target}"), "", b""));
        let answer = wire.answer();
        assert_eq!(
            (answer.field("Content-Type"), answer.closes()),
            (Some(content_type), false),
            "{target}: {answer:?}"
        );
    }
    // Host gives way to the target, for the origin of a page too (RFC 9112 section 3.2.2).
    for (origin, status) in [("http://b", 101), ("http://a", 403)] {
        let upgrade = UPGRADE.replace("/echo", "ws://b/echo?x");
        let upgrade = upgrade.replace("Host: a\r\n", &format!("Host: a\r\nOrigin: {origin}\r\n"));
        assert_eq!(ask(local.address, upgrade.as_bytes()).1.status, status, "{origin}");
    }
    for target in ["ftp://b/", "http:///stats", "http://u@b/", "http://b:port/", "stats", "*", "/stats#x", "b:80"] {
        assert_refused(local.address, &request(&format!("GET {target}"), "", b""), 400);
    }
    // Even with a whole URI, HTTP/1.1 needs Host.
    assert_refused(local.address, b"GET http://b/ HTTP/1.1\r\n\r\n", 400);
}

/// The one date of an answer, in the only form that is sent (RFC 9110 section 5.6.7), and no more than 2 s off.
fn assert_dated(address: SocketAddr, request: &[u8], status: u16) {
    let since = Instant::now();
    loop {
        let before = SystemTime::now();
        let (_, answer) = ask(address, request);
        let (after, two) = (SystemTime::now(), Duration::from_secs(2));
        assert_eq!(answer.status, status, "{answer:?}");
        let dates: Vec<_> = answer.fields("Date").collect();
        let [date] = dates[..] else { panic!("{} dates in {answer:?}", dates.len()) };
        let shape = date.chars().map(|letter| match letter {
            'A'..='Z' => 'A',
            'a'..='z' => 'a',
            '0'..='9' => '0',
            other => other,
        });
        assert_eq!(shape.collect::<String>(), "Aaa, 00 Aaa 0000 00:00:00 AAA", "{date}");
        let time = httpdate::parse_http_date(date).unwrap_or_else(|error| panic!("{date}: {error}"));
        assert_eq!(httpdate::fmt_http_date(time), date, "the day of the week, and GMT");
        if before <= time + two && time <= after + two {
            return;
        }
        // Only a host that stood still between two steps can have made this one wrong; it gets another chance.
        assert!(since.elapsed() < PATIENCE, "{date} is far from {after:?}");
    }
}

#[test]
fn responses_have_a_date() {
    let local = Local::start(hasty(1024, 1));
    // Without a connection the reactor sleeps, and has to look at the clock when it wakes up.
    std::thread::sleep(Duration::from_millis(3200));
    let cases: [(Vec<u8>, u16); 10] = [
        (GET_STATS.into(), 200),
        (post(b"content"), 200),
        (request("OPTIONS /", "", b""), 204),
        (b"garbage\r\n\r\n".into(), 400),
        (request("GET /nothing", "", b""), 404),
        (request("PUT /", "", b""), 405),
        (request("POST /echo", "Content-Length: 1048577\r\n", b""), 413),
        (request("GET /echo", "", b""), 426),
        (b"GET / HTTP/9.9\r\n\r\n".into(), 505),
        (b"GET / HT".into(), 408),
    ];
    for (request, status) in cases {
        assert_dated(local.address, &request, status);
    }
}

#[test]
fn a_health_check_of_http_1_0_needs_no_host() {
    let local = Local::start(quick());
    for (line, status) in [("OPTIONS /", 204), ("OPTIONS *", 204), ("GET /", 200), ("GET /stats", 200)] {
        let (mut wire, answer) = ask(local.address, format!("{line} HTTP/1.0\r\n\r\n").as_bytes());
        assert_eq!((answer.status, answer.closes()), (status, true), "{line}: {answer:?}");
        wire.assert_ended();
    }
    let mut wire = Wire::connect(local.address);
    for _ in 0..2 {
        wire.send(b"HEAD / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        let answer = wire.answer_without_body();
        assert_eq!((answer.status, answer.field("Connection")), (200, Some("keep-alive")), "{answer:?}");
    }
}

/// Heads that a proxy in front could read in another way than this server, and so let a second request through.
const SMUGGLING: [(&str, &str); 22] = [
    ("CL.TE", "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n"),
    ("TE.CL", "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n"),
    ("CL.TE with a length of 0", "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n"),
    ("TE.TE", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"),
    ("TE.TE turned round", "Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: y\r\n"),
    ("chunked twice", "Transfer-Encoding: chunked, chunked\r\n"),
    ("chunked in two lines", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
    ("not chunked last", "Transfer-Encoding: chunked, gzip\r\n"),
    ("almost chunked", "Transfer-Encoding: xchunked\r\n"),
    ("chunked in quotes", "Transfer-Encoding: \"chunked\"\r\n"),
    ("chunked with a parameter", "Transfer-Encoding: chunked;q=1\r\n"),
    ("chunked behind a vertical tab", "Transfer-Encoding: \x0bchunked\r\n"),
    ("an empty coding", "Transfer-Encoding:\r\n"),
    ("a space before the colon", "Transfer-Encoding : chunked\r\n"),
    ("obs-fold", "Transfer-Encoding:\r\n chunked\r\n"),
    ("obs-fold with a tab", "X: a\r\n\tb\r\nContent-Length: 0\r\n"),
    ("two lengths", "Content-Length: 0\r\nContent-Length: 44\r\n"),
    ("one length twice", "Content-Length: 44\r\nContent-Length: 44\r\n"),
    ("a list of lengths", "Content-Length: 44, 44\r\n"),
    ("a length with a sign", "Content-Length: +44\r\n"),
    ("a length in hexadecimal", "Content-Length: 0x2c\r\n"),
    ("an empty length", "Content-Length:\r\n"),
];

/// Bodies whose chunks are framed in a way that some readers let pass.
const BAD_CHUNKS: [(&str, &str); 8] = [
    ("lines that end without CR", "1\nx\n0\n\n"),
    ("a size with a prefix", "0x1\r\nx\r\n0\r\n\r\n"),
    ("a negative size", "-1\r\nx\r\n0\r\n\r\n"),
    ("no size", "\r\nx\r\n0\r\n\r\n"),
    ("a space in front of a size", " 1\r\nx\r\n0\r\n\r\n"),
    ("a size beyond 64 bits", "10000000000000001\r\nx\r\n0\r\n\r\n"),
    ("more than its size", "1\r\nxyz\r\n0\r\n\r\n"),
    ("an extension with a bare LF", "1;a\nb\r\nx\r\n0\r\n\r\n"),
];

#[test]
fn ambiguous_framing_is_refused() {
    let local = Local::start(quick());
    let mut stats = Wire::connect(local.address);
    let mut neighbour = Wire::websocket(local.address);
    let heads = SMUGGLING.map(|(what, lines)| (what, lines, "0\r\n\r\n"));
    let chunks = BAD_CHUNKS.map(|(what, body)| (what, "Transfer-Encoding: chunked\r\n", body));
    for (what, lines, body) in heads.into_iter().chain(chunks) {
        let before = stats.stats();
        let hidden = [body, GET_STATS].concat();
        let mut wire = Wire::connect(local.address);
        wire.send_if_taken(&request("POST /echo", lines, hidden.as_bytes()));
        let answer = wire.answer();
        assert_eq!((answer.status, answer.closes()), (400, true), "{what}: {answer:?}");
        wire.assert_ended();
        assert_eq!(refusals_since(&before, &stats.stats()), [("refused_400".to_owned(), 1)], "{what}");
        neighbour.echo(what.as_bytes());
    }
    // HTTP/1.0 has no chunks; a coding that is known and not spoken here is another matter.
    let old = b"POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_refused(local.address, old, 400);
    assert_refused(local.address, &request("POST /echo", "Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n"), 501);
}

#[test]
fn trailer_has_a_limit() {
    let local = Local::start(quick());
    let long = "x".repeat(20 << 10);
    for body in
        [format!("1;{long}\r\nx\r\n0\r\n\r\n"), format!("0\r\nX: {long}\r\n\r\n"), "1;xxxxxxx\r\nx\r\n".repeat(4000)]
    {
        assert_refused(local.address, &request("POST /echo", "Transfer-Encoding: chunked\r\n", body.as_bytes()), 400);
    }
}

#[test]
fn every_status_that_refuses_has_a_counter_and_every_counter_a_status() {
    let hook = Hook::new(|request, _| match request.header_values("x-status").next() {
        Some(b"401") => Err(Refused::new(StatusCode::UNAUTHORIZED, "")),
        Some(b"429") => Err(Refused::new(StatusCode::TOO_MANY_REQUESTS, "")),
        _ => Ok(()),
    });
    let policy = Policy { hosts: vec!["a".into()], ..Policy::default() };
    let local = Local::start(Config { hook: Some(hook), upgrade: policy, ..quick() });
    let mut stats = Wire::connect(local.address);
    let upgrade = |lines: &str| UPGRADE.replace("Upgrade: w", &format!("{lines}Upgrade: w")).into_bytes();
    let cases: [(&str, Vec<u8>); 15] = [
        ("400", b"garbage\r\n\r\n".into()),
        ("401", upgrade("X-Status: 401\r\n")),
        ("403", upgrade("Origin: http://b\r\n")),
        ("404", request("GET /nothing", "", b"")),
        ("405", request("PUT /", "", b"")),
        ("411", request("POST /echo", "", b"")),
        ("413", request("POST /echo", "Content-Length: 1048577\r\n", b"")),
        ("414", format!("GET /{}", "x".repeat(9000)).into()),
        ("417", request("GET /", "Expect: tea\r\n", b"")),
        ("421", b"GET / HTTP/1.1\r\nHost: b\r\n\r\n".into()),
        ("426", request("GET /echo", "", b"")),
        ("431", request("GET /", &"X: y\r\n".repeat(101), b"")),
        ("501", request("FETCH /", "", b"")),
        ("505", b"GET / HTTP/9.9\r\n\r\n".into()),
        ("otherwise", upgrade("X-Status: 429\r\n")),
    ];
    let mut seen = BTreeSet::new();
    for (name, request) in cases {
        let before = stats.stats();
        ask(local.address, &request);
        assert_eq!(refusals_since(&before, &stats.stats()), [(format!("refused_{name}"), 1)]);
        seen.insert(format!("refused_{name}"));
    }
    // These two have tests of their own: a head that never ends, and a storm of upgrades.
    seen.extend(["refused_408".to_owned(), "refused_503".to_owned()]);
    let all = Totals::NAMES.iter().filter(|name| name.starts_with("refused_")).map(ToString::to_string);
    assert_eq!(seen, all.collect());
}
