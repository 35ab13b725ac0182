//! A server that goes away without haste: its connections are closed one after the other over some time, so that they do
//! not all come to its successor at once.

use super::slot::HandlerSlot;
use crate::net::conn::{Cause, Deadline};
use crate::net::reactor::Core;
use crate::net::sweep::TICK_MS;
use crate::proto::close::CloseCode;
use crate::proto::http_write::{Answer, RequestInfo};
use crate::proto::session::State;
use std::time::Duration;

/// How far it has come.
#[derive(Debug)]
pub(super) struct Drain {
    /// Ticks count time in which the reactor ran: a pause leaves peers the time to answer a Close.
    began_tick: u32,
    /// The time over which connections are closed.
    spread: Duration,
    /// How many connections there were.
    total: usize,
    /// How many have been closed, and the place of the slab to look at next.
    closed: usize,
    cursor: usize,
}

impl Drain {
    /// A drain that closes connections over `spread`.
    pub(super) fn new(core: &Core<HandlerSlot>, spread: Duration) -> Self {
        Self { began_tick: core.now().tick, spread, total: core.connections(), closed: 0, cursor: 0 }
    }

    /// Closes what is left at once. The time until connections are reset still counts from the beginning.
    pub(super) fn hurry(&mut self) {
        self.spread = Duration::ZERO;
    }

    /// Closes as many as are due, and resets what is left when `hard` has passed since the beginning.
    pub(super) fn go_on(&mut self, core: &mut Core<HandlerSlot>, hard: Duration) {
        let now = core.now();
        let elapsed = Duration::from_millis(u64::from(now.tick.wrapping_sub(self.began_tick)) * TICK_MS);
        let due = match elapsed.as_secs_f64() / self.spread.as_secs_f64() {
            share if share < 1.0 => (self.total as f64 * share) as usize,
            _ => usize::MAX, // so too where there is no time
        };
        while self.closed < due && self.cursor < core.end_index() {
            self.closed += usize::from(say_good_bye(core, self.cursor));
            self.cursor += 1;
        }
        if elapsed >= hard {
            core.reset_all(Cause::Deadline(Deadline::Close));
        } else if core.connections() > 0 {
            core.wake_at(now.instant + Duration::from_millis(TICK_MS));
        }
    }
}

/// A WebSocket is closed with 1001; all others end when what is queued for them has gone.
/// Returns whether there was one.
fn say_good_bye(core: &mut Core<HandlerSlot>, index: usize) -> bool {
    let Some(id) = core.at(index).map(|(id, _)| id) else { return false };
    core.with(id, |conn| {
        // An answer that closes is an end of its own, which lingers for what has not been read.
        if conn.is_deferred() {
            return conn.answer(&Answer { body: b"", ..Answer::refusal(503) }, RequestInfo::default());
        }
        conn.close(CloseCode::GOING_AWAY, "server stops");
        if conn.session_state() != State::Closing {
            conn.end(Cause::EndOfStream);
        }
    })
    .is_some()
}
