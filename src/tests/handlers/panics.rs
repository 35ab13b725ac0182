//! A program's own code that panics: its connection ends, and no other.

use crate::host::{Local, quick};
use crate::rig::{hear, say, single, text, upgrade_at, websocket_at};
use crate::wire::{CLOSE, PATIENCE, TEXT, Wire, close_body, frame};
use std::panic::panic_any;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};
use steadfast::server::{
    Closed, Config, ConnectionId, Handler, Hook, Message, Peer, ReactorContext, Refused, Reply, Request, Response,
    Server, StatusCode,
};

/// What a panic was called with, and panics itself.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("a bomb");
    }
}

/// A state that may panic when it is dropped.
#[derive(Default)]
struct Fuse(bool);

impl Drop for Fuse {
    fn drop(&mut self) {
        assert!(!self.0, "a fuse");
    }
}

/// Panics where it is told to, by a query or a text; counts its messages, and tells of the ends of its connections.
struct Fragile {
    messages: u32,
    gone: Option<ConnectionId>,
    panics_next: bool,
    told: Sender<(ConnectionId, u16)>,
}

impl Handler<Fuse> for Fragile {
    fn opened(&mut self, peer: &mut Peer<Fuse>, request: &Request) {
        peer.send("hello");
        assert!(!request.target().ends_with("?opened"), "opened");
        peer.state.0 = request.target().ends_with("?fuse");
    }

    fn message(&mut self, peer: &mut Peer<Fuse>, message: Message) {
        self.messages += 1;
        match message.text() {
            Some("panic") => {
                peer.send("so far");
                panic!("message");
            }
            Some("bomb") => panic_any(Bomb),
            Some("tick") => {
                self.panics_next = true;
                peer.context.wake_after(Duration::ZERO);
            }
            Some("gone") => self.gone = Some(peer.id()),
            Some("tell") => {
                if let Some(gone) = self.gone {
                    peer.send_to(gone, "too late");
                }
            }
            Some("ping") => {
                self.panics_next = true;
                peer.ping();
            }
            _ => drop(peer.send(&format!("message {}", self.messages))),
        }
    }

    fn pong(&mut self, _peer: &mut Peer<Fuse>, _round_trip: Option<Duration>) {
        assert!(!std::mem::take(&mut self.panics_next), "pong");
    }

    fn closed(&mut self, peer: &mut Peer<Fuse>, closed: &Closed) {
        let _ = self.told.send((peer.id(), u16::from(closed.code)));
        assert!(closed.reason != "panic", "closed");
    }

    fn tick(&mut self, _context: &mut ReactorContext) {
        assert!(!std::mem::take(&mut self.panics_next), "tick");
    }

    fn undelivered(&mut self, _context: &mut ReactorContext, _to: ConnectionId) {
        panic!("undelivered");
    }
}

/// A server that may see panics.
fn serve(server: Server) -> Local {
    let mut local = Local::serve(server);
    local.may_panic = true;
    local
}

fn fragile(config: Config) -> (Local, std::sync::mpsc::Receiver<(ConnectionId, u16)>) {
    let (told, heard) = channel();
    let make = move || Fragile { messages: 0, gone: None, panics_next: false, told: told.clone() };
    let server = Server::from(config).route("/fragile", make);
    (serve(server), heard)
}

fn fragile_at(local: &Local, query: &str) -> Wire {
    let mut wire = websocket_at(local.address, &format!("/fragile{query}"));
    assert_eq!(text(&mut wire), "hello");
    wire
}

/// The connection is closed with 1011, and its end is not a reset.
fn assert_closed_1011(wire: &mut Wire) {
    let close = wire.frame();
    assert_eq!((close.first, close.close_code()), (CLOSE, 1011), "{close:?}");
    wire.send_if_taken(&frame(CLOSE, &close.payload));
    wire.assert_ended();
}

/// Waits for what nothing announces.
fn until(what: &str, reached: impl Fn() -> bool) {
    let since = Instant::now();
    while !reached() {
        assert!(since.elapsed() < PATIENCE, "{what}: not reached");
        thread::yield_now();
    }
}

fn panics(local: &Local) -> u64 {
    local.server.counters().handler_panics
}

