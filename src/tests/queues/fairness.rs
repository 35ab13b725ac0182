//! A greedy source, and an honest one beside it that is served as if it were alone.

use crate::folder::{Folder, content, request};
use crate::host::Local;
use crate::probe::{patient, slow_socket, until};
use crate::sources::{ONE, OTHER, connect};
use crate::wire::{UPGRADE, Wire};
use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use steadfast::server::{Config, Deadlines, Server};

/// Asks for an upgrade from `source`; whether it was granted.
fn is_upgraded(local: &Local, source: std::net::Ipv4Addr) -> bool {
    let mut wire = connect(local, source);
    wire.send(UPGRADE.as_bytes());
    let answer = wire.answer_without_body();
    assert!([101, 503].contains(&answer.status), "{answer:?}");
    answer.status == 101
}

#[test]
fn a_source_that_asks_for_every_upgrade_leaves_others_theirs() {
    const MAX_PER_S: u32 = 10;
    let config = Config { reactors: Some(1), max_upgrades_per_s: MAX_PER_S, deadlines: patient(), ..Config::default() };
    let local = Local::start(config);
    let is_over = AtomicBool::new(false);
    let began = Instant::now();
    let (greedy, honest) = thread::scope(|scope| {
        let greedy = scope.spawn(|| {
            let (mut asked, mut granted) = (0_u32, 0_u32);
            while !is_over.load(Ordering::Relaxed) {
                asked += 1;
                granted += u32::from(is_upgraded(&local, ONE));
                thread::sleep(Duration::from_millis(8)); // its pace, about a hundred a second
            }
            (asked, granted)
        });
        let ask = || {
            thread::sleep(Duration::from_millis(300)); // its pace
            is_upgraded(&local, OTHER)
        };
        // The second in which it comes has been given away.
        let since = Instant::now();
        while since.elapsed() < Duration::from_millis(1500) {
            ask();
        }
        let honest = (0..15).filter(|_| ask()).count();
        is_over.store(true, Ordering::Relaxed);
        (greedy.join().expect("the greedy source"), honest)
    });
    assert!(greedy.0 > 2 * greedy.1, "{greedy:?}: it did not ask for more than there was");
    assert!(honest >= 14, "{honest} of 15 upgrades were granted beside {greedy:?}");
    let seconds = began.elapsed().as_secs() as u32 + 2;
    assert!(greedy.1 + 15 <= MAX_PER_S * seconds, "{greedy:?} in {seconds} s");
}

#[test]
fn a_source_that_reads_no_file_leaves_files_to_others() {
    const BYTES: usize = 8 << 20;
    let folder = Folder::new();
    folder.file("large", &content(BYTES));
    let config = Config { reactors: Some(1), deadlines: patient(), ..Config::default() };
    let local = Local::serve(Server::from(config).files("/f/*", folder.path("")).expect("a folder"));
    let ask = |source| {
        let mut wire = connect(&local, source);
        wire.send(&request("GET", "/f/large", ""));
        let answer = wire.answer_without_body();
        (wire, answer)
    };
    let mut greedy: Vec<Wire> = Vec::new();
    let mut refused = 0;
    for _ in 0..40 {
        let (wire, answer) = ask(ONE);
        match answer.status {
            200 => greedy.push(wire),
            503 => refused += usize::from(answer.field("Retry-After") == Some("1")),
            _ => panic!("{answer:?}"),
        }
    }
    assert_eq!((greedy.len(), refused), (16, 24), "half of the files are one source's");
    for _ in 0..3 {
        let (mut wire, answer) = ask(OTHER);
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(wire.read(BYTES) == content(BYTES), "it came otherwise");
    }
    drop(greedy);
}

/// A client that reads a file slowly, from a socket with little room: some bytes at a time, at this pace, until it is
/// reset or `bytes` have arrived; returns whether they have.
fn reads(wire: &mut Wire, piece_bytes: usize, pace: Duration, bytes: usize) -> bool {
    let mut piece = vec![0; piece_bytes];
    let mut all = 0;
    while all < bytes {
        match wire.socket.read(&mut piece) {
            Ok(0) | Err(_) => return false,
            Ok(read) => all += read,
        }
        thread::sleep(pace); // its own
    }
    true
}

/// The socket takes nothing for longer than the deadline, while the peer acknowledges what the kernel holds.
#[test]
fn slow_reader_above_the_least_rate_is_tolerated() {
    const BYTES: usize = 8 << 20;
    let folder = Folder::new();
    folder.file("large", &content(BYTES));
    let deadlines = Deadlines { stalled_s: 3, min_send_bytes_per_s: 1000, ..patient() };
    let config = Config { reactors: Some(1), deadlines, ..Config::default() };
    let local = Local::serve(Server::from(config).files("/f/*", folder.path("")).expect("a folder"));
    let mut slow = slow_socket(local.address);
    slow.send(&request("GET", "/f/large", ""));
    assert_eq!(slow.answer_without_body().status, 200);
    let taken = local.server.counters().bytes_out;
    // Some ten kilobytes a second, for some eight seconds; a test that does not run for three of them is no stalled peer.
    assert!(reads(&mut slow, 1000, Duration::from_millis(100), 80_000), "it was reset");
    let totals = local.server.counters();
    assert_eq!((totals.ended, totals.ended_by_deadline), (0, 0), "{totals:?}");
    assert!(totals.bytes_out < taken + (1 << 20), "the socket had taken more all the time");
}

#[test]
fn a_reader_below_the_least_rate_is_reset_and_its_file_given_back() {
    const BYTES: usize = 8 << 20;
    let folder = Folder::new();
    folder.file("large", &content(BYTES));
    let deadlines = Deadlines { stalled_s: 1, min_send_bytes_per_s: 1 << 20, ..patient() };
    let config = Config { reactors: Some(1), max_long_files: 1, deadlines, ..Config::default() };
    let local = Local::serve(Server::from(config).files("/f/*", folder.path("")).expect("a folder"));
    let mut slow = slow_socket(local.address);
    slow.send(&request("GET", "/f/large", ""));
    assert_eq!(slow.answer_without_body().status, 200);
    assert!(!reads(&mut slow, 1000, Duration::from_millis(100), BYTES), "it was not reset");
    until("it has gone", || local.server.counters().ended_by_deadline == 1);
    let mut next = connect(&local, OTHER);
    next.send(&request("GET", "/f/large", ""));
    assert!(next.answer().body == content(BYTES), "it came otherwise");
}
