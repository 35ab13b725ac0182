//! Floods that do not go well: every connection that is lost has a cause, and the sums are right.

use crate::flood::flood;
use crate::host::{Ended, Running, Scratch, Serve, steadfast, text};
use crate::wire::CLOSE;
use serde_json::{Value, json};
use socket2::SockRef;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

fn count(report: &Value, name: &str) -> u64 {
    report["connections"][name].as_u64().unwrap_or_else(|| panic!("no {name}: {report}"))
}

/// The books are in order: closed and lost are all there were, each loss has a cause, and none is claimed twice.
fn assert_balanced(ended: &Ended, report: &Value, planned: u64) {
    assert_eq!((ended.code(), &report["ok"]), (1, &Value::Bool(false)), "{ended:?}");
    assert_eq!(count(report, "planned"), planned);
    assert_eq!(count(report, "closed") + count(report, "lost"), planned, "{report}");
    let causes = report["lost_by_cause"].as_object().expect("causes");
    assert_eq!(causes.values().filter_map(Value::as_u64).sum::<u64>(), count(report, "lost"), "{report}");
    let way = ["planned", "opened", "answered", "held"].map(|name| count(report, name));
    assert!(way.is_sorted_by(|before, after| before >= after), "{report}");
    let table = ended.out.join("\n");
    assert!(table.contains("NOT all opened") && causes.keys().all(|cause| table.contains(cause)), "{table}");
}

fn assert_lost(arguments: &[&str], planned: u64, causes: &Value) -> Value {
    let planned_text = planned.to_string();
    let (ended, report) = flood(&[arguments, &["--connections", &planned_text]].concat());
    assert_balanced(&ended, &report, planned);
    assert_eq!(&report["lost_by_cause"], causes, "{report}");
    report
}

/// A server that treats every connection in its own way, each in its own thread.
fn foreign(treat: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("its address");
    let treat = Arc::new(treat);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let treat = Arc::clone(&treat);
            // How it ends is the flood's business.
            thread::spawn(move || drop(treat(stream)));
        }
    });
    address
}

/// Reads until the peer has gone.
fn until_gone(stream: &mut TcpStream) -> io::Result<()> {
    io::copy(stream, &mut io::sink()).map(drop)
}

