//! A hostile kernel: the server, and often the flood too, run with their system calls replaced by `kernel.c`, which
//! refuses, shortens, reorders and interrupts them by seed, and owes the edges that a kernel would owe.
//!
//! Each scenario runs with seeds 1 to 20. `FAULTS_SEEDS=7` or `FAULTS_SEEDS=21-500` chooses others; scripts/faults.sh
//! runs many.

mod broadcast;
mod host;
mod peer;
mod plan;
mod scenarios;

use host::{KINDS, Report};
use peer::Outcome;
use plan::Plan;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// Runs under way at a time in each scenario: they wait most of the time.
const AT_A_TIME: usize = 3;

fn seeds() -> RangeInclusive<u64> {
    let Ok(text) = std::env::var("FAULTS_SEEDS") else { return 1..=20 };
    let (first, last) = text.split_once('-').unwrap_or((&text, &text));
    first.parse().expect("FAULTS_SEEDS: a number")..=last.parse().expect("FAULTS_SEEDS: a number")
}

/// Runs a scenario with all seeds, and fails with those that did not go well.
fn run(name: &str, scenario: impl Fn(&Plan) -> Outcome<Report> + Sync) {
    let seeds = seeds();
    let next = AtomicU64::new(*seeds.start());
    let failed = Mutex::new(Vec::new());
    let injected = Mutex::new(BTreeMap::new());
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed > *seeds.end() {
                return;
            }
            let plan = Plan::new(seed);
            match scenario(&plan) {
                // Read by scripts/faults.sh.
                Ok(report) => {
                    println!("ok {name} {seed}: {} edges delivered", report.count("paid"));
                    let mut sums = injected.lock().expect("sums");
                    KINDS.iter().for_each(|kind| *sums.entry(*kind).or_insert(0) += report.count(kind));
                }
                Err(failure) => {
                    println!("FAILED {name} {seed}: {failure}\n  {plan:?}\n  again: scripts/faults.sh --seed {seed}");
                    failed.lock().expect("a list").push(seed);
                }
            }
        }
    };
    thread::scope(|scope| (0..AT_A_TIME).for_each(|_| drop(scope.spawn(work))));
    let failed = failed.into_inner().expect("a list");
    assert!(failed.is_empty(), "{name}: seeds {failed:?} failed; FAULTS_SEEDS=N runs one again");
    // With the seeds that are usual one of these that was never injected is one that the library has lost.
    let injected = injected.into_inner().expect("sums");
    let often = ["again", "shorten", "eintr", "reset", "owed", "paid"];
    let missing: Vec<_> = often.iter().filter(|kind| injected.get(**kind).is_none_or(|count| *count == 0)).collect();
    assert!(missing.is_empty() || std::env::var_os("FAULTS_SEEDS").is_some(), "{name}: never injected: {missing:?}");
}

#[test]
fn echo() {
    run("echo", scenarios::echo);
}

#[test]
fn pipelined() {
    run("pipelined", scenarios::pipelined);
}

#[test]
fn compression() {
    run("compression", scenarios::compression);
}

#[test]
fn broadcast() {
    run("broadcast", broadcast::broadcast);
}

#[test]
fn bodies() {
    run("bodies", scenarios::bodies);
}

#[test]
fn storm_and_drain() {
    run("storm_and_drain", scenarios::storm_and_drain);
}
