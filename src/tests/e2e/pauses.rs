//! A server that did not run for a while (SIGSTOP, a paused VM, a frozen control group): its peers' silence is not
//! theirs, and no healthy connection is closed. Nor does urgent data hide what follows it.

use crate::host::{Local, Serve, quick};
use crate::wire::{BINARY, CLOSE, PING, PONG, Wire, close_body, frame};
use socket2::SockRef;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

/// Each deadline is shorter than the pause.
const SHORT: &str = "--ping-interval-s 4 --idle-timeout-s 8 --head-timeout-s 8 --keep-alive-timeout-s 8 \
                     --close-timeout-s 8 --stalled-timeout-s 8 --drain-s 0";

/// What a large echo takes: more than the kernel's buffers of both ends.
const LARGE_BYTES: usize = 1 << 20;
const LARGE_COUNT: usize = 12;

/// The next message; pings are answered.
fn message(wire: &mut Wire) -> Vec<u8> {
    loop {
        let next = wire.frame();
        match next.first {
            PING => wire.send(&frame(PONG, &next.payload)),
            PONG => {}
            first => {
                assert_eq!(first, BINARY, "{first:#x} {:?}", String::from_utf8_lossy(&next.payload));
                return next.payload;
            }
        }
    }
}

fn assert_alive(wire: &mut Wire) {
    wire.send(&frame(BINARY, b"alive"));
    assert_eq!(message(wire), b"alive");
}

/// Connections in each state that a deadline applies to.
struct Peers {
    idle: Vec<Wire>,
    busy: Vec<Wire>,
    pinging: Vec<Wire>,
    fragment: Vec<Wire>,
    head: Vec<Wire>,
    keep_alive: Vec<Wire>,
    downloading: Vec<Wire>,
    closing: Vec<Wire>,
}

impl Peers {
    fn open(address: SocketAddr, count: usize) -> Self {
        let websockets = |count| (0..count).map(|_| Wire::websocket(address)).collect::<Vec<_>>();
        let mut peers = Self {
            idle: websockets(count),
            busy: websockets(count),
            pinging: websockets(count),
            fragment: websockets(count),
            closing: websockets(count),
            downloading: websockets((count / 50).clamp(2, 8)),
            head: (0..count).map(|_| Wire::connect(address)).collect(),
            keep_alive: (0..count).map(|_| Wire::connect(address)).collect(),
        };
        for wire in &mut peers.keep_alive {
            wire.send(b"GET /stats HTTP/1.1\r\nHost: a\r\n\r\n");
            assert_eq!(wire.answer().status, 200);
        }
        for wire in &mut peers.downloading {
            let mut sender = wire.socket.try_clone().expect("a twin");
            // What it sends waits for as long as the server does not run.
            sender.set_write_timeout(None).expect("no SO_SNDTIMEO");
            // The server stops reading when its queue is full; it reads the rest after the pause.
            thread::spawn(move || {
                let large = frame(BINARY, &vec![7; LARGE_BYTES]);
                (0..LARGE_COUNT).try_for_each(|_| std::io::Write::write_all(&mut sender, &large)).ok()
            });
        }
        peers.fragment.iter_mut().for_each(|wire| wire.send(&frame(BINARY & 0x7f, b"one ")));
        peers.head.iter_mut().for_each(|wire| wire.send(b"GET /stats HTTP/1.1\r\nHo"));
        peers
    }

    /// What comes while the server does not run.
    fn go_on(&mut self, pause: Duration) {
        self.busy.iter_mut().for_each(|wire| wire.send(&frame(BINARY, b"busy")));
        self.closing.iter_mut().for_each(|wire| wire.send(&frame(CLOSE, &close_body(1000, b""))));
        // A ping each second, and the limit is a hundred a second.
        let pings = frame(PING, b"").repeat((pause.as_secs() as usize).max(120));
        self.pinging.iter_mut().for_each(|wire| wire.send(&pings));
    }

    fn assert_healthy(&mut self) {
        // First of all what has a deadline from its beginning to its end: on a busy machine the rest takes longer than that.
        self.fragment.iter_mut().for_each(|wire| wire.send(&frame(0x80, b"two")));
        self.head.iter_mut().for_each(|wire| wire.send(b"st: a\r\n\r\n"));
        for wire in &mut self.busy {
            assert_eq!(message(wire), b"busy");
        }
        for wire in &mut self.fragment {
            assert_eq!(message(wire), b"one two");
        }
        for wire in &mut self.head {
            assert_eq!(wire.answer().status, 200);
        }
        for wire in &mut self.keep_alive {
            wire.send(b"GET /stats HTTP/1.1\r\nHost: a\r\n\r\n");
            assert_eq!(wire.answer().status, 200);
        }
        for wire in &mut self.closing {
            let mut next = wire.frame();
            while next.first == PING {
                next = wire.frame();
            }
            assert_eq!((next.first, next.close_code()), (CLOSE, 1000));
            wire.assert_ended();
        }
        for wire in &mut self.downloading {
            for _ in 0..LARGE_COUNT {
                assert_eq!(message(wire).len(), LARGE_BYTES);
            }
        }
        for wire in self.idle.iter_mut().chain(&mut self.busy).chain(&mut self.pinging).chain(&mut self.downloading) {
            assert_alive(wire);
        }
    }

