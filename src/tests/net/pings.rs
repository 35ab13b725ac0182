//! The budget of pings: simulated populations of connections, a round of the sweep each second.

use super::{Deadlines, Pings};
use proptest::prelude::*;

const ROUND_TICKS: u32 = 4;

fn with_interval(ping_s: u32) -> Deadlines {
    Deadlines { ping_s, ..Deadlines::default() }
}

/// Connections by the tick of their last sign of life; each ping is answered at once.
struct Population {
    pings: Pings,
    alive_at: Vec<u32>,
    tick: u32,
    /// The longest silence before a ping, and the shortest.
    longest_ticks: u32,
    shortest_ticks: u32,
}

impl Population {
    /// The last connection has spoken just now.
    fn new(interval_s: u32, alive_at: Vec<u32>) -> Self {
        let tick = alive_at.iter().copied().max().unwrap_or(0);
        Self {
            pings: Pings::new(&with_interval(interval_s)),
            alive_at,
            tick,
            longest_ticks: 0,
            shortest_ticks: u32::MAX,
        }
    }

    /// One round; returns how many were pinged.
    fn round(&mut self) -> usize {
        self.tick += ROUND_TICKS;
        let mut pinged = 0;
        for alive_at in &mut self.alive_at {
            let age = self.tick.saturating_sub(*alive_at);
            if self.pings.take(age) {
                self.longest_ticks = self.longest_ticks.max(age);
                self.shortest_ticks = self.shortest_ticks.min(age);
                *alive_at = self.tick;
                pinged += 1;
            }
        }
        self.pings.end_round(self.tick);
        pinged
    }

    fn rounds(&mut self, count: usize) -> Vec<usize> {
        (0..count).map(|_| self.round()).collect()
    }
}

/// The most in any ten seconds over the mean of all from the first ping on.
fn unevenness(rounds: &[usize]) -> f64 {
    let first = rounds.iter().position(|&count| count > 0).expect("a ping");
    let rounds = &rounds[first..];
    let most = rounds.windows(10).map(|window| window.iter().sum::<usize>()).max().expect("ten seconds") as f64;
    let mean = rounds.iter().sum::<usize>() as f64 / rounds.len() as f64;
    most / 10.0 / mean
}

/// As a million are opened and answered: one after the other within 18 s, spread over the reactors.
#[test]
fn pings_of_connections_answered_within_18_s_are_even() {
    let mut population = Population::new(45, (0..19_000).map(|at| 72 * at / 19_000).collect());
    let rounds = population.rounds(300);
    assert!(unevenness(&rounds) <= 1.3, "{} {rounds:?}", unevenness(&rounds));
    assert!(population.longest_ticks <= 45 * 4, "{}", population.longest_ticks);
    assert!(population.shortest_ticks >= 45 * 2, "{}", population.shortest_ticks);
}

/// The same in an order that the sweep does not have.
#[test]
fn pings_are_even_whatever_the_order_of_the_slots() {
    let mut population = Population::new(45, (0..19_000).map(|at| at * 7919 % 19_000 * 72 / 19_000).collect());
    let rounds = population.rounds(300);
    assert!(unevenness(&rounds) <= 1.3, "{} {rounds:?}", unevenness(&rounds));
    assert!(population.longest_ticks <= 45 * 4, "{}", population.longest_ticks);
}

#[test]
fn connections_that_fall_silent_at_once_are_pinged_over_the_second_half_of_the_interval() {
    let mut population = Population::new(45, vec![0; 10_000]);
    let rounds = population.rounds(44);
    assert_eq!(rounds[..21].iter().sum::<usize>(), 0);
    assert_eq!(rounds.iter().sum::<usize>(), 10_000);
    let most = rounds.iter().copied().max().unwrap_or(0);
    assert!(most <= 10_000 / 15, "{most} in one round: {rounds:?}");
}

#[test]
fn reactor_that_yields_plans_for_near_deadlines_alone() {
    let mut population = Population::new(45, vec![0; 1000]);
    population.pings.is_yielding = true;
    let rounds = population.rounds(44);
    assert_eq!(rounds[..31].iter().sum::<usize>(), 0, "{rounds:?}");
    assert_eq!(rounds.iter().sum::<usize>(), 1000, "{rounds:?}");
    let most = rounds.iter().copied().max().unwrap_or(0);
    assert!(most <= 1000 / 8, "{most} in one round: {rounds:?}");
}

/// What was sent early while there was little to do need not be sent when there is much: the load of twelve seconds meets fewer
/// pings.
#[test]
fn reactor_that_was_idle_before_it_yields_sends_few() {
    let mut population = Population::new(45, (0..19_000).map(|at| 72 * at / 19_000).collect());
    let idle: usize = population.rounds(200)[188..].iter().sum();
    population.pings.is_yielding = true;
    let busy: usize = population.rounds(12).iter().sum();
    assert!(busy * 5 <= idle * 3, "{busy} in twelve busy rounds, {idle} in twelve idle ones");
    assert!(population.longest_ticks <= 45 * 4, "{}", population.longest_ticks);
}

#[test]
fn interval_without_limit_means_no_pings() {
    let mut population = Population::new(u32::MAX, vec![0; 10]);
    population.tick = u32::MAX - 10 * ROUND_TICKS;
    assert_eq!(population.rounds(8).iter().sum::<usize>(), 0);
    assert!(!population.pings.is_on());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 100, ..ProptestConfig::default() })]

    /// Whatever was said when: each connection is pinged after half the interval of silence, and before its end.
    #[test]
    fn no_ping_is_early_and_none_is_late(
        interval_s in 2..400_u32,
        alive_at in prop::collection::vec(0..2000_u32, 1..200),
    ) {
        let mut population = Population::new(interval_s, alive_at);
        for alive_at in &mut population.alive_at {
            *alive_at = (*alive_at).max(population.tick.saturating_sub(interval_s * 2));
        }
        population.rounds(3 * interval_s as usize);
        prop_assert!(population.longest_ticks <= (interval_s * 4).max(8), "{}", population.longest_ticks);
        prop_assert!(population.shortest_ticks >= interval_s * 2, "{}", population.shortest_ticks);
        let silent = population.tick - population.alive_at.iter().copied().min().expect("one");
        prop_assert!(silent < interval_s * 4 + ROUND_TICKS, "{silent} without a ping");
    }
}
