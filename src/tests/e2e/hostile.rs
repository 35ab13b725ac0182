//! Peers that mean harm: what is announced and never sent, and messages that never end. What the server keeps for them
//! is counted in the pages of its process.

use crate::host::Serve;
use crate::limits::raise_nofile;
use crate::wire::{BINARY, Frame, PATIENCE, PING, PONG, TEXT, UPGRADE, Wire, counter, frame};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

const PAGE: u64 = 4096;
/// What the heap may grow for its own reasons: next to what these peers send, nothing.
const FEW_PAGES: u64 = 8 * PAGE;
/// Without it, a fragment is not the last of its message.
const FIN: u8 = 0x80;

/// The default of `--read-buffer-bytes`.
const RING_BYTES: usize = 64 << 10;
/// The default of `--max-fragments`.
const MAX_FRAGMENTS: usize = 1024;
/// The default of `--max-message-bytes`.
const MAX_MESSAGE_BYTES: usize = 1 << 20;

/// Anonymous memory of the server, as its page tables have it.
///
/// Not RssAnon of proc_pid_status(5): that is counted on each core apart, and a kernel that does not add up what it
/// reads there is dozens of pages wrong.
pub(crate) fn user_bytes(pid: u32) -> u64 {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let kib =
        text.lines().find_map(|line| line.strip_prefix("Anonymous:")).and_then(|rest| rest.split_whitespace().next());
    kib.and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_else(|| panic!("{path}: {text}")) * 1024
}

/// Says at its end, whichever that is, that nothing more is to be sampled.
struct Until<'a>(&'a AtomicBool);

impl Drop for Until<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The peak of the server's memory while `work` runs and after it, read as often as possible.
pub(crate) fn peak_while(pid: u32, work: impl FnOnce()) -> u64 {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let sampler = scope.spawn(|| {
            let mut peak = 0;
            while !done.load(Ordering::Relaxed) {
                peak = peak.max(user_bytes(pid));
            }
            peak
        });
        let until = Until(&done);
        work();
        drop(until);
        sampler.join().expect("the sampler").max(user_bytes(pid))
    })
}

/// What proc(5) says of the server's threads: whether all are in one of these states.
fn all_threads_are(pid: u32, states: &[char]) -> bool {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("its threads");
    tasks.map(|task| task.expect("a thread").path().join("stat")).all(|path| {
        let stat = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        // The name, in parentheses, may contain anything; the state is the field after it.
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(states))
    })
}

/// Bytes that have arrived for the server and that it has not read.
fn unread_bytes(address: SocketAddr) -> u64 {
    const LISTENING: &str = "0A";
    let local = format!("{:08X}:{:04X}", u32::from_ne_bytes([127, 0, 0, 1]), address.port());
    let sockets = std::fs::read_to_string("/proc/net/tcp").expect("proc_net_tcp(5)");
    let unread = sockets.lines().filter_map(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        (fields.next()? == local).then_some(())?;
        (fields.nth(1)? != LISTENING).then_some(())?;
        u64::from_str_radix(fields.next()?.split_once(':')?.1, 16).ok()
    });
    unread.sum()
}

/// Waits for what nothing announces.
fn until(what: &str, reached: impl Fn() -> bool) {
    let since = Instant::now();
    while !reached() {
        assert!(since.elapsed() < PATIENCE, "{what}: not reached");
        thread::yield_now();
    }
}

/// Has all that `send` sends arrive while the server does nothing, so that it finds all at once; and waits until it
/// has taken all of it, and does nothing again.
fn all_at_once(server: &Serve, bytes: usize, send: impl FnOnce()) {
    let (pid, address) = (server.running.pid(), server.address());
    server.running.signal("STOP");
    until("stopped", || all_threads_are(pid, &['T']));
    send();
    until("arrived", || unread_bytes(address) == bytes as u64);
    server.running.signal("CONT");
    // A read does not sleep, and what it has read is dealt with before the next wait.
    until("read", || unread_bytes(address) == 0 && all_threads_are(pid, &['S']));
}

/// A server with one reactor, so that there is one heap, and with no deadline that a busy machine could miss.
fn server(more: &str) -> Serve {
    let flags = "--reactors 1 --ping-interval-s 86400 --idle-timeout-s 172800 --keep-alive-timeout-s 86400 \
        --close-timeout-s 86400 --stalled-timeout-s 86400";
    let server = Serve::start(&flags.split_whitespace().chain(more.split_whitespace()).collect::<Vec<_>>());
    // It says that it is ready before it has started the thread that waits for signals.
    until("at rest", || all_threads_are(server.running.pid(), &['S']));
    server
}

