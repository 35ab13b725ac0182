//! Sending from anywhere: from other threads, from other reactors, to those who are there and to those who are not.

use crate::host::Local;
use crate::rig::{frames_and_close, hear, reset, say, single, text, websocket_at};
use crate::wire::{BINARY, CLOSE, Frame, PATIENCE, TEXT, Wire, close_body, frame};
use crate::witness::{Told, Witness};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;
use steadfast::server::{
    CloseCode, Closed, Config, ConnectionId, Handle, Handler, Message, Peer, ReactorContext, Receipt, Request,
    SendError, Sent, Server,
};

/// A server of three reactors and a witness.
fn serve() -> (Local, Receiver<(ConnectionId, Told)>) {
    let (tell, told) = channel();
    let server = Server::from(Config { reactors: Some(3), ..single() });
    (Local::serve(server.route("/", move || Witness::obedient(tell.clone()))), told)
}

/// A connection, and its name.
fn open(local: &Local, told: &Receiver<(ConnectionId, Told)>) -> (Wire, ConnectionId) {
    let wire = websocket_at(local.address, "/");
    loop {
        if let (id, Told::Opened { .. }) = hear(told) {
            return (wire, id);
        }
    }
}

/// Waits until the handler has heard that a connection ended.
fn hear_end(told: &Receiver<(ConnectionId, Told)>, of: ConnectionId) {
    while !matches!(hear(told), (id, Told::Closed { .. }) if id == of) {}
}

/// What came of a message, or a failure where that is never told.
fn outcome(receipt: Receipt) -> Result<Sent, SendError> {
    let (tell, told) = channel();
    thread::spawn(move || tell.send(receipt.wait()));
    told.recv_timeout(PATIENCE).expect("a receipt that is told of")
}

#[test]
fn a_thread_sends_to_any_connection_and_hears_what_came_of_it() {
    let (local, told) = serve();
    let mut wires: Vec<(Wire, ConnectionId)> = (0..20).map(|_| open(&local, &told)).collect();
    let (server, ids): (Handle, Vec<_>) = (local.server.clone(), wires.iter().map(|(_, id)| *id).collect());
    let sender = thread::spawn(move || {
        for (at, &id) in ids.iter().enumerate() {
            assert_eq!(server.send(id, &format!("to {at}")).wait(), Ok(Sent::Sent));
            assert_eq!(server.send(id, &vec![at as u8; 70_000]).wait(), Ok(Sent::Sent));
            drop(server.send(id, "dropped on purpose, and sent all the same"));
        }
    });
    for (at, (wire, _)) in wires.iter_mut().enumerate() {
        assert_eq!(text(wire), format!("to {at}"));
        assert_eq!(wire.frame(), Frame { first: BINARY, payload: vec![at as u8; 70_000] });
        assert_eq!(text(wire), "dropped on purpose, and sent all the same");
        wire.echo(b"nothing else");
    }
    sender.join().expect("all was sent");
}

#[test]
fn who_sends_to_a_connection_that_is_gone_is_told_and_nobody_gets_it() {
    let (local, told) = serve();
    let (mut wire, closes) = open(&local, &told);
    wire.send(&frame(CLOSE, &close_body(1000, b"")));
    assert_eq!(wire.frame().first, CLOSE);
    wire.assert_ended();
    let (wire, goes) = open(&local, &told);
    drop(wire);
    hear_end(&told, goes);
    let (wire, resets) = open(&local, &told);
    reset(wire);
    hear_end(&told, resets);
    // One that has been told to close, and has not answered.
    let (mut closing, is_closing) = open(&local, &told);
    say(&mut closing, "close");
    assert_eq!(closing.frame().close_code(), 4001);
    let gone = [closes, goes, resets, is_closing];
    let mut successors: Vec<(Wire, ConnectionId)> = (0..20).map(|_| open(&local, &told)).collect();
    for id in gone {
        assert_eq!(outcome(local.server.send(id, "for the one that is gone")), Err(SendError::Gone));
        local.server.close(id, CloseCode::of::<4000>(), "nor is anybody closed for it");
    }
    for (wire, id) in &mut successors {
        assert_eq!(outcome(local.server.send(*id, "for you")), Ok(Sent::Sent));
        assert_eq!(text(wire), "for you");
        assert!(!gone.contains(id));
    }
    assert_eq!(local.server.counters().sent_to_gone, 4);
    closing.send(&frame(CLOSE, b""));
    closing.assert_ended();
}

