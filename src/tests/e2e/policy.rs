//! What an upgrade is granted or refused beside the rules of the protocol: subprotocols, the owner's own fields and
//! questions, the storm of a whole fleet that comes back; and the flags of all that.

use crate::flags::assert_refused;
use crate::host::{Local, Serve, quick};
use crate::wire::{Answer, BINARY, Frame, PATIENCE, TEXT, UPGRADE, Wire, close_body, counter, frame, refusals_since};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use steadfast::proto::http_write::BadField;
use steadfast::proto::upgrade::Policy;
use steadfast::server::{Config, Hook, InvalidStatus, Refused, Server, SocketBuffers, StatusCode};

const GET_STATS: &str = "GET /stats HTTP/1.1\r\nHost: a\r\n\r\n";

/// The upgrade with more field lines.
fn upgrade_with(lines: &str) -> String {
    UPGRADE.replace("Upgrade: websocket", &format!("{lines}Upgrade: websocket"))
}

/// The answer to `request` on a connection of its own.
fn ask(address: SocketAddr, request: &str) -> (Wire, Answer) {
    let mut wire = Wire::connect(address);
    wire.send(request.as_bytes());
    let answer = wire.answer();
    (wire, answer)
}

fn speaking(subprotocols: &[&str]) -> Config {
    let subprotocols = subprotocols.iter().map(|&name| name.to_owned()).collect();
    Config { upgrade: Policy { subprotocols, ..Policy::default() }, ..quick() }
}

#[test]
fn the_server_chooses_the_subprotocol_and_only_one_that_was_offered() {
    let local = Local::start(speaking(&["v2.chat", "chat"]));
    let server = Serve::start(&["--subprotocol", "v2.chat", "--subprotocol", "chat"]);
    let cases: [(&str, &[&str]); 8] = [
        ("", &[]),
        ("Sec-WebSocket-Protocol: chat, v2.chat\r\n", &["v2.chat"]),
        ("Sec-WebSocket-Protocol: other,,chat ,more\r\n", &["chat"]),
        ("Sec-WebSocket-Protocol: other\r\nsec-websocket-protocol: chat\r\n", &["chat"]),
        ("Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: v2.chat\r\n", &["v2.chat"]),
        // Names are compared byte by byte, and whole.
        ("Sec-WebSocket-Protocol: CHAT, v2\r\n", &[]),
        ("Sec-WebSocket-Protocol: other\r\n", &[]),
        ("Sec-WebSocket-Protocol:\r\n", &[]),
    ];
    for address in [local.address, server.address()] {
        for (lines, chosen) in cases {
            let (mut wire, answer) = ask(address, &upgrade_with(lines));
            let found: Vec<_> = answer.fields("Sec-WebSocket-Protocol").collect();
            assert_eq!((answer.status, &*found), (101, chosen), "{lines:?}: {answer:?}");
            wire.echo(b"spoken");
        }
    }
    server.stop();
}

#[test]
fn a_server_that_speaks_no_subprotocol_chooses_none() {
    let local = Local::start(quick());
    let (mut wire, answer) = ask(local.address, &upgrade_with("Sec-WebSocket-Protocol: chat\r\n"));
    assert_eq!((answer.status, answer.field("Sec-WebSocket-Protocol")), (101, None));
    wire.echo(b"without");
}

/// Requests that are answered in every way there is, and the status of each.
const ALL_ANSWERS: [(&str, u16); 9] = [
    (UPGRADE, 101),
    ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 200),
    ("OPTIONS / HTTP/1.1\r\nHost: a\r\n\r\n", 204),
    ("garbage\r\n\r\n", 400),
    ("GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n", 404),
    ("PUT /stats HTTP/1.1\r\nHost: a\r\n\r\n", 405),
    ("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\nExpect: 100-continue\r\n\r\n", 413),
    ("GET /echo HTTP/1.1\r\nHost: a\r\n\r\n", 426),
    ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
];