#[test]
fn declared_gibibyte_costs_at_most_128_bytes_before_it_arrives() {
    const FEW: usize = 1_000;
    const HEADER_BYTES: usize = 14;
    // As many as leave other tests of this process enough of its table.
    let table = raise_nofile();
    let many = table.saturating_sub(4_000).min(10_000);
    assert!(many >= FEW, "RLIMIT_NOFILE is {table}");
    let server =
        server(&format!("--max-connections {} --max-message-bytes 2000000000 --max-queued-bytes 2000000000", many + 2));
    let pid = server.running.pid();
    let mut wires: Vec<Wire> = (0..many).map(|_| Wire::websocket(server.address())).collect();
    let declare = |wire: &mut Wire, number: usize| {
        // A header alone: its length in eight bytes, a mask, and nothing after it.
        let first = [TEXT, BINARY, TEXT & !FIN, BINARY & !FIN][number % 4];
        wire.send(&[&[first, 0x80 | 127], &(1_u64 << 30).to_be_bytes()[..], &[1, 2, 3, 4]].concat());
    };
    // What the server keeps for all connections together is in use before they are idle: for one that declares, and
    // for many that have something to say at once.
    let mut first = Wire::websocket(server.address());
    all_at_once(&server, HEADER_BYTES, || declare(&mut first, 0));
    let message = frame(BINARY, b"idle");
    all_at_once(&server, many * message.len(), || wires.iter_mut().for_each(|wire| wire.send(&message)));
    for wire in &mut wires {
        assert_eq!(wire.frame(), Frame { first: BINARY, payload: b"idle".to_vec() });
    }
    let idle = user_bytes(pid);
    for range in [0..FEW, FEW..many] {
        let (end, bytes) = (range.end, HEADER_BYTES * range.len());
        all_at_once(&server, bytes, || range.for_each(|number| declare(&mut wires[number], number)));
        let grown = user_bytes(pid).saturating_sub(idle);
        println!("{grown} bytes more for {end} connections");
        // A cache line for what has come, and as much for its place in the table of what connections keep.
        assert!(grown <= 128 * end as u64 + FEW_PAGES, "{grown} bytes more for {end} connections");
    }
    // All connections are still open, without input.
    assert_eq!(Wire::connect(server.address()).stats()["connections"]["now"], many + 2);
    for wire in &wires {
        wire.socket.set_nonblocking(true).expect("O_NONBLOCK");
        assert_eq!(wire.socket.peek(&mut [0]).expect_err("silence").kind(), ErrorKind::WouldBlock);
    }
}

/// A message of `count` fragments, each with `payload`, that does not end.
fn endless(fragments: usize, payload: &[u8]) -> Vec<u8> {
    [frame(BINARY & !FIN, payload), frame(0, payload).repeat(fragments - 1)].concat()
}

/// All that was sent before is taken, and nothing was said about it.
fn assert_taken(wire: &mut Wire) {
    wire.send(&frame(PING, b"taken?"));
    assert_eq!(wire.frame(), Frame { first: PONG, payload: b"taken?".to_vec() });
}

/// Sends `bytes` until all of them are gone, and expects a Close with `code`, and the end.
fn assert_closed(mut wire: Wire, bytes: &[u8], code: u16) {
    wire.send(bytes);
    assert_eq!(wire.frame().close_code(), code);
    wire.assert_ended();
}

/// One peer sends all at once, and another one knows the limit to the fragment.
fn attack(address: SocketAddr, fragments: usize, payload: &[u8]) {
    let bytes = endless(fragments, payload);
    assert_closed(Wire::websocket(address), &bytes, 1008);
    let (may_be, too_many) = bytes.split_at(endless(MAX_FRAGMENTS, payload).len());
    let (one, more) = too_many.split_at(frame(0, payload).len());
    let mut wire = Wire::websocket(address);
    wire.send(may_be);
    assert_taken(&mut wire);
    wire.send(one);
    assert_eq!(wire.frame().close_code(), 1008);
    // The server has refused them, and discards them.
    wire.send(more);
    wire.assert_ended();
}

