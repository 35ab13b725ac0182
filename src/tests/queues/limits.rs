//! What all connections may keep together: near that limit new ones are refused, at it nothing more is queued, and beyond it
//! those that keep most go.

use crate::probe::{PATH, Probed, assert_adds_up, by_bytes, number_of, reset, tight, until};
use crate::wire::{TEXT, UPGRADE, Wire, frame};
use crate::witness::Told;
use steadfast::proto::session::Limits;
use steadfast::server::{Config, Overflow, Sent};

const MAX_BUFFER_BYTES: usize = 1 << 20;

/// Bytes of a message here.
const BYTES: usize = 5000;

/// One reactor whose connections may keep a mebibyte together, and each of them all of that.
fn start() -> Probed {
    let max_buffer_bytes = Some(MAX_BUFFER_BYTES as u64);
    let limits = Limits { max_message_bytes: MAX_BUFFER_BYTES as u64 / 3, ..Limits::default() };
    Probed::start(Config { max_buffer_bytes, limits, ..tight(by_bytes(2 * MAX_BUFFER_BYTES)) }, Overflow::DropOldest)
}

/// Has about `bytes` bytes wait for a receiver that does not read.
fn fill(probed: &Probed, wire: &mut Wire, bytes: usize) -> usize {
    wire.send(&frame(TEXT, format!("{} {BYTES}", bytes / BYTES).as_bytes()));
    loop {
        match probed.next_news() {
            (_, Told::Burst(sent, _)) => return sent.len(),
            (_, Told::Writable) => {}
            other => panic!("{other:?} instead of a burst"),
        }
    }
}

/// Bytes that all connections keep, as `/stats` has it.
fn buffer_bytes(stats: &mut Wire) -> usize {
    stats.stats()["memory"]["buffer_bytes"].as_u64().expect("a number") as usize
}

/// More than four fifths of what may be kept is, and less than all, whatever the kernel takes.
fn nearly_fill(probed: &Probed, stats: &mut Wire, share: f64) -> Wire {
    let (mut slow, _) = probed.slow(PATH);
    let usable_bytes = MAX_BUFFER_BYTES - MAX_BUFFER_BYTES / 16 - (MAX_BUFFER_BYTES / 8).min(512 << 10);
    fill(probed, &mut slow, (usable_bytes as f64 * share) as usize);
    let kept = buffer_bytes(stats);
    assert!((usable_bytes / 5 * 4..usable_bytes).contains(&kept), "{kept} bytes");
    slow
}

/// Asks for an upgrade until it is granted; returns how often it was answered 503 before.
fn upgraded_at_last(probed: &Probed) -> usize {
    let mut refused = 0;
    until("there is room", || {
        let mut wire = Wire::connect(probed.local.address);
        wire.send(UPGRADE.replace("/echo", PATH).as_bytes());
        let answer = wire.answer_without_body();
        refused += usize::from(answer.status == 503);
        answer.status == 101
    });
    refused
}

#[test]
fn near_the_limit_new_connections_are_answered_503_until_there_is_room() {
    let probed = start();
    let (mut healthy, id) = probed.healthy();
    let mut stats = Wire::connect(probed.local.address);
    let slow = nearly_fill(&probed, &mut stats, 0.88);
    for _ in 0..3 {
        let mut refused = Wire::connect(probed.local.address);
        refused.send(UPGRADE.replace("/echo", PATH).as_bytes());
        let answer = refused.answer();
        assert_eq!((answer.status, answer.closes()), (503, true), "{answer:?}");
        let retry_after_s = answer.field("Retry-After").map(|value| value.parse::<u32>().expect("a number"));
        assert!(retry_after_s.is_some_and(|seconds| seconds > 0), "{answer:?}");
        refused.assert_ended();
    }
    healthy.echo(b"not disturbed");
    assert_eq!(probed.send(id, 7, BYTES), Sent::Sent);
    assert_eq!(number_of(&healthy.frame()), 7);
    let totals = probed.totals();
    assert_eq!(
        (totals.memory_refused, totals.shed, totals.memory_ended),
        (3, 0, 0),
        "there was room for all that waits"
    );
    reset(slow);
    upgraded_at_last(&probed);
    healthy.echo(b"nor later");
    until("nothing is kept", || buffer_bytes(&mut stats) == 0);
}

#[test]
fn when_all_have_gone_there_is_room_again() {
    let probed = start();
    let mut stats = Wire::connect(probed.local.address);
    let slow = nearly_fill(&probed, &mut stats, 0.88);
    drop(stats);
    reset(slow);
    // No connection is left that the server could look at to see that.
    upgraded_at_last(&probed);
}

#[test]
fn at_the_limit_nothing_more_is_queued() {
    let probed = start();
    let (mut healthy, _) = probed.healthy();
    let (mut other, other_id) = probed.slow(PATH);
    let mut stats = Wire::connect(probed.local.address);
    let waiting = fill(&probed, &mut other, 100_000);
    let slow = nearly_fill(&probed, &mut stats, 0.86);
    // The policy would drop the oldest and queue this one, but that is no help where all is full.
    assert_eq!(probed.send(other_id, waiting, 8), Sent::Dropped);
    healthy.echo(b"not disturbed");
    reset(slow);
    until("something is queued again", || probed.send(other_id, waiting, 8) == Sent::Queued);
    for number in 0..=waiting {
        assert_eq!(number_of(&other.frame()), number);
    }
    assert_adds_up(&probed.totals());
}

#[test]
fn beyond_the_limit_the_largest_queues_go_at_once() {
    const SMALL: usize = 100_000;
    let probed = start();
    let (mut healthy, _) = probed.healthy();
    let mut stats = Wire::connect(probed.local.address);
    let mut small: Vec<_> = (0..3).map(|_| probed.slow(PATH)).collect();
    let (mut large, large_id) = probed.slow(PATH);
    let mut sent = 0;
    for (wire, _) in &mut small {
        sent = fill(&probed, wire, SMALL);
    }
    fill(&probed, &mut large, MAX_BUFFER_BYTES);
    // In the iteration in which it became too much: the next request finds that it is not.
    let kept = buffer_bytes(&mut stats);
    assert!(kept < MAX_BUFFER_BYTES / 2, "{kept} bytes");
    loop {
        match probed.next_news() {
            (id, Told::Closed { code, .. }) => break assert_eq!((id, code), (large_id, 1006)),
            (_, Told::Writable) => {}
            other => panic!("{other:?}"),
        }
    }
    let totals = probed.totals();
    assert_adds_up(&totals);
    assert_eq!((totals.shed, totals.closed_slow), (1, 0), "{totals:?}");
    // The receivers that had less get all of it.
    for (wire, id) in &mut small {
        for number in 0..sent {
            assert_eq!(number_of(&wire.frame()), number);
        }
        assert!(probed.local.server.send(*id, "and on").wait().is_ok());
    }
    healthy.echo(b"nor later");
}
