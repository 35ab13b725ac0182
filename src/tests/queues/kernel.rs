//! How much the kernel takes for a receiver that does not read, and a client that does not read its own echoes.

use crate::host::Local;
use crate::probe::{Probed, by_bytes, by_messages, patient, payload, slow_receiver, tight};
use crate::wire::{BINARY, CLOSE, Frame, PATIENCE, Wire, frame};
use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use steadfast::server::{Config, Overflow, QueueLimits, Sent, SocketBuffers};

const MIB: usize = 1 << 20;

/// What is sent to a receiver that never reads, until something has to be dropped; and what the kernel has taken of it.
fn taken(socket_buffers: SocketBuffers, bytes: usize, most: usize) -> usize {
    let probed = Probed::start(
        Config { reactors: Some(1), socket_buffers, deadlines: patient(), ..Config::default() },
        Overflow::DropNewest,
    );
    // With the default buffers of the kernel.
    let (_wire, id) = probed.healthy();
    let before = probed.totals().bytes_out;
    let mut sent = 0;
    while probed.send(id, sent, bytes) != Sent::Dropped {
        sent += 1;
        assert!(sent * bytes < most, "the kernel takes {most} bytes and more");
    }
    (probed.totals().bytes_out - before) as usize
}

#[test]
fn kernel_takes_less_than_a_mebibyte_for_a_receiver_that_never_reads() {
    for bytes in [1000, 60_000] {
        let taken = taken(SocketBuffers::default(), bytes, 8 * MIB);
        assert!(taken < MIB, "{taken} bytes, by messages of {bytes}");
    }
}

/// The last of three numbers, which is the most.
fn most_of(name: &str) -> usize {
    let path = format!("/proc/sys/net/ipv4/{name}");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    text.split_whitespace().last().and_then(|most| most.parse().ok()).unwrap_or_else(|| panic!("{path}: {text}"))
}

#[test]
fn without_that_limit_the_kernels_own_hold() {
    let socket_buffers = SocketBuffers { notsent_lowat_bytes: 0, ..SocketBuffers::default() };
    // A queue and some more are not the kernel's.
    let most = most_of("tcp_wmem") + most_of("tcp_rmem") + MIB;
    assert!(taken(socket_buffers, 60_000, most) > 0);
}

/// Sends all from a thread of its own; reports when the peer has taken nothing for a second, and when all is sent.
fn send_all(mut socket: TcpStream, messages: Vec<Vec<u8>>) -> (Receiver<&'static str>, JoinHandle<()>) {
    let (news, heard) = channel();
    socket.set_write_timeout(Some(Duration::from_secs(1))).expect("a timeout");
    let thread = thread::spawn(move || {
        for message in messages {
            let all = frame(BINARY, &message);
            let mut rest = &all[..];
            while !rest.is_empty() {
                match socket.write(rest) {
                    Ok(taken) => rest = &rest[taken..],
                    Err(error) if error.kind() == ErrorKind::WouldBlock => drop(news.send("stuck")),
                    // What was said by then, the reader sees.
                    Err(_) => return,
                }
            }
        }
        let _ = news.send("done");
    });
    (heard, thread)
}

/// A client that does not take its echoes is not read: so the limit is never exceeded, and there is no cause to close.
fn assert_not_read(local: &Local, mut wire: Wire, sizes: &[usize], all_bytes: usize) {
    let count = all_bytes * sizes.len() / sizes.iter().sum::<usize>();
    let messages: Vec<Vec<u8>> = (0..count).map(|number| payload(number, sizes[number % sizes.len()])).collect();
    let (heard, sending) = send_all(wire.socket.try_clone().expect("a twin"), messages.clone());
    // It is stuck, or the rest is in the kernel.
    heard.recv_timeout(PATIENCE).expect("news");
    let totals = local.server.counters();
    assert!((totals.bytes_in as usize) < all_bytes * 3 / 4, "{sizes:?}: it is heard: {totals:?}");
    assert_eq!((totals.closed_slow, totals.messages_dropped), (0, 0), "{sizes:?}: {totals:?}");
    for (number, message) in messages.into_iter().enumerate() {
        let echo = wire.frame();
        assert_ne!(echo.first, CLOSE, "{sizes:?}: {echo:?} in place of message {number}");
        assert!(echo == Frame { first: BINARY, payload: message }, "{sizes:?}: message {number} is another");
    }
    sending.join().expect("all is sent");
    wire.echo(b"and on");
    let totals = local.server.counters();
    assert_eq!((totals.closed_slow, totals.messages_dropped), (0, 0), "{sizes:?}: {totals:?}");
}

#[test]
fn client_that_does_not_read_its_echoes_is_not_read_and_not_closed() {
    let local = Local::start(Config { reactors: Some(1), deadlines: patient(), ..Config::default() });
    assert_not_read(&local, Wire::websocket(local.address), &[60_000], 64 * MIB);
}

/// The same with little room in the kernel, where it may be that nothing of what a turn has made is taken.
fn assert_slow_not_read(queue: QueueLimits, sizes: &[usize]) {
    let local = Local::start(tight(queue));
    assert_not_read(&local, slow_receiver(local.address, "/echo"), sizes, MIB);
}

/// Several in one turn, one of which is longer than what a turn gathers, and as long as what may wait.
#[test]
fn nor_is_a_client_whose_echoes_fill_the_queue() {
    for sizes in [&[70_000, 10][..], &[100_000, 10, 2000, 10], &[3000, 66_000, 1000]] {
        assert_slow_not_read(by_bytes(100_000), sizes);
    }
}

/// So many in one turn that they alone exceed the limit.
#[test]
fn nor_is_a_client_whose_echoes_exceed_the_queue() {
    for queue in [by_messages(1), by_messages(10), by_bytes(4000), by_bytes(5000)] {
        for sizes in [&[1000][..], &[4000, 10], &[30]] {
            assert_slow_not_read(queue, sizes);
        }
    }
}
