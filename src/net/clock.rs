//! The clock of a reactor. Deadlines count ticks, and ticks count time in which the reactor ran.
//!
//! A process that was stopped (SIGSTOP, a paused VM, a frozen control group, a handler that sleeps) has not heard what
//! its peers said meanwhile. Their silence is not theirs: such a pause is one tick long, however long it took.

use std::time::{Duration, Instant};

/// Length of a tick, and so how exact a deadline is.
pub const TICK_MS: u64 = 250;

const TICK: Duration = Duration::from_millis(TICK_MS);

/// A tick that comes later than this was not late because of work: the reactor did not run.
const PAUSE: Duration = Duration::from_secs(1);

/// The time, read once an iteration.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// As a point in time.
    pub instant: Instant,
    /// Ticks in which the reactor ran, since it began.
    pub tick: u32,
    /// The same in seconds.
    pub second: u32,
}

/// What has passed since the clock was read before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Passed {
    pub(super) ticks: u32,
    /// For how long the reactor did not run, if it was more than a second.
    pub(super) pause: Option<Duration>,
}

/// Counts the ticks.
#[derive(Debug)]
pub(super) struct Clock {
    pub(super) now: Now,
    next_tick: Instant,
    ticks: u64,
}

impl Clock {
    pub(super) fn new(instant: Instant) -> Self {
        let now = Now { instant, tick: 0, second: 0 };
        Self { now, next_tick: after(instant, TICK), ticks: 0 }
    }

    /// Moves on to `instant`. A reactor without connections sleeps as long as it likes: it `has_deadlines` only with some.
    #[inline]
    pub(super) fn advance(&mut self, instant: Instant, has_deadlines: bool) -> Passed {
        self.now.instant = instant;
        if instant < self.next_tick { Passed::default() } else { self.pass(instant, has_deadlines) }
    }

    fn pass(&mut self, instant: Instant, has_deadlines: bool) -> Passed {
        let late = instant.saturating_duration_since(self.next_tick);
        let pause = (has_deadlines && late > PAUSE).then_some(late);
        let ticks = if pause.is_some() { 1 } else { 1 + late.as_millis() as u64 / TICK_MS };
        self.next_tick = match pause {
            Some(_) => after(instant, TICK),
            None => after(self.next_tick, Duration::from_millis(ticks * TICK_MS)),
        };
        self.ticks += ticks;
        self.now.tick = self.ticks as u32;
        self.now.second = (self.ticks * TICK_MS / 1000) as u32;
        Passed { ticks: u32::try_from(ticks).unwrap_or(u32::MAX), pause }
    }

    /// How long it is until the next tick.
    #[inline]
    pub(super) fn until_tick(&self) -> Duration {
        self.next_tick.saturating_duration_since(self.now.instant)
    }
}

/// A clock that cannot count so far stays where it is.
fn after(instant: Instant, time: Duration) -> Instant {
    instant.checked_add(time).unwrap_or(instant)
}

#[cfg(test)]
#[path = "../tests/unit/clock.rs"]
mod tests;
