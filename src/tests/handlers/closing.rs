//! Whoever ends a connection from within any of its calls has ended it: nothing is sent behind that, nothing is heard
//! of it any more but that it is closed, once.

use crate::host::Local;
use crate::rig::{all_told, frames_and_close, frames_of, hear, single, text, upgrade_at, websocket_at};
use crate::wire::{BINARY, CLOSE, Frame, PING, PONG, TEXT, Wire, close_body, frame};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use steadfast::server::{
    CloseCode, Closed, Config, ConnectionId, Handler, Message, Peer, ReactorContext, Request, Sent, Server,
    SocketBuffers,
};

/// From within which call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Opened,
    Message,
    Pong,
    Writable,
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Close,
    Abort,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Called(At),
    /// The socket takes no more.
    Full,
    /// What was said behind the end, and what came of it.
    Late([Sent; 3]),
    Closed(u16, bool),
    Dropped,
}

/// A state that tells of its end.
#[derive(Default)]
struct Kept(Option<Sender<Told>>);

impl Drop for Kept {
    fn drop(&mut self) {
        if let Some(told) = &self.0 {
            let _ = told.send(Told::Dropped);
        }
    }
}

/// Ends each connection in one of its calls, and goes on there as if it had not.
struct Ender {
    at: At,
    how: How,
    told: Sender<Told>,
}

impl Ender {
    fn tell(&self, what: Told) {
        self.told.send(what).expect("the test hears of it");
    }

    fn called(&self, at: At, peer: &mut Peer<Kept>) {
        self.tell(Told::Called(at));
        if at != self.at {
            return;
        }
        let end = |peer: &mut Peer<Kept>| match self.how {
            How::Close => peer.close(CloseCode::of::<4001>(), "enough"),
            How::Abort => peer.abort(),
        };
        end(peer);
        // None of this is to reach the peer.
        let sent = [peer.send("late"), peer.echo("late".into()), peer.send(&vec![7; 100_000])];
        self.tell(Told::Late(sent));
        peer.ping();
        peer.subscribe("late");
        peer.publish("late", "late");
        end(peer);
        peer.close(CloseCode::of::<4002>(), "again");
    }
}

impl Handler<Kept> for Ender {
    fn opened(&mut self, peer: &mut Peer<Kept>, _request: &Request) {
        peer.state.0 = Some(self.told.clone());
        if self.at == At::Pong {
            peer.ping();
        }
        self.called(At::Opened, peer);
    }

    fn message(&mut self, peer: &mut Peer<Kept>, _message: Message) {
        self.called(At::Message, peer);
        if self.at == At::Writable {
            // Far more than both sockets hold.
            let other = (0..4096).map(|_| peer.send(&vec![0; 16 << 10])).find(|sent| *sent != Sent::Sent);
            assert_eq!(other, Some(Sent::Queued));
            assert_ne!(peer.queued(), (0, 0));
            self.tell(Told::Full);
        }
    }

    fn pong(&mut self, peer: &mut Peer<Kept>, _round_trip: Option<Duration>) {
        self.called(At::Pong, peer);
    }

    fn writable(&mut self, peer: &mut Peer<Kept>) {
        assert_eq!(peer.queued(), (0, 0));
        self.called(At::Writable, peer);
    }

    fn closed(&mut self, peer: &mut Peer<Kept>, closed: &Closed) {
        self.called(At::Closed, peer);
        self.tell(Told::Closed(u16::from(closed.code), closed.was_clean));
    }
}

