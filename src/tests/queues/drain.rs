//! A server that drains: its connections are closed one after the other, and those that do not close are not waited
//! for.

use crate::folder::{Folder, request};
use crate::host::{Local, Serve};
use crate::probe::{MANY, PATH, Probed, ample, patient, slow_socket, tight, until};
use crate::wire::{BINARY, CLOSE, Wire, close_body, frame};
use std::io::Write;
use std::net::TcpStream;
use steadfast::server::demo::DemoRoutes;
use steadfast::server::{Config, Overflow, Server};

const CONNECTIONS: usize = 50;

fn start(drain_s: u32, drain_hard_s: u32, reactors: usize) -> Local {
    let deadlines = patient();
    Local::start(Config { reactors: Some(reactors), deadlines, drain_s, drain_hard_s, ..Config::default() })
}

/// Whether there is something to read.
fn has_news(wire: &Wire) -> bool {
    wire.socket.set_nonblocking(true).expect("O_NONBLOCK");
    let found = wire.socket.peek(&mut [0]).is_ok();
    wire.socket.set_nonblocking(false).expect("no O_NONBLOCK");
    found
}

/// Hears the server's good-bye, and answers it.
fn say_good_bye(wire: &mut Wire) {
    let last = wire.frame();
    assert_eq!((last.close_code(), &last.payload[2..]), (1001, &b"server stops"[..]));
    wire.send(&frame(CLOSE, &close_body(1001, b"")));
    wire.assert_ended();
}

#[test]
fn the_last_are_served_when_the_first_are_closed() {
    // One goes in a second or so, and the last ones long after this is over.
    let local = start(60, 3600, 1);
    let mut open: Vec<Wire> = (0..CONNECTIONS).map(|_| Wire::websocket(local.address)).collect();
    local.server.drain();
    until("the first is closed", || open.iter().any(has_news));
    assert!(TcpStream::connect(local.address).is_err(), "someone new is let in");
    let (mut closed, mut others): (Vec<Wire>, Vec<Wire>) = open.drain(..).partition(has_news);
    assert!(others.len() > CONNECTIONS / 2, "{} are closed at once", closed.len());
    others.last_mut().expect("one").echo(b"served as before");
    closed.iter_mut().for_each(say_good_bye);
    // When all have gone, nothing is waited for.
    drop(others);
    local.join();
}

#[test]
fn in_the_end_all_are_closed() {
    for reactors in [1, 2] {
        let local = start(1, 3600, reactors);
        let mut open: Vec<Wire> = (0..CONNECTIONS).map(|_| Wire::websocket(local.address)).collect();
        let mut idle = Wire::connect(local.address);
        idle.stats();
        let mut half = Wire::connect(local.address);
        half.send(b"GET / HT");
        until("all have come", || local.server.counters().opened == CONNECTIONS as u64 + 2);
        local.server.drain();
        // Once is enough, twice does no harm.
        local.server.drain();
        open.iter_mut().for_each(say_good_bye);
        idle.assert_ended();
        half.assert_gone();
        local.join();
        let totals = local.server.counters();
        assert_eq!((totals.ended, totals.ended_by_deadline), (totals.opened, 0), "{totals:?}");
    }
}

#[test]
fn drain_without_connections_ends_at_once() {
    for reactors in [1, 3] {
        let local = start(3600, 7200, reactors);
        local.server.drain();
        local.join();
        assert!(TcpStream::connect(local.address).is_err());
    }
}

#[test]
fn a_stop_is_a_stop_while_a_drain_goes_on() {
    let local = start(3600, 7200, 1);
    let mut open: Vec<Wire> = (0..3).map(|_| Wire::websocket(local.address)).collect();
    local.server.drain();
    open[2].echo(b"there is time");
    local.server.stop();
    open.iter_mut().for_each(say_good_bye);
    local.join();
}

#[test]
fn connections_that_do_not_close_are_reset_at_the_end() {
    let local = start(0, 1, 1);
    let mut deaf = Wire::websocket(local.address);
    let mut talker = Wire::websocket(local.address);
    local.server.drain();
    for wire in [&mut deaf, &mut talker] {
        assert_eq!(wire.frame().close_code(), 1001);
    }
    talker.send_if_taken(&frame(BINARY, b"by the way"));
    deaf.assert_reset();
    talker.assert_reset();
    local.join();
    let totals = local.server.counters();
    assert_eq!((totals.ended, totals.ended_by_deadline), (2, 2), "{totals:?}");
}

