//! The limit of upgrades per second of one reactor, shared fairly among sources.
//!
//! Sources share the upgrades of a second by max-min fairness: a source that requests no more than its share gets all of
//! them, and sources that request more share the rest. The demand of a source is its average over about the last five
//! seconds; it counts granted and refused requests alike. In every second, sources above their share leave room for the
//! recent demand of the others. A new source may therefore be refused for the rest of the second in which it arrives, but not
//! in the following ones.

use crate::net::sources::Source;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// The most sources with an entry of their own. When the table is full, new sources share one entry.
const MAX_SOURCES: usize = 4096;

/// The factor by which an average decays in a second: it covers about five seconds.
const KEPT_OF_AVERAGE: f64 = 0.8;

/// Averages below this, in requests per second, are removed. The average of a single request decays to it in about 20 s.
const LEAST_AVERAGE: f64 = 0.01;

/// A source; `None` for peers without an address, and for sources that do not fit in the table.
type Key = Option<Source>;

#[derive(Clone, Copy, Debug)]
struct Demand {
    /// The average number of requests per second, before the current second.
    average: f64,
    /// Requests in the previous second.
    asked_last: f64,
    /// Requests in the current second.
    asked: u32,
    /// Upgrades that the source may still get. A share below one accumulates over several seconds.
    credit: f64,
}

/// The state of the limit: the current second, the upgrades granted in it, and the demand of each source.
#[derive(Debug)]
pub(super) struct UpgradeRateLimit {
    began: Instant,
    granted: u32,
    /// How many of them went to sources whose demand is above the share.
    granted_to_greedy: u32,
    /// The share: upgrades per second for each such source.
    share: f64,
    /// Upgrades that are reserved for the other sources.
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

    /// Returns whether `source` may have one more upgrade in the second of `now`, of which there are `max` in all.
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

    /// Updates the averages with the demand of the second that has ended, and computes the shares of the next one. If more
    /// than one of the `seconds` has passed, there was no demand after the first.
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
        // One more than the recent demand, because demand varies from second to second.
        let wanted = if modest > 0.0 { modest.ceil() as u32 + 1 } else { 0 };
        self.reserved = wanted.min(max / 2);
        (self.granted, self.granted_to_greedy) = (0, 0);
    }
}

/// Returns the share at which all demands, each capped at it, add up to `max`; infinity if they are less than `max`.
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
#[path = "../tests/server/admission.rs"]
mod tests;
