//! Sending files: whole, in order, and at the pace of their receivers.

use crate::folder::{Folder, ask, content, get, request};
use crate::host::Serve;
use crate::probe::{slow_socket, until};
use crate::wire::{Wire, frame};
use std::io::{ErrorKind, Read};
use std::net::SocketAddr;
use std::thread;
use steadfast::flood::Memory;

const MIB: usize = 1 << 20;

/// How much the memory of a server may grow by clients that download: next to nothing, compared with the file.
const MAX_GROWTH_BYTES: u64 = 1 << 20;

#[test]
fn large_file_arrives_complete() {
    let folder = Folder::new();
    let bytes = content(3 * MIB);
    folder.file("large", &bytes);
    let local = folder.serve();
    let mut wire = Wire::connect(local.address);
    for _ in 0..2 {
        assert!(ask(&mut wire, "GET", "/f/large", "").body == bytes, "it came otherwise");
    }
    assert_eq!(ask(&mut wire, "HEAD", "/f/large", "").field("Content-Length"), Some(&*bytes.len().to_string()));
    let answer = ask(&mut wire, "GET", "/f/large", "Connection: close\r\n");
    assert!(answer.closes() && answer.body == bytes, "it came otherwise");
    wire.assert_ended();
    let mut wire = Wire::connect(local.address);
    wire.send(b"GET /f/large HTTP/1.0\r\n\r\n");
    assert!(wire.answer().body == bytes, "it came otherwise");
    wire.assert_ended();
    // With the whole room of the kernel, and to several at once.
    let server = folder.start(&[]);
    let address = server.address();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert!(get(address, "/large").body == bytes));
        }
    });
    server.stop();
}

#[test]
fn files_of_sizes_around_every_limit_arrive_complete() {
    let folder = Folder::new();
    let local = folder.serve();
    let mut wire = Wire::connect(local.address);
    for bytes in [0, 1, 4095, 4096, 4097, 65_535, 65_536, 65_537, 4 * 65_536 - 1, 4 * 65_536, 4 * 65_536 + 1] {
        folder.file("file", &content(bytes));
        let answer = ask(&mut wire, "GET", "/f/file", "");
        assert!(answer.status == 200 && answer.body == content(bytes), "{bytes} bytes came otherwise");
    }
}

#[test]
fn responses_after_a_file_arrive_in_order() {
    let folder = Folder::new();
    let (large, small) = (content(MIB), content(1000));
    folder.file("large", &large);
    folder.file("small", &small);
    let local = folder.serve();
    let mut wire = Wire::connect(local.address);
    let targets = ["/f/large", "/f/small", "/stats", "/f/nothing", "/f/large", "/f/large", "/f/small"];
    let mut all: Vec<u8> = targets.iter().flat_map(|target| request("GET", target, "")).collect();
    all.extend(request("HEAD", "/f/large", ""));
    all.extend(request("GET", "/f/small", "Connection: close\r\n"));
    wire.send(&all);
    for target in targets {
        let answer = wire.answer();
        match target {
            "/f/large" => assert!(answer.body == large, "{}", answer.head),
            "/f/small" => assert!(answer.body == small, "{}", answer.head),
            "/f/nothing" => assert_eq!(answer.status, 404),
            _ => assert_eq!(answer.field("Content-Type"), Some("application/json"), "{}", answer.head),
        }
    }
    assert_eq!(wire.answer_without_body().field("Content-Length"), Some(&*large.len().to_string()));
    assert!(wire.answer().body == small);
    wire.assert_ended();
}

fn user_bytes(server: &Serve) -> u64 {
    Memory::read(Some(server.running.pid())).user_bytes.expect("RssAnon")
}

/// A connection with little room in its kernel that has asked for a file, and reads no more than the head of the
/// answer.
fn stopped(address: SocketAddr, target: &str) -> Wire {
    let mut wire = slow_socket(address);
    wire.send(&request("GET", target, ""));
    assert_eq!(wire.answer_without_body().status, 200);
    wire
}