#[test]
fn configured_fields_are_once_in_every_response() {
    let fields = ["X-Served-By: this one", "strict-transport-security:max-age=1", "X-Empty:", "X-Name: Käse"];
    let response_fields = fields.map(str::to_owned).into();
    let local = Local::start(Config { response_fields, ..quick() });
    let flags: Vec<&str> = fields.iter().flat_map(|field| ["--response-header", field]).collect();
    let server = Serve::start(&flags);
    for address in [local.address, server.address()] {
        for (request, status) in ALL_ANSWERS {
            let (_, answer) = ask(address, request);
            assert_eq!(answer.status, status, "{request:?}: {answer:?}");
            let found = |name| answer.fields(name).collect::<Vec<_>>();
            assert_eq!(found("X-Served-By"), ["this one"], "{answer:?}");
            assert_eq!(found("Strict-Transport-Security"), ["max-age=1"], "{answer:?}");
            assert_eq!((found("X-Empty"), found("X-Name")), (vec![""], vec!["Käse"]), "{answer:?}");
        }
    }
    server.stop();
}

#[test]
fn no_response_has_a_field_twice() {
    let local = Local::start(Config { response_fields: vec!["X-Once: 1".into()], ..quick() });
    for (request, _) in ALL_ANSWERS {
        let (_, answer) = ask(local.address, request);
        for line in answer.head.split("\r\n").skip(1).filter(|line| !line.is_empty()) {
            let (name, _) = line.split_once(':').unwrap_or_else(|| panic!("no field: {line:?}"));
            assert_eq!(answer.fields(name).count(), 1, "{name}: {answer:?}");
        }
    }
}

#[test]
fn server_field_can_be_configured() {
    let local = Local::start(Config { response_fields: vec!["server: mine".into()], ..quick() });
    for (request, _) in ALL_ANSWERS {
        let (_, answer) = ask(local.address, request);
        assert_eq!(answer.fields("Server").collect::<Vec<_>>(), ["mine"], "{answer:?}");
    }
}

