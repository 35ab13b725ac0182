//! What a handler keeps for its connections, what it is told of them for nothing, and how many of it there are.

use crate::host::{Local, Scratch};
use crate::rig::{reset, say, single, text, upgrade_at, websocket_at};
use crate::wire::{CLOSE, PING, PONG, TEXT, Wire, frame};
use std::collections::HashSet;
use std::os::unix::net::UnixStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::ThreadId;
use steadfast::server::{Config, Deadlines, Handler, Message, Overflow, Peer, Request, Server};

/// Adds up what each connection says.
struct Sums;

impl Handler<(u64, Vec<String>)> for Sums {
    fn message(&mut self, peer: &mut Peer<(u64, Vec<String>)>, message: Message) {
        let text = message.text().unwrap_or_default();
        peer.state.0 += text.parse::<u64>().unwrap_or(0);
        peer.state.1.push(text.to_owned());
        let answer = format!("{} {}", peer.state.0, peer.state.1.join("+"));
        peer.send(&answer);
    }
}

#[test]
fn each_connection_has_a_state_of_its_own_and_a_new_one_in_its_place_begins_anew() {
    let local = Local::serve(Server::from(single()).route("/sums", || Sums));
    let mut wires: Vec<Wire> = (0..10).map(|_| websocket_at(local.address, "/sums")).collect();
    for round in 1..=3 {
        for (number, wire) in wires.iter_mut().enumerate() {
            say(wire, &number.to_string());
            let said = vec![number.to_string(); round].join("+");
            assert_eq!(text(wire), format!("{} {said}", number * round));
        }
    }
    // Some go, and others come to where they were.
    for number in [3, 7, 8] {
        wires[number].send(&frame(CLOSE, b""));
        assert_eq!(wires[number].frame().first, CLOSE);
        wires[number].assert_ended();
        wires[number] = websocket_at(local.address, "/sums");
    }
    for (number, wire) in wires.iter_mut().enumerate() {
        say(wire, "5");
        let expected = if [3, 7, 8].contains(&number) { 5 } else { 3 * number + 5 };
        assert_eq!(text(wire).split(' ').next(), Some(&*expected.to_string()));
    }
}

static NOTHINGS: AtomicUsize = AtomicUsize::new(0);
static NOTHINGS_DROPPED: AtomicUsize = AtomicUsize::new(0);

/// A state without a byte, whose end matters all the same.
struct Nothing;

impl Default for Nothing {
    fn default() -> Self {
        NOTHINGS.fetch_add(1, Ordering::Relaxed);
        Self
    }
}

impl Drop for Nothing {
    fn drop(&mut self) {
        NOTHINGS_DROPPED.fetch_add(1, Ordering::Relaxed);
    }
}

/// A handler of what a handler has to have, and nothing else.
struct Least;

impl Handler<Nothing> for Least {
    fn message(&mut self, peer: &mut Peer<Nothing>, message: Message) {
        peer.send(message);
    }
}

#[test]
fn a_state_without_bytes_is_made_and_dropped_once_for_each_connection() {
    let local = Local::serve(Server::from(single()).route("/least", || Least));
    for _ in 0..3 {
        let mut wire = websocket_at(local.address, "/least");
        for _ in 0..3 {
            wire.echo(b"the same state");
        }
    }
    let _open_at_the_end = websocket_at(local.address, "/least");
    drop(local);
    let counted = (NOTHINGS.load(Ordering::Relaxed), NOTHINGS_DROPPED.load(Ordering::Relaxed));
    assert_eq!(counted, (4, 4));
}

/// As [`Least`], for those who keep nothing.
struct Stateless;

impl Handler for Stateless {
    fn message(&mut self, peer: &mut Peer, message: Message) {
        peer.send(message);
    }
}

