//! Control frames are not messages: a receiver that does not read gets all of them, in order, and they cost the server
//! no memory that grows.

use crate::host::Serve;
use crate::probe::{BYTES, MANY, PATH, Probed, ample, by_bytes, numbers, slow_receiver, tight, upgraded};
use crate::wire::{Frame, PATIENCE, PING, PONG, TEXT, Wire, frame};
use crate::witness::Told;
use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use steadfast::flood::Memory;
use steadfast::server::{Overflow, Sent};

/// Less than `--max-control-frames-per-s` can be, so that all may come in one second.
const FLOOD: usize = 60_000;

/// How much the memory of a server may grow by a flood: next to nothing, compared with what is sent.
const MAX_GROWTH_BYTES: u64 = 1 << 20;

fn next_pong(probed: &Probed) -> Option<Duration> {
    loop {
        match probed.next_news() {
            (_, Told::Pong(round_trip)) => return round_trip,
            (_, Told::Writable) => {}
            other => panic!("{other:?} instead of a pong"),
        }
    }
}

#[test]
fn ping_is_queued_after_what_waits_however_much_that_is() {
    for overflow in [Overflow::DropNewest, Overflow::DropOldest, Overflow::KeepLatest] {
        let probed = Probed::start(tight(ample()), overflow);
        let (mut wire, id) = probed.slow(PATH);
        let began = Instant::now();
        let (sent, _) = probed.burst(&mut wire, MANY, " ping");
        let totals = probed.totals();
        assert!(totals.messages_dropped > 0, "{totals:?}");
        numbers(&mut wire, sent.len() - totals.messages_dropped as usize);
        let ping = wire.frame();
        assert_eq!((ping.first, probed.totals().pings_out), (PING, 1));
        wire.send(&frame(PONG, &ping.payload));
        let round_trip = next_pong(&probed).expect("a round trip");
        assert!(round_trip <= began.elapsed(), "{round_trip:?}");
        probed.assert_goes_on(&mut wire, id);
    }
}

#[test]
fn unsolicited_pong_has_no_round_trip() {
    let probed = Probed::start(tight(by_bytes(1000)), Overflow::Close);
    let (mut wire, _) = probed.healthy();
    for payload in [&b""[..], b"seven b", b"nine byte"] {
        wire.send(&frame(PONG, payload));
        assert_eq!(next_pong(&probed), None, "{payload:?}");
    }
    // A stamp of the future was not the server's either.
    wire.send(&frame(PONG, &u64::MAX.to_be_bytes()));
    assert_eq!(next_pong(&probed), None);
}

#[test]
fn pongs_keep_the_order_of_their_pings() {
    for overflow in [Overflow::DropNewest, Overflow::DropOldest] {
        let probed = Probed::start(tight(ample()), overflow);
        let (mut wire, id) = probed.slow(PATH);
        let burst = format!("{MANY} {BYTES}");
        wire.send(&[frame(PING, b"before"), frame(TEXT, burst.as_bytes()), frame(PING, b"behind")].concat());
        let (_, Told::Burst(sent, _)) = probed.next_news() else { panic!("no burst") };
        let totals = probed.totals();
        let left = sent.len() - totals.messages_dropped as usize;
        // A connection that takes nothing is not read.
        assert_eq!(totals.pings_in, 1, "{totals:?}");
        assert_eq!(wire.frame(), Frame { first: PONG, payload: b"before".to_vec() });
        numbers(&mut wire, left);
        assert_eq!(wire.frame(), Frame { first: PONG, payload: b"behind".to_vec() });
        probed.assert_goes_on(&mut wire, id);
        if overflow == Overflow::DropNewest {
            assert_eq!(sent.iter().filter(|&&one| one != Sent::Dropped).count(), left);
        }
    }
}

fn server() -> Serve {
    Serve::start(&["--reactors", "1", "--max-control-frames-per-s", "65535", "--socket-send-buffer-bytes", "4096"])
}

fn user_bytes(server: &Serve) -> u64 {
    Memory::read(Some(server.running.pid())).user_bytes.expect("RssAnon")
}

fn flood_payload(number: usize) -> Vec<u8> {
    format!("{number:0125}").into_bytes()
}

/// Sends all frames from a thread of its own; reports when the peer has taken nothing for a second, and when all is
/// sent.
fn flood(mut socket: TcpStream, first: u8) -> (Receiver<&'static str>, JoinHandle<()>) {
    let (news, heard) = channel();
    socket.set_write_timeout(Some(Duration::from_secs(1))).expect("a timeout");
    let thread = thread::spawn(move || {
        let all: Vec<u8> = (0..FLOOD).flat_map(|number| frame(first, &flood_payload(number))).collect();
        let mut rest = &all[..];
        while !rest.is_empty() {
            match socket.write(rest) {
                Ok(taken) => rest = &rest[taken..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => drop(news.send("stuck")),
                Err(error) => panic!("sending: {error}"),
            }
        }
        let _ = news.send("done");
    });
    (heard, thread)
}

fn assert_flat(server: &Serve, before: u64, when: &str) {
    let grown = user_bytes(server).saturating_sub(before);
    assert!(grown < MAX_GROWTH_BYTES, "{grown} bytes more, {when}");
}

#[test]
fn flood_of_pings_without_reading_costs_no_memory_and_loses_nothing() {
    let server = server();
    let mut neighbour = Wire::websocket(server.address());
    let mut wire = slow_receiver(server.address(), "/echo");
    let mut stats = Wire::connect(server.address());
    wire.echo(b"before");
    neighbour.echo(b"before");
    let before = user_bytes(&server);
    let (heard, sending) = flood(wire.socket.try_clone().expect("a twin"), PING);
    assert_eq!(heard.recv_timeout(PATIENCE), Ok("stuck"));
    assert_flat(&server, before, "when it is stuck");
    let taken = stats.counter("pings_in");
    assert!(taken < FLOOD as u64 / 2, "{taken} of {FLOOD} were read");
    neighbour.echo(b"while one is stuck");
    for number in 0..FLOOD {
        assert_eq!(wire.frame(), Frame { first: PONG, payload: flood_payload(number) });
        if number % (FLOOD / 8) == 0 {
            assert_flat(&server, before, &format!("at pong {number}"));
        }
    }
    sending.join().expect("all is sent");
    wire.echo(b"and on");
    neighbour.echo(b"after");
    drop((wire, neighbour, stats));
    server.stop();
}

#[test]
fn a_flood_of_pongs_costs_nothing() {
    let server = server();
    let mut wire = upgraded(Wire::connect(server.address()), "/echo");
    let mut stats = Wire::connect(server.address());
    wire.echo(b"before");
    let before = user_bytes(&server);
    let (heard, sending) = flood(wire.socket.try_clone().expect("a twin"), PONG);
    while heard.recv_timeout(PATIENCE).expect("news") != "done" {}
    sending.join().expect("all is sent");
    // This is sent after all of them, and is answered when they have been read.
    wire.echo(b"and on");
    assert_flat(&server, before, "behind all pongs");
    assert_eq!(stats.stats()["messages"]["queued"], 0);
    drop((wire, stats));
    server.stop();
}