/// Reads a request, and not a byte of what follows it.
fn read_head(stream: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.extend(byte);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

#[test]
fn refused_connect_is_reported() {
    let address = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port");
    let report = assert_lost(&[&format!("ws://{address}/")], 20, &json!({ "refused": 20 }));
    assert_eq!(count(&report, "opened"), 0);
}

#[test]
fn wrong_path_or_protocol_is_reported() {
    let server = Serve::start(&[]);
    let address = server.address();
    assert_lost(&[&format!("ws://{address}/nothing")], 10, &json!({ "status 404": 10 }));
    assert_lost(&[&format!("http://{address}/nothing")], 10, &json!({ "status 404": 10 }));
    // What a tcp:// flood sends is no request, and the refusal is no echo.
    let report = assert_lost(&[&format!("tcp://{address}"), "--payload", "600"], 10, &json!({ "wrong reply": 10 }));
    assert_eq!((count(&report, "opened"), count(&report, "answered")), (10, 0));
    server.stop();
}

#[test]
fn wrong_replies_are_reported() {
    let shouting = foreign(|mut stream| {
        let mut bytes = [0; 20];
        loop {
            stream.read_exact(&mut bytes)?;
            bytes[19] = b'!';
            stream.write_all(&bytes)?;
        }
    });
    assert_lost(&[&format!("tcp://{shouting}")], 10, &json!({ "wrong reply": 10 }));
    let talkative = foreign(|mut stream| {
        let mut bytes = [0; 20];
        loop {
            stream.read_exact(&mut bytes)?;
            stream.write_all(&[&bytes[..], b"and more"].concat())?;
        }
    });
    let (ended, report) = flood(&[&format!("tcp://{talkative}"), "--connections", "10"]);
    assert_balanced(&ended, &report, 10);
    assert_eq!(report["lost_by_cause"], json!({ "wrong reply": 10 }));
}

#[test]
fn silent_server_is_reported_as_a_timeout() {
    let silent = foreign(|mut stream| until_gone(&mut stream));
    let timeouts = ["--connect-timeout-s", "1", "--reply-timeout-s", "1"];
    let ws = format!("ws://{silent}/");
    let report = assert_lost(&[&[ws.as_str()], &timeouts[..]].concat(), 10, &json!({ "timeout: connect": 10 }));
    assert_eq!(count(&report, "opened"), 0);
    let tcp = format!("tcp://{silent}");
    let report = assert_lost(&[&[tcp.as_str()], &timeouts[..]].concat(), 10, &json!({ "timeout: reply": 10 }));
    assert_eq!((count(&report, "opened"), count(&report, "answered")), (10, 0));
}

#[test]
fn server_that_ends_midway_is_reported() {
    let leaving = foreign(|mut stream| {
        let mut bytes = [0; 20];
        stream.read_exact(&mut bytes)?;
        stream.write_all(&bytes[..7])
    });
    assert_lost(&[&format!("tcp://{leaving}")], 10, &json!({ "closed by peer": 10 }));
    let rude = foreign(|mut stream| {
        stream.read_exact(&mut [0; 20])?;
        SockRef::from(&stream).set_linger(Some(Duration::ZERO))
    });
    assert_lost(&[&format!("tcp://{rude}")], 10, &json!({ "reset": 10 }));
}

#[test]
fn server_that_closes_after_the_request_is_reported() {
    // With nothing unread, so that it is a proper end of the stream and no reset.
    let leaving = foreign(|mut stream| read_head(&mut stream).map(drop));
    for scheme in ["ws", "http"] {
        assert_lost(&[&format!("{scheme}://{leaving}/")], 10, &json!({ "closed by peer": 10 }));
    }
}

#[test]
fn server_that_closes_at_once_is_reported() {
    let leaving = foreign(|_| Ok(()));
    for scheme in ["tcp", "ws", "http"] {
        let url = format!("{scheme}://{leaving}/");
        let (ended, report) = flood(&[&url, "--connections", "10"]);
        assert_balanced(&ended, &report, 10);
        assert_eq!((count(&report, "answered"), count(&report, "lost")), (0, 10), "{report}");
        // A reset is how it looks to one who was just sending.
        let causes = report["lost_by_cause"].as_object().expect("causes");
        assert!(causes.keys().all(|cause| ["closed by peer", "reset"].contains(&cause.as_str())), "{report}");
    }
}

#[test]
fn invalid_handshakes_are_reported() {
    let cases: [(&[u8], &str); 4] = [
        (b"hello\r\n\r\n", "protocol error: malformed response"),
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", "status 503"),
        (b"HTTP/1.1 101 Yes\r\n\r\n", "protocol error: 101 without upgrade"),
        (
            b"HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n",
            "protocol error: wrong Sec-WebSocket-Accept",
        ),
    ];
    for (answer, cause) in cases {
        let address = foreign(move |mut stream| {
            stream.write_all(answer)?;
            until_gone(&mut stream)
        });
        assert_lost(&[&format!("ws://{address}/")], 5, &json!({ cause: 5 }));
    }
}

#[test]
fn full_server_is_reported() {
    let server = Serve::start(&["--max-connections", "6"]);
    // Asking /stats takes a place only before and between; the six are held all through the connect phase.
    let url = format!("ws://{}/echo", server.address());
    let pid = server.running.pid().to_string();
    let more = ["--connect-timeout-s", "2", "--server-pid", &pid];
    let report = assert_lost(&[&[url.as_str()], &more[..]].concat(), 10, &json!({ "timeout: connect": 4 }));
    let counts = ["opened", "answered", "held", "closed"].map(|name| count(&report, name));
    assert_eq!(counts, [6; 4], "{report}");
    server.stop();
}

/// A flood whose report is awaited by hand.
fn spawn(file: &Path, arguments: &[&str]) -> Running {
    Running::spawn(steadfast("", &[&["flood", "--json", text(file)], arguments].concat()))
}

fn report_of(file: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(file).expect("a report")).expect("JSON")
}

#[test]
fn interrupt_during_the_hold_closes_and_reports() {
    let server = Serve::start(&[]);
    let scratch = Scratch::new();
    for signal in ["INT", "TERM"] {
        let file = scratch.file(signal);
        let url = format!("ws://{}/echo", server.address());
        let mut flood = spawn(&file, &[&url, "--connections", "50", "--hold", "3600"]);
        flood.error_line("hold");
        flood.signal(signal);
        let ended = flood.ended();
        let report = report_of(&file);
        assert_balanced(&ended, &report, 50);
        let counts = ["opened", "answered", "held", "closed", "lost"].map(|name| count(&report, name));
        assert_eq!(counts, [50, 50, 0, 50, 0], "SIG{signal}: {report}");
    }
    server.stop();
}

