//! Topics while their members come and go: whoever stays hears all, whoever was there in between hears what was said
//! meanwhile, and all hear it in the same order.

use crate::host::Local;
use crate::rig::{reset, say, single, text, websocket_at};
use crate::wire::{CLOSE, TEXT, Wire, close_body, frame};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::thread;
use steadfast::server::{
    Closed, Config, ConnectionId, Handler, Message, Overflow, Peer, ReactorContext, Request, SendError, Server,
};

/// What one says, all hear who are in; one is in until one has said `leave`.
struct Square;

impl Handler for Square {
    fn opened(&mut self, peer: &mut Peer, request: &Request) {
        if request.path() != "/speaker" {
            peer.subscribe("square");
        }
        let reactor = format!("at {}", peer.context.reactor());
        peer.send(&reactor);
    }

    fn message(&mut self, peer: &mut Peer, message: Message) {
        match message.text() {
            Some("leave") => {
                assert!(peer.unsubscribe("square"));
                peer.send("left");
            }
            Some(said) if said.starts_with("others:") => drop(peer.publish_to_others("square", message)),
            Some(said) if said.starts_with("here:") => drop(peer.context.publish_local("square", message)),
            Some("count") => {
                let counts = format!("{} of {}", peer.context.receivers("square"), peer.context.reactors());
                peer.send(&counts);
            }
            _ => drop(peer.publish("square", message)),
        }
    }
}

fn square(config: Config) -> Local {
    let server = Server::from(config);
    Local::serve(server.route_with(&["/", "/speaker"], Overflow::Close, || Square))
}

/// One who is in, and the reactor that it is at.
fn enter(address: SocketAddr, path: &str) -> (Wire, usize) {
    let mut wire = websocket_at(address, path);
    let at = text(&mut wire).strip_prefix("at ").and_then(|at| at.parse().ok()).expect("a reactor");
    (wire, at)
}

/// Whether numbers follow one another without a gap.
fn assert_run(heard: &[String]) {
    let numbers: Vec<usize> = heard.iter().map(|text| text.parse().expect("a number")).collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
}

/// All texts up to `last`.
fn up_to(wire: &mut Wire, last: &str) -> Vec<String> {
    let mut heard = Vec::new();
    loop {
        let next = text(wire);
        if next == last {
            return heard;
        }
        heard.push(next);
    }
}

/// Leaves in one of three ways; what it heard before has no gap.
fn leave(mut wire: Wire, way: usize) {
    match way % 3 {
        0 => {
            say(&mut wire, "leave");
            assert_run(&up_to(&mut wire, "left"));
            // It is still connected, and hears nothing but what it says for others.
            wire.send(&frame(0x89, b"?"));
            assert_eq!(wire.frame().first, 0x8a);
        }
        1 => {
            wire.send(&frame(CLOSE, &close_body(1000, b"")));
            let mut heard = Vec::new();
            loop {
                let next = wire.frame();
                if next.first == CLOSE {
                    break;
                }
                heard.push(String::from_utf8(next.payload).expect("text"));
            }
            assert_run(&heard);
            wire.assert_ended();
        }
        _ => reset(wire),
    }
}

/// A speaker speaks to 300 while some of them leave and others come.
fn assert_all_hear(reactors: usize) {
    const ROUNDS: usize = 15;
    const AT_ONCE: usize = 10;
    let local = square(Config { reactors: Some(reactors), ..single() });
    let mut stay: Vec<Wire> = (0..150).map(|_| enter(local.address, "/").0).collect();
    let mut come_and_go: Vec<Wire> = (0..150).map(|_| enter(local.address, "/").0).collect();
    let (mut speaker, _) = enter(local.address, "/speaker");
    for round in 0..ROUNDS {
        let said = round * AT_ONCE..(round + 1) * AT_ONCE;
        let burst: Vec<u8> = said.clone().flat_map(|number| frame(TEXT, number.to_string().as_bytes())).collect();
        speaker.send(&burst);
        // While that goes round.
        for way in 0..9 {
            let gone = come_and_go.remove((round * 31 + way * 17) % come_and_go.len());
            leave(gone, way);
            come_and_go.push(enter(local.address, "/").0);
        }
        // Whoever stays keeps up, so that nothing has to be dropped.
        for wire in &mut stay {
            let heard: Vec<String> = said.clone().map(|_| text(wire)).collect();
            assert!(said.clone().map(|number| number.to_string()).eq(heard.iter().cloned()), "{heard:?} for {said:?}");
        }
    }
    say(&mut speaker, "the end");
    for wire in &mut stay {
        assert_eq!(text(wire), "the end");
    }
    for wire in &mut come_and_go {
        let heard = up_to(wire, "the end");
        assert_run(&heard);
        assert!(heard.last().is_none_or(|last| *last == (ROUNDS * AT_ONCE - 1).to_string()), "{heard:?}");
    }
    assert_eq!(local.server.counters().closed_slow, 0);
}

