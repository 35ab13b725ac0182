//! How the upgrades of a second are shared, by a clock of the test's own.

use super::{MAX_SOURCES, UpgradeRateLimit};
use crate::net::sources::{Source, SourcePrefixes};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

fn source(number: u32) -> Option<Source> {
    Some(SourcePrefixes::default().source_of(Ipv4Addr::from_bits(number).into()))
}

/// Has each source ask `per_s` times a second, evenly; returns what each is granted in each second.
fn run(admission: &mut UpgradeRateLimit, began: Instant, max: u32, asks: &[(u32, u32)], seconds: u64) -> Vec<Vec<u32>> {
    let second = |second: u64| {
        let mut all: Vec<(u64, usize)> = Vec::new();
        for (at, &(_, per_s)) in asks.iter().enumerate() {
            all.extend((0..per_s).map(|ask| (1_000_000 * u64::from(ask) / u64::from(per_s), at)));
        }
        // The one that asks most comes first, wherever two ask at once.
        all.sort_by_key(|&(us, at)| (us, std::cmp::Reverse(asks[at].1)));
        let mut granted = vec![0; asks.len()];
        for (us, at) in all {
            let now = began + Duration::from_secs(second) + Duration::from_micros(us);
            granted[at] += u32::from(admission.admit(max, source(asks[at].0), now));
        }
        granted
    };
    (0..seconds).map(second).collect()
}

#[test]
fn a_source_alone_gets_all() {
    let began = Instant::now();
    let mut admission = UpgradeRateLimit::new(began);
    for granted in run(&mut admission, began, 10, &[(1, 90)], 20) {
        assert_eq!(granted, [10]);
    }
}

#[test]
fn a_source_that_asks_for_little_gets_all_of_it() {
    let began = Instant::now();
    let mut admission = UpgradeRateLimit::new(began);
    let rows = run(&mut admission, began, 10, &[(1, 90), (2, 2)], 20);
    for (second, granted) in rows.iter().enumerate() {
        assert!(granted.iter().sum::<u32>() <= 10, "{rows:?}");
        assert!(second == 0 || granted[1] == 2 && granted[0] >= 5, "second {second}: {rows:?}");
    }
}

#[test]
fn sources_that_ask_for_more_share_what_is_left() {
    let began = Instant::now();
    let mut admission = UpgradeRateLimit::new(began);
    let rows = run(&mut admission, began, 20, &[(1, 300), (2, 60), (3, 1)], 40);
    let later = &rows[10..];
    let sum = |at: usize| later.iter().map(|granted| granted[at]).sum::<u32>();
    assert_eq!(sum(2), 30, "{rows:?}");
    // Of 600 upgrades, less what is kept for the one that asks for little.
    assert!(sum(0).abs_diff(sum(1)) <= 30 && sum(0) + sum(1) >= 500, "{} and {}: {rows:?}", sum(0), sum(1));
}

#[test]
fn more_sources_than_upgrades_have_their_turns() {
    let began = Instant::now();
    let mut admission = UpgradeRateLimit::new(began);
    let asks: Vec<(u32, u32)> = (0..20).map(|number| (number, 30)).collect();
    let rows = run(&mut admission, began, 10, &asks, 60);
    for at in 0..20 {
        let granted: u32 = rows[10..].iter().map(|granted| granted[at]).sum();
        assert!((15..=35).contains(&granted), "source {at} got {granted} of about 25: {rows:?}");
    }
}

#[test]
fn a_source_that_comes_seldom_is_remembered() {
    let began = Instant::now();
    let mut admission = UpgradeRateLimit::new(began);
    let mut refused = 0;
    for second in 0..60_u64 {
        let start = began + Duration::from_secs(second);
        (0..90).for_each(|_| {
            admission.admit(10, source(1), start);
        });
        if second % 8 == 0 {
            refused += u32::from(!admission.admit(10, source(2), start + Duration::from_millis(900)));
        }
    }
    assert!(refused <= 1, "{refused} of 8 were refused");
}

#[test]
fn what_is_unused_is_not_saved_up() {
    let began = Instant::now();
    let mut admission = UpgradeRateLimit::new(began);
    let rows = run(&mut admission, began, 10, &[(1, 90), (2, 1)], 5);
    assert!(rows.iter().all(|granted| granted[0] <= 10));
    let later = began + Duration::from_secs(3600);
    let granted = (0..1000).filter(|_| admission.admit(10, source(1), later)).count();
    assert_eq!(granted, 10);
}

#[test]
fn the_table_of_sources_is_bounded() {
    let began = Instant::now();
    let mut admission = UpgradeRateLimit::new(began);
    for number in 0..3 * MAX_SOURCES as u32 {
        admission.admit(10, source(number), began + Duration::from_millis(u64::from(number) / 10));
        assert!(admission.demands.len() <= MAX_SOURCES + 1);
    }
    // All are forgotten when none asks.
    admission.admit(10, source(0), began + Duration::from_secs(1000));
    assert_eq!(admission.demands.len(), 1);
}
