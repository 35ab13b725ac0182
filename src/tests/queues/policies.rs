//! A receiver that does not read: of what was sent to it, whatever the policy permits arrives, whole and in order, and
//! then it goes on.
//!
//! How much the kernel takes is up to the kernel, and may be more at any time. So each message is sent alone, and the
//! counter of dropped messages says how many were lost: from that, the policy determines which ones they are.

use crate::probe::{
    BYTES, Ledger, MANY, PATH, Probed, TOPICS, TOPICS_PATH, ample, assert_adds_up, by_bytes, by_messages,
    first_waiting, frame_bytes, number_of, numbers, reset, tight, until,
};
use crate::wire::{CLOSE, Wire, close_body, frame};
use crate::witness::Told;
use steadfast::server::{Overflow, QueueLimits, Sent};

/// What waits at most.
const FEW: usize = 10;

#[test]
fn close_ends_behind_what_had_begun_with_1008() {
    let probed = Probed::start(tight(by_messages(FEW)), Overflow::Close);
    let (mut healthy, neighbour) = probed.healthy();
    let (mut slow, id) = probed.slow(PATH);
    let mut sent = 0;
    loop {
        assert_eq!(probed.send(neighbour, sent, BYTES), Sent::Sent);
        assert_eq!(number_of(&healthy.frame()), sent);
        let result = probed.send(id, sent, BYTES);
        sent += 1;
        assert!(sent < MANY, "it is never closed");
        if result == Sent::Dropped {
            break;
        }
    }
    let dropped = probed.dropped() as usize;
    assert_eq!(dropped, FEW + 1, "those that waited, and the one that was too many");
    // It is closing, and no other connection is affected.
    assert!(probed.local.server.send(id, "too late").wait().is_err());
    healthy.echo(b"not disturbed");
    assert_eq!(numbers(&mut slow, sent - dropped), (0..sent - dropped).collect::<Vec<_>>());
    let last = slow.frame();
    assert_eq!((last.close_code(), &last.payload[2..]), (1008, &b"too slow for what it is sent"[..]));
    slow.send(&frame(CLOSE, &close_body(1008, b"")));
    slow.assert_ended();
    let closed = loop {
        match probed.next_news() {
            (closed, Told::Closed { code, .. }) => break (closed, code),
            (_, Told::Writable) => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(closed, (id, 1008));
    let totals = probed.totals();
    assert_adds_up(&totals);
    assert_eq!((totals.closed_slow, totals.messages_queued), (1, 0), "{totals:?}");
    assert_eq!(totals.messages_dropped as usize, dropped);
    healthy.echo(b"nor later");
}

#[test]
fn close_drops_what_waits_of_a_burst_and_what_follows() {
    let probed = Probed::start(tight(by_bytes(FEW * frame_bytes(BYTES))), Overflow::Close);
    let (mut slow, _) = probed.slow(PATH);
    let (sent, queued) = probed.burst(&mut slow, MANY * 10, "");
    let first = |result| sent.iter().position(|&one| one == result).unwrap_or_else(|| panic!("none is {result:?}"));
    assert_eq!((first(Sent::Sent), first(Sent::Queued) < first(Sent::Dropped)), (0, true));
    assert!(sent[first(Sent::Dropped)..].iter().all(|&one| one == Sent::Dropped), "something behind the Close");
    // What was begun is there, and the Close.
    assert!(queued.1 <= 1, "{queued:?} wait behind a Close");
    let arrives = sent.len() - probed.dropped() as usize;
    assert_eq!(numbers(&mut slow, arrives), (0..arrives).collect::<Vec<_>>());
    assert_eq!(slow.frame().close_code(), 1008);
    slow.send(&frame(CLOSE, &close_body(1008, b"")));
    slow.assert_ended();
    assert_eq!(probed.totals().closed_slow, 1);
}

/// Reads what has to arrive, and sees that all is as before.
fn finish(probed: &Probed, (mut wire, id): (Wire, steadfast::server::ConnectionId), ledger: &Ledger) {
    let left = ledger.left();
    assert_eq!(numbers(&mut wire, left.len()), left);
    probed.assert_goes_on(&mut wire, id);
}

#[test]
fn drop_newest_drops_just_those_that_it_says() {
    for limits in [by_messages(FEW), by_bytes(FEW * frame_bytes(BYTES))] {
        let probed = Probed::start(tight(limits), Overflow::DropNewest);
        let slow = probed.slow(PATH);
        let mut ledger = Ledger::new();
        let mut queued = 0;
        for _ in 0..MANY {
            let (number, before) = (ledger.next(), probed.dropped());
            let result = probed.send(slow.1, number, BYTES);
            assert_eq!(probed.dropped() - before, u64::from(result == Sent::Dropped));
            queued += usize::from(result == Sent::Queued);
            if result == Sent::Dropped {
                ledger.drop(number);
            }
            let totals = probed.totals();
            // One more may have been begun.
            assert!(totals.messages_queued as usize <= FEW + 1, "{totals:?}");
        }
        // The first that waits was sent, as far as its sender knows.
        assert!(queued >= FEW - 1 && ledger.is_dropped(MANY - 1), "{queued} were queued");
        assert_adds_up(&probed.totals());
        finish(&probed, slow, &ledger);
    }
}

/// A limit, and how many bytes of a message of that number.
type Case = (QueueLimits, fn(usize) -> usize);

#[test]
fn drop_oldest_keeps_the_last_that_the_limits_let() {
    let same = |_| BYTES;
    // Below a hundred bytes and above, up to one that is alone more than may wait.
    let mixed = |number: usize| if number % 23 == 11 { 7000 } else { 50 + number * 131 % 3000 };
    let cases: [Case; 3] = [(by_messages(FEW), same), (by_bytes(6000), same), (by_bytes(6000), mixed)];
    for overflow in [Overflow::DropOldest, Overflow::KeepLatest] {
        for (limits, bytes) in cases {
            let probed = Probed::start(tight(limits), overflow);
            let slow = probed.slow(PATH);
            let mut ledger = Ledger::new();
            for _ in 0..MANY {
                let (number, before) = (ledger.next(), probed.dropped());
                assert_ne!(probed.send(slow.1, number, bytes(number)), Sent::Dropped);
                let dropped = (probed.dropped() - before) as usize;
                // The messages that wait are in order, and as many as necessary are dropped from the oldest on.
                let first = first_waiting(number + 1, limits, bytes);
                (first - dropped..first).for_each(|number| ledger.drop(number));
            }
            assert!(ledger.left().len() < MANY - FEW, "{limits:?}: {} arrive", ledger.left().len());
            assert_adds_up(&probed.totals());
            finish(&probed, slow, &ledger);
        }
    }
}

#[test]
fn keep_latest_keeps_the_newest_of_each_topic() {
    let probed = Probed::start(tight(by_messages(FEW)), Overflow::KeepLatest);
    let slow = probed.slow(TOPICS_PATH);
    let mut ledger = Ledger::new();
    let mut last_of = [None; TOPICS.len()];
    for _ in 0..MANY {
        let (number, before) = (ledger.next(), probed.dropped());
        // Some come more often than others.
        let topic = [0, 1, 0, 0, 2, 1, 0][number % 7];
        probed.publish(TOPICS[topic], number, BYTES);
        let last = last_of[topic].replace(number);
        match (probed.dropped() - before, last) {
            (0, _) => {}
            (1, Some(last)) => ledger.drop(last),
            (dropped, last) => panic!("{dropped} were dropped for {number}, behind {last:?}"),
        }
        let totals = probed.totals();
        assert!(totals.messages_queued as usize <= TOPICS.len() + 1, "{totals:?}");
    }
    let left = ledger.left();
    assert!(left.len() < MANY - FEW, "{} arrive", left.len());
    assert!(last_of.iter().all(|last| last.is_some_and(|last| left.contains(&last))), "{last_of:?} in {left:?}");
    assert_adds_up(&probed.totals());
    finish(&probed, slow, &ledger);
}

/// In one call of a handler nothing is taken in between, so that it is known what stays.
fn assert_burst(limits: QueueLimits, overflow: Overflow) {
    let probed = Probed::start(tight(limits), overflow);
    let (mut wire, id) = probed.slow(PATH);
    let (sent, queued) = probed.burst(&mut wire, MANY * 10, "");
    assert!(queued.1 <= FEW + 1 && queued.0 <= (FEW + 1) * frame_bytes(BYTES), "{overflow:?}: {queued:?} wait");
    let totals = probed.totals();
    assert_adds_up(&totals);
    let left = sent.len() - totals.messages_dropped as usize;
    let expected: Vec<usize> = if overflow == Overflow::DropNewest {
        (0..sent.len()).filter(|&number| sent[number] != Sent::Dropped).collect()
    } else {
        assert!(!sent.contains(&Sent::Dropped));
        (0..left - FEW).chain(sent.len() - FEW..sent.len()).collect()
    };
    assert_eq!(expected.len(), left, "{overflow:?}: {totals:?}");
    assert_eq!(numbers(&mut wire, left), expected, "{overflow:?}");
    probed.assert_goes_on(&mut wire, id);
}

const ALL_BUT_CLOSE: [Overflow; 3] = [Overflow::DropNewest, Overflow::DropOldest, Overflow::KeepLatest];

#[test]
fn of_a_burst_stays_what_the_policy_says() {
    for overflow in ALL_BUT_CLOSE {
        assert_burst(by_bytes(FEW * frame_bytes(BYTES)), overflow);
    }
}

#[test]
fn a_burst_is_bounded_by_messages_too() {
    for overflow in ALL_BUT_CLOSE {
        assert_burst(by_messages(FEW), overflow);
    }
}

#[test]
fn a_message_is_sent_then_queued_then_dropped() {
    let probed = Probed::start(tight(by_messages(FEW)), Overflow::DropNewest);
    let (_slow, id) = probed.slow(PATH);
    let mut seen = Vec::new();
    for number in 0..MANY {
        let result = probed.send(id, number, BYTES);
        if !seen.contains(&result) {
            seen.push(result);
        }
    }
    assert_eq!(seen, [Sent::Sent, Sent::Queued, Sent::Dropped]);
}

#[test]
fn writable_is_told_once_when_all_has_gone() {
    let probed = Probed::start(tight(ample()), Overflow::DropOldest);
    let (mut wire, id) = probed.slow(PATH);
    for _ in 0..3 {
        let dropped = probed.dropped() as usize;
        let (sent, queued) = probed.burst(&mut wire, MANY, "");
        assert!(queued.1 > 100, "{queued:?} wait");
        let left = sent.len() - (probed.dropped() as usize - dropped);
        numbers(&mut wire, left);
        let (writable, Told::Writable) = probed.next_news() else { panic!("not told") };
        assert_eq!(writable, id);
        probed.catch_up();
        assert!(probed.news.try_recv().is_err(), "told again");
        probed.assert_goes_on(&mut wire, id);
    }
}

#[test]
fn messages_queued_for_a_reset_connection_are_counted_as_dropped() {
    for overflow in ALL_BUT_CLOSE {
        let probed = Probed::start(tight(ample()), overflow);
        let (mut wire, _) = probed.slow(PATH);
        let (sent, _) = probed.burst(&mut wire, MANY, "");
        let before = probed.totals();
        assert_adds_up(&before);
        assert!(before.messages_queued > 100, "{before:?}");
        assert_eq!(before.messages_out as usize, sent.len());
        reset(wire);
        until("it has gone", || probed.totals().ended == 2);
        let after = probed.totals();
        assert_eq!((after.messages_queued, after.messages_out), (0, before.messages_out), "{after:?}");
        // Some may have been delivered before it went.
        let went = before.messages_queued - (after.messages_delivered - before.messages_delivered);
        assert_eq!(after.messages_dropped, before.messages_dropped + went, "{after:?}");
    }
}
