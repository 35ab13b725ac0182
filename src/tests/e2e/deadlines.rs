//! What takes too long: each deadline is set to a second or a few, and its end is awaited.

use crate::host::{Local, Serve, quick};
use crate::wire::{BINARY, PATIENCE, PING, PONG, Wire, frame};
use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};
use steadfast::server::{Config, Deadlines};

fn with(deadlines: Deadlines) -> Local {
    Local::start(Config { deadlines, ..quick() })
}

#[test]
fn connection_without_pongs_is_closed_with_1001() {
    // Far apart, so that a pong may take seconds.
    let deadlines = Deadlines { ping_s: 1, idle_s: 6, close_s: 1, ..Deadlines::default() };
    let local = with(deadlines);
    let mut dead = Wire::websocket(local.address);
    let mut alive = Wire::websocket(local.address);
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(7) {
        let ping = alive.frame();
        assert_eq!(ping.first, PING, "{ping:?}");
        alive.send(&frame(PONG, &ping.payload));
    }
    alive.echo(b"alive");
    assert_eq!(dead.frame().first, PING);
    assert_eq!(dead.frame().close_code(), 1001);
    dead.assert_ended();
    alive.echo(b"still alive");
}

#[test]
fn messages_count_as_activity() {
    let deadlines = Deadlines { ping_s: u32::MAX, idle_s: 4, close_s: 1, ..Deadlines::default() };
    let local = with(deadlines);
    let since = Instant::now();
    let mut dead = Wire::websocket(local.address);
    let mut alive = Wire::websocket(local.address);
    dead.socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout");
    while dead.socket.peek(&mut [0]).is_err() {
        alive.echo(b"alive");
        assert!(since.elapsed() < PATIENCE, "the silent one is never closed");
    }
    // A deadline may come late on a slow host, but never early.
    assert!(since.elapsed() >= Duration::from_secs(3), "after {:?} only", since.elapsed());
    assert_eq!(dead.frame().close_code(), 1001);
    alive.echo(b"still alive");
}

#[test]
fn idle_connection_between_requests_is_closed_silently() {
    let local = with(Deadlines { keep_alive_s: 3, close_s: 1, ..Deadlines::default() });
    let mut neighbour = Wire::websocket(local.address);
    let mut wire = Wire::connect(local.address);
    for _ in 0..2 {
        assert_eq!(wire.counter("ended_by_deadline"), 0);
    }
    wire.assert_ended();
    assert_eq!(Wire::connect(local.address).counter("ended_by_deadline"), 1);
    neighbour.echo(b"another deadline");
}

#[test]
fn unanswered_close_is_reset() {
    let local = with(Deadlines { close_s: 1, ..Deadlines::default() });
    let mut deaf = Wire::websocket(local.address);
    // Talking on is no answer either.
    let mut talker = Wire::websocket(local.address);
    local.server.stop();
    for wire in [&mut deaf, &mut talker] {
        assert_eq!(wire.frame().close_code(), 1001);
    }
    talker.send(&frame(BINARY, b"by the way"));
    deaf.assert_reset();
    talker.assert_reset();
    local.join();
}

/// Its input is still in the socket when the server closes, and takes longer to read than a close may take.
#[test]
fn peer_that_still_reads_before_the_close_is_not_reset() {
    const BYTES: usize = 1 << 20;
    let local = with(Deadlines { close_s: 1, ..Deadlines::default() });
    let mut wire = Wire::connect(local.address);
    socket2::SockRef::from(&wire.socket).set_recv_buffer_size(16 << 10).expect("SO_RCVBUF");
    let head = format!("POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {BYTES}\r\n\r\n");
    wire.send(head.as_bytes());
    wire.send(&vec![b'x'; BYTES]);
    let (since, mut got, mut bytes) = (Instant::now(), 0, vec![0; 64 << 10]);
    loop {
        match wire.socket.read(&mut bytes).expect("no reset") {
            0 => break,
            count => got += count,
        }
        // Its pace, about 170 KiB a second: not a wait for anything.
        std::thread::sleep(Duration::from_millis(got as u64 / 170).saturating_sub(since.elapsed()));
    }
    assert!(got > BYTES, "{got} bytes");
    assert!(since.elapsed() > Duration::from_secs(4), "{:?} is not slow", since.elapsed());
}

#[test]
fn failed_connection_that_stays_open_is_reset() {
    let local = with(Deadlines { close_s: 1, ..Deadlines::default() });
    let mut stats = Wire::connect(local.address);
    let mut neighbour = Wire::websocket(local.address);
    let mut refused = Wire::connect(local.address);
    refused.send(b"garbage\r\n\r\n");
    assert_eq!(refused.answer().status, 400);
    refused.assert_ended();
    let mut failed = Wire::websocket(local.address);
    failed.send(b"\x81\x00");
    assert_eq!(failed.frame().close_code(), 1002);
    failed.assert_ended();
    // Both ends are half open; the server gives up on its own.
    let after = stats.stats_until("two are reset", |stats| stats["connections"]["now"] == 2);
    assert_eq!(after["counters"]["ended_by_deadline"], 2, "{after}");
    neighbour.echo(b"not disturbed");
}

/// Sends until the connection is reset, and reads nothing.
fn talk_until_reset(wire: &mut Wire, bytes: &[u8]) {
    let error = loop {
        if let Err(error) = wire.socket.write_all(bytes) {
            break error;
        }
    };
    let expected = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
    assert!(expected.contains(&error.kind()), "{error} instead of a reset");
}

#[test]
fn peer_that_reads_none_of_its_queue_is_reset() {
    let local = with(Deadlines { stalled_s: 1, close_s: 1, ..Deadlines::default() });
    let mut stats = Wire::connect(local.address);
    let mut neighbour = Wire::websocket(local.address);
    let mut stalled = Wire::websocket(local.address);
    talk_until_reset(&mut stalled, &frame(BINARY, &[7; 60_000]));
    let after = stats.stats_until("it is counted", |stats| stats["counters"]["ended_by_deadline"] == 1);
    assert_eq!(after["connections"]["now"], 2, "{after}");
    neighbour.echo(b"not disturbed");
}

#[test]
fn raw_connection_that_does_not_read_is_reset() {
    let server = Serve::start(&["--protocol", "tcp", "--stalled-timeout-s", "1"]);
    let mut silent = Wire::connect(server.address());
    let mut stalled = Wire::connect(server.address());
    talk_until_reset(&mut stalled, &[7; 60_000]);
    // Silence alone is no offence where there is no protocol.
    silent.send(b"still here");
    assert_eq!(silent.read(10), b"still here");
    drop((silent, stalled));
    server.stop();
}