#[test]
fn all_hear_who_stay_while_others_come_and_go() {
    assert_all_hear(1);
}

#[test]
fn all_hear_who_stay_at_all_reactors_while_others_come_and_go() {
    assert_all_hear(3);
}

/// Two speak at once to many; returns what each hears, and at which reactor it is.
fn two_speakers(config: Config) -> Vec<(usize, Vec<String>)> {
    // Together fewer than may wait for their turn at a reactor.
    const SAID: usize = 200;
    let local = square(config);
    let mut audience: Vec<(Wire, usize)> = (0..50).map(|_| enter(local.address, "/")).collect();
    let speakers = ["a", "b"].map(|name| {
        let (mut speaker, _) = enter(local.address, "/speaker");
        thread::spawn(move || {
            for number in 0..SAID {
                say(&mut speaker, &format!("{name}{number}"));
            }
            speaker // it stays connected
        })
    });
    let hear = |(wire, at): &mut (Wire, usize)| (*at, (0..2 * SAID).map(|_| text(wire)).collect::<Vec<_>>());
    let heard: Vec<_> = audience.iter_mut().map(hear).collect();
    for speaker in speakers {
        speaker.join().expect("all is said");
    }
    for (_, all) in &heard {
        for name in ["a", "b"] {
            let of_one = all.iter().filter(|text| text.starts_with(name));
            assert!(of_one.cloned().eq((0..SAID).map(|number| format!("{name}{number}"))), "{all:?}");
        }
    }
    heard
}

#[test]
fn all_hear_two_speakers_in_the_same_order() {
    // In the shortest turns, too.
    for (max_events_per_turn, max_accepts_per_turn) in [(32, 64), (1, 1)] {
        let heard = two_speakers(Config { max_events_per_turn, max_accepts_per_turn, ..single() });
        assert!(heard.iter().all(|(_, all)| *all == heard[0].1));
    }
}

#[test]
fn all_of_one_reactor_hear_two_speakers_in_the_same_order() {
    let heard = two_speakers(Config { reactors: Some(3), ..single() });
    for (at, all) in &heard {
        let first = heard.iter().find(|(other, _)| other == at).expect("itself");
        assert_eq!(*all, first.1, "at reactor {at}");
    }
}

/// Is a member of several topics, and says what is asked for on all of them in turn.
struct Many;

const TOPICS: [&str; 3] = ["one", "two", "three"];

impl Handler for Many {
    fn opened(&mut self, peer: &mut Peer, request: &Request) {
        for topic in TOPICS.iter().filter(|topic| request.target().contains(**topic)) {
            assert!(peer.subscribe(topic) && !peer.subscribe(topic));
        }
    }

    fn message(&mut self, peer: &mut Peer, _message: Message) {
        for (number, topic) in TOPICS.iter().cycle().take(300).enumerate() {
            peer.publish(topic, &number.to_string());
        }
        assert!(!peer.unsubscribe("four"));
    }
}

#[test]
fn topics_are_heard_in_the_order_in_which_one_call_published_on_them() {
    let local = Local::serve(Server::from(single()).route("/", || Many));
    let mut wires = ["one", "one+three", "two+three+one", "three", ""].map(|topics| {
        let wire = websocket_at(local.address, &format!("/?{topics}"));
        (topics, wire)
    });
    say(&mut wires[4].1, "go");
    for (topics, wire) in &mut wires {
        for number in (0..300).filter(|number| topics.contains(TOPICS[number % 3])) {
            assert_eq!(text(wire), number.to_string(), "{topics}");
        }
    }
    let (_, last) = &mut wires[4];
    last.send(&frame(0x89, b"?"));
    assert_eq!(last.frame().first, 0x8a, "who is no member hears nothing");
}

/// Sends its last word to itself when it has gone, and publishes that nobody was there.
struct Mourned;

impl Handler<bool> for Mourned {
    fn opened(&mut self, peer: &mut Peer<bool>, request: &Request) {
        *peer.state = request.path() == "/mourned";
        if !*peer.state {
            peer.subscribe("obituaries");
        }
        let reactor = format!("at {}", peer.context.reactor());
        peer.send(&reactor);
    }

    fn message(&mut self, _peer: &mut Peer<bool>, _message: Message) {}

    fn closed(&mut self, peer: &mut Peer<bool>, _closed: &Closed) {
        if *peer.state {
            let id = peer.id();
            peer.send_to(id, "the last word");
        }
    }

    fn undelivered(&mut self, context: &mut ReactorContext, _to: ConnectionId) {
        context.publish("obituaries", "nobody was there");
    }
}