/// Brings a connection to where the handler ends it, with more behind that it would answer; returns the connection.
fn lead_to(at: At, local: &Local, told: &Receiver<Told>) -> Wire {
    let mut wire = Wire::connect(local.address);
    let more = [frame(TEXT, b"behind"), frame(PING, b"behind")].concat();
    let upgrade = upgrade_at("/", "");
    match at {
        At::Opened => wire.send(&[upgrade.as_bytes(), &more].concat()),
        At::Message => wire.send(&[upgrade.as_bytes(), &frame(TEXT, b"go"), &more].concat()),
        _ => wire.send(upgrade.as_bytes()),
    }
    wire.assert_upgraded();
    match at {
        At::Opened | At::Message => {}
        At::Pong => {
            let ping = wire.frame();
            assert_eq!(ping.first, PING);
            wire.send(&[frame(PONG, &ping.payload), more].concat());
        }
        At::Writable => {
            wire.send(&frame(TEXT, b"fill"));
            while hear(told) != Told::Full {}
        }
        At::Closed => wire.send(&[frame(CLOSE, &close_body(1000, b"")), more].concat()),
    }
    wire
}

/// All that the peer sees of such a connection: the messages before the end, and whether there was a Close.
fn seen(at: At, how: How, wire: &mut Wire) -> Vec<Frame> {
    match (at, how) {
        (At::Closed, _) => {
            // It is the peer who has closed; ours is the answer.
            let frames = frames_of(&wire.rest());
            assert_eq!((frames.len(), frames[0].close_code()), (1, 1000), "{frames:?}");
            Vec::new()
        }
        (_, How::Close) => {
            let (frames, close) = frames_and_close(wire);
            assert_eq!((close.close_code(), &close.payload[2..]), (4001, &b"enough"[..]));
            frames
        }
        (_, How::Abort) => frames_of(&wire.rest()),
    }
}

/// Ends a connection within that call, and holds what its peer sees and what its handler is told.
fn assert_ends(at: At, how: How) {
    let (tell, told) = channel();
    // Little room in the kernel, so that a socket is soon full.
    let socket_buffers = SocketBuffers { send_bytes: 32 << 10, ..SocketBuffers::default() };
    let server = Server::from(Config { socket_buffers, ..single() });
    let local = Local::serve(server.route("/", move || Ender { at, how, told: tell.clone() }));
    let mut wire = lead_to(at, &local, &told);
    let frames = seen(at, how, &mut wire);
    let whole = Frame { first: BINARY, payload: vec![0; 16 << 10] };
    assert!(frames.iter().all(|frame| *frame == whole) && frames.is_empty() == (at != At::Writable), "{at:?} {how:?}");
    drop(wire);
    // What was heard up to the full socket has been taken out already.
    let mut expected: Vec<Told> = match at {
        At::Opened => vec![At::Opened],
        At::Message => vec![At::Opened, At::Message],
        At::Pong => vec![At::Opened, At::Pong],
        At::Writable => vec![At::Writable],
        At::Closed => vec![At::Opened, At::Closed],
    }
    .into_iter()
    .map(Told::Called)
    .collect();
    expected.push(Told::Late([Sent::Dropped; 3]));
    if at != At::Closed {
        expected.push(Told::Called(At::Closed));
    }
    expected.push(match (at, how) {
        (At::Closed, _) => Told::Closed(1000, true),
        (_, How::Close) => Told::Closed(4001, true),
        (_, How::Abort) => Told::Closed(1006, false),
    });
    expected.push(Told::Dropped);
    assert_eq!(all_told(local, &told), expected, "{at:?} {how:?}");
}

#[test]
fn a_handler_may_end_a_connection_when_it_opens() {
    assert_ends(At::Opened, How::Close);
    assert_ends(At::Opened, How::Abort);
}

#[test]
fn a_handler_may_end_a_connection_when_a_message_comes() {
    assert_ends(At::Message, How::Close);
    assert_ends(At::Message, How::Abort);
}

#[test]
fn a_handler_may_end_a_connection_when_a_pong_comes() {
    assert_ends(At::Pong, How::Close);
    assert_ends(At::Pong, How::Abort);
}

#[test]
fn a_handler_may_end_a_connection_when_its_socket_takes_more() {
    assert_ends(At::Writable, How::Close);
    assert_ends(At::Writable, How::Abort);
}

