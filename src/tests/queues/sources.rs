//! The limit on the connections of one source.

use crate::host::Local;
use crate::probe::{patient, until};
use crate::wire::{CLOSE, UPGRADE, Wire, close_body, frame};
use socket2::{Domain, Socket, Type};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use steadfast::server::demo::DemoRoutes;
use steadfast::server::{Config, Endpoint, Protocol, Server};

pub(crate) const ONE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
pub(crate) const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// Two for each source, whichever reactor they come to.
fn start(protocol: Protocol) -> Local {
    let max_connections_per_source = 2;
    let deadlines = patient();
    Local::start(Config { protocol, reactors: Some(2), max_connections_per_source, deadlines, ..Config::default() })
}

pub(crate) fn connect(local: &Local, source: Ipv4Addr) -> Wire {
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

/// One too many is told so in words, and to come back later; it is closed, and counts for nothing else.
fn assert_refused(local: &Local, source: Ipv4Addr, request: &str) {
    let before = local.server.counters();
    let mut wire = connect(local, source);
    wire.send_if_taken(request.as_bytes());
    let answer = wire.answer();
    assert_eq!((answer.status, answer.closes()), (503, true), "{answer:?}");
    let seconds = answer.field("Retry-After").and_then(|seconds| seconds.parse().ok());
    assert!(matches!(seconds, Some(1..=10)), "{answer:?}");
    let reason = std::str::from_utf8(&answer.body).expect("text");
    assert!(reason.contains("as many connections as it may have here (2)"), "{reason}");
    wire.assert_ended();
    let after = local.server.counters();
    assert_eq!(after.over_source_limit, before.over_source_limit + 1);
    assert_eq!((after.refused_503, after.opened), (before.refused_503 + 1, before.opened));
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
fn a_refused_connection_is_answered_without_a_request_and_takes_no_place() {
    let local = start(Protocol::Ws);
    let first = open(&local, ONE);
    let _second = open(&local, ONE);
    // They do not ask, and do not close.
    let mut waiting: Vec<Wire> = (0..100).map(|_| connect(&local, ONE)).collect();
    for wire in &mut waiting {
        assert_eq!(wire.answer().status, 503);
        wire.assert_ended();
    }
    let totals = local.server.counters();
    assert_eq!((totals.over_source_limit, totals.opened, totals.ended), (100, 2, 0));
    drop(first);
    until("one has gone", || local.server.counters().ended == 1);
    let mut third = open(&local, ONE);
    third.echo(b"there is a place");
    assert_refused(&local, ONE, UPGRADE);
    drop(waiting);
}

/// The request comes when the answer has gone out, and the answer arrives all the same: it is not overtaken by a reset.
#[test]
fn a_request_that_follows_the_refusal_does_not_reset_the_connection() {
    let local = start(Protocol::Ws);
    let _open = [open(&local, ONE), open(&local, ONE)];
    for _ in 0..20 {
        let before = local.server.counters().over_source_limit;
        let mut wire = connect(&local, ONE);
        until("it is refused", || local.server.counters().over_source_limit > before);
        wire.send(UPGRADE.as_bytes());
        assert_eq!(wire.answer().status, 503);
        wire.assert_ended();
    }
}

/// A source with many times as many sockets as there are places keeps none from others.
#[test]
fn a_source_with_many_sockets_leaves_the_places_to_others() {
    const PLACES: usize = 20;
    let config = Config {
        reactors: Some(2),
        max_connections: Some(PLACES),
        max_connections_per_source: 10,
        deadlines: patient(),
        ..Config::default()
    };
    let local = Local::start(config);
    // All at once and silent: ten have a place until the head's deadline, which here is a day.
    let greedy: Vec<Wire> = (0..300).map(|_| connect(&local, ONE)).collect();
    until("all have come", || {
        let totals = local.server.counters();
        totals.over_source_limit + totals.opened == 300
    });
    assert_eq!(local.server.counters().opened, 10);
    let mut honest: Vec<Wire> = (0..9).map(|_| open(&local, OTHER)).collect();
    let more: Vec<Wire> = (0..300).map(|_| connect(&local, ONE)).collect();
    honest.iter_mut().for_each(|wire| wire.echo(b"served"));
    until("all are refused", || local.server.counters().over_source_limit == 590);
    open(&local, OTHER).echo(b"the last place");
    drop((greedy, more));
}

#[test]
fn a_mapped_address_and_its_ipv4_address_are_one_source() {
    let server = Server::from(Config { reactors: Some(1), max_connections_per_source: 2, ..Config::default() });
    let server = DemoRoutes::default().add_to(server).listen("[::]:0").expect("an endpoint").spawn().expect("a server");
    let Some(Endpoint::Tcp(addresses)) = server.endpoints().first() else { panic!("no address") };
    let port = addresses[0].port();
    let connect = |address: &str| Wire::connect(format!("{address}:{port}").parse().expect("an address"));
    // One of each kind; the kernel says of both that they are from ::ffff:127.0.0.1.
    let mut open: Vec<Wire> = ["127.0.0.1", "[::ffff:127.0.0.1]"].map(connect).into();
    open.iter_mut().for_each(Wire::upgrade);
    assert_eq!(connect("127.0.0.1").answer().status, 503);
    // Another network.
    connect("[::1]").upgrade();
    server.stop();
    drop(open);
    server.join().expect("it ends");
}

#[test]
fn prefixes_out_of_range_are_refused() {
    for (flag, values) in [("--source-prefix-v4", ["0", "33"]), ("--source-prefix-v6", ["0", "129"])] {
        for value in values {
            crate::flags::assert_refused(&[flag, value], &[flag, value]);
        }
    }
    let config = Config { source_prefix_v6: 129, ..Config::default() };
    let error = Server::from(config).listen("127.0.0.1:0").expect("an endpoint").spawn().expect_err("a prefix");
    assert_eq!(error.to_string(), "Config::source_prefix_v6 129 is out of range; expected 1 to 128");
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
