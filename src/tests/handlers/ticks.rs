//! Time, as a handler has it.

use crate::host::Local;
use crate::rig::{hear, single, websocket_at};
use crate::wire::Wire;
use std::collections::BTreeSet;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;
use steadfast::server::{Config, Handler, Message, Peer, ReactorContext, Request, Server};

/// Tells of each tick at which reactor it was.
struct Ticking(Sender<usize>);

impl Handler for Ticking {
    fn message(&mut self, _peer: &mut Peer, _message: Message) {}

    fn tick(&mut self, context: &mut ReactorContext) {
        // The test may have heard enough.
        let _ = self.0.send(context.reactor());
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

/// The earliest wish counts.
fn wish(context: &mut ReactorContext) {
    context.wake_after(Duration::from_secs(3600));
    context.wake_after(Duration::from_millis(1));
    context.wake_after(Duration::from_secs(3600));
    // A time that no clock has is never.
    context.wake_after(Duration::MAX);
}

impl Handler for Wishing {
    fn opened(&mut self, peer: &mut Peer, _request: &Request) {
        self.left = 50;
        wish(&mut peer.context);
        peer.abort();
    }

    fn message(&mut self, _peer: &mut Peer, _message: Message) {}

    fn tick(&mut self, context: &mut ReactorContext) {
        match self.left {
            0 => return,
            1 => self.done.send(()).expect("the test hears of it"),
            _ => wish(context),
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