#[test]
fn a_handler_may_end_a_connection_that_has_ended() {
    assert_ends(At::Closed, How::Close);
    assert_ends(At::Closed, How::Abort);
}

/// Closes all connections of the server when a tick passes, wherever they are.
struct Reaper {
    doomed: Arc<Mutex<Vec<ConnectionId>>>,
    told: Sender<(ConnectionId, u16, bool)>,
}

impl Handler for Reaper {
    fn opened(&mut self, peer: &mut Peer, _request: &Request) {
        self.doomed.lock().expect("the list").push(peer.id());
    }

    fn message(&mut self, _peer: &mut Peer, _message: Message) {}

    fn closed(&mut self, peer: &mut Peer, closed: &Closed) {
        let id = peer.id();
        // It is gone, and this is for nobody.
        peer.context.close_other(id, CloseCode::of::<4003>(), "");
        self.told.send((id, u16::from(closed.code), closed.was_clean)).expect("the test hears of it");
    }

    fn tick(&mut self, context: &mut ReactorContext) {
        for &id in &*self.doomed.lock().expect("the list") {
            // More than once: what is closing is not closed again.
            context.close_other(id, CloseCode::of::<4002>(), "a tick");
            context.close_other(id, CloseCode::of::<4003>(), "another");
            context.send_to(id, "behind the Close");
        }
    }
}

#[test]
fn a_tick_may_close_connections_of_all_reactors() {
    let (tell, told) = channel();
    let doomed = Arc::new(Mutex::new(Vec::new()));
    let shared = Arc::clone(&doomed);
    let server = Server::from(Config { reactors: Some(3), ..single() });
    let server = server.route("/", move || Reaper { doomed: Arc::clone(&shared), told: tell.clone() });
    let local = Local::serve(server);
    let mut wires: Vec<Wire> = (0..30).map(|_| websocket_at(local.address, "/")).collect();
    for wire in &mut wires {
        let (frames, close) = frames_and_close(wire);
        assert_eq!((close.close_code(), &close.payload[2..]), (4002, &b"a tick"[..]));
        assert_eq!(frames, [], "nothing was said before");
    }
    let mut closed: Vec<ConnectionId> = Vec::new();
    for (id, code, was_clean) in all_told(local, &told) {
        assert_eq!((code, was_clean, closed.contains(&id)), (4002, true, false));
        closed.push(id);
    }
    assert_eq!(closed.len(), 30);
}

/// Subscribes to what is said of the dead, when it is one of them.
struct Ghost;

impl Handler for Ghost {
    fn opened(&mut self, peer: &mut Peer, _request: &Request) {
        peer.subscribe("of the living");
    }

    fn message(&mut self, peer: &mut Peer, _message: Message) {
        peer.publish("of the dead", "are you there?");
        peer.publish("of the living", "here");
    }

    fn closed(&mut self, peer: &mut Peer, _closed: &Closed) {
        assert!(peer.subscribe("of the dead"), "it was no member, and is one now");
        assert!(peer.subscribe("of the living"), "it is none any more when it has ended");
        peer.publish("of the dead", "who is there?");
    }
}

#[test]
fn who_subscribes_when_it_has_ended_hears_nothing_and_nor_does_who_comes_to_its_place() {
    let local = Local::serve(Server::from(single()).route("/", || Ghost));
    for _ in 0..3 {
        let mut ends_well = websocket_at(local.address, "/");
        let just_goes = websocket_at(local.address, "/");
        ends_well.send(&frame(CLOSE, b""));
        assert_eq!(ends_well.frame().first, CLOSE);
        ends_well.assert_ended();
        drop(just_goes);
        // These come to the places of those.
        let mut successors = [(); 2].map(|()| websocket_at(local.address, "/"));
        for wire in &mut successors {
            wire.send(&frame(TEXT, b""));
            assert_eq!(text(wire), "here");
        }
        assert_eq!(text(&mut successors[0]), "here", "what the other one said");
    }
}
