//! Full means full: exactly as many connections as were planned, and the next one waits.

use crate::host::{Local, Serve, quick};
use crate::limits::raise_nofile;
use crate::wire::{CLOSE, UPGRADE, Wire, close_body, frame};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use steadfast::server::Config;

/// A connection that has asked for its upgrade, whether the server has accepted it or not.
fn asking(address: SocketAddr) -> Wire {
    let mut wire = Wire::connect(address);
    wire.send(UPGRADE.as_bytes());
    wire
}

fn assert_ten(reactors: usize) {
    let local = Local::start(Config { max_connections: Some(10), reactors: Some(reactors), ..quick() });
    assert_eq!((local.server.plan().reactors, local.server.plan().max_connections), (reactors, 10));
    let mut stats = Wire::connect(local.address);
    assert_eq!(stats.counter("accept_paused_full"), 0);
    let mut open: Vec<Wire> = (0..9).map(|_| Wire::websocket(local.address)).collect();
    for round in 0..8_usize {
        let mut eleventh = asking(local.address);
        eleventh.assert_silent();
        let full = stats.stats_until("it is counted", |stats| stats["counters"]["accept_paused_full"] != 0);
        assert_eq!(full["connections"]["now"], 10, "round {round}: {full}");
        let mut leaving = open.remove(round % open.len());
        leaving.send(&frame(CLOSE, &close_body(1000, b"")));
        assert_eq!(leaving.frame().close_code(), 1000);
        eleventh.assert_upgraded();
        eleventh.echo(b"the next one");
        open.push(eleventh);
        for wire in &mut open {
            wire.echo(b"not disturbed");
        }
    }
    assert_eq!(stats.stats()["connections"]["now"], 10);
}

#[test]
fn connection_beyond_the_limit_waits_for_a_place() {
    assert_ten(1);
}

#[test]
fn connection_limit_is_shared_by_all_reactors() {
    assert_ten(4);
}

#[test]
fn waiting_connections_are_all_served() {
    const PLACES: usize = 9;
    let local = Local::start(Config { max_connections: Some(PLACES), reactors: Some(4), ..quick() });
    let open = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..30 {
            scope.spawn(|| {
                for _ in 0..5 {
                    let mut wire = asking(local.address);
                    wire.assert_upgraded();
                    // Counted later than the server does, and uncounted sooner: never more than the server has.
                    let others = open.fetch_add(1, Ordering::SeqCst);
                    assert!(others < PLACES, "{others} others are open");
                    wire.echo(b"at last");
                    open.fetch_sub(1, Ordering::SeqCst);
                }
            });
        }
    });
    Wire::connect(local.address).stats_until("all have gone", |stats| stats["connections"]["now"] == 1);
}

#[test]
fn own_descriptor_tables_hold_exactly_the_planned_number() {
    // For the other ends, all of which are here.
    raise_nofile();
    let server = Serve::start_under("ulimit -n 200", &["--max-connections", "500", "--close-timeout-s", "30"]);
    assert!(server.said[0].ends_with("for 500 connections, a descriptor table for each"), "{}", server.said[0]);
    let address = server.address();
    let mut open: Vec<Wire> = (0..500).map(|_| Wire::websocket(address)).collect();
    for (number, wire) in open.iter_mut().enumerate() {
        wire.echo(format!("number {number}").as_bytes());
    }
    let mut next = asking(address);
    next.assert_silent();
    drop(open.remove(250));
    next.assert_upgraded();
    next.echo(b"the 501st");
    open[0] = next;
    // One has just gone again, so there is room to ask.
    let mut stats = Wire::connect(address);
    let now = stats.stats();
    assert_eq!((&now["connections"]["now"], &now["connections"]["max"]), (&500.into(), &500.into()));
    assert!(now["counters"]["accept_paused_full"] != 0, "{now}");
    assert!(now["reactor_count"].as_u64().is_some_and(|count| count > 2), "{now}");
    server.running.signal("TERM");
    for wire in &mut open {
        assert_eq!(wire.frame().close_code(), 1001);
        wire.send(&frame(CLOSE, &close_body(1001, b"")));
        wire.assert_ended();
    }
    stats.assert_ended();
    let ended = server.running.ended();
    assert_eq!((ended.code(), ended.err.len()), (0, 0), "{ended:?}");
}