fn assert_refused_at_the_limit(fragments: usize, payload: &[u8]) {
    const ROUNDS: u64 = 4;
    let server = server("");
    let (pid, address) = (server.running.pid(), server.address());
    Wire::websocket(address).echo(b"idle");
    let before = user_bytes(pid);
    for round in 1..=ROUNDS {
        let peak = peak_while(pid, || attack(address, fragments, payload));
        let grown = peak.saturating_sub(before);
        println!("round {round}: {grown} bytes more for {fragments} fragments with {payload:?}");
        assert!(grown <= FEW_PAGES, "round {round}: {before} bytes, then {peak}");
    }
    let mut stats = Wire::connect(address);
    let told = stats.stats_until("all are gone", |stats| stats["connections"]["now"] == 1);
    assert_eq!(counter(&told, "failed_1008"), 2 * ROUNDS);
}

#[test]
fn one_byte_fragments_without_end_are_refused_at_the_limit() {
    assert_refused_at_the_limit(131_072, b"x");
}

#[test]
fn empty_fragments_without_end_are_refused_at_the_limit() {
    assert_refused_at_the_limit(1_000_000, b"");
}

#[test]
fn any_number_of_fragments_is_bounded_by_the_limit_of_the_message() {
    let server = server("--max-fragments 4294967295");
    let (pid, address) = (server.running.pid(), server.address());
    Wire::websocket(address).echo(b"idle");
    let before = user_bytes(pid);
    for round in 1..=3 {
        for (fragments, payload) in [(1_000_000, &b""[..]), (131_072, b"x"), (MAX_MESSAGE_BYTES, b"x")] {
            let mut wire = Wire::websocket(address);
            let peak = peak_while(pid, || {
                wire.send(&endless(fragments, payload));
                assert_taken(&mut wire);
            });
            let grown = peak.saturating_sub(before);
            println!("round {round}: {grown} bytes more for {fragments} fragments with {payload:?}");
            // Beside the reactor's ring: twice what has arrived, as a Vec doubles; and what was once had for the
            // largest of them may be kept for the next.
            let held = if round == 1 { payload.len() * fragments } else { MAX_MESSAGE_BYTES };
            let allowed = (2 * held + RING_BYTES) as u64 + FEW_PAGES;
            assert!(grown <= allowed, "round {round}: {grown} bytes more for {fragments} fragments with {payload:?}");
            if payload.len() * fragments == MAX_MESSAGE_BYTES {
                assert_closed(wire, &frame(0, b"x"), 1009);
                continue;
            }
            wire.send(&frame(FIN, b"."));
            let message = [&payload.repeat(fragments), &b"."[..]].concat();
            assert!(wire.frame() == Frame { first: BINARY, payload: message }, "{fragments} fragments come back whole");
        }
    }
}

/// A compressed message of `period` over and over, as long as one may be.
fn long_and_short(period: &[u8]) -> Vec<u8> {
    let message: Vec<u8> = period.iter().copied().cycle().take(MAX_MESSAGE_BYTES).collect();
    let mut deflater = zlib_rs::Deflate::new(6, false, 15);
    let mut payload = vec![0; 64 << 10];
    deflater.compress(&message, &mut payload, zlib_rs::DeflateFlush::SyncFlush).expect("it is set up");
    payload.truncate(deflater.total_out() as usize - 4); // RFC 7692 section 7.2.1
    frame(0x40 | BINARY, &payload)
}

/// What is short on the wire and long in memory counts as what it becomes: for a peer that takes no answers, one of them
/// waits, and not as many as fit into a buffer of what was received.
#[test]
fn inflating_messages_are_answered_one_per_iteration() {
    let server = server("--compression");
    let (pid, address) = (server.running.pid(), server.address());
    Wire::websocket(address).echo(b"idle");
    let before = user_bytes(pid);
    // Our window reaches back over a period; the one that this peer asks for does not, so its answers are long.
    let mut random = 1_u32;
    let mut byte = || {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (random >> 24) as u8
    };
    let period: Vec<u8> = (0..700).map(|_| byte()).collect();
    let seven = long_and_short(&period).repeat(7);
    assert!(seven.len() < RING_BYTES, "{} bytes", seven.len());
    let mut wire = Wire::connect(address);
    let offer = "\r\nSec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=9\r\n\r\n";
    wire.send(UPGRADE.replace("\r\n\r\n", offer).as_bytes());
    assert_eq!(wire.answer_without_body().status, 101);
    let mut stats = Wire::connect(address);
    let peak = peak_while(pid, || {
        wire.send(&seven);
        stats.stats_until("a message was taken", |stats| counter(stats, "messages_in") > 1);
    });
    let grown = peak.saturating_sub(before);
    // The message, its answer, what compressing that took, and what of it waits: the kernel takes an eighth.
    assert!(grown <= 5 * MAX_MESSAGE_BYTES as u64, "{grown} bytes more");
}
