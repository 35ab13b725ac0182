//! Which silent connections are pinged now, so that pings go out evenly and none is late.
//!
//! A connection may be pinged from half the interval of silence on, and must be at its end. Connections that fell silent
//! together would all be due together; a million pings at once starve the work that peers wait for. So the sweep, which
//! visits each connection once a second, counts the silent ones by the age of their silence. From that follows the least
//! steady rate at which none is late: for each deadline, those that have it or an earlier one, over the time until it.
//! Within that budget the oldest silence is broken first.
//!
//! A reactor with little to do sends pings earlier than it has to, so that one with much to do need send few: then only
//! deadlines that are near count.

use super::clock::TICK_MS;

/// Ages are counted in so many steps.
const STEPS: usize = 64;

/// A connection is visited once in a round of a second, and a round may begin late: so much before the end of the interval
/// a ping is sent whatever the budget says.
const SLACK_TICKS: u32 = 8;

/// A deadline is near if it is less than this part of the interval away.
const NEAR: u32 = 4;

/// The budget of a reactor.
#[derive(Debug)]
pub(super) struct Pings {
    /// The age of silence from which on a ping may be sent, and at which it must be. The largest value stands for never.
    from_ticks: u32,
    until_ticks: u32,
    /// The age at which it is sent while there is little to do.
    target_ticks: u32,
    /// The length of a step, as a power of two.
    shift: u32,
    /// Silent connections that the sweep has visited in this round, by age.
    ages: [u32; STEPS],
    /// The age from which on a ping is sent in this round, while the budget lasts.
    oldest_ticks: u32,
    /// Pings that may still be sent in this round.
    budget: f32,
    round_began: u32,
    /// Peers wait for other work: only deadlines that are near count.
    pub(super) is_yielding: bool,
}

impl Pings {
    /// For an interval in seconds; the largest value means that there are none.
    pub(super) fn new(interval_s: u32) -> Self {
        let ticks = (u64::from(interval_s) * 1000 / TICK_MS).min(u64::from(u32::MAX)) as u32;
        let (from_ticks, until_ticks) = match interval_s {
            u32::MAX => (u32::MAX, u32::MAX),
            _ => (ticks / 2, ticks.saturating_sub(SLACK_TICKS).max(ticks / 2)),
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

    /// Whether connections are pinged at all.
    pub(super) fn is_on(&self) -> bool {
        self.until_ticks < u32::MAX
    }

    /// Whether a connection that has been silent for so long may be pinged.
    pub(super) fn may(&self, age_ticks: u32) -> bool {
        age_ticks > self.from_ticks && self.is_on()
    }

    /// Whether a connection that has been silent for so long, and has no ping to answer, is pinged now.
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

    /// Nobody was silent for long enough to be visited: the next round begins now.
    pub(super) fn skip_round(&mut self, now_tick: u32) {
        self.round_began = now_tick;
    }

    /// All connections have been visited once more: the budget of the next round follows.
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
            // At this rate a silence that is always as long is as long as the target.
            least = least.max(silent as f32 * round_ticks as f32 / self.target_ticks as f32);
        }
        // A part of a ping that was left over counts for the next round; a budget that found nobody silent does not.
        self.budget = self.budget.clamp(0.0, 1.0) + least;
        let mut older = 0.0;
        let youngest = self.ages.iter().enumerate().rev().find(|&(_, &count)| {
            older += count as f32;
            older >= self.budget
        });
        // Until they are visited again they are a round older.
        let oldest_ticks = youngest.map_or(0, |(step, _)| ((step as u32) << self.shift).saturating_add(round_ticks));
        self.oldest_ticks = oldest_ticks.clamp(self.from_ticks, self.until_ticks);
        self.ages = [0; STEPS];
    }
}

#[cfg(test)]
#[path = "../tests/unit/pings.rs"]
mod tests;