#[test]
fn a_stop_ends_within_the_hard_limit() {
    let folder = Folder::new();
    folder.file("large", &crate::folder::content(3 << 20));
    let config = Config { drain_s: 1, drain_hard_s: 1, ..tight(ample()) };
    let local =
        Local::serve(DemoRoutes::default().add_to(Server::from(config)).files("/f/*", folder.path("")).expect("it"));
    // One does not answer the Close, one does not read its file, one does not read what was sent to it.
    let mut deaf = Wire::websocket(local.address);
    let mut reader = slow_socket(local.address);
    reader.send(&request("GET", "/f/large", ""));
    assert_eq!(reader.answer_without_body().status, 200);
    let mut clogged = slow_socket(local.address);
    clogged.upgrade();
    let message = frame(BINARY, &[7; 60_000]);
    clogged.socket.set_nonblocking(true).expect("O_NONBLOCK");
    while clogged.socket.write(&message).is_ok() {}
    clogged.socket.set_nonblocking(false).expect("no O_NONBLOCK");
    local.server.stop();
    local.join();
    assert_eq!(deaf.frame().close_code(), 1001);
    for wire in [&mut deaf, &mut reader, &mut clogged] {
        wire.assert_reset();
    }
}

#[test]
fn a_stop_does_not_put_off_the_hard_limit_of_a_drain() {
    let local = start(1, 1, 1);
    let mut deaf = Wire::websocket(local.address);
    local.server.drain();
    local.server.stop();
    assert_eq!(deaf.frame().close_code(), 1001);
    deaf.assert_reset();
    local.join();
}

#[test]
fn connections_that_do_not_read_are_reset_at_the_end() {
    let config = Config { drain_s: 0, drain_hard_s: 1, ..tight(ample()) };
    let probed = Probed::start(config, Overflow::DropNewest);
    let (mut wire, _) = probed.slow(PATH);
    probed.burst(&mut wire, MANY, "");
    let before = probed.totals();
    assert!(before.messages_queued > 100, "{before:?}");
    probed.local.server.drain();
    probed.local.join();
    let after = probed.local.server.counters();
    assert_eq!((after.ended, after.messages_queued), (after.opened, 0), "{after:?}");
    assert_eq!(after.messages_out, after.messages_delivered + after.messages_dropped, "{after:?}");
    wire.assert_reset();
}

#[test]
fn a_file_on_its_way_is_waited_for_and_not_for_ever() {
    let folder = Folder::new();
    folder.file("large", &crate::folder::content(3 << 20));
    let config = |drain_hard_s| Config { drain_s: 0, drain_hard_s, ..tight(ample()) };
    let local = Local::serve(Server::from(config(3600)).files("/f/*", folder.path("")).expect("a folder"));
    let mut wire = slow_socket(local.address);
    wire.send(&request("GET", "/f/large", ""));
    assert_eq!(wire.answer_without_body().status, 200);
    local.server.drain();
    assert!(wire.read(3 << 20) == crate::folder::content(3 << 20), "it came otherwise");
    wire.assert_ended();
    local.join();
    let local = Local::serve(Server::from(config(1)).files("/f/*", folder.path("")).expect("a folder"));
    let mut wire = slow_socket(local.address);
    wire.send(&request("GET", "/f/large", ""));
    assert_eq!(wire.answer_without_body().status, 200);
    local.server.drain();
    local.join();
    wire.assert_reset();
}

/// Connected, and told of the end by a signal.
fn told(server: &Serve) -> Wire {
    let mut wire = Wire::websocket(server.address());
    wire.echo(b"served");
    server.running.signal("QUIT");
    assert_eq!(wire.frame().close_code(), 1001);
    wire
}

#[test]
fn sigquit_drains() {
    let server = Serve::start(&["--drain-s", "0"]);
    let mut wire = told(&server);
    wire.send(&frame(CLOSE, &close_body(1001, b"")));
    wire.assert_ended();
    let ended = server.running.ended();
    assert_eq!((ended.code(), ended.err.len()), (0, 0), "{ended:?}");
    // Nobody is there at all.
    let server = Serve::start(&[]);
    server.running.signal("QUIT");
    let ended = server.running.ended();
    assert_eq!((ended.code(), ended.err.len()), (0, 0), "{ended:?}");
}

#[test]
fn sigquit_waits_for_the_deaf_as_long_as_it_was_told() {
    let server = Serve::start(&["--drain-s", "0", "--drain-hard-s", "1", "--close-timeout-s", "3600"]);
    let mut deaf = told(&server);
    deaf.assert_reset();
    let ended = server.running.ended();
    assert_eq!((ended.code(), ended.err.len()), (0, 0), "{ended:?}");
}

#[test]
fn sigterm_resets_a_slow_reader_of_a_file_in_the_end() {
    let folder = Folder::new();
    folder.file("large", &crate::folder::content(8 << 20));
    let server = folder.start(&["--drain-s", "0", "--drain-hard-s", "1"]);
    let mut reader = slow_socket(server.address());
    reader.send(&request("GET", "/large", ""));
    assert_eq!(reader.answer_without_body().status, 200);
    server.running.signal("TERM");
    let ended = server.running.ended();
    assert_eq!((ended.code(), ended.err.len()), (0, 0), "{ended:?}");
    reader.assert_reset();
}

#[test]
fn a_second_signal_means_now() {
    for signal in ["QUIT", "TERM", "INT"] {
        let server = Serve::start(&["--drain-s", "0", "--drain-hard-s", "3600", "--close-timeout-s", "3600"]);
        let _deaf = told(&server);
        server.running.signal(signal);
        assert_eq!(server.running.ended().code(), 130, "SIG{signal}");
    }
}