/// Fields that a response may not have, and the error for each.
const BAD_FIELDS: [(&str, &str); 17] = [
    ("X-Served-By", "no colon"),
    ("", "no colon"),
    (": nameless", "name"),
    ("X Served: a", "name"),
    ("X-Served : a", "name"),
    ("X\r\nY: a", "name"),
    ("X: a\r\nSet-Cookie: b", "control character"),
    ("X: a\nb", "control character"),
    ("X: a\rb", "control character"),
    ("X: a\x7fb", "control character"),
    ("Content-Length: 5", "program itself"),
    ("transfer-encoding: chunked", "program itself"),
    ("Connection: close", "program itself"),
    ("Date: today", "program itself"),
    ("Content-Encoding: gzip", "program itself"),
    ("SEC-WEBSOCKET-ACCEPT: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "program itself"),
    ("Sec-WebSocket-Extensions: permessage-deflate", "program itself"),
];

#[test]
fn invalid_response_fields_are_refused_at_start() {
    let right = "expected";
    for (field, why) in BAD_FIELDS {
        let value = format!("{field:?}");
        let words = ["--response-header", &value, why, right];
        assert_refused("", &["serve", "--listen", "127.0.0.1:0", "--response-header", field], &words);
    }
    // No argument of a program can have a NUL in it, but a string of the library can.
    for field in ["X: a\0b", "X: a\r\n\r\nHTTP/1.1 200 OK"] {
        let listen = vec!["127.0.0.1:0".parse().expect("an endpoint")];
        let config = Config { listen, response_fields: vec!["X-Good: 1".into(), field.into()], ..quick() };
        let error = Server::from(config).spawn().expect_err("no server").to_string();
        assert!(error.contains(&format!("{field:?}")) && error.contains("control character"), "{error}");
    }
}

#[test]
fn policy_flags_out_of_range_are_refused() {
    let no_token = |name| (vec!["--subprotocol", name], vec!["--subprotocol", "no token", "such as chat"]);
    let cases = [
        no_token(""),
        no_token("two words"),
        no_token("a,b"),
        no_token("käse"),
        no_token("a\r\nX: b"),
        (vec!["--response-header"], vec!["--response-header"]),
        (vec!["--max-body-bytes", "1MiB"], vec!["--max-body-bytes", "'1MiB'"]),
        (vec!["--max-body-bytes", "1099511627777"], vec!["--max-body-bytes", "'1099511627777'", "0..="]),
        (vec!["--min-body-bytes-per-s", "0"], vec!["--min-body-bytes-per-s", "'0'", "1..="]),
        (vec!["--max-upgrades-per-s", "0"], vec!["--max-upgrades-per-s", "'0'", "1..="]),
        (vec!["--read-buffer-bytes", "4095"], vec!["--read-buffer-bytes", "'4095'", "4096..=16777216"]),
        (vec!["--read-buffer-bytes", "16777217"], vec!["--read-buffer-bytes", "'16777217'", "4096..=16777216"]),
        (vec!["--socket-send-buffer-bytes", "0"], vec!["--socket-send-buffer-bytes", "'0'", "4096..="]),
        (vec!["--socket-receive-buffer-bytes", "1g"], vec!["--socket-receive-buffer-bytes", "'1g'"]),
        (vec!["--min-send-bytes-per-s", "0"], vec!["--min-send-bytes-per-s", "'0'", "1..="]),
        (vec!["--max-long-files", "0"], vec!["--max-long-files", "0"]),
        (vec!["--max-long-files", "many"], vec!["--max-long-files", "'many'"]),
        (vec!["--tcp-keepalive-s", "0"], vec!["--tcp-keepalive-s", "'0'", "1..=32767"]),
        (vec!["--tcp-keepalive-s", "32768"], vec!["--tcp-keepalive-s", "'32768'", "1..=32767"]),
        (vec!["--compression-level", "1"], vec!["--compression"]),
        (vec!["--compression-takeover"], vec!["--compression"]),
        (vec!["--compression", "--compression-level", "0"], vec!["--compression-level", "'0'", "1..=9"]),
        (vec!["--compression", "--compression-level", "10"], vec!["--compression-level", "'10'", "1..=9"]),
        (vec!["--compression", "--compression-window-bits", "7"], vec!["--compression-window-bits", "'7'", "8..=15"]),
        (vec!["--compression", "--compression-window-bits", "16"], vec!["--compression-window-bits", "'16'", "8..=15"]),
        (vec!["--compression", "--compression-min-bytes=-1"], vec!["--compression-min-bytes", "'-1'"]),
    ];
    for (arguments, words) in cases {
        assert_refused("", &[&["serve", "--listen", "127.0.0.1:0"], &arguments[..]].concat(), &words);
    }
}

/// Accepts requests with the word, and records the requests it was called for.
#[derive(Clone, Default)]
struct Doorkeeper {
    calls: Arc<AtomicUsize>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Doorkeeper {
    fn start(&self) -> Local {
        let this = self.clone();
        let hook = Hook::new(move |request, _| {
            this.calls.fetch_add(1, Ordering::SeqCst);
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let words: Vec<_> = request.header_values("x-word").map(text).collect();
            let host = text(request.head().authority().unwrap_or_default());
            let line = format!("{} {} {host} {}", request.method(), request.target(), words.join("+"));
            this.seen.lock().expect("the list").push(line);
            match words.first().map(String::as_str) {
                Some("sesame") => Ok(()),
                Some("later") => Err(refused(429, "too many", &["Retry-After: 7"])),
                Some("elsewhere") => Err(refused(307, "", &["Location: ws://b/echo", "X-Why: moved"])),
                _ => Err(refused(401, "who are you?", &["WWW-Authenticate: Bearer"])),
            }
        });
        Local::start(Config { hook: Some(hook), ..quick() })
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

fn refused(status: u16, body: &str, fields: &[&str]) -> Refused {
    let with = |refused: Refused, field: &&str| refused.with_field(field).expect("a field");
    fields.iter().fold(Refused::new(StatusCode::try_from(status).expect("a status"), body), with)
}

#[test]
fn a_hook_refuses_with_its_own_status_fields_and_body() {
    let keeper = Doorkeeper::default();
    let local = keeper.start();
    let mut stats = Wire::connect(local.address);
    let mut neighbour = {
        let (wire, answer) = ask(local.address, &upgrade_with("X-Word: sesame\r\n"));
        assert_eq!(answer.status, 101, "{answer:?}");
        wire
    };
    let cases = [
        ("", 401, "who are you?", ("WWW-Authenticate", "Bearer"), Some("refused_401")),
        ("X-Word: later\r\n", 429, "too many", ("Retry-After", "7"), Some("refused_otherwise")),
        ("X-Word: elsewhere\r\n", 307, "", ("Location", "ws://b/echo"), None),
    ];
    for (lines, status, body, (name, value), counted) in cases {
        let before = stats.stats();
        let mut wire = Wire::connect(local.address);
        // Data that an optimistic client sends after its request must not be read as anything.
        let request = [upgrade_with(lines).as_bytes(), &frame(TEXT, b"behind"), GET_STATS.as_bytes()].concat();
        wire.send(&request);
        let answer = wire.answer();
        assert_eq!((answer.status, &*answer.body, answer.closes()), (status, body.as_bytes(), true), "{answer:?}");
        assert_eq!(answer.field(name), Some(value), "{answer:?}");
        assert!(!answer.head.starts_with(&format!("HTTP/1.1 {status} Error")), "{answer:?}");
        wire.assert_ended();
        let counted: Vec<_> = counted.into_iter().map(|name| (name.to_owned(), 1)).collect();
        assert_eq!(refusals_since(&before, &stats.stats()), counted, "{status}");
        neighbour.echo(b"not disturbed");
    }
}

#[test]
fn hook_sees_the_request_and_can_accept_it() {
    let keeper = Doorkeeper::default();
    let local = keeper.start();
    let request = upgrade_with("X-Word: sesame\r\nx-word: please\r\n");
    let absolute = request.replace("/echo", "http://b:81/echo?room=%20");
    for request in [&request, &absolute] {
        let mut wire = Wire::connect(local.address);
        wire.send(&[request.as_bytes(), &frame(TEXT, b"at once")].concat());
        wire.assert_upgraded();
        assert_eq!(wire.frame(), Frame { first: TEXT, payload: b"at once".to_vec() });
    }
    let seen = keeper.seen.lock().expect("the list").clone();
    assert_eq!(seen, ["GET /echo a sesame+please", "GET http://b:81/echo?room=%20 b:81 sesame+please"]);
}

#[test]
fn hook_is_called_only_for_valid_upgrades() {
    let keeper = Doorkeeper::default();
    let local = keeper.start();
    let cases = [
        (UPGRADE.replace("Version: 13", "Version: 8"), 426),
        (UPGRADE.replace("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""), 400),
        (UPGRADE.replace("HTTP/1.1", "HTTP/1.0"), 426),
        (UPGRADE.replace("Connection: Upgrade\r\n", ""), 426),
        (UPGRADE.replace("GET", "POST"), 405),
        (UPGRADE.replace("/echo", "/nothing"), 404),
        (upgrade_with("Origin: http://b\r\n"), 403),
        (upgrade_with("Content-Length: 1\r\n"), 400),
        (GET_STATS.to_owned(), 200),
        ("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n".to_owned(), 200),
        ("GET /echo HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 426),
    ];
    for (request, status) in cases {
        let mut wire = Wire::connect(local.address);
        wire.send(request.as_bytes());
        if request.contains("Content-Length: 1\r\n") {
            wire.send_if_taken(b"x");
        }
        assert_eq!((wire.answer().status, keeper.calls()), (status, 0), "{request:?}");
    }
    assert_eq!(ask(local.address, UPGRADE).1.status, 401);
    assert_eq!(keeper.calls(), 1);
}

#[test]
fn refusal_cannot_have_another_status_class() {
    // 101 would leave the client believing in what is not there.
    for status in [0, 100, 101, 199, 600, 999, u16::MAX] {
        assert_eq!(StatusCode::try_from(status), Err(InvalidStatus(status)));
        let hook = Hook::new(move |_, _| Err(Refused::new(StatusCode::try_from(status)?, "no")));
        let local = Local::start(Config { hook: Some(hook), ..quick() });
        let (mut wire, answer) = ask(local.address, UPGRADE);
        let why = format!("{status} is no status code of a response; expected 200 to 599");
        assert_eq!((answer.status, &*answer.body, answer.closes()), (500, why.as_bytes(), true), "{answer:?}");
        wire.assert_ended();
    }
    for status in [200, 299, 300, 400, 599] {
        let hook = Hook::new(move |_, _| Err(Refused::new(StatusCode::try_from(status)?, "no")));
        let local = Local::start(Config { hook: Some(hook), ..quick() });
        let (mut wire, answer) = ask(local.address, UPGRADE);
        assert_eq!((answer.status, &*answer.body, answer.closes()), (status, &b"no"[..], true), "{answer:?}");
        wire.assert_ended();
    }
    for (field, why) in [
        ("X: a\r\nSet-Cookie: b", BadField::Value),
        ("Content-Length: 0", BadField::Reserved),
        ("Sec-WebSocket-Accept: x", BadField::Reserved),
        ("X", BadField::NoColon),
    ] {
        assert_eq!(Refused::new(StatusCode::FORBIDDEN, "").with_field(field), Err(why), "{field:?}");
    }
}

/// Sends upgrades in pairs, until one of a pair is refused; returns that, and how many were let in.
fn storm(address: SocketAddr) -> (Wire, Answer, usize) {
    let since = Instant::now();
    let mut let_in = 0;
    loop {
        let mut pair = [Wire::connect(address), Wire::connect(address)];
        for wire in &mut pair {
            wire.send(UPGRADE.as_bytes());
        }
        for mut wire in pair {
            let answer = wire.answer();
            if answer.status != 101 {
                return (wire, answer, let_in);
            }
            wire.echo(b"let in");
            let_in += 1;
        }
        assert!(since.elapsed() < PATIENCE, "never two in a second");
    }
}

#[test]
fn upgrades_are_accepted_at_the_limited_rate() {
    let local = Local::start(Config { reactors: Some(1), max_upgrades_per_s: 1, ..quick() });
    let server = Serve::start(&["--reactors", "1", "--max-upgrades-per-s", "1"]);
    assert_eq!(server.said[1], "limits: max_upgrades_per_s 1 (default no limit)");
    for address in [local.address, server.address()] {
        let mut stats = Wire::connect(address);
        let began = Instant::now();
        let (mut wire, answer, let_in) = storm(address);
        assert_eq!((answer.status, answer.closes()), (503, true), "{answer:?}");
        let seconds = answer.field("Retry-After").and_then(|seconds| seconds.parse().ok());
        assert!(matches!(seconds, Some(1..=10)), "{answer:?}");
        wire.assert_ended();
        // A second has one of them, and where each begins is the server's to say.
        assert!(let_in as u64 <= began.elapsed().as_secs() + 2, "{let_in} in {:?}", began.elapsed());
        // Pages are not upgrades, and malformed upgrades take no place of others.
        assert_eq!(ask(address, &UPGRADE.replace("Version: 13", "Version: 8")).1.status, 426);
        let after = stats.stats();
        let counted = (counter(&after, "refused_503"), counter(&after, "upgraded"));
        assert_eq!(counted, (1, let_in as u64), "{after}");
        // Who comes back is let in when a second has passed.
        let since = Instant::now();
        while ask(address, UPGRADE).1.status != 101 {
            assert!(since.elapsed() < PATIENCE, "never let in again");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    server.stop();
}

/// Messages around the edges of a small buffer and far beyond it, whole and in fragments, one by one and at once.
fn assert_echoes_of_all_sizes(address: SocketAddr) {
    let mut wire = Wire::websocket(address);
    for length in [0, 1, 125, 126, 4081, 4082, 4088, 4089, 4090, 4096, 8192, 65_535, 65_536, 70_000, 1 << 20] {
        let payload: Vec<u8> = (0..length).map(|at| (at * 7 + at / 256) as u8).collect();
        wire.echo(&payload);
    }
    let fragments = [frame(0x01, &[b'a'; 5000]), frame(0x89, b"?"), frame(0x00, b""), frame(0x80, &[b'b'; 70_000])];
    wire.send(&fragments.concat());
    assert_eq!(wire.frame(), Frame { first: 0x8a, payload: b"?".to_vec() });
    assert_eq!(wire.frame(), Frame { first: TEXT, payload: [vec![b'a'; 5000], vec![b'b'; 70_000]].concat() });
    let lengths: Vec<usize> = (0..60).map(|at| at * at * 4).collect();
    let mut sender = Wire::over(wire.socket.try_clone().expect("a twin"));
    let all: Vec<u8> = lengths.iter().flat_map(|&length| frame(BINARY, &vec![7; length])).collect();
    let sending = std::thread::spawn(move || sender.send(&all));
    for length in lengths {
        assert_eq!(wire.frame(), Frame { first: BINARY, payload: vec![7; length] });
    }
    sending.join().expect("all is sent");
    wire.send(&frame(0x88, &close_body(1000, b"")));
    assert_eq!(wire.frame().close_code(), 1000);
    wire.assert_ended();
}

#[test]
fn a_small_read_buffer_takes_large_messages() {
    let local = Local::start(Config { read_buffer_bytes: 4096, ..quick() });
    // A send buffer of less than a frame, too; a receive buffer of that kind would make the kernels wait for each other.
    let small = ["--read-buffer-bytes", "4096", "--socket-send-buffer-bytes", "4096"];
    let server = Serve::start(&small);
    let limits = "read_buffer_bytes 4096 (default 65536), socket_send_buffer_bytes 4096 (default the kernel's)";
    assert_eq!(server.said[1], format!("limits: {limits}"));
    for address in [local.address, server.address()] {
        assert_echoes_of_all_sizes(address);
        // Heads and bodies go through the same buffer.
        let long = format!("X: {}\r\n", "x".repeat(12_000));
        let body = vec![b'b'; 300_000];
        let head = format!("POST /echo HTTP/1.1\r\nHost: a\r\n{long}Content-Length: {}\r\n\r\n", body.len());
        let mut wire = Wire::connect(address);
        wire.send(&[head.as_bytes(), &body].concat());
        let answer = wire.answer();
        assert!(answer.status == 200 && answer.body == body, "{}", answer.head);
    }
    server.stop();
    for wrong in [0, 4095, (16 << 20) + 1, usize::MAX] {
        let error =
            Server::from(Config { read_buffer_bytes: wrong, ..quick() }).spawn().expect_err("no server").to_string();
        assert!(error.contains(&wrong.to_string()) && error.contains("4096 to 16777216"), "{error}");
    }
}

#[test]
fn receive_buffer_size_is_set() {
    let server = Serve::start(&["--socket-receive-buffer-bytes", "65536"]);
    Wire::websocket(server.address()).echo(&[7; 1 << 20]);
    server.stop();
}

#[test]
fn send_buffer_size_limits_what_the_kernel_takes() {
    let send_bytes = 4096;
    let local =
        Local::start(Config { socket_buffers: SocketBuffers { send_bytes, ..SocketBuffers::default() }, ..quick() });
    let mut stats = Wire::connect(local.address);
    // A client that has little room itself, and does not read.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(4096).expect("SO_RCVBUF");
    socket.connect(&local.address.into()).expect("a connection");
    let mut wire = Wire::over(TcpStream::from(socket));
    wire.upgrade();
    wire.send(&frame(BINARY, &[7; 1 << 20]));
    let mut asked = 0;
    let after = stats.stats_until("the message is answered", |stats| {
        asked += 1;
        stats["messages"]["out"] == 1
    });
    // Each look at that is an answer of its own, of less than 4 KiB.
    let taken = counter(&after, "bytes_out").saturating_sub(asked * 4096);
    assert!(taken < 1 << 18, "the kernel took {taken} bytes");
}
