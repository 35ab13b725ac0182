//! Signals that end a server of the library. All servers that wait for a signal get it, so one test has all cases.

use crate::host::{Local, quick};
use crate::rig::{hear, websocket_at};
use crate::wire::{CLOSE, close_body, frame};
use signal_hook::consts::{SIGINT, SIGQUIT, SIGTERM};
use signal_hook::low_level::raise;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use steadfast::server::{Config, Deadlines, Handler, Message, Peer, ReactorContext, RunError, Server, StopSignals};

/// Tells of each tick.
struct Ticking(Sender<()>);

impl Handler for Ticking {
    fn message(&mut self, _peer: &mut Peer, _message: Message) {}

    fn tick(&mut self, _context: &mut ReactorContext) {
        let _ = self.0.send(());
    }
}

/// Runs a server until `signal`, with an open connection that answers the Close.
fn end_by(signal: i32) {
    let signals = StopSignals::catch().expect("signals");
    let (tell, _told) = channel();
    let server = Server::from(Config { drain_s: 0, ..quick() }).route("/", move || Ticking(tell.clone()));
    let local = Local::serve(server);
    let server = local.server.clone();
    let joined = thread::spawn(move || signals.join(&server));
    let mut wire = websocket_at(local.address, "/");
    raise(signal).expect("a signal");
    assert_eq!(wire.frame().payload, close_body(1001, b"server stops"), "signal {signal}");
    wire.send(&frame(CLOSE, &close_body(1001, b"")));
    assert!(joined.join().expect("no panic").is_ok(), "signal {signal}");
}

#[test]
fn signals_stop_or_drain_a_server_and_a_second_one_does_not_wait() {
    [SIGINT, SIGTERM, SIGQUIT].into_iter().for_each(end_by);

    // The whole in one call.
    let (tell, told) = channel();
    let running = thread::spawn(move || {
        let server = Server::new().listen("127.0.0.1:0").expect("an endpoint");
        server.route("/", move || Ticking(tell.clone())).run_until_signal()
    });
    hear(&told);
    raise(SIGTERM).expect("a signal");
    assert!(running.join().expect("no panic").is_ok());

    // A connection that does not answer the Close is not waited for after the second signal.
    let signals = StopSignals::catch().expect("signals");
    let deadlines = Deadlines { close_s: 3600, ..Deadlines::default() };
    let (tell, _told) = channel();
    let server = Server::from(Config { deadlines, ..quick() }).route("/", move || Ticking(tell.clone()));
    let local = Local::serve(server);
    let server = local.server.clone();
    let joined = thread::spawn(move || signals.join(&server));
    let mut deaf = websocket_at(local.address, "/");
    raise(SIGTERM).expect("a signal");
    assert_eq!(deaf.frame().first, CLOSE);
    raise(SIGTERM).expect("a signal");
    assert!(matches!(joined.join().expect("no panic"), Err(RunError::Interrupted)));
}