#[test]
fn interrupt_while_connecting_accounts_for_unopened_connections() {
    let server = Serve::start(&[]);
    let scratch = Scratch::new();
    let file = scratch.file("report.json");
    let url = format!("ws://{}/echo", server.address());
    let mut flood = spawn(&file, &[&url, "--connections", "5000", "--connect-rate", "10"]);
    flood.error_line("ramp");
    flood.signal("INT");
    let ended = flood.ended();
    let report = report_of(&file);
    assert_balanced(&ended, &report, 5000);
    let not_started = report["lost_by_cause"]["not started"].as_u64().expect("those not begun");
    let interrupted = report["lost_by_cause"]["interrupted"].as_u64().unwrap_or(0);
    assert_eq!(not_started + interrupted, count(&report, "lost"), "{report}");
    assert_eq!(count(&report, "opened"), count(&report, "closed"), "{report}");
    server.stop();
}

/// A WebSocket server that echoes short messages, and does not answer a Close.
fn deaf_to_closes() -> SocketAddr {
    foreign(|mut stream| {
        let head = read_head(&mut stream)?;
        let key = head.split("Sec-WebSocket-Key: ").nth(1).and_then(|rest| rest.split("\r\n").next());
        let accept = steadfast::proto::upgrade::accept_key(key.unwrap_or_default().as_bytes());
        stream.write_all(b"HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ")?;
        stream.write_all(&[&accept[..], b"\r\n\r\n"].concat())?;
        loop {
            let mut header = [0; 6];
            stream.read_exact(&mut header)?;
            let [first, length, mask @ ..] = header;
            let mut payload = vec![0; usize::from(length & 0x7f)];
            stream.read_exact(&mut payload)?;
            payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
            if first != CLOSE {
                stream.write_all(&[&[first, payload.len() as u8], &payload[..]].concat())?;
            }
        }
    })
}

#[test]
fn unanswered_closes_are_reported() {
    let url = format!("ws://{}/", deaf_to_closes());
    let report = assert_lost(&[&url], 5, &json!({ "timeout: close": 5 }));
    assert_eq!(count(&report, "held"), 5);
}

#[test]
fn second_interrupt_ends_the_flood_at_once() {
    let url = format!("ws://{}/", deaf_to_closes());
    let scratch = Scratch::new();
    let mut flood = spawn(&scratch.file("x"), &[&url, "--connections", "5", "--hold", "3600"]);
    flood.error_line("hold");
    flood.signal("INT");
    flood.error_line("drain");
    flood.signal("INT");
    let ended = flood.ended();
    assert_eq!((ended.code(), ended.out.len() > 10), (1, true), "it still reports: {ended:?}");
}

#[test]
fn server_killed_during_the_hold_loses_all_connections() {
    let server = Serve::start(&[]);
    let scratch = Scratch::new();
    let file = scratch.file("report.json");
    let url = format!("ws://{}/echo", server.address());
    let mut flood = spawn(&file, &[&url, "--connections", "50", "--hold", "5"]);
    flood.error_line("hold");
    server.running.signal("KILL");
    let ended = flood.ended();
    let report = report_of(&file);
    assert_balanced(&ended, &report, 50);
    let counts = ["opened", "answered", "held", "closed", "lost"].map(|name| count(&report, name));
    assert_eq!(counts, [50, 50, 0, 0, 50], "{report}");
    let causes = report["lost_by_cause"].as_object().expect("causes");
    assert!(causes.keys().all(|cause| ["closed by peer", "reset"].contains(&cause.as_str())), "{report}");
}

#[test]
fn server_stopped_during_the_hold_closes_with_1001() {
    let server = Serve::start(&[]);
    let scratch = Scratch::new();
    let file = scratch.file("report.json");
    let url = format!("ws://{}/echo", server.address());
    let mut flood = spawn(&file, &[&url, "--connections", "50", "--hold", "5"]);
    flood.error_line("hold");
    server.stop();
    let ended = flood.ended();
    assert_balanced(&ended, &report_of(&file), 50);
    assert_eq!(report_of(&file)["lost_by_cause"], json!({ "close code 1001": 50 }));
}
