//! The counters of messages: whenever they are looked at, each that was to be sent is delivered, dropped or queued.

use crate::host::Local;
use crate::probe::{
    BYTES, Probed, TOPICS, TOPICS_PATH, assert_adds_up, by_messages, number_of, payload, probe, slow_receiver, tight,
};
use crate::wire::{Wire, counter};
use serde_json::Value;
use socket2::SockRef;
use std::io::Read;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;
use steadfast::server::{Overflow, Server};

const POLICIES: [(&str, Overflow); 4] = [
    ("close", Overflow::Close),
    ("newest", Overflow::DropNewest),
    ("oldest", Overflow::DropOldest),
    ("latest", Overflow::KeepLatest),
];

fn assert_answer_adds_up(stats: &Value) {
    let number = |name: &str| stats["messages"][name].as_u64().unwrap_or_else(|| panic!("no {name}: {stats}"));
    assert_eq!(number("out"), number("delivered") + number("dropped") + number("queued"), "{stats}");
    for name in ["out", "delivered", "dropped", "queued"] {
        assert_eq!(number(name), counter(stats, &format!("messages_{name}")), "{stats}");
    }
}

/// Reads a little at a time, and stops when the connection has ended or it is told to.
fn read_slowly(wire: &Wire, pieces: usize) -> thread::JoinHandle<()> {
    let mut socket = wire.socket.try_clone().expect("a twin");
    thread::spawn(move || {
        let mut piece = [0; 700];
        for _ in 0..pieces {
            match socket.read(&mut piece) {
                Ok(0) | Err(_) => return,
                Ok(_) => thread::yield_now(),
            }
        }
    })
}

#[test]
fn they_add_up_in_every_answer_while_things_go_on() {
    let (sender, news) = channel();
    let mut server = Server::from(tight(by_messages(5))).stats("/stats");
    for (name, overflow) in POLICIES {
        let sender = sender.clone();
        let make = move || probe(sender.clone());
        server = server.route_with(&[&format!("{TOPICS_PATH}/{name}")], overflow, make);
    }
    let local = Local::serve(server);
    let mut stats = Wire::connect(local.address);
    let mut wires = Vec::new();
    let mut readers = Vec::new();
    for (name, _) in POLICIES {
        for reads in [0, 300, 3000] {
            let wire = slow_receiver(local.address, &format!("{TOPICS_PATH}/{name}"));
            readers.push(read_slowly(&wire, reads));
            wires.push(wire);
        }
    }
    let mut queued = 0;
    for number in 0..3000 {
        local.server.publish(TOPICS[number * 7 % 3], &payload(number, 8 + number * 131 % 2000));
        if number % 10 == 0 {
            let answer = stats.stats();
            assert_answer_adds_up(&answer);
            queued = queued.max(counter(&answer, "messages_queued"));
        }
    }
    assert!(queued > 5, "{queued} waited at most");
    for wire in &wires {
        SockRef::from(&wire.socket).set_linger(Some(Duration::ZERO)).expect("SO_LINGER");
    }
    // At shutdown, receivers that read get the end; then each is reset.
    wires.iter().for_each(|wire| drop(wire.socket.shutdown(std::net::Shutdown::Both)));
    readers.into_iter().for_each(|reader| reader.join().expect("a reader"));
    drop(wires);
    let last = stats.stats_until("all have gone", |stats| {
        assert_answer_adds_up(stats);
        stats["connections"]["now"] == 1
    });
    assert_eq!((counter(&last, "messages_queued"), last["messages"]["queued"].as_u64()), (0, Some(0)), "{last}");
    assert!(counter(&last, "messages_dropped") > 1000 && counter(&last, "closed_slow") >= 1, "{last}");
    assert_adds_up(&local.server.counters());
    drop(news);
}

#[test]
fn messages_published_to_a_closing_connection_are_counted_as_dropped() {
    let probed = Probed::start(tight(by_messages(5)), Overflow::DropNewest);
    let (mut wire, _) = probed.slow(TOPICS_PATH);
    probed.publish(TOPICS[0], 0, BYTES);
    assert_eq!(number_of(&wire.frame()), 0);
    probed.local.server.stop();
    // Its Close is under way for as long as the peer does not answer, and it is a member still.
    assert_eq!(wire.frame().close_code(), 1001);
    (1..4).for_each(|number| probed.publish(TOPICS[0], number, BYTES));
    let totals = probed.totals();
    assert_adds_up(&totals);
    assert_eq!((totals.messages_delivered, totals.messages_dropped, totals.messages_queued), (1, 3, 0), "{totals:?}");
}