#[test]
fn clients_that_stop_in_the_middle_delay_no_other_and_cost_no_memory() {
    const BYTES: usize = 16 * MIB;
    let folder = Folder::new();
    let bytes = content(BYTES);
    folder.file("large", &bytes);
    folder.file("small", b"small");
    let server = folder.start(&["--socket-send-buffer-bytes", "4096"]);
    let mut neighbour = Wire::websocket(server.address());
    let mut wire = Wire::connect(server.address());
    assert_eq!(ask(&mut wire, "GET", "/small", "").body, b"small");
    let before = user_bytes(&server);
    let mut all: Vec<Wire> = (0..16).map(|_| stopped(server.address(), "/large")).collect();
    for _ in 0..10 {
        neighbour.echo(b"not disturbed");
        assert_eq!(ask(&mut wire, "GET", "/small", "").body, b"small");
    }
    let grown = user_bytes(&server).saturating_sub(before);
    assert!(grown < MAX_GROWTH_BYTES, "{grown} bytes more for 16 files of {BYTES}");
    let taken = wire.counter("bytes_out");
    assert!(taken < BYTES as u64 / 2, "{taken} bytes were taken of files that nobody reads");
    // One of them goes on, and has missed nothing.
    assert!(all[7].read(BYTES) == bytes, "it came otherwise");
    let grown = user_bytes(&server).saturating_sub(before);
    assert!(grown < MAX_GROWTH_BYTES, "{grown} bytes more when one has read on");
    assert_eq!(ask(&mut all[7], "GET", "/small", "").body, b"small");
    drop((all, neighbour, wire));
    server.stop();
}

/// What is requested after a response that is not read waits in the client's requests.
#[test]
fn clients_that_request_more_than_they_read_cost_no_memory() {
    const REQUESTS: usize = 1000;
    let folder = Folder::new();
    let bytes = content(60_000);
    folder.file("short", &bytes);
    let server = folder.start(&["--socket-send-buffer-bytes", "4096"]);
    let mut neighbour = Wire::websocket(server.address());
    neighbour.echo(b"before");
    let before = user_bytes(&server);
    let mut all: Vec<Wire> = (0..5).map(|_| slow_socket(server.address())).collect();
    for wire in &mut all {
        wire.send(&request("GET", "/short", "").repeat(REQUESTS));
        assert_eq!(wire.answer_without_body().status, 200);
    }
    neighbour.echo(b"not disturbed");
    // A ring of requests is kept for each, and an answer or two.
    let grown = user_bytes(&server).saturating_sub(before);
    assert!(grown < 5 * (512 << 10), "{grown} bytes more for {REQUESTS} files asked for by each of five");
    let wire = &mut all[2];
    assert!(wire.read(bytes.len()) == bytes, "the first came otherwise");
    for number in 1..REQUESTS / 10 {
        assert!(wire.answer().body == bytes, "number {number} came otherwise");
    }
    drop((all, neighbour));
    server.stop();
}