    fn open_websockets(&mut self) -> impl Iterator<Item = &mut Wire> {
        self.idle.iter_mut().chain(&mut self.busy).chain(&mut self.pinging).chain(&mut self.fragment)
    }
}

/// Stops the server, and waits until none of its threads runs.
fn stop(server: &Serve) {
    server.running.signal("STOP");
    let tasks = format!("/proc/{}/task", server.running.pid());
    // proc_pid_stat(5): the state is after the name, which is in parentheses.
    let is_stopped = |stat: &str| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'));
    let runs = || {
        let threads = std::fs::read_dir(&tasks).expect("threads").flatten();
        threads
            .filter_map(|thread| std::fs::read_to_string(thread.path().join("stat")).ok())
            .any(|stat| !is_stopped(&stat))
    };
    while runs() {
        thread::yield_now();
    }
}

fn pause(flags: &str, count: usize, length: Duration) {
    let arguments: Vec<&str> = flags.split_whitespace().collect();
    let server = Serve::start_under("ulimit -n $(ulimit -H -n)", &arguments);
    let mut peers = Peers::open(server.address(), count);
    stop(&server);
    peers.go_on(length);
    thread::sleep(length);
    server.running.signal("CONT");
    peers.assert_healthy();
    let stats = Wire::connect(server.address()).stats();
    assert!(stats["counters"]["pauses"].as_u64() >= Some(1), "{stats}");
    assert!(stats["counters"]["paused_ms"].as_u64() >= Some(length.as_millis() as u64 / 2), "{stats}");
    assert_eq!(stats["counters"]["ended_by_deadline"], 0, "{stats}");
    // A close of its own that the peer answers while the server does not run is a clean one.
    server.running.signal("QUIT");
    for wire in peers.open_websockets() {
        let mut next = wire.frame();
        while next.first != CLOSE {
            next = wire.frame();
        }
        assert_eq!(next.close_code(), 1001);
    }
    stop(&server);
    peers.open_websockets().for_each(|wire| wire.send(&frame(CLOSE, &close_body(1001, b""))));
    thread::sleep(length);
    server.running.signal("CONT");
    peers.open_websockets().for_each(|wire| drop(wire.rest()));
}

#[test]
fn pause_closes_no_healthy_connection() {
    pause(SHORT, 20, Duration::from_secs(10));
}

/// `cargo test --test e2e -- --ignored pause --nocapture`: 10,000 connections and more, default limits and short ones.
#[test]
#[ignore = "takes a minute"]
fn pause_of_15_s_closes_none_of_10_000_connections() {
    pause_of(15);
}

#[test]
#[ignore = "takes nine minutes"]
fn pause_of_120_s_closes_none_of_10_000_connections() {
    pause_of(120);
}

fn pause_of(seconds: u64) {
    for flags in ["--drain-s 0", SHORT] {
        pause(flags, 1450, Duration::from_secs(seconds));
        println!("{flags:?}, {seconds} s: none closed");
    }
}

/// recv(2) stops in front of urgent data (tcp(7), SO_OOBINLINE), so a short read does not mean that all has been read.
#[test]
fn data_after_urgent_data_is_read_at_once() {
    let local = Local::start(quick());
    let mut wire = Wire::websocket(local.address);
    for count in 0..50_u8 {
        let message = frame(BINARY, &[count; 100]);
        let (before, after) = message.split_at(usize::from(count) + 3);
        wire.send(before);
        // The urgent byte itself is not part of the stream.
        assert_eq!(SockRef::from(&wire.socket).send_out_of_band(b"!").expect("urgent data"), 1);
        wire.send(after);
        assert_eq!(wire.frame().payload, [count; 100]);
    }
    // The mark is after more than one read.
    let large = frame(BINARY, &vec![9; 150_000]);
    wire.send(&large[..140_000]);
    assert_eq!(SockRef::from(&wire.socket).send_out_of_band(b"!").expect("urgent data"), 1);
    wire.send(&large[140_000..]);
    assert_eq!(wire.frame().payload.len(), 150_000);
}