#[test]
fn a_handler_that_panics_loses_that_connection_with_1011_and_no_other() {
    let (local, told) = fragile(single());
    let mut other = fragile_at(&local, "");
    say(&mut other, "a");
    assert_eq!(text(&mut other), "message 1");
    for (number, what) in ["panic", "bomb", "panic"].into_iter().enumerate() {
        let mut wire = fragile_at(&local, "");
        // What comes after it is not delivered.
        wire.send(&[frame(TEXT, what.as_bytes()), frame(TEXT, b"and on")].concat());
        if what == "panic" {
            assert_eq!(text(&mut wire), "so far");
        }
        assert_closed_1011(&mut wire);
        assert_eq!(hear(&told).1, 1011);
        assert_eq!(panics(&local), number as u64 + 1);
    }
    // The same instance, which has counted those messages too.
    say(&mut other, "b");
    assert_eq!(text(&mut other), "message 5");
    until("three have ended", || local.server.counters().ended == 3);
}

#[test]
fn a_panic_in_any_callback_of_a_connection_ends_that_connection() {
    let (local, told) = fragile(single());
    let mut other = fragile_at(&local, "");
    let mut wire = fragile_at(&local, "?opened");
    assert_closed_1011(&mut wire);
    assert_eq!((hear(&told).1, panics(&local)), (1011, 1));
    let mut wire = fragile_at(&local, "");
    say(&mut wire, "ping");
    let ping = wire.frame();
    wire.send(&frame(0x8a, &ping.payload));
    assert_closed_1011(&mut wire);
    assert_eq!((hear(&told).1, panics(&local)), (1011, 2));
    // One that panics in `closed` has ended already, and is told once.
    let mut wire = fragile_at(&local, "");
    wire.send(&frame(CLOSE, &close_body(4000, b"panic")));
    assert_eq!(wire.frame().close_code(), 4000);
    wire.assert_ended();
    assert_eq!((hear(&told).1, panics(&local)), (4000, 3));
    // A state that panics when it is dropped.
    let mut wire = fragile_at(&local, "?fuse");
    wire.send(&frame(CLOSE, &close_body(4001, b"")));
    assert_eq!(wire.frame().close_code(), 4001);
    wire.assert_ended();
    assert_eq!((hear(&told).1, panics(&local)), (4001, 4));
    say(&mut other, "a");
    assert_eq!(text(&mut other), "message 2");
    assert_eq!(told.try_recv().ok(), None);
}

/// A state of which there is only one.
struct Scarce;

static MADE: AtomicUsize = AtomicUsize::new(0);

impl Default for Scarce {
    fn default() -> Self {
        assert_eq!(MADE.fetch_add(1, Ordering::Relaxed), 0, "there is one already");
        Self
    }
}

impl Drop for Scarce {
    fn drop(&mut self) {}
}

/// Says what it is told.
struct Loud;

impl Handler<Scarce> for Loud {
    fn opened(&mut self, peer: &mut Peer<Scarce>, _request: &Request) {
        peer.send("opened");
    }

    fn message(&mut self, peer: &mut Peer<Scarce>, _message: Message) {
        peer.send("message");
    }

    fn closed(&mut self, peer: &mut Peer<Scarce>, closed: &Closed) {
        // Never for one that it was not told of.
        assert!(u16::from(closed.code) != 1011, "{:?}", peer.id());
    }
}

#[test]
fn a_state_that_cannot_be_made_ends_its_connection() {
    let local = serve(Server::from(single()).route("/", || Loud));
    let mut other = websocket_at(local.address, "/");
    assert_eq!(text(&mut other), "opened");
    let mut wire = websocket_at(local.address, "/");
    // The handler has not heard of it.
    assert_closed_1011(&mut wire);
    assert_eq!(panics(&local), 1);
    say(&mut other, "a");
    assert_eq!(text(&mut other), "message");
}

#[test]
fn a_panic_without_a_connection_is_counted_and_the_reactor_goes_on() {
    let (local, told) = fragile(single());
    let mut wire = fragile_at(&local, "");
    say(&mut wire, "tick");
    say(&mut wire, "a");
    assert_eq!(text(&mut wire), "message 2");
    let mut gone = fragile_at(&local, "");
    say(&mut gone, "gone");
    gone.send(&frame(CLOSE, &close_body(1000, b"")));
    gone.frame();
    gone.assert_ended();
    hear(&told);
    say(&mut wire, "tell");
    // Once by the tick and once by the message for the one that was gone.
    while panics(&local) < 2 {
        say(&mut wire, "a");
        text(&mut wire);
    }
    assert_eq!(panics(&local), 2);
}