/// All until the end, proper or not.
fn rest_of(wire: &mut Wire) -> Vec<u8> {
    let mut all = Vec::new();
    let mut piece = vec![0; 64 << 10];
    loop {
        match wire.socket.read(&mut piece) {
            Ok(0) => return all,
            Ok(bytes) => all.extend(&piece[..bytes]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return all,
            Err(error) => panic!("{error} behind {} bytes", all.len()),
        }
    }
}

/// The length was told, and what is missing cannot be made up.
#[test]
fn a_file_that_gets_shorter_on_its_way_ends_the_connection() {
    for left in [MIB, MIB + 1, 65_536 * 3, 0] {
        let folder = Folder::new();
        let bytes = content(3 * MIB);
        let path = folder.file("large", &bytes);
        let local = folder.serve();
        let mut wire = slow_socket(local.address);
        wire.send(&[request("GET", "/f/large", ""), request("GET", "/stats", "")].concat());
        // Some of it is on its way.
        until("it has begun", || local.server.counters().bytes_out > 4000);
        std::fs::File::options().write(true).open(&path).and_then(|file| file.set_len(left as u64)).expect("the file");
        let begun = local.server.counters().bytes_out as usize;
        assert!(left == 0 || begun < left, "{begun} bytes had been taken");
        let all = rest_of(&mut wire);
        let head_bytes = all.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
        let (head, body) = all.split_at(head_bytes);
        let length = format!("Content-Length: {}\r\n", bytes.len());
        assert!(String::from_utf8_lossy(head).contains(&length), "{}", String::from_utf8_lossy(head));
        assert!(body.len() <= left.max(begun), "{} bytes came, of {left}", body.len());
        assert!(bytes.starts_with(body), "they came otherwise");
        until("it has gone", || local.server.counters().ended == 1);
    }
}

#[test]
fn a_file_that_gets_longer_on_its_way_is_as_long_as_was_told() {
    let folder = Folder::new();
    let bytes = content(MIB);
    let path = folder.file("large", &bytes);
    let local = folder.serve();
    let mut wire = slow_socket(local.address);
    wire.send(&request("GET", "/f/large", ""));
    until("it has begun", || local.server.counters().bytes_out > 4000);
    std::fs::write(&path, content(2 * MIB)).expect("the file");
    let answer = wire.answer();
    assert!(answer.body == bytes, "{} bytes", answer.body.len());
    assert_eq!(ask(&mut wire, "GET", "/f/large", "").body.len(), 2 * MIB);
}

#[test]
fn file_is_closed_when_its_client_is_gone() {
    let folder = Folder::new();
    folder.file("large", &content(3 * MIB));
    let server = folder.start(&["--max-connections", "50"]);
    let open = || std::fs::read_dir(format!("/proc/{}/fd", server.running.pid())).expect("descriptors").count();
    let mut stats = Wire::connect(server.address());
    stats.stats();
    let before = open();
    let all: Vec<Wire> = (0..16).map(|_| stopped(server.address(), "/large")).collect();
    assert_eq!(open(), before + 32, "a connection and a file for each");
    drop(all);
    stats.stats_until("all have gone", |stats| stats["connections"]["now"] == 1);
    until("their descriptors are closed", || open() == before);
    let mut wire = Wire::websocket(server.address());
    wire.send(&frame(0x82, b"and on"));
    assert_eq!(wire.frame().payload, b"and on");
    drop((wire, stats));
    server.stop();
}

#[test]
fn client_beyond_the_limit_on_files_gets_retry_after() {
    let folder = Folder::new();
    folder.file("large", &content(3 * MIB));
    folder.file("small", b"small");
    // A table that has room for some connections with a file each, and for more without.
    let server = Serve::start_under(
        "ulimit -n 150",
        &["--reactors", "1", "--static", crate::host::text(&folder.path("")), "--socket-send-buffer-bytes", "4096"],
    );
    let mut waiting = Wire::connect(server.address());
    waiting.stats();
    let mut all = Vec::new();
    let answer = loop {
        let mut wire = slow_socket(server.address());
        wire.send(&request("GET", "/large", ""));
        let answer = wire.answer_without_body();
        if answer.status != 200 {
            break answer;
        }
        all.push(wire);
        assert!(all.len() < 150, "more files than descriptors");
    };
    assert_eq!((answer.status, answer.field("Retry-After")), (503, Some("1")), "{answer:?}");
    // What is read at once needs no descriptor for long.
    assert_eq!(ask(&mut waiting, "GET", "/small", "").body, b"small");
    drop(all);
    waiting.stats_until("all have gone", |stats| stats["connections"]["now"] == 1);
    assert_eq!(ask(&mut waiting, "GET", "/large", "").body.len(), 3 * MIB);
    drop(waiting);
    server.stop();
}
