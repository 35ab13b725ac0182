//! Decides which silent connections are pinged now, so that pings are spread evenly and none is late.
//!
//! A connection may be pinged after half the interval of silence, and must be at its end. Connections that fell silent
//! together would all be due together, and a million pings at once starve the work that peers wait for. So the sweep,
//! which visits each connection once a second, counts the silent ones by the age of their silence. From that follows
//! the least steady rate at which none is late: for each deadline, the number of connections that have it or an earlier
//! one, over the time until it. Within that budget, the connection with the oldest silence is pinged first.
//!
//! A reactor with little to do sends pings earlier than it has to, so that it has few to send when it is busy: a busy
//! reactor takes only near deadlines into account.

use super::deadlines::Deadlines;

/// The number of classes of ages.
const STEPS: usize = 64;

/// A ping is sent this long before the end of the interval, whatever the budget says: a connection is visited once in a
/// round of a second, and a round may begin late.
const SLACK_TICKS: u32 = 8;

/// A deadline is near if it is less than this part of the interval away: one in `NEAR`.
const NEAR: u32 = 4;

/// The budget of pings of a reactor.
#[derive(Debug)]
pub(super) struct Pings {
    /// The age of silence from which a ping may be sent, and the age at which it must be. The largest value means
    /// never.
    from_ticks: u32,
    until_ticks: u32,
    /// The age at which a ping is sent while there is little to do.
    target_ticks: u32,
    /// The length of a class, as a power of two.
    shift: u32,
    /// The silent connections that the sweep has visited in this round, by age.
    ages: [u32; STEPS],
    /// The age from which a ping is sent in this round, while the budget lasts.
    oldest_ticks: u32,
    /// The pings that may still be sent in this round.
    budget: f32,
    round_began: u32,
    /// The reactor is busy: only near deadlines count.
    pub(super) is_yielding: bool,
}

impl Pings {
    /// Creates the budget for the ping interval of `deadlines`.
    pub(super) fn new(deadlines: &Deadlines) -> Self {
        let (from_ticks, until_ticks) = match deadlines.ping_window_ticks() {
            None => (u32::MAX, u32::MAX),
            Some((from_ticks, until_ticks)) => (from_ticks, until_ticks.saturating_sub(SLACK_TICKS).max(from_ticks)),
        };
        let mut shift = 0;
        while (until_ticks >> shift) as usize >= STEPS {
            shift += 1;
        }
        let target_ticks = (from_ticks + (until_ticks - from_ticks) / 2).max(1);
        Self {
            from_ticks,
            until_ticks,
            target_ticks,
            shift,
            ages: [0; STEPS],
            oldest_ticks: until_ticks,
            budget: 0.0,
            round_began: 0,
            is_yielding: false,
        }
    }

    /// Returns whether connections are pinged at all.
    pub(super) fn is_on(&self) -> bool {
        self.until_ticks < u32::MAX
    }

    /// Returns whether a connection that has been silent for this long may be pinged.
    pub(super) fn may(&self, age_ticks: u32) -> bool {
        age_ticks > self.from_ticks && self.is_on()
    }

    /// Returns whether a connection that has been silent for this long, without an unanswered ping, is pinged now.
    #[inline]
    pub(super) fn take(&mut self, age_ticks: u32) -> bool {
        if age_ticks >= self.oldest_ticks.min(self.until_ticks) && self.is_due(age_ticks) {
            return true;
        }
        let step = (age_ticks >> self.shift) as usize;
        self.ages[step.min(STEPS - 1)] += 1;
        false
    }

    fn is_due(&mut self, age_ticks: u32) -> bool {
        let must = age_ticks >= self.until_ticks;
        let may = self.budget >= 1.0;
        if must || may {
            self.budget -= 1.0;
        }
        (must || may) && self.is_on()
    }

    /// Begins the next round now: no connection was silent for long enough to be visited.
    pub(super) fn skip_round(&mut self, now_tick: u32) {
        self.round_began = now_tick;
    }

    /// Computes the budget of the next round, after all connections have been visited.
    pub(super) fn end_round(&mut self, now_tick: u32) {
        let round_ticks = now_tick.wrapping_sub(self.round_began).max(1);
        self.round_began = now_tick;
        if !self.is_on() {
            return;
        }
        let (mut silent, mut least) = (0_u32, 0.0_f32);
        for (step, &count) in self.ages.iter().enumerate().rev() {
            silent = silent.saturating_add(count);
            let oldest = (step as u32 + 1) << self.shift;
            let left_ticks = self.until_ticks.saturating_sub(oldest);
            if !self.is_yielding || left_ticks <= self.until_ticks / NEAR {
                least = least.max(silent as f32 / (left_ticks / round_ticks).max(1) as f32);
            }
        }
        if !self.is_yielding {
            // This is the rate at which each connection is pinged when its silence reaches the target.
            least = least.max(silent as f32 * round_ticks as f32 / self.target_ticks as f32);
        }
        // A fraction of a ping is carried over to the next round; an unused budget is not.
        self.budget = self.budget.clamp(0.0, 1.0) + least;
        let mut older = 0.0;
        let youngest = self.ages.iter().enumerate().rev().find(|&(_, &count)| {
            older += count as f32;
            older >= self.budget
        });
        // Each silence is a round older when it is visited again.
        let oldest_ticks = youngest.map_or(0, |(step, _)| ((step as u32) << self.shift).saturating_add(round_ticks));
        self.oldest_ticks = oldest_ticks.clamp(self.from_ticks, self.until_ticks);
        self.ages = [0; STEPS];
    }
}

#[cfg(test)]
#[path = "../tests/net/pings.rs"]
mod tests;
