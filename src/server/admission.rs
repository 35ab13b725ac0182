//! How many upgrades a reactor grants in a second, and to whom.
//!
//! The upgrades of a second are shared among sources, as max-min fairness has it: a source that asks for no more than its
//! share gets all that it asks for, and what such sources leave is shared by those that ask for more. What each asks for is
//! known from the seconds before: an average over about five of them, of requests granted and refused alike. In every second
//! the sources that ask for more than their share leave room for what the others have asked for lately; so a source that is
//! new may be refused for the rest of the second in which it comes, and not in those that follow.

use crate::net::sources::Source;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Sources that are told apart; those that come when the table is full are one source together.
const MAX_SOURCES: usize = 4096;

/// What is left of an average after a second: its memory is about five seconds.
const KEPT_OF_AVERAGE: f64 = 0.8;

/// Averages below this, in requests per second, are forgotten: one request is after about twenty seconds.
const LEAST_AVERAGE: f64 = 0.01;

/// A source, `None` for those that have no address, and for those that do not fit in the table.
type Key = Option<Source>;

#[derive(Clone, Copy, Debug)]
struct Demand {
    /// Requests in a second, on average, before this one.
    average: f64,
    /// Requests in the second before this one.
    asked_last: f64,
    /// Requests in this second.
    asked: u32,
    /// What it may still be granted; a share below one adds up over seconds.
    credit: f64,
}

/// The upgrades of one second: when it began, how many there were, and who asked.
#[derive(Debug)]
pub(super) struct UpgradeRateLimit {
    began: Instant,
    granted: u32,
    /// Of those, how many went to sources that ask for more than their share.
    granted_to_greedy: u32,
    /// Upgrades in a second for each of those.
    share: f64,
    /// Upgrades that are left to the others.
    reserved: u32,
    demands: HashMap<Key, Demand>,
}

impl UpgradeRateLimit {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            began: now,
            granted: 0,
            granted_to_greedy: 0,
            share: f64::INFINITY,
            reserved: 0,
            demands: HashMap::new(),
        }
    }

    /// Whether one more for `source` is within its share of `max` for a second.
    pub(super) fn admit(&mut self, max: u32, source: Option<Source>, now: Instant) -> bool {
        let seconds = now.saturating_duration_since(self.began).as_secs();
        if seconds > 0 {
            self.began += Duration::from_secs(seconds);
            self.next_second(max, seconds);
        }
        let is_full = self.demands.len() >= MAX_SOURCES;
        let key = source.filter(|_| !is_full || self.demands.contains_key(&source));
        let share = self.share.max(1.0);
        let demand =
            self.demands.entry(key).or_insert(Demand { average: 0.0, asked_last: 0.0, asked: 0, credit: share });
        demand.asked = demand.asked.saturating_add(1);
        let is_greedy = demand.average > self.share;
        let left_to_others = if is_greedy { self.reserved } else { 0 };
        let is_within = demand.credit >= 1.0
            && self.granted < max
            && (!is_greedy || self.granted_to_greedy < max.saturating_sub(left_to_others));
        if is_within {
            demand.credit -= 1.0;
            self.granted += 1;
            self.granted_to_greedy += u32::from(is_greedy);
        }
        is_within
    }

    /// Takes into the averages what was asked for, and shares the next second by them. With `seconds` above one, nothing
    /// was asked for in those that follow the first.
    fn next_second(&mut self, max: u32, seconds: u64) {
        let kept_later = KEPT_OF_AVERAGE.powf((seconds - 1) as f64);
        self.demands.retain(|_, demand| {
            let average = demand.average * KEPT_OF_AVERAGE + f64::from(demand.asked) * (1.0 - KEPT_OF_AVERAGE);
            demand.average = average * kept_later;
            demand.asked_last = if seconds == 1 { f64::from(demand.asked) } else { 0.0 };
            demand.asked = 0;
            demand.average >= LEAST_AVERAGE
        });
        self.share = share_of(max, self.demands.values().map(|demand| demand.average).collect());
        let mut modest = 0.0;
        for demand in self.demands.values_mut() {
            demand.credit = demand.credit.min(1.0) + self.share;
            modest += if demand.average > self.share { 0.0 } else { demand.average.max(demand.asked_last) };
        }
        // One more than they asked for, since what is asked for differs from second to second.
        let wanted = if modest > 0.0 { modest.ceil() as u32 + 1 } else { 0 };
        self.reserved = wanted.min(max / 2);
        (self.granted, self.granted_to_greedy) = (0, 0);
    }
}

/// The share at which all demands, each cut to it, fill `max`; without an end if they do not.
fn share_of(max: u32, mut demands: Vec<f64>) -> f64 {
    demands.sort_by(f64::total_cmp);
    let mut left = f64::from(max);
    for (at, &demand) in demands.iter().enumerate() {
        let share = left / (demands.len() - at) as f64;
        if demand > share {
            return share;
        }
        left -= demand;
    }
    f64::INFINITY
}

#[cfg(test)]
#[path = "../tests/unit/admission.rs"]
mod tests;
