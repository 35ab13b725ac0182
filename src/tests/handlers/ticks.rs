//! Time, as a handler has it.

use crate::host::Local;
use crate::rig::{hear, say, single, text, websocket_at};
use crate::wire::Wire;
use std::collections::BTreeSet;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};
use steadfast::server::{Config, Desk, Handler, Message, Peer, Request, Server};

/// Tells of each tick at which reactor it was.
struct Ticking(Sender<usize>);

impl Handler for Ticking {
    fn message(&mut self, _peer: &mut Peer, _message: Message) {}

    fn tick(&mut self, desk: &mut Desk) {
        // The test may have heard enough.
        let _ = self.0.send(desk.reactor());
    }
}

#[test]
fn tick_is_called_when_a_reactor_starts_though_nobody_comes() {
    let (tell, told) = channel();
    let server = Server::from(Config { reactors: Some(3), ..single() });
    let _local = Local::serve(server.route("/", move || Ticking(tell.clone())));
    let mut reactors = BTreeSet::new();
    while reactors.len() < 3 {
        reactors.insert(hear(&told));
    }
    assert_eq!(reactors, BTreeSet::from([0, 1, 2]));
}

#[test]
fn tick_is_called_while_there_are_connections() {
    let (tell, told) = channel();
    let local = Local::serve(Server::from(single()).route("/", move || Ticking(tell.clone())));
    let _idle = websocket_at(local.address, "/");
    // What comes at the start and with the connection has been heard by then; the rest is for nothing but time.
    for _ in 0..8 {
        assert_eq!(hear(&told), 0);
    }
}

/// Wishes for ticks, so many of them, and tells when there were.
struct Wishing {
    left: usize,
    done: Sender<()>,
}

impl Handler for Wishing {
    fn opened(&mut self, peer: &mut Peer, _request: &Request, _subprotocol: Option<&str>) {
        self.left = 50;
        peer.wake_after(Duration::from_secs(3600));
        // The earlier one counts.
        peer.wake_after(Duration::from_millis(1));
        peer.wake_after(Duration::from_secs(3600));
        peer.abort();
    }

    fn message(&mut self, _peer: &mut Peer, _message: Message) {}

    fn tick(&mut self, desk: &mut Desk) {
        match self.left {
            0 => return,
            1 => self.done.send(()).expect("the test hears of it"),
            _ => desk.wake_after(Duration::from_millis(1)),
        }
        self.left -= 1;
    }
}

#[test]
fn tick_is_called_when_it_was_asked_for_though_there_is_no_connection() {
    let (done, told) = channel();
    let local = Local::serve(Server::from(single()).route("/", move || Wishing { left: 0, done: done.clone() }));
    let mut wire: Wire = websocket_at(local.address, "/");
    wire.assert_ended();
    // The sweep would call it four times a second, and only while the connection is there.
    hear(&told);
}

/// Tells what time it is.
struct Clock(Sender<Instant>);

impl Clock {
    fn tell(&self, desk: &Desk) {
        self.0.send(desk.now()).expect("the test hears of it");
    }
}

impl Handler for Clock {
    fn opened(&mut self, peer: &mut Peer, _request: &Request, _subprotocol: Option<&str>) {
        self.tell(peer);
    }

    fn message(&mut self, peer: &mut Peer, message: Message) {
        self.tell(peer);
        peer.send(message);
    }
}

#[test]
fn a_handler_is_told_when_its_turn_began() {
    let (tell, told) = channel();
    let local = Local::serve(Server::from(single()).route("/", move || Clock(tell.clone())));
    // Nothing else happens there: the turn that opens the connection begins when that has come.
    let before = Instant::now();
    let mut wire = websocket_at(local.address, "/");
    let opened = hear(&told);
    assert!(opened >= before, "{:?} too early", before - opened);
    for _ in 0..5 {
        let before = Instant::now();
        say(&mut wire, "what time is it?");
        text(&mut wire);
        let said = hear(&told);
        assert!(said >= before, "{:?} too early", before - said);
        assert!(said <= Instant::now());
    }
}
