//! So many connections of one source, and no more.

use crate::host::Local;
use crate::probe::{patient, until};
use crate::wire::{CLOSE, UPGRADE, Wire, close_body, frame};
use socket2::{Domain, Socket, Type};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use steadfast::server::{Config, Protocol};

const ONE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// Two for each source, whichever reactor they come to.
fn start(protocol: Protocol) -> Local {
    let max_connections_per_source = 2;
    let deadlines = patient();
    Local::start(Config { protocol, reactors: Some(2), max_connections_per_source, deadlines, ..Config::default() })
}

fn connect(local: &Local, source: Ipv4Addr) -> Wire {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::new(IpAddr::V4(source), 0).into()).expect("an address of this host");
    socket.connect(&local.address.into()).expect("a connection");
    Wire::over(TcpStream::from(socket))
}

fn open(local: &Local, source: Ipv4Addr) -> Wire {
    let mut wire = connect(local, source);
    wire.upgrade();
    wire
}

/// One too many is told so, and to come back later.
fn assert_refused(local: &Local, source: Ipv4Addr, request: &str) {
    let before = local.server.counters();
    let mut wire = connect(local, source);
    wire.send(request.as_bytes());
    let answer = wire.answer();
    assert_eq!((answer.status, answer.closes()), (503, true), "{answer:?}");
    let seconds = answer.field("Retry-After").and_then(|seconds| seconds.parse().ok());
    assert!(matches!(seconds, Some(1..=10)), "{answer:?}");
    wire.assert_ended();
    let after = local.server.counters();
    assert_eq!(after.over_source_limit, before.over_source_limit + 1);
    assert_eq!((after.refused_503, after.upgraded), (before.refused_503 + 1, before.upgraded));
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &str = "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n";

#[test]
fn the_third_connection_of_a_source_is_refused_until_another_goes() {
    let local = start(Protocol::Ws);
    let mut one = [open(&local, ONE), open(&local, ONE)];
    for request in [UPGRADE, GET, POST] {
        assert_refused(&local, ONE, request);
    }
    let mut other = [open(&local, OTHER), open(&local, OTHER)];
    assert_refused(&local, OTHER, UPGRADE);
    one.iter_mut().chain(&mut other).for_each(|wire| wire.echo(b"not disturbed"));
    for round in 1..=3 {
        let ended = local.server.counters().ended;
        one[0].send(&frame(CLOSE, &close_body(1000, b"")));
        assert_eq!(one[0].frame().close_code(), 1000);
        one[0].assert_ended();
        until("it has gone", || local.server.counters().ended > ended);
        one[0] = open(&local, ONE);
        one[0].echo(b"in its place");
        assert_refused(&local, ONE, UPGRADE);
        assert_refused(&local, OTHER, UPGRADE);
        assert_eq!(local.server.counters().over_source_limit, 4 + 2 * round);
    }
}

#[test]
fn those_who_were_refused_take_nobodys_place() {
    let local = start(Protocol::Ws);
    let first = open(&local, ONE);
    let _second = open(&local, ONE);
    // They do not ask, and stay.
    let waiting: Vec<Wire> = (0..5).map(|_| connect(&local, ONE)).collect();
    until("all have come", || local.server.counters().over_source_limit == 5);
    drop(first);
    until("one has gone", || local.server.counters().ended == 1);
    open(&local, ONE).echo(b"there is a place");
    drop(waiting);
    until("all have gone", || local.server.counters().ended == 7);
    let mut third = open(&local, ONE);
    third.echo(b"and again");
    assert_refused(&local, ONE, UPGRADE);
}

#[test]
fn without_a_protocol_there_are_no_words_for_it() {
    let local = start(Protocol::Tcp);
    let mut wires = [connect(&local, ONE), connect(&local, ONE)];
    for wire in &mut wires {
        wire.send(b"hello");
        assert_eq!(wire.read(5), b"hello");
    }
    connect(&local, ONE).assert_gone();
    assert_eq!(local.server.counters().over_source_limit, 1);
    let mut other = connect(&local, OTHER);
    other.send(b"hello");
    assert_eq!(other.read(5), b"hello");
}
