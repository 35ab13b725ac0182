//! Draining: closes the connections of a reactor one after the other over some time, so that the clients do not all
//! reconnect to the next server at once.

use super::slot::HandlerSlot;
use crate::net::conn::{Cause, Deadline};
use crate::net::reactor::Core;
use crate::net::sweep::TICK_MS;
use crate::proto::close::CloseCode;
use crate::proto::http_write::{HttpResponse, RequestInfo};
use crate::proto::session::State;
use std::time::Duration;

/// The progress of a drain.
#[derive(Debug)]
pub(super) struct Drain {
    /// The tick at which it began. Ticks count time in which the reactor ran, so a pause does not take from peers the time to
    /// answer a Close.
    began_tick: u32,
    /// The time over which connections are closed.
    spread: Duration,
    /// How many connections were open at the beginning.
    total: usize,
    /// How many have been closed, and the next index of the slab to look at.
    closed: usize,
    cursor: usize,
}

impl Drain {
    /// Begins a drain that closes connections over `spread`.
    pub(super) fn new(core: &Core<HandlerSlot>, spread: Duration) -> Self {
        Self { began_tick: core.now().tick, spread, total: core.connections(), closed: 0, cursor: 0 }
    }

    /// Has all remaining connections closed at once. The time until connections are reset still counts from the beginning.
    pub(super) fn hurry(&mut self) {
        self.spread = Duration::ZERO;
    }

    /// Closes as many connections as are due, and resets the remaining ones when `hard` has passed since the beginning.
    pub(super) fn go_on(&mut self, core: &mut Core<HandlerSlot>, hard: Duration) {
        let now = core.now();
        let elapsed = Duration::from_millis(u64::from(now.tick.wrapping_sub(self.began_tick)) * TICK_MS);
        let due = match elapsed.as_secs_f64() / self.spread.as_secs_f64() {
            share if share < 1.0 => (self.total as f64 * share) as usize,
            _ => usize::MAX, // also if `spread` is zero (NaN or infinity)
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

/// Closes a WebSocket with 1001, and any other connection once its queued output is sent. Returns whether there is a
/// connection at this index.
fn say_good_bye(core: &mut Core<HandlerSlot>, index: usize) -> bool {
    let Some(id) = core.at(index).map(|(id, _)| id) else { return false };
    core.with(id, |conn| {
        // The 503 closes the connection by itself, and input that has not been read does not reset it (see `net::closing`).
        if conn.is_deferred() {
            return conn.respond(&HttpResponse { body: b"", ..HttpResponse::refusal(503) }, RequestInfo::default());
        }
        conn.close(CloseCode::GOING_AWAY, "server stops");
        if conn.session_state() != State::Closing {
            conn.end(Cause::EndOfStream);
        }
    })
    .is_some()
}