#[test]
fn a_thread_closes_any_connection() {
    let (local, told) = serve();
    let mut wires: Vec<(Wire, ConnectionId)> = (0..10).map(|_| open(&local, &told)).collect();
    for (_, id) in &wires {
        local.server.close(*id, CloseCode::of::<4005>(), "as I say");
        local.server.close(*id, CloseCode::of::<4006>(), "and once");
    }
    for (wire, id) in &mut wires {
        let (frames, close) = frames_and_close(wire);
        assert_eq!((frames.len(), close.close_code(), &close.payload[2..]), (0, 4005, &b"as I say"[..]));
        assert_eq!(outcome(local.server.send(*id, "late")), Err(SendError::Gone));
    }
}

#[test]
fn who_sends_when_the_server_has_ended_is_told() {
    let (local, told) = serve();
    let (wire, id) = open(&local, &told);
    drop(wire);
    local.server.stop();
    local.join();
    assert_eq!(outcome(local.server.send(id, "late")), Err(SendError::Stopped));
    // These have nobody to tell.
    local.server.publish("all", "late");
    local.server.close(id, CloseCode::NORMAL, "late");
    local.server.stop();
    local.server.drain();
}

#[test]
fn all_who_join_wait_for_the_end() {
    let (local, told) = serve();
    let (_wire, id) = open(&local, &told);
    let (tell, told) = channel();
    for _ in 0..3 {
        let (server, tell) = (local.server.clone(), tell.clone());
        thread::spawn(move || {
            tell.send(None).expect("the test hears of it");
            server.join().expect("no error");
            tell.send(Some(server.send(id, "is anybody there?").wait()))
        });
    }
    (0..3).for_each(|_| assert_eq!(hear(&told), None));
    local.server.stop();
    (0..3).for_each(|_| assert_eq!(hear(&told), Some(Err(SendError::Stopped))));
}

#[test]
fn whoever_sends_while_the_server_ends_hears_something_for_each_message() {
    let (local, told) = serve();
    let wires: Vec<(Wire, ConnectionId)> = (0..6).map(|_| open(&local, &told)).collect();
    let ids: Vec<ConnectionId> = wires.iter().map(|(_, id)| *id).collect();
    let server = local.server.clone();
    let begun = Arc::new(AtomicBool::new(false));
    let has_begun = Arc::clone(&begun);
    let (tell, told) = channel();
    thread::spawn(move || {
        let mut outcomes = Vec::new();
        // Until all of the server has ended, and every receipt says so.
        while !outcomes.ends_with(&[Err(SendError::Stopped); 6]) {
            let receipts: Vec<Receipt> = ids.iter().map(|&id| server.send(id, "still there?")).collect();
            outcomes.extend(receipts.into_iter().map(Receipt::wait));
            has_begun.store(true, Ordering::Release);
        }
        tell.send(outcomes)
    });
    let since = Instant::now();
    while !begun.load(Ordering::Acquire) {
        assert!(since.elapsed() < PATIENCE, "nothing is sent");
        thread::yield_now();
    }
    local.server.stop();
    drop(wires);
    let outcomes = told.recv_timeout(PATIENCE).expect("no receipt is waited for in vain");
    assert_eq!(outcomes[0], Ok(Sent::Sent));
}

/// Subscribes to `all` at once, and says at which reactor that is.
struct Audience;

impl Handler for Audience {
    fn opened(&mut self, peer: &mut Peer, _request: &Request) {
        peer.subscribe("all");
        let reactor = peer.context.reactor().to_string();
        peer.send(&reactor);
    }

    fn message(&mut self, peer: &mut Peer, message: Message) {
        peer.publish("all", message);
    }
}

/// Connections over all reactors, whichever port of ours falls to which.
fn audience(local: &Local, size: usize) -> Vec<(Wire, usize)> {
    let mut wires = Vec::new();
    let all = [true; 3];
    let mut reached = [false; 3];
    while wires.len() < size || reached != all {
        assert!(wires.len() < 500, "a reactor that nobody comes to: {reached:?}");
        let mut wire = websocket_at(local.address, "/");
        let reactor = text(&mut wire).parse().expect("a number");
        reached[reactor] = true;
        wires.push((wire, reactor));
    }
    wires
}

#[test]
fn what_a_thread_publishes_reaches_all_at_every_reactor_once_and_in_order() {
    let server = Server::from(Config { reactors: Some(3), ..single() }).route("/", || Audience);
    let local = Local::serve(server);
    let mut wires = audience(&local, 60);
    for number in 0..200_u32 {
        local.server.publish("none", "for nobody");
        local.server.publish("all", &number.to_be_bytes()[..]);
    }
    for (wire, _) in &mut wires {
        for number in 0..200_u32 {
            assert_eq!(wire.frame(), Frame { first: BINARY, payload: number.to_be_bytes().to_vec() });
        }
    }
    // And what one of them does.
    let last = wires.len() - 1;
    for number in 0..100 {
        say(&mut wires[last].0, &number.to_string());
    }
    for (wire, _) in &mut wires {
        let heard: Vec<String> = (0..100).map(|_| text(wire)).collect();
        assert!(heard.iter().enumerate().all(|(number, heard)| *heard == number.to_string()), "{heard:?}");
    }
    say(&mut wires[0].0, "the end");
    for (wire, _) in &mut wires {
        assert_eq!(text(wire), "the end", "and nothing twice");
    }
}

