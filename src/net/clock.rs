//! The clock of a reactor. Deadlines count ticks, and ticks count time in which the reactor ran.
//!
//! A process that was stopped (SIGSTOP, a paused VM, a frozen control group, a handler that sleeps) did not read what
//! its peers sent meanwhile, so their silence does not count: such a pause is one tick long, however long it took.

use std::time::{Duration, Instant};

/// Length of a tick in milliseconds, and the precision of deadlines.
pub const TICK_MS: u64 = 250;

const TICK: Duration = Duration::from_millis(TICK_MS);

/// A tick that is later than this is not late because of work: the reactor did not run.
const PAUSE: Duration = Duration::from_secs(1);

/// The time, which is read once in each iteration.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// The time of the monotonic clock.
    pub instant: Instant,
    /// Ticks in which the reactor ran, since the reactor started.
    pub tick: u32,
    /// The seconds of those ticks.
    pub second: u32,
}

/// The time that has passed since the clock was last read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Passed {
    pub(super) ticks: u32,
    /// How long the reactor did not run, if that was more than a second.
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

    /// Sets the time to `instant`. `has_deadlines` says that there are connections: without any, a reactor may sleep
    /// for any time, and that is not a pause.
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

    /// Returns the time until the next tick.
    #[inline]
    pub(super) fn until_tick(&self) -> Duration {
        self.next_tick.saturating_duration_since(self.now.instant)
    }
}

/// Adds a time to an instant; returns the instant itself if the sum cannot be represented.
fn after(instant: Instant, time: Duration) -> Instant {
    instant.checked_add(time).unwrap_or(instant)
}

#[cfg(test)]
#[path = "../tests/net/clock.rs"]
mod tests;