#[test]
fn a_handler_need_hear_of_nothing_but_messages() {
    let deadlines = Deadlines { ping_s: 1, close_s: 1, ..Deadlines::default() };
    let server = Server::from(Config { deadlines, ..single() });
    let local = Local::serve(server.route("/", || Stateless));
    let mut wire = websocket_at(local.address, "/");
    wire.send(&[frame(PING, b"p"), frame(PONG, &[0; 8])].concat());
    assert_eq!(wire.frame().first, PONG);
    wire.echo(b"heard");
    let ping = wire.frame();
    assert_eq!(ping.first, PING, "ticks have passed");
    wire.send(&[frame(PONG, &ping.payload), frame(TEXT, b"and"), frame(CLOSE, b"")].concat());
    assert_eq!((text(&mut wire), wire.frame().first), ("and".into(), CLOSE));
    wire.assert_ended();
    drop(websocket_at(local.address, "/"));
    reset(websocket_at(local.address, "/"));
    websocket_at(local.address, "/").echo(b"still there");
}

/// Tells what a [`Peer`] says of itself.
struct Mirror;

impl Handler for Mirror {
    fn opened(&mut self, peer: &mut Peer, request: &Request) {
        let (address, queued) = (peer.peer_address().ok().flatten(), peer.queued());
        let text = format!("{} {} {address:?} {queued:?}", request.head_bytes(), peer.answer_bytes());
        peer.send(&text);
    }

    fn message(&mut self, _peer: &mut Peer, _message: Message) {}
}

#[test]
fn a_peer_knows_its_address_and_what_the_upgrade_took() {
    let local = Local::serve(Server::from(single()).route("/mirror", || Mirror));
    let mut wire = Wire::connect(local.address);
    let request = upgrade_at("/mirror", "X-More: 1\r\n");
    wire.send(request.as_bytes());
    let answer = wire.answer_without_body();
    assert_eq!(answer.status, 101);
    let ours = wire.socket.local_addr().expect("an address");
    let expected = format!("{} {} {:?} (0, 0)", request.len(), answer.head.len(), Some(ours));
    assert_eq!(text(&mut wire), expected);
}

#[test]
fn a_peer_on_a_unix_socket_has_no_address() {
    let scratch = Scratch::new();
    let path = scratch.file("socket");
    let listen = format!("unix:{}", path.display());
    let server = Server::from(single()).route("/mirror", || Mirror).listen(&listen).expect("an endpoint");
    let server = server.spawn().expect("a server");
    let mut wire = Wire::over(UnixStream::connect(&path).expect("a connection"));
    wire.send(upgrade_at("/mirror", "").as_bytes());
    wire.assert_upgraded();
    let said = String::from_utf8(wire.frame().payload).expect("text");
    assert!(said.ends_with(" None (0, 0)"), "{said}");
    drop(wire);
    server.stop();
    server.join().expect("no error");
}

/// Counts all connections of a reactor, whichever path they came by.
struct Counting(usize);

impl Handler for Counting {
    fn message(&mut self, peer: &mut Peer, _message: Message) {
        self.0 += 1;
        peer.send(&self.0.to_string());
    }
}

#[test]
fn each_reactor_makes_one_handler_on_its_own_thread_and_paths_may_share_it() {
    static MADE: Mutex<Vec<ThreadId>> = Mutex::new(Vec::new());
    let make = || {
        MADE.lock().expect("the list").push(std::thread::current().id());
        Counting(0)
    };
    let server = Server::from(Config { reactors: Some(3), ..single() });
    let local = Local::serve(server.route_with(&["/a", "/b/*"], Overflow::Close, make));
    let made = MADE.lock().expect("the list").clone();
    let threads: HashSet<ThreadId> = made.iter().copied().collect();
    assert!((made.len(), threads.len()) == (3, 3) && !threads.contains(&std::thread::current().id()), "{made:?}");
    drop(local);
    let local = Local::serve(Server::from(single()).route_with(&["/a", "/b/*"], Overflow::Close, || Counting(0)));
    let mut wires = ["/a", "/b/c", "/a", "/b/"].map(|path| websocket_at(local.address, path));
    for (at, wire) in wires.iter_mut().enumerate() {
        say(wire, "");
        assert_eq!(text(wire), (at + 1).to_string());
    }
}
