//! The clock of a reactor: what counts as a tick, and what as a pause.

use super::{Clock, Passed};
use std::time::{Duration, Instant};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn ticks_pass_every_250_ms() {
    let began = Instant::now();
    let mut clock = Clock::new(began);
    let ticks: Vec<u32> = [0, 249, 250, 499, 760, 1500].map(|at| clock.advance(began + ms(at), true).ticks).into();
    assert_eq!(ticks, [0, 0, 1, 0, 2, 3]);
    assert_eq!((clock.now.tick, clock.now.second), (6, 1));
    assert_eq!(clock.until_tick(), ms(250));
}

#[test]
fn pause_counts_as_one_tick_and_is_reported() {
    let began = Instant::now();
    let mut clock = Clock::new(began);
    clock.advance(began + ms(600), true);
    let passed = clock.advance(began + ms(120_750), true);
    assert_eq!(passed, Passed { ticks: 1, pause: Some(ms(120_000)) });
    assert_eq!(clock.now.tick, 3);
    // The time after it is counted from its end.
    assert_eq!(clock.advance(began + ms(120_999), true).ticks, 0);
    assert_eq!(clock.advance(began + ms(121_000), true).ticks, 1);
}

#[test]
fn busy_second_is_no_pause() {
    let began = Instant::now();
    let mut clock = Clock::new(began);
    assert_eq!(clock.advance(began + ms(1250), true), Passed { ticks: 5, pause: None });
}

#[test]
fn sleep_without_connections_is_no_pause() {
    let began = Instant::now();
    let mut clock = Clock::new(began);
    assert_eq!(clock.advance(began + ms(3_600_000), false), Passed { ticks: 14_400, pause: None });
    assert_eq!((clock.now.tick, clock.now.second), (14_400, 3600));
}

#[test]
fn clock_that_goes_back_counts_nothing() {
    let began = Instant::now();
    let mut clock = Clock::new(began + ms(5000));
    assert_eq!(clock.advance(began, true), Passed::default());
    assert_eq!(clock.now.tick, 0);
}