#[test]
fn a_responder_or_a_hook_that_panics_is_answered_500_and_the_connection_closes() {
    let hook = Hook::new(|request, _| {
        assert!(!request.target().ends_with("?panic"), "hook");
        if request.target().ends_with("?no") { Err(Refused::new(StatusCode::UNAUTHORIZED, "no")) } else { Ok(()) }
    });
    let server = Server::from(Config { hook: Some(hook), ..single() })
        .get("/get", |request| -> Response { panic!("{}", request.target()) })
        .post("/post", |_| -> Response { panic_any(Bomb) })
        .get("/poll", |_| {
            Reply::next_where("news", Response::text(""), |message| {
                assert!(message != b"panic", "wanted");
                message != b"other"
            })
        })
        .route("/echo", || Nothing);
    let local = serve(server);
    let mut other = websocket_at(local.address, "/echo");
    let requests = [
        "GET /get HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "POST /post HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab".to_owned(),
        upgrade_at("/echo?panic", ""),
    ];
    for (number, request) in requests.iter().enumerate() {
        let mut wire = Wire::connect(local.address);
        wire.send(request.as_bytes());
        let answer = wire.answer();
        assert_eq!((answer.status, answer.closes()), (500, true), "{request}: {answer:?}");
        wire.assert_ended();
        assert_eq!(panics(&local), number as u64 + 1);
    }
    // A HEAD of it has no body.
    let mut wire = Wire::connect(local.address);
    wire.send(b"HEAD /get HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(wire.answer_without_body().status, 500);
    wire.assert_ended();
    let mut wire = Wire::connect(local.address);
    wire.send(b"GET /poll HTTP/1.1\r\nHost: a\r\n\r\n");
    until("the request waits", || local.server.counters().requests == 6);
    local.server.publish("news", "other");
    local.server.publish("news", "panic");
    let answer = wire.answer();
    assert_eq!((answer.status, answer.closes()), (500, true), "{answer:?}");
    assert!(!answer.body.ends_with(b"panic"), "{answer:?}");
    wire.assert_ended();
    assert_eq!(panics(&local), 5);
    other.echo(b"not disturbed");
}

/// Sends back what comes.
struct Nothing;

impl Handler for Nothing {
    fn message(&mut self, peer: &mut Peer, message: Message) {
        peer.send(message);
    }
}

/// Panics when its reactor ends: a panic that is not in a call for a connection.
struct Last {
    /// The reactor that panics.
    which: usize,
    is_it: bool,
    ticked: Sender<()>,
}

impl Handler for Last {
    fn message(&mut self, _peer: &mut Peer, _message: Message) {}

    fn tick(&mut self, context: &mut ReactorContext) {
        self.is_it = context.reactor() == self.which;
        let _ = self.ticked.send(());
    }
}

impl Drop for Last {
    fn drop(&mut self) {
        assert!(!self.is_it, "the last word");
    }
}

#[test]
fn join_names_the_reactor_that_panicked_whichever_it_was() {
    for reactor in 0..3 {
        let config = Config { reactors: Some(3), ..quick() };
        let (ticked, ticks) = channel();
        let make = move || Last { which: reactor, is_it: false, ticked: ticked.clone() };
        let server = Server::from(config).route("/last", make).listen("127.0.0.1:0").expect("an endpoint");
        let server = server.spawn().expect("a server");
        // Each has had its first tick, in which it learns which one it is.
        (0..3).for_each(|_| hear(&ticks));
        server.stop();
        for _ in 0..2 {
            let error = server.join().expect_err("a reactor panicked").to_string();
            assert_eq!(error, format!("reactor {reactor} panicked: the last word"));
        }
    }
}

#[test]
fn a_handler_that_panics_while_it_is_made_is_an_error_at_start() {
    let made = AtomicUsize::new(0);
    let make = move || {
        // The second of three reactors to come here.
        assert!(made.fetch_add(1, Ordering::Relaxed) != 1, "cannot be made");
        Nothing
    };
    let server = Server::from(Config { reactors: Some(3), ..quick() }).route("/", make);
    let error = server.listen("127.0.0.1:0").expect("an endpoint").spawn().expect_err("a panic").to_string();
    assert!(error.starts_with("reactor ") && error.ends_with(" panicked: cannot be made"), "{error}");
}
