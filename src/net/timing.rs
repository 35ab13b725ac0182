//! The timing of a reactor: how long it sleeps, and what follows when a tick has passed.

use super::core::Core;
use super::{date, sys};
use std::time::{Duration, Instant, SystemTime};

/// For this long after a pause, in ticks, control frames that peers sent meanwhile may arrive all at once.
const CATCH_UP_TICKS: u32 = 20;

impl<S> Core<S> {
    /// Returns how long to sleep at most.
    pub(super) fn timeout(&mut self) -> Option<Duration> {
        let accepting = !self.accept_paused && self.listeners.iter().any(|listener| listener.ready);
        if !self.ready.is_empty() || accepting || std::mem::take(&mut self.is_busy) {
            return Some(Duration::ZERO);
        }
        let has_deadlines = !self.slots.is_empty() || !self.refusals.is_empty();
        let tick = (has_deadlines || self.accept_paused).then(|| self.clock.until_tick());
        let wake = self.wake_at.map(|at| at.saturating_duration_since(self.context.now.instant));
        match (tick, wake) {
            (Some(tick), Some(wake)) => Some(tick.min(wake)),
            (tick, wake) => tick.or(wake),
        }
    }

    /// Waits for the last part of a timeout that ends at an instant, and returns the rest of it for epoll_wait(2). That
    /// call counts milliseconds and rounds up, so it waits for all but the last millisecond, and ppoll(2) for the rest.
    pub(super) fn wait_exactly(&mut self, timeout: Option<Duration>) -> Option<Duration> {
        let Some(left) = timeout.filter(|left| self.wake_at.is_some() && !left.is_zero()) else { return timeout };
        let left = left.saturating_sub(self.context.now.instant.elapsed()); // the iteration took some of it
        if left >= Duration::from_millis(1) {
            return Some(Duration::from_millis(left.as_millis() as u64));
        }
        sys::wait_readable(&self.poll, left);
        Some(Duration::ZERO)
    }

    /// Reads the clock; returns how many ticks have passed.
    pub(super) fn read_clock(&mut self) -> u32 {
        // Without connections there are no deadlines, and any sleep is fine.
        let has_deadlines = !self.slots.is_empty() || !self.refusals.is_empty();
        let passed = self.clock.advance(Instant::now(), has_deadlines);
        self.context.now = self.clock.now;
        self.context.output.now_s = self.context.now.second;
        if self.wake_at.is_some_and(|at| at <= self.context.now.instant) {
            self.wake_at = None;
        }
        if passed.ticks > 0 {
            self.pass_ticks(passed.pause);
        }
        passed.ticks
    }

    fn pass_ticks(&mut self, pause: Option<Duration>) {
        self.accept_paused = false;
        self.refusals.pass_tick(self.context.now.tick);
        if !self.listeners.is_empty() {
            self.write_date();
        }
        if let Some((until_tick, max_frames)) = self.catches_up
            && self.context.now.tick >= until_tick
        {
            self.context.settings.limits.max_control_frames_per_s = max_frames;
            self.catches_up = None;
        }
        if let Some(pause) = pause {
            self.context.counters.pauses.add(1);
            self.context.counters.paused_ms.add(pause.as_millis() as u64);
            self.widen_limits(pause);
        }
    }

    /// Raises the limit on control frames after a pause: peers may have sent as many in each of its seconds, and all
    /// are read in one.
    fn widen_limits(&mut self, pause: Duration) {
        let max_frames = &mut self.context.settings.limits.max_control_frames_per_s;
        let was_set = self.catches_up.map_or(*max_frames, |(_, was_set)| was_set);
        let seconds = u16::try_from(pause.as_secs()).unwrap_or(u16::MAX).saturating_add(2);
        *max_frames = (*max_frames).max(was_set.saturating_mul(seconds));
        self.catches_up = Some((self.context.now.tick.saturating_add(CATCH_UP_TICKS), was_set));
    }

    /// Writes the date for responses: RFC 9110 section 6.6.1 requires one where the clock has it.
    pub(super) fn write_date(&mut self) {
        self.context.output.default_headers.date = date::format(SystemTime::now()).unwrap_or_default();
    }
}
