//! More than a turn's budget, more than a peer reads, and a peer that has said all it will say.

use crate::host::{Local, Serve, quick};
use crate::wire::{BINARY, Frame, TEXT, Wire, frame};
use socket2::SockRef;
use std::io::{ErrorKind, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use steadfast::flood::Memory;
use steadfast::server::{Config, Protocol};

const MIB: usize = 1 << 20;

/// How much a server may grow by one peer that does not read: a message of 1 MiB in part, one in full, its echo.
const MAX_GROWTH_BYTES: u64 = 8 << 20;

/// A payload that no other number has.
fn payload(number: usize, bytes: usize) -> Vec<u8> {
    let name = format!("{number:08x}");
    name.bytes().chain((0..).map(|at: usize| (at * 7 + number) as u8)).take(bytes).collect()
}

#[test]
fn a_thousand_frames_in_one_write_come_back_in_order() {
    let local = Local::start(quick());
    let mut wire = Wire::websocket(local.address);
    let messages: Vec<Vec<u8>> = (0..1000).map(|number| payload(number, number % 50)).collect();
    wire.send(&messages.iter().flat_map(|message| frame(BINARY, message)).collect::<Vec<_>>());
    for message in messages {
        assert_eq!(wire.frame(), Frame { first: BINARY, payload: message });
    }
    wire.echo(b"and on");
}

#[test]
fn a_megabyte_of_frames_in_one_write_comes_back_in_order() {
    let local = Local::start(quick());
    let mut neighbour = Wire::websocket(local.address);
    let mut wire = Wire::websocket(local.address);
    let messages: Vec<Vec<u8>> = (0..1000).map(|number| payload(number, number * 2)).collect();
    let bytes: Vec<u8> = messages.iter().flat_map(|message| frame(BINARY, message)).collect();
    let mut twin = Wire::over(wire.socket.try_clone().expect("a twin"));
    let sending = thread::spawn(move || twin.send(&bytes));
    for message in messages {
        assert_eq!(wire.frame(), Frame { first: BINARY, payload: message });
    }
    sending.join().expect("all is sent");
    neighbour.echo(b"not disturbed");
}

/// The progress of a sender.
#[derive(Debug)]
enum News {
    /// The peer has taken nothing for a second.
    Stuck,
    /// The peer has taken all.
    Done,
}

/// Sends all `pieces` from a separate thread, and reports when it is blocked.
fn send_all(mut socket: TcpStream, pieces: impl Iterator<Item = Vec<u8>> + Send + 'static) -> Sending {
    let (news, heard) = channel();
    socket.set_write_timeout(Some(Duration::from_secs(1))).expect("a timeout");
    let thread = thread::spawn(move || {
        for piece in pieces {
            send_piece(&mut socket, &piece, &news);
        }
        let _ = news.send(News::Done);
    });
    Sending { heard, thread }
}

struct Sending {
    heard: std::sync::mpsc::Receiver<News>,
    thread: JoinHandle<()>,
}

fn send_piece(socket: &mut TcpStream, mut piece: &[u8], news: &Sender<News>) {
    while !piece.is_empty() {
        match socket.write(piece) {
            Ok(taken) => piece = &piece[taken..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => drop(news.send(News::Stuck)),
            Err(error) => panic!("sending: {error}"),
        }
    }
}

fn user_bytes(server: &Serve) -> u64 {
    Memory::read(Some(server.running.pid())).user_bytes.expect("RssAnon")
}

/// A peer sends 64 MiB as messages and reads nothing until it is stuck; then all of it is there.
fn assert_bounded(message_bytes: usize) {
    let messages = 64 * MIB / message_bytes;
    let server = Serve::start(&[]);
    let mut neighbour = Wire::websocket(server.address());
    let mut wire = Wire::websocket(server.address());
    // So that the kernel's buffers do not hold it all.
    SockRef::from(&wire.socket).set_recv_buffer_size(64 << 10).expect("a small buffer");
    wire.echo(&payload(0, message_bytes));
    neighbour.echo(b"before");
    let before = user_bytes(&server);
    let frames = (0..messages).map(move |number| frame(BINARY, &payload(number, message_bytes)));
    let sending = send_all(wire.socket.try_clone().expect("a twin"), frames);
    let news = sending.heard.recv().expect("news");
    let grown = user_bytes(&server).saturating_sub(before);
    assert!(grown < MAX_GROWTH_BYTES, "{grown} bytes more when the sender was {news:?}");
    neighbour.echo(b"while one is stuck");
    for number in 0..messages {
        let Frame { first, payload: got } = wire.frame();
        assert!(first == BINARY && got == payload(number, message_bytes), "message {number} is another");
        if (number * message_bytes).is_multiple_of(MIB) {
            // What its kernel has kept for it now comes in all at once.
            let grown = user_bytes(&server).saturating_sub(before);
            assert!(grown < MAX_GROWTH_BYTES, "{grown} bytes more at message {number} of {messages}");
        }
    }
    sending.thread.join().expect("all is sent");
    wire.echo(b"and on");
    neighbour.echo(b"after");
}

#[test]
fn queue_of_small_messages_is_bounded() {
    assert_bounded(1 << 10);
}

#[test]
fn messages_of_one_iteration_are_bounded() {
    // Several lie whole in what is read at once, and each is sent from there.
    assert_bounded(16 << 10);
}

#[test]
fn queue_of_large_messages_is_bounded() {
    assert_bounded(MIB);
}

#[test]
fn queue_of_raw_bytes_is_bounded() {
    let server = Serve::start(&["--protocol", "tcp"]);
    let mut wire = Wire::connect(server.address());
    SockRef::from(&wire.socket).set_recv_buffer_size(64 << 10).expect("a small buffer");
    wire.send(b"hello");
    assert_eq!(wire.read(5), b"hello");
    let before = user_bytes(&server);
    let sending = send_all(wire.socket.try_clone().expect("a twin"), (0..64).map(|number| payload(number, MIB)));
    let news = sending.heard.recv().expect("news");
    let grown = user_bytes(&server).saturating_sub(before);
    assert!(grown < MAX_GROWTH_BYTES, "{grown} bytes more when the sender was {news:?}");
    for number in 0..64 {
        assert!(wire.read(MIB) == payload(number, MIB), "MiB {number} is another");
        let grown = user_bytes(&server).saturating_sub(before);
        assert!(grown < MAX_GROWTH_BYTES, "{grown} bytes more at MiB {number}");
    }
    sending.thread.join().expect("all is sent");
    wire.socket.shutdown(Shutdown::Write).expect("a shutdown");
    wire.assert_ended();
}

#[test]
fn raw_bytes_are_echoed_after_a_half_close() {
    let local = Local::start(Config { protocol: Protocol::Tcp, ..quick() });
    for bytes in [0, 1, 100, 64 << 10, 4 * MIB] {
        let wire = Wire::connect(local.address);
        let sent = payload(bytes, bytes);
        let mut twin = Wire::over(wire.socket.try_clone().expect("a twin"));
        let to_send = sent.clone();
        let sending = thread::spawn(move || {
            twin.send(&to_send);
            twin.socket.shutdown(Shutdown::Write).expect("a shutdown");
        });
        let mut wire = wire;
        assert!(wire.rest() == sent, "{bytes} bytes came back otherwise");
        sending.join().expect("all is sent");
    }
}

#[test]
fn requests_before_a_half_close_are_answered() {
    let local = Local::start(quick());
    let mut wire = Wire::connect(local.address);
    wire.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /nothing HTTP/1.1\r\nHost: a\r\n\r\n");
    wire.socket.shutdown(Shutdown::Write).expect("a shutdown");
    assert_eq!([wire.answer().status, wire.answer().status], [200, 404]);
    wire.assert_ended();
    let mut wire = Wire::websocket(local.address);
    let messages: Vec<Vec<u8>> = (0..100).map(|number| payload(number, 100)).collect();
    wire.send(&messages.iter().flat_map(|message| frame(BINARY, message)).collect::<Vec<_>>());
    wire.socket.shutdown(Shutdown::Write).expect("a shutdown");
    for message in messages {
        assert_eq!(wire.frame(), Frame { first: BINARY, payload: message });
    }
    wire.assert_ended();
}

#[test]
fn end_of_stream_within_a_message_ends_the_connection() {
    let local = Local::start(quick());
    let mut stats = Wire::connect(local.address);
    let mut request = Wire::connect(local.address);
    request.send(b"GET / HTT");
    let mut message = Wire::websocket(local.address);
    message.send(&frame(TEXT, b"not all of it")[..9]);
    let mut open = Wire::websocket(local.address);
    for wire in [&mut request, &mut message, &mut open] {
        wire.socket.shutdown(Shutdown::Write).expect("a shutdown");
        wire.assert_ended();
    }
    stats.stats_until("three ends", |stats| stats["counters"]["ended_abruptly"] == 3);
}
