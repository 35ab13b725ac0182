//! Peers that make a server keep what they begin: the limit binds, in its own count and in the pages of its process, and
//! others are answered all the time.

use crate::host::Serve;
use crate::hostile::{peak_while, user_bytes};
use crate::limits::raise_nofile;
use crate::wire::{BINARY, Frame, PING, PONG, UPGRADE, Wire, counter, frame};
use serde_json::Value;
use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

const MIB: usize = 1 << 20;
const LIMIT: usize = 4 * MIB;
const REACTORS: usize = 2;

/// What a reactor may have beside what its connections keep: a ring that it reads into.
const SLACK: usize = REACTORS * (64 << 10);

/// Without it, a fragment is not the last of its message.
const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;

fn start(flags: &str) -> Serve {
    let flags = format!("--max-buffer-bytes {LIMIT} --reactors {REACTORS} {flags}");
    Serve::start(&flags.split_ascii_whitespace().collect::<Vec<_>>())
}

fn upgraded(address: SocketAddr, extension: &str) -> Wire {
    let mut wire = Wire::connect(address);
    let fields = format!("\r\nSec-WebSocket-Extensions: {extension}\r\n\r\n");
    let request = if extension.is_empty() { UPGRADE.to_owned() } else { UPGRADE.replace("\r\n\r\n", &fields) };
    wire.send(request.as_bytes());
    assert_eq!(wire.answer_without_body().status, 101);
    wire
}

/// A raw deflate stream of `payload`, flushed, as a message has it.
fn deflated(payload: &[u8]) -> Vec<u8> {
    let mut deflater = zlib_rs::Deflate::new(6, false, 15);
    let mut bytes = vec![0; payload.len() + 1000];
    deflater.compress(payload, &mut bytes, zlib_rs::DeflateFlush::SyncFlush).expect("it is set up");
    bytes.truncate(deflater.total_out() as usize - 4); // RFC 7692 section 7.2.1
    bytes
}

/// Bytes that compress badly.
fn noise(count: usize) -> Vec<u8> {
    let mut random = 1_u32;
    let mut byte = || {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (random >> 24) as u8
    };
    (0..count).map(|_| byte()).collect()
}

/// Sends `payload` to all, as far as each is read, until `until`; calls `meanwhile` each time round.
fn push(peers: &mut [Wire], payload: &[u8], until: Instant, mut meanwhile: impl FnMut()) {
    let mut sent = vec![0; peers.len()];
    for peer in &*peers {
        peer.socket.set_nonblocking(true).expect("O_NONBLOCK");
    }
    while sent.iter().any(|&sent| sent < payload.len()) && Instant::now() < until {
        for (peer, sent) in peers.iter_mut().zip(&mut sent) {
            match peer.socket.write(&payload[*sent..]) {
                Ok(taken) => *sent += taken,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => *sent = payload.len(), // it was ended
            }
        }
        meanwhile();
    }
}

fn kept(stats: &Value) -> usize {
    stats["memory"]["buffer_bytes"].as_u64().expect("a number") as usize
}

/// `peers` connections begin what would take `each` bytes or more for each of them, twice the limit together.
fn assert_bounded(flags: &str, each: usize, open: impl Fn(SocketAddr) -> Wire, payload: &[u8]) {
    let server = start(flags);
    let (pid, address) = (server.running.pid(), server.address());
    let (mut honest, mut stats) = (Wire::websocket(address), Wire::connect(address));
    honest.echo(b"before");
    let mut peers: Vec<Wire> = (0..2 * LIMIT / each).map(|_| open(address)).collect();
    stats.stats();
    let idle = user_bytes(pid);
    let mut most = 0;
    let peak = peak_while(pid, || {
        push(&mut peers, payload, Instant::now() + Duration::from_secs(5), || {
            honest.echo(b"not disturbed");
            most = most.max(kept(&stats.stats()));
        });
    });
    // The figures are up to one tick old.
    let told = stats.stats_until("the attack is counted", |stats| {
        most = most.max(kept(stats));
        most > LIMIT / 2
    });
    println!("{} bytes over idle, {most} counted, {} peers; {}", peak - idle, peers.len(), told["counters"]);
    assert!(most > LIMIT / 2, "{most} bytes are no attack");
    assert!(most <= LIMIT + SLACK, "{most} bytes are counted");
    assert!(peak <= idle + (LIMIT + SLACK) as u64, "{} bytes over idle", peak - idle);
    let given_way = ["shed", "memory_ended", "memory_paused", "failed_1013"].map(|name| counter(&told, name));
    assert!(given_way.iter().sum::<u64>() > 0, "nothing gave way: {told}");
    drop(peers);
    stats.stats_until("nothing is kept", |stats| kept(stats) == 0);
    honest.echo(b"after");
    Wire::websocket(address).echo(b"there is room");
}

#[test]
fn open_compressed_fragments_are_bounded() {
    let fragment = frame(BINARY & !FIN | RSV1, &deflated(&noise(240)));
    assert_bounded("--compression", 48 << 10, |address| upgraded(address, "permessage-deflate"), &fragment);
}

#[test]
fn fragments_with_large_inflated_size_are_bounded() {
    let fragment = frame(BINARY & !FIN | RSV1, &deflated(&vec![0; 900_000]));
    assert_bounded("--compression", MIB, |address| upgraded(address, "permessage-deflate"), &fragment);
}

#[test]
fn kept_compression_windows_are_bounded() {
    let message = frame(BINARY | RSV1, &deflated(b"a window of mine"));
    let flags = "--compression --compression-takeover --compression-window-bits 15 --compression-min-bytes 1";
    assert_bounded(flags, 100 << 10, |address| upgraded(address, "permessage-deflate"), &message);
}

