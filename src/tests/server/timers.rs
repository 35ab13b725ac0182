//! Timers by example.

use super::*;
use std::time::Duration;

/// The first connection at an index.
fn id(index: usize) -> ConnectionId {
    ConnectionId::new(1, index)
}

#[test]
fn expired_timers_are_returned_once_and_in_order() {
    let now = Instant::now();
    let mut timers = Timers::default();
    for (index, milliseconds) in [(0, 30), (1, 10), (2, 20), (3, 10), (4, 31)] {
        timers.set(id(index), now + Duration::from_millis(milliseconds));
    }
    assert_eq!(timers.next(), Some(now + Duration::from_millis(10)));
    assert_eq!(timers.take_expired(now), []);
    let at = |milliseconds| now + Duration::from_millis(milliseconds);
    assert_eq!(timers.take_expired(at(30)), [id(1), id(3), id(2), id(0)]);
    assert_eq!(timers.take_expired(at(30)), []);
    assert_eq!((timers.next(), timers.cancel(id(0)), timers.cancel(id(4))), (Some(at(31)), false, true));
    assert_eq!((timers.next(), timers.instants.len()), (None, 0));
}

#[test]
fn connection_has_one_timer() {
    let now = Instant::now();
    let mut timers = Timers::default();
    for milliseconds in [5, 500, 50] {
        timers.set(id(7), now + Duration::from_millis(milliseconds));
    }
    assert_eq!(timers.next(), Some(now + Duration::from_millis(50)));
    assert_eq!(timers.take_expired(now + Duration::from_secs(1)), [id(7)]);
    assert_eq!((timers.next(), timers.instants.len()), (None, 0));
}

#[test]
fn more_timers_than_one_iteration_calls_are_left_for_the_next() {
    let now = Instant::now();
    let mut timers = Timers::default();
    let count = MAX_EXPIRED + 5;
    (0..count).for_each(|index| timers.set(id(index), now));
    let first: Vec<ConnectionId> = (0..MAX_EXPIRED).map(id).collect();
    let rest: Vec<ConnectionId> = (MAX_EXPIRED..count).map(id).collect();
    assert_eq!((timers.take_expired(now), timers.next()), (first, Some(now)));
    assert_eq!((timers.take_expired(now), timers.next()), (rest, None));
}
