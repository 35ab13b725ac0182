//! What all connections may have together: bytes that wait.

use crate::probe::{News, PATH, Probed, assert_adds_up, by_bytes, number_of, reset, tight, until};
use crate::wire::{PATIENCE, TEXT, UPGRADE, Wire, frame};
use std::time::Instant;
use steadfast::net::counters::Totals;
use steadfast::server::{Config, ConnectionId, Overflow, Sent};

const MAX_BUFFER_BYTES: usize = 1 << 20;

/// Bytes of a message here.
const BYTES: usize = 5000;

/// One reactor whose connections may keep a mebibyte together, and each of them all of that.
fn start() -> Probed {
    let max_buffer_bytes = Some(MAX_BUFFER_BYTES as u64);
    Probed::start(Config { max_buffer_bytes, ..tight(by_bytes(2 * MAX_BUFFER_BYTES)) }, Overflow::DropOldest)
}

/// Has about so many bytes wait for one who does not read.
fn fill(probed: &Probed, wire: &mut Wire, bytes: usize) -> usize {
    wire.send(&frame(TEXT, format!("{} {BYTES}", bytes / BYTES).as_bytes()));
    loop {
        match probed.next_news() {
            News::Burst(sent, _) => return sent.len(),
            News::Writable(_) => {}
            other => panic!("{other:?} instead of a burst"),
        }
    }
}

/// A connection that has asked for its upgrade, whether the server has accepted it or not.
fn asking(probed: &Probed) -> Wire {
    let mut wire = Wire::connect(probed.local.address);
    wire.send(UPGRADE.replace("/echo", PATH).as_bytes());
    wire
}

/// Somewhat less waits than may, and more than four fifths of it, whatever the kernel takes.
fn nearly_fill(probed: &Probed) -> Wire {
    let (mut slow, _) = probed.slow(PATH);
    fill(probed, &mut slow, MAX_BUFFER_BYTES - 2 * BYTES);
    slow
}

/// Connects until the server does not accept what comes, and gives what has not been accepted.
fn connect_until_paused(probed: &Probed) -> Wire {
    let paused = |totals: &Totals| totals.accept_paused_buffers > 0;
    let since = Instant::now();
    loop {
        assert!(since.elapsed() < PATIENCE, "whoever comes is accepted: {:?}", probed.totals());
        let opened = probed.totals().opened;
        let wire = asking(probed);
        until("it is accepted, or it is not", || paused(&probed.totals()) || probed.totals().opened > opened);
        if paused(&probed.totals()) {
            return wire;
        }
        drop(wire);
    }
}

#[test]
fn near_the_limit_nobody_is_accepted_until_there_is_room() {
    let probed = start();
    let (mut healthy, id) = probed.healthy();
    let slow = nearly_fill(&probed);
    // One that had been accepted before the server knew may be among those who come.
    let mut accepted = connect_until_paused(&probed);
    drop(accepted);
    accepted = asking(&probed);
    accepted.assert_silent();
    healthy.echo(b"not disturbed");
    assert_eq!(probed.send(id, 7, BYTES), Sent::Sent);
    assert_eq!(number_of(&healthy.frame()), 7);
    assert_eq!(probed.totals().shed, 0, "there was room for all that waits");
    reset(slow);
    accepted.assert_upgraded();
    accepted.echo(b"at last");
    healthy.echo(b"nor later");
}

#[test]
fn when_all_have_gone_there_is_room_again() {
    let probed = start();
    let slow = nearly_fill(&probed);
    let waiting = connect_until_paused(&probed);
    reset(slow);
    drop(waiting);
    // Nobody is there whom the server could look at to see that.
    let mut next = asking(&probed);
    next.assert_upgraded();
    next.echo(b"there is room");
}

/// Sends to a connection whose queue has room until nothing more is queued there.
fn send_until_dropped(probed: &Probed, id: ConnectionId, healthy: &mut Wire) {
    until("nothing more is queued", || {
        healthy.echo(b"not disturbed");
        probed.send(id, 0, 8) == Sent::Dropped
    });
}

#[test]
fn beyond_the_limit_nothing_is_queued_and_the_largest_queues_go() {
    const SMALL: usize = 100_000;
    let probed = start();
    let (mut healthy, _) = probed.healthy();
    let mut small: Vec<(Wire, ConnectionId)> = (0..3).map(|_| probed.slow(PATH)).collect();
    let (mut large, large_id) = probed.slow(PATH);
    let (mut other, other_id) = probed.slow(PATH);
    let mut sent = 0;
    for (wire, _) in &mut small {
        sent = fill(&probed, wire, SMALL);
    }
    fill(&probed, &mut other, SMALL);
    fill(&probed, &mut large, MAX_BUFFER_BYTES);
    // The policy would drop the oldest and queue this one, but that is no help where all is full.
    send_until_dropped(&probed, other_id, &mut healthy);
    until("the largest goes", || probed.totals().shed > 0);
    loop {
        match probed.next_news() {
            News::Closed(id, code) => break assert_eq!((id, code), (large_id, 1006)),
            News::Writable(_) => {}
            other => panic!("{other:?}"),
        }
    }
    let totals = probed.totals();
    assert_adds_up(&totals);
    assert_eq!((totals.shed, totals.closed_slow), (1, 0), "{totals:?}");
    // Those who had less have all of it.
    for (wire, id) in &mut small {
        for number in 0..sent {
            assert_eq!(number_of(&wire.frame()), number);
        }
        assert!(probed.local.server.send(*id, "and on").wait().is_ok());
    }
    healthy.echo(b"nor later");
}
