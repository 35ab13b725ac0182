//! Queues that are over their limits for a while: the socket has its chance first.

use crate::probe::{
    MANY, PATH, Probed, TOPICS, TOPICS_PATH, by_bytes, by_messages, number_of, numbers, tight, until, upgraded,
};
use crate::wire::{CLOSE, TEXT, Wire, close_body, frame};
use crate::witness::Told;
use steadfast::server::{Config, ConnectionId, Overflow, QueueLimits, Sent};

/// More than one message of a hundred thousand bytes, and far less than ten of them.
const LIMIT_BYTES: usize = 128 << 10;
const LARGE_BYTES: usize = 100_000;

const FEW: usize = 10;

fn start(queue: QueueLimits, queue_grace_s: u32) -> Probed {
    Probed::start(Config { queue_grace_s, ..tight(queue) }, Overflow::Close)
}

/// The next news that is no other than of a burst or an end.
fn next(probed: &Probed) -> (ConnectionId, Told) {
    loop {
        match probed.next_news() {
            (_, Told::Writable) => {}
            other => return other,
        }
    }
}

#[test]
fn one_call_may_send_a_snapshot_in_pieces_to_a_healthy_client() {
    let probed = start(by_bytes(LIMIT_BYTES), 3600);
    let (mut wire, id) = probed.healthy();
    for _ in 0..3 {
        wire.send(&frame(TEXT, format!("10 {LARGE_BYTES}").as_bytes()));
        assert_eq!(numbers(&mut wire, 10), (0..10).collect::<Vec<_>>());
        let (_, Told::Burst(sent, _)) = next(&probed) else { panic!("no burst") };
        assert!(!sent.contains(&Sent::Dropped), "{sent:?}");
    }
    probed.assert_goes_on(&mut wire, id);
}

#[test]
fn what_is_published_at_once_reaches_all_healthy_readers() {
    let probed = start(by_bytes(LIMIT_BYTES), 3600);
    let mut wires: Vec<Wire> = (0..20).map(|_| upgraded(Wire::connect(probed.local.address), TOPICS_PATH)).collect();
    for _ in 0..20 {
        probed.opened();
    }
    for number in 0..10 {
        probed.local.server.publish(TOPICS[0], &crate::probe::payload(number, LARGE_BYTES));
    }
    for wire in &mut wires {
        assert_eq!(numbers(wire, 10), (0..10).collect::<Vec<_>>());
        wire.echo(b"not closed");
    }
    let totals = probed.totals();
    assert_eq!((totals.closed_slow, totals.messages_dropped, totals.messages_queued), (0, 0, 0), "{totals:?}");
}

/// Reads the message that had begun, and the Close after it.
fn assert_closed(probed: &Probed, wire: &mut Wire, arrives: usize) {
    assert_eq!(numbers(wire, arrives), (0..arrives).collect::<Vec<_>>());
    assert_eq!(wire.frame().close_code(), 1008);
    wire.send(&frame(CLOSE, &close_body(1008, b"")));
    wire.assert_ended();
    let (_, Told::Closed { code, .. }) = next(probed) else { panic!("not closed") };
    assert_eq!(code, 1008);
    let totals = probed.totals();
    crate::probe::assert_adds_up(&totals);
    assert_eq!((totals.closed_slow, totals.messages_queued), (1, 0), "{totals:?}");
}

/// Nothing more is sent to it: its queue is looked at all the same.
#[test]
fn a_queue_that_stays_over_its_limits_closes_when_the_grace_is_over() {
    // As much as may wait in the grace, and ten times more than else, whatever the kernel takes.
    let probed = start(by_messages(MANY / 10), 1);
    let (mut healthy, _) = probed.healthy();
    let (mut slow, _) = probed.slow(PATH);
    let (sent, queued) = probed.burst(&mut slow, MANY, "");
    assert!(queued.1 > MANY / 10 + 1 && !sent.contains(&Sent::Dropped), "{queued:?} wait");
    until("it is closed", || probed.totals().closed_slow == 1);
    let arrives = sent.len() - probed.dropped() as usize;
    healthy.echo(b"not disturbed");
    assert_closed(&probed, &mut slow, arrives);
    healthy.echo(b"nor later");
}

#[test]
fn a_queue_that_is_many_times_over_its_limits_closes_at_once() {
    let probed = start(by_messages(FEW), 3600);
    let (mut slow, _) = probed.slow(PATH);
    let (sent, _) = probed.burst(&mut slow, MANY, "");
    let queued = sent.iter().filter(|&&one| one == Sent::Queued).count();
    assert!(sent.contains(&Sent::Dropped) && queued > 15 * FEW, "{queued} were queued");
    let arrives = sent.len() - probed.dropped() as usize;
    assert_closed(&probed, &mut slow, arrives);
}

#[test]
fn a_queue_that_has_come_below_its_limits_has_its_grace_again() {
    let probed = start(by_messages(FEW), 1);
    let (mut slow, id) = probed.slow(PATH);
    // Each time it is over its limits, for no longer than it takes to read; and all times together far beyond the grace.
    let since = std::time::Instant::now();
    let mut rounds = 0;
    while since.elapsed() < std::time::Duration::from_millis(2500) {
        let (sent, _) = probed.burst(&mut slow, 12 * FEW, "");
        for number in 0..sent.len() {
            assert_eq!(number_of(&slow.frame()), number);
        }
        rounds += 1;
    }
    assert!(rounds > 1);
    probed.assert_goes_on(&mut slow, id);
}

/// The other policies bound how old what arrives is, and drop at the limits.
#[test]
fn other_policies_drop_at_once() {
    for overflow in [Overflow::DropNewest, Overflow::DropOldest, Overflow::KeepLatest] {
        let probed = Probed::start(Config { queue_grace_s: 3600, ..tight(by_messages(FEW)) }, overflow);
        let (mut slow, _) = probed.slow(PATH);
        let (sent, queued) = probed.burst(&mut slow, MANY, "");
        assert!(queued.1 <= FEW + 1 && probed.dropped() > 0, "{overflow:?}: {queued:?} wait of {}", sent.len());
    }
}
