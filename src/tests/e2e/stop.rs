//! What the server says when it starts, and how it stops.

use crate::host::{Local, Serve, quick, run};
use crate::wire::{BINARY, CLOSE, Frame, UPGRADE, Wire, close_body, frame};
use std::net::TcpStream;

#[test]
fn first_line_has_address_and_plan() {
    let server = Serve::start(&["--max-connections", "100", "--reactors", "3"]);
    let address = server.address();
    assert_eq!(
        server.said[0],
        format!("listening on {address} (ws) with 3 reactors for 100 connections"),
        "and nothing of tables, since one is enough"
    );
    server.stop();
}

#[test]
fn changed_limits_are_printed() {
    let arguments = ["--head-timeout-s", "7", "--max-fragments", "1024", "--max-message-bytes", "9"];
    let server = Serve::start(&arguments);
    let [_, limits] = &server.said[..] else { panic!("{server:?}") };
    for word in ["head_timeout_s 7 (default 10)", "max_message_bytes 9 (default 1048576)"] {
        assert!(limits.contains(word), "no {word:?} in {limits:?}");
    }
    assert!(!limits.contains("max_fragments"), "{limits:?}");
    server.stop();
}

#[test]
fn every_flag_that_sets_a_limit_is_obeyed() {
    let server =
        Serve::start(&["--max-message-bytes", "9", "--max-request-line-bytes", "20", "--max-head-bytes", "300"]);
    let mut wire = Wire::websocket(server.address());
    wire.echo(b"123456789");
    wire.send(&frame(BINARY, b"1234567890"));
    assert_eq!(wire.frame().close_code(), 1009);
    for (request, status) in [
        (format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(20)), 414),
        (format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(300)), 431),
    ] {
        let mut wire = Wire::connect(server.address());
        wire.send(request.as_bytes());
        assert_eq!(wire.answer().status, status);
    }
    drop(wire);
    server.stop();
}

#[test]
fn origins_may_be_listed_or_left_open() {
    let from = |origin: &str| UPGRADE.replace("Host: a\r\n", &format!("Host: a\r\nOrigin: {origin}\r\n"));
    let cases = [
        (&["--origin", "any"][..], "https://b", 101),
        (&["--origin", "https://b", "--origin", "https://c"], "https://c", 101),
        (&["--origin", "https://b", "--origin", "https://c"], "http://a", 403),
    ];
    for (arguments, origin, status) in cases {
        let server = Serve::start(arguments);
        let mut wire = Wire::connect(server.address());
        wire.send(from(origin).as_bytes());
        assert_eq!(wire.answer_without_body().status, status, "{arguments:?}");
        drop(wire);
        server.stop();
    }
}

/// All connections are closed, no new one is accepted, and the server ends when the last has gone.
#[test]
fn either_signal_closes_with_1001() {
    for signal in ["TERM", "INT"] {
        let server = Serve::start(&[]);
        let mut open: Vec<Wire> = (0..20).map(|_| Wire::websocket(server.address())).collect();
        let mut half = Wire::connect(server.address());
        half.send(b"GET / HT");
        let mut idle = Wire::connect(server.address());
        idle.stats();
        server.running.signal(signal);
        for wire in &mut open {
            let Frame { payload, .. } = wire.frame();
            assert_eq!(payload, close_body(1001, b"server stops"));
        }
        half.assert_gone();
        idle.assert_ended();
        let refused = TcpStream::connect(server.address());
        assert!(refused.is_err(), "SIG{signal}: someone new is let in");
        for wire in &mut open {
            // What was under way is not echoed any more.
            wire.send(&[frame(BINARY, b"one more"), frame(CLOSE, &close_body(1001, b""))].concat());
            wire.assert_ended();
        }
        let ended = server.running.ended();
        assert_eq!((ended.code(), ended.err.len()), (0, 0), "SIG{signal}: {ended:?}");
    }
}

#[test]
fn second_signal_ends_the_program_at_once() {
    let server = Serve::start(&["--close-timeout-s", "3600"]);
    let mut deaf = Wire::websocket(server.address());
    server.running.signal("TERM");
    assert_eq!(deaf.frame().close_code(), 1001);
    server.running.signal("TERM");
    assert_eq!(server.running.ended().code(), 130);
}

#[test]
fn library_server_stops_and_frees_its_port() {
    let local = Local::start(quick());
    let mut wire = Wire::websocket(local.address);
    local.server.stop();
    // Once is enough, twice does no harm.
    local.server.stop();
    assert_eq!(wire.frame().close_code(), 1001);
    wire.send(&frame(CLOSE, &close_body(1001, b"")));
    wire.assert_ended();
    local.join();
    assert!(TcpStream::connect(local.address).is_err());
}

#[test]
fn help_and_version_exit_with_0() {
    for arguments in
        [&["--help"][..], &["serve", "--help"], &["flood", "--help"], &["connect", "--help"], &["--version"]]
    {
        let ended = run("", arguments);
        assert_eq!((ended.code(), ended.err.len()), (0, 0), "{arguments:?}: {ended:?}");
    }
    assert_eq!(run("", &["--version"]).out, [concat!("steadfast ", env!("CARGO_PKG_VERSION"))]);
}