#[test]
fn partial_messages_are_bounded() {
    let mut message = frame(BINARY, &vec![0; MIB]);
    message.pop();
    assert_bounded("", MIB, |address| upgraded(address, ""), &message);
}

#[test]
fn partial_bodies_are_bounded() {
    let head = format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {MIB}\r\n\r\n");
    let body = [head.as_bytes(), &vec![0; MIB - 1]].concat();
    assert_bounded("", MIB, Wire::connect, &body);
}

#[test]
fn queues_of_receivers_that_do_not_read_are_bounded() {
    let open = |address| {
        let wire = upgraded(address, "");
        socket2::SockRef::from(&wire.socket).set_recv_buffer_size(4 << 10).expect("SO_RCVBUF");
        wire
    };
    assert_bounded("--socket-send-buffer-bytes 4096", MIB, open, &frame(BINARY, &vec![0; MIB]));
}

/// What is not touched is not counted: 60 fragments that inflate to 40,000 bytes are no reason to refuse anything.
#[test]
fn fragments_with_small_inflated_size_take_little_memory() {
    let server = start("--compression");
    let mut stats = Wire::connect(server.address());
    let mut peers: Vec<_> = (0..30).map(|_| upgraded(server.address(), "permessage-deflate")).collect();
    let fragment = frame(BINARY & !FIN | RSV1, &deflated(&vec![7; 40_000]));
    for peer in &mut peers {
        peer.send(&fragment);
        peer.send(&frame(PING, b"taken?"));
        assert_eq!(peer.frame(), Frame { first: PONG, payload: b"taken?".to_vec() });
    }
    let told = stats.stats();
    assert!(kept(&told) <= (30 * (48 + 64 + 1)) << 10, "{} bytes", kept(&told));
    let given_way = ["shed", "memory_ended", "memory_refused", "memory_paused"].map(|name| counter(&told, name));
    assert_eq!(given_way, [0; 4]);
}

/// `zlib_rs` ends the process where there is no memory for a window: so there has to be.
#[test]
fn address_space_limit_does_not_end_the_process() {
    raise_nofile();
    let flags = ["--compression", "--max-buffer-bytes", "134217728", "--reactors", "2", "--max-connections", "4000"];
    let server = Serve::start_under("ulimit -v 262144", &flags);
    let address = server.address();
    let mut honest = Wire::websocket(address);
    let fragment = frame(BINARY & !FIN | RSV1, &deflated(&noise(240)));
    let mut peers = Vec::new();
    for _ in 0..2782 {
        let mut wire = Wire::connect(address);
        let offer = "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
        wire.send(UPGRADE.replace("\r\n\r\n", offer).as_bytes());
        if wire.answer_without_body().status == 101 {
            wire.send_if_taken(&fragment);
        }
        peers.push(wire);
        if peers.len().is_multiple_of(100) {
            honest.echo(b"not disturbed");
        }
    }
    honest.echo(b"after");
    drop(peers);
    server.stop();
}

#[test]
fn slow_message_is_closed_with_1008() {
    let server = start("--message-timeout-s 1 --min-message-bytes-per-s 1000");
    let address = server.address();
    let mut stats = Wire::connect(address);
    let mut slow: Vec<Wire> = (0..3).map(|_| Wire::websocket(address)).collect();
    slow[0].send(&frame(BINARY, b"not all of it")[..9]);
    slow[1].send(&frame(BINARY & !FIN, b"the first fragment"));
    slow[2].send(&frame(BINARY, b"")[..1]);
    // More has come of this one than has to in the first minute, and this one has begun nothing.
    let mut large = Wire::websocket(address);
    large.send(&frame(BINARY & !FIN, &[7; 60_000]));
    let mut idle = Wire::websocket(address);
    for wire in &mut slow {
        let close = wire.frame();
        assert_eq!((close.close_code(), &close.payload[2..]), (1008, &b"message too slow"[..]));
    }
    let told = stats.stats_until("three are counted", |stats| counter(stats, "closed_slow_message") == 3);
    assert_eq!(counter(&told, "shed"), 0);
    large.send(&frame(FIN, b"!"));
    assert_eq!(large.frame().payload.len(), 60_001);
    idle.echo(b"as before");
}

/// Each message of a stream has its own time, and what comes between its fragments does not prolong it.
#[test]
fn the_time_for_a_message_begins_with_its_first_byte() {
    let server = start("--message-timeout-s 2 --min-message-bytes-per-s 1000");
    let mut stream = Wire::websocket(server.address());
    let mut pinging = Wire::websocket(server.address());
    pinging.send(&frame(BINARY & !FIN, b"begun"));
    // A message ends and the next begins with each byte that is sent: there is always one that is unfinished.
    let message = frame(BINARY, b"whole");
    stream.send(&message[..5]);
    let rest = [&message[5..], &message[..5]].concat();
    let since = Instant::now();
    let mut pings = 0;
    while since.elapsed() < Duration::from_secs(4) {
        stream.send(&rest);
        assert_eq!(stream.frame(), Frame { first: BINARY, payload: b"whole".to_vec() });
        if pinging.socket.write_all(&frame(PING, b"p")).is_ok() {
            pings += 1;
        }
        thread::sleep(Duration::from_millis(100));
    }
    assert!(pings > 0);
    let close = loop {
        let frame = pinging.frame();
        if frame.first != PONG {
            break frame;
        }
    };
    assert_eq!(close.close_code(), 1008);
}
