//! How a connection that takes nothing ends: what waits is sent first, or is dropped and counted.

use crate::probe::{MANY, PATH, Probed, ample, assert_adds_up, numbers, patient, tight, until};
use crate::wire::{CLOSE, Frame, TEXT, Wire, close_body, frame};
use crate::witness::Told;
use steadfast::server::{CloseCode, Config, ConnectionId, Deadlines, Overflow};

/// One for whom as much waits as may, and how many messages are to arrive.
fn blocked(probed: &Probed, more: &str) -> (Wire, ConnectionId, usize) {
    let (mut wire, id) = probed.slow(PATH);
    let (sent, _) = probed.burst(&mut wire, MANY, more);
    let left = sent.len() - probed.dropped() as usize;
    (wire, id, left)
}

fn start(deadlines: Deadlines) -> Probed {
    Probed::start(Config { deadlines, ..tight(ample()) }, Overflow::DropNewest)
}

fn next_closed(probed: &Probed) -> (ConnectionId, u16) {
    loop {
        match probed.next_news() {
            (id, Told::Closed { code, .. }) => return (id, code),
            (_, Told::Writable) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// Everything arrives, and the Close after it.
fn assert_closes(probed: &Probed, (mut wire, id, left): (Wire, ConnectionId, usize), code: u16, reason: &[u8]) {
    // Nothing is queued after a Close.
    let dropped = probed.dropped();
    assert!(probed.local.server.send(id, "too late").wait().is_err());
    numbers(&mut wire, left);
    assert_eq!(wire.frame(), Frame { first: CLOSE, payload: close_body(code, reason) });
    wire.send(&frame(CLOSE, &close_body(code, b"")));
    wire.assert_ended();
    assert_eq!(next_closed(probed), (id, code));
    let totals = probed.totals();
    assert_adds_up(&totals);
    assert_eq!((totals.messages_queued, totals.messages_dropped, totals.closed_slow), (0, dropped, 0), "{totals:?}");
}

#[test]
fn close_is_queued_after_what_waits() {
    let probed = start(patient());
    assert_closes(&probed, blocked(&probed, " close"), 1000, b"enough");
    let probed = start(patient());
    let blocked = blocked(&probed, "");
    probed.local.server.close(blocked.1, CloseCode::of::<4000>(), "from another thread");
    assert_closes(&probed, blocked, 4000, b"from another thread");
}

#[test]
fn so_does_the_good_bye_of_a_server_that_stops() {
    let probed = start(patient());
    let (mut wire, _, left) = blocked(&probed, "");
    let mut healthy = probed.healthy().0;
    probed.local.server.stop();
    assert_eq!(healthy.frame().close_code(), 1001);
    healthy.send(&frame(CLOSE, &close_body(1001, b"")));
    healthy.assert_ended();
    numbers(&mut wire, left);
    assert_eq!(wire.frame().close_code(), 1001);
    wire.send(&frame(CLOSE, &close_body(1001, b"")));
    wire.assert_ended();
    probed.local.join();
    let totals = probed.local.server.counters();
    assert_adds_up(&totals);
    assert_eq!((totals.messages_queued, totals.ended), (0, totals.opened), "{totals:?}");
}

#[test]
fn abort_drops_what_waits_and_ends_after_the_begun_message() {
    let probed = start(patient());
    let (mut wire, id, left) = blocked(&probed, " abort");
    assert!(left < MANY, "none was dropped");
    numbers(&mut wire, left);
    wire.assert_gone();
    assert_eq!(next_closed(&probed), (id, 1006));
    let totals = probed.totals();
    assert_adds_up(&totals);
    assert_eq!((totals.messages_queued, totals.messages_delivered as usize), (0, left), "{totals:?}");
}

#[test]
fn connection_that_takes_nothing_for_too_long_is_reset_and_its_queue_dropped() {
    let probed = start(Deadlines { stalled_s: 1, ..patient() });
    let (mut healthy, _) = probed.healthy();
    let (mut wire, id, _) = blocked(&probed, "");
    assert_eq!(next_closed(&probed), (id, 1006));
    wire.assert_reset();
    let totals = probed.totals();
    assert_adds_up(&totals);
    assert_eq!((totals.messages_queued, totals.ended_by_deadline), (0, 1), "{totals:?}");
    healthy.echo(b"not disturbed");
}

#[test]
fn connection_that_leaves_with_a_queue_is_freed() {
    let probed = start(patient());
    let (mut wire, id, _) = blocked(&probed, "");
    // It says that it will send no more, and is gone: so says the answer to what it is sent.
    wire.send(&frame(TEXT, b"1 1000"));
    drop(wire);
    assert_eq!(next_closed(&probed), (id, 1006));
    until("it has gone", || probed.totals().ended == 2);
    let totals = probed.totals();
    assert_adds_up(&totals);
    assert_eq!(totals.messages_queued, 0, "{totals:?}");
}