#[test]
fn what_is_published_about_a_message_that_was_not_delivered_is_heard_elsewhere() {
    let server = Server::from(Config { reactors: Some(2), ..single() });
    let local = Local::serve(server.route_with(&["/", "/mourned"], Overflow::Close, || Mourned));
    let (mourned, at) = enter(local.address, "/mourned");
    // Whichever is at the other reactor: the one of the dead is to have nobody left, and so nothing else to do.
    let mut others = (0..200).map(|_| enter(local.address, "/"));
    let (mut other, _) = others.find(|(_, elsewhere)| *elsewhere != at).expect("one at each reactor");
    drop(mourned);
    assert_eq!(text(&mut other), "nobody was there");
}

#[test]
fn more_than_may_wait_is_lost_and_counted() {
    /// Publishes one more than may wait at once.
    struct Flood;

    impl Handler for Flood {
        fn opened(&mut self, peer: &mut Peer, _request: &Request) {
            peer.subscribe("flood");
        }

        fn message(&mut self, peer: &mut Peer, _message: Message) {
            let taken = (0..1030).filter(|number| peer.publish("flood", &number.to_string())).count();
            peer.send(&format!("{taken} were taken"));
        }
    }

    let local = Local::serve(Server::from(single()).route("/", || Flood));
    let mut wires = [(); 3].map(|()| websocket_at(local.address, "/"));
    say(&mut wires[0], "go");
    assert_eq!(text(&mut wires[0]), "1024 were taken");
    for wire in &mut wires {
        for number in 0..1024 {
            assert_eq!(text(wire), number.to_string());
        }
    }
    say(&mut wires[1], "go");
    assert_eq!(text(&mut wires[1]), "1024 were taken");
    for wire in &mut wires {
        assert_eq!(text(wire), "0", "there is room again");
    }
    let counters = local.server.counters();
    assert_eq!((counters.messages_dropped, counters.closed_slow), (2 * 6 * 3, 0), "{counters:?}");
}

/// Members of the square, with their reactors, so many that each of three reactors has one.
fn members(local: &Local) -> Vec<(Wire, usize)> {
    let mut members: Vec<(Wire, usize)> = Vec::new();
    while (0..3).any(|reactor| members.iter().all(|(_, at)| *at != reactor)) {
        members.push(enter(local.address, "/"));
        assert!(members.len() < 1000, "a reactor gets no connection");
    }
    members
}

#[test]
fn message_to_others_reaches_all_but_its_sender() {
    let local = square(Config { reactors: Some(3), ..single() });
    let mut members = members(&local);
    for (sender, (wire, _)) in members.iter_mut().enumerate() {
        say(wire, &format!("others: {sender}"));
    }
    let count = members.len();
    for (number, (wire, _)) in members.iter_mut().enumerate() {
        // Each reactor has an order of its own for what others publish.
        let heard: BTreeSet<String> = (1..count).map(|_| text(wire)).collect();
        let others = (0..count).filter(|sender| *sender != number);
        assert_eq!(heard, others.map(|sender| format!("others: {sender}")).collect());
    }
    say(&mut members[0].0, "all");
    for (wire, _) in &mut members {
        assert_eq!(text(wire), "all");
    }
    // One that is no member has everybody for others.
    let (mut speaker, _) = enter(local.address, "/speaker");
    say(&mut speaker, "others: from outside");
    for (wire, _) in &mut members {
        assert_eq!(text(wire), "others: from outside");
    }
}

#[test]
fn local_message_reaches_the_members_at_one_reactor() {
    let local = square(Config { reactors: Some(3), ..single() });
    let mut members = members(&local);
    let at = members[0].1;
    say(&mut members[0].0, "here: now");
    for (wire, _) in members.iter_mut().filter(|(_, reactor)| *reactor == at) {
        assert_eq!(text(wire), "here: now");
    }
    say(&mut members[0].0, "all");
    for (wire, _) in &mut members {
        assert_eq!(text(wire), "all");
    }
}

#[test]
fn receivers_are_counted_at_one_reactor_and_at_all() {
    let local = square(Config { reactors: Some(3), ..single() });
    assert_eq!((local.server.receivers("square"), local.server.reactors()), (Ok(0), 3));
    let mut members = members(&local);
    let _speaker = enter(local.address, "/speaker");
    assert_eq!(local.server.receivers("square"), Ok(members.len()));
    let counts: Vec<usize> = (0..3).map(|at| members.iter().filter(|(_, reactor)| *reactor == at).count()).collect();
    for (wire, at) in &mut members {
        say(wire, "count");
        assert_eq!(text(wire), format!("{} of 3", counts[*at]));
    }
    say(&mut members[0].0, "leave");
    assert_eq!(text(&mut members[0].0), "left");
    assert_eq!(local.server.receivers("square"), Ok(members.len() - 1));
    assert_eq!(local.server.receivers("elsewhere"), Ok(0));
    let server = local.server.clone();
    drop(members);
    drop(local);
    assert_eq!(server.receivers("square"), Err(SendError::Stopped));
}
