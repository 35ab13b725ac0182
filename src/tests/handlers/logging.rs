//! The records of the feature `log`.

use crate::host::Local;
use crate::rig::{say, single, text, websocket_at};
use crate::wire::{PATIENCE, Wire};
use log::{Level, LevelFilter, Log, Metadata, Record};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use steadfast::server::{Config, Handler, Message, Peer, Server};

/// Sends each record to the test.
struct Records(Mutex<Sender<(Level, String)>>);

impl Log for Records {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "steadfast::server"
    }

    fn log(&self, record: &Record<'_>) {
        let records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = records.send((record.level(), record.args().to_string()));
    }

    fn flush(&self) {}
}

struct Fragile;

impl Handler for Fragile {
    fn message(&mut self, peer: &mut Peer, message: Message) {
        assert_ne!(message.text(), Some("panic"), "as it was told");
        peer.send(message);
    }
}

/// Waits for the record of a level that has all of `words`.
fn expect(records: &Receiver<(Level, String)>, level: Level, words: &[&str]) {
    // Servers of other tests have records too.
    let is_it = |(at, text): &(Level, String)| *at == level && words.iter().all(|word| text.contains(word));
    while !is_it(&records.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no record with {words:?}"))) {}
}

#[test]
fn start_failures_and_end_of_a_server_are_logged() {
    let (tell, records) = channel();
    log::set_logger(Box::leak(Box::new(Records(Mutex::new(tell))))).expect("the only logger");
    log::set_max_level(LevelFilter::Trace);
    let server = Server::from(Config { max_connections: Some(3), ..single() }).route("/", || Fragile);
    let mut local = Local::serve(server);
    local.may_panic = true;
    expect(&records, Level::Info, &["listening on", &local.address.to_string(), "1 reactors for 3 connections"]);
    let mut wires: Vec<Wire> = (0..3).map(|_| websocket_at(local.address, "/")).collect();
    let _waiting = Wire::connect(local.address);
    expect(&records, Level::Warn, &["reactor 0 accepts no connections", "as many as it may have"]);
    say(&mut wires[0], "panic");
    expect(&records, Level::Error, &["a handler panicked"]);
    say(&mut wires[1], "still here");
    assert_eq!(text(&mut wires[1]), "still here");
    drop(wires);
    local.server.drain();
    expect(&records, Level::Info, &["draining"]);
    drop(local);
    expect(&records, Level::Info, &["stopping"]);
    expect(&records, Level::Info, &["stopped"]);
}
