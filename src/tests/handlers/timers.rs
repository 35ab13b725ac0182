//! The timer of a connection.

use crate::host::Local;
use crate::rig::{hear, say, single, text, websocket_at};
use crate::wire::{CLOSE, Wire, close_body, frame};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};
use steadfast::server::{Closed, Handler, Message, Peer, Server};

/// Sets its timer as it is told by texts, and sends a text when the time is over. Tells of its end.
struct Alarm(Sender<()>);

impl Handler<u32> for Alarm {
    fn message(&mut self, peer: &mut Peer<u32>, message: Message) {
        let words: Vec<&str> = message.text().unwrap_or_default().split(' ').collect();
        let number = || words[1].parse().expect("a number");
        match words[0] {
            "set" => peer.set_timer(Duration::from_millis(number())),
            "never" => peer.set_timer(Duration::MAX),
            "repeat" => {
                *peer.state = number() as u32;
                peer.set_timer(Duration::from_millis(5));
            }
            // As a process that is stopped.
            "block" => {
                peer.set_timer(Duration::from_millis(5));
                thread::sleep(Duration::from_millis(60));
            }
            "cancel" => {
                let was_set = peer.cancel_timer().to_string();
                peer.send(&was_set);
            }
            _ => drop(peer.send(message)),
        }
    }

    fn timer(&mut self, peer: &mut Peer<u32>) {
        match *peer.state {
            0 => drop(peer.send("timer")),
            13 => panic!("the thirteenth"),
            left => {
                *peer.state = left - 1;
                peer.set_timer(Duration::from_millis(5));
            }
        }
    }

    fn closed(&mut self, peer: &mut Peer<u32>, _closed: &Closed) {
        // Nothing is called for it any more.
        peer.set_timer(Duration::ZERO);
        let _ = self.0.send(());
    }
}

fn alarm() -> (Local, Receiver<()>) {
    let (tell, told) = channel();
    (Local::serve(Server::from(single()).route("/", move || Alarm(tell.clone()))), told)
}

/// The time from before the request to the call.
fn timed(wire: &mut Wire, request: &str) -> Duration {
    let began = Instant::now();
    say(wire, request);
    assert_eq!(text(wire), "timer");
    began.elapsed()
}

/// No timer has been called that has not been heard.
fn assert_none(wire: &mut Wire) {
    say(wire, "nothing else");
    assert_eq!(text(wire), "nothing else");
}

#[test]
fn timer_is_called_once_and_not_before_its_time() {
    let (local, _) = alarm();
    let mut wire = websocket_at(local.address, "/");
    for milliseconds in [0, 1, 20, 3, 300, 60] {
        let took = timed(&mut wire, &format!("set {milliseconds}"));
        assert!(took >= Duration::from_millis(milliseconds), "{took:?} for {milliseconds} ms");
    }
    assert_none(&mut wire);
}

#[test]
fn timer_wakes_a_reactor_that_has_nothing_else_to_do() {
    let (local, _) = alarm();
    let mut wire = websocket_at(local.address, "/");
    // Thirteen ticks of the reactor take 3 s.
    let took = timed(&mut wire, "repeat 12");
    let took = took.min(timed(&mut wire, "repeat 12"));
    assert!((Duration::from_millis(13 * 5)..Duration::from_millis(1500)).contains(&took), "{took:?}");
}

#[test]
fn new_timer_replaces_the_one_before() {
    let (local, _) = alarm();
    let mut wire = websocket_at(local.address, "/");
    for (before, after) in [(20, 100), (100, 20)] {
        say(&mut wire, &format!("set {before}"));
        let took = timed(&mut wire, &format!("set {after}"));
        assert!(took >= Duration::from_millis(after), "{took:?} for {after} ms");
    }
    // Longer than that of the first timer.
    timed(&mut wire, "set 120");
    assert_none(&mut wire);
}

#[test]
fn cancelled_timer_is_not_called() {
    let (local, _) = alarm();
    let (mut wire, mut clock) = (websocket_at(local.address, "/"), websocket_at(local.address, "/"));
    say(&mut wire, "set 20");
    say(&mut wire, "cancel");
    say(&mut wire, "cancel");
    assert_eq!((text(&mut wire), text(&mut wire)), ("true".into(), "false".into()));
    // A time that no clock has is never; it replaces the one before, too.
    say(&mut wire, "set 20");
    say(&mut wire, "never");
    timed(&mut clock, "set 50");
    say(&mut wire, "cancel");
    assert_eq!(text(&mut wire), "false");
}

#[test]
fn end_of_a_connection_cancels_its_timer() {
    let (local, ended) = alarm();
    for is_clean in [true, false] {
        let mut wire = websocket_at(local.address, "/");
        say(&mut wire, "set 30");
        assert_none(&mut wire);
        if is_clean {
            wire.send(&frame(CLOSE, &close_body(1000, b"")));
            assert_eq!(wire.frame().first, CLOSE);
        }
        drop(wire);
        hear(&ended);
        // It has the slot of the one before.
        let mut wire = websocket_at(local.address, "/");
        let took = timed(&mut wire, "set 80");
        assert!(took >= Duration::from_millis(80), "{took:?}");
        assert_none(&mut wire);
        drop(wire);
        hear(&ended);
    }
}

#[test]
fn timer_that_expired_while_the_reactor_did_not_run_is_called_once() {
    let (local, _) = alarm();
    let mut wire = websocket_at(local.address, "/");
    let took = timed(&mut wire, "block");
    assert!(took >= Duration::from_millis(60), "{took:?}");
    timed(&mut wire, "set 20");
    assert_none(&mut wire);
}

#[test]
fn timers_of_many_connections_are_all_called() {
    let (local, _) = alarm();
    // More than are called in one iteration, and all at once.
    let mut wires: Vec<Wire> = (0..300).map(|_| websocket_at(local.address, "/")).collect();
    wires.iter_mut().for_each(|wire| say(wire, "set 100"));
    for wire in &mut wires {
        assert_eq!(text(wire), "timer");
        assert_none(wire);
    }
}

#[test]
fn timer_that_panics_ends_its_connection() {
    let (mut local, ended) = alarm();
    local.may_panic = true;
    let (mut wire, mut other) = (websocket_at(local.address, "/"), websocket_at(local.address, "/"));
    say(&mut wire, "repeat 13");
    assert_eq!(wire.frame().payload, close_body(1011, b"internal error"));
    drop(wire);
    hear(&ended);
    timed(&mut other, "set 10");
    assert_eq!(local.server.counters().handler_panics, 1);
}