/// Sends to others by their numbers, and tells who could not be reached.
struct Switchboard {
    numbers: Arc<Mutex<Vec<ConnectionId>>>,
    told: Sender<(usize, ConnectionId)>,
}

impl Handler for Switchboard {
    fn opened(&mut self, peer: &mut Peer, _request: &Request) {
        let mut numbers = self.numbers.lock().expect("the list");
        numbers.push(peer.id());
        let greeting = format!("{} {}", numbers.len() - 1, peer.context.reactor());
        peer.send(&greeting);
    }

    fn message(&mut self, peer: &mut Peer, message: Message) {
        let Some((number, text)) = message.text().and_then(|text| text.split_once(' ')) else { return };
        let to = self.numbers.lock().expect("the list")[number.parse::<usize>().expect("a number")];
        match text {
            "hang up" => peer.context.close_other(to, CloseCode::of::<4010>(), text),
            text => peer.send_to(to, text),
        }
    }

    fn closed(&mut self, peer: &mut Peer, _closed: &Closed) {
        let id = peer.id();
        // To itself: it is gone by then.
        peer.send_to(id, "good-bye");
    }

    fn undelivered(&mut self, context: &mut ReactorContext, to: ConnectionId) {
        self.told.send((context.reactor(), to)).expect("the test hears of it");
    }
}

/// Another handler on the same reactors, which is told nothing of that.
struct Bystander;

impl Handler for Bystander {
    fn message(&mut self, _peer: &mut Peer, _message: Message) {}

    fn undelivered(&mut self, _context: &mut ReactorContext, to: ConnectionId) {
        panic!("{to:?} is nobody of ours");
    }
}

#[test]
fn a_handler_sends_to_any_reactor_and_hears_whom_it_did_not_reach() {
    let (tell, told) = channel();
    let numbers = Arc::new(Mutex::new(Vec::new()));
    let shared = Arc::clone(&numbers);
    let server = Server::from(Config { reactors: Some(3), ..single() }).route("/other", || Bystander);
    let server = server.route("/", move || Switchboard { numbers: Arc::clone(&shared), told: tell.clone() });
    let local = Local::serve(server.route("/another", || Bystander));
    let mut wires: Vec<(Wire, usize)> = Vec::new();
    // Two at each reactor at the least, so that some are of the same one and some are not.
    while (0..3).any(|reactor| wires.iter().filter(|(_, at)| *at == reactor).count() < 2) {
        let mut wire = websocket_at(local.address, "/");
        let greeting = text(&mut wire);
        assert!(wires.len() < 200, "a reactor that nobody comes to: {greeting}");
        let (number, reactor) = greeting.split_once(' ').expect("two numbers");
        assert_eq!(number, wires.len().to_string());
        wires.push((wire, reactor.parse().expect("a number")));
    }
    let all = wires.len();
    for from in 0..all {
        for to in 0..all {
            say(&mut wires[from].0, &format!("{to} from {from}"));
            say(&mut wires[from].0, &format!("{to} again"));
            assert_eq!((text(&mut wires[to].0), text(&mut wires[to].0)), (format!("from {from}"), "again".into()));
        }
    }
    let ids = numbers.lock().expect("the list").clone();
    say(&mut wires[0].0, "1 hang up");
    assert_eq!(frames_and_close(&mut wires[1].0).1.close_code(), 4010);
    let at = wires[1].1;
    assert_eq!(hear(&told), (at, ids[1]), "what it said to itself at the end");
    for from in (0..all).filter(|&from| from != 1) {
        say(&mut wires[from].0, "1 are you there?");
        say(&mut wires[from].0, "1 hang up");
        let reactor = wires[from].1;
        assert_eq!(hear(&told), (reactor, ids[1]), "it is told to whoever sent, at its own reactor");
    }
    for (to, (wire, _)) in wires.iter_mut().enumerate().filter(|(to, _)| *to != 1) {
        say(wire, &format!("{to} to itself"));
        assert_eq!(wire.frame(), Frame { first: TEXT, payload: b"to itself".to_vec() });
    }
    assert!(told.try_recv().is_err(), "one for each that was not delivered");
}
