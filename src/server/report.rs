//! What a program that embeds a server may want to see, as records of the crate `log`: start, stop, drain, failures. It exists
//! with the feature `log` alone, and nothing in it is called for a message or, below a panic, for a connection.

use crate::net::counters::Counters;
use crate::net::fd_table::Plan;
use crate::net::listener::Endpoint;
use std::time::{Duration, Instant};

/// The target of all records.
const TARGET: &str = "steadfast::server";

/// After a report that a reactor does not accept, so long without the next one.
const QUIET: Duration = Duration::from_secs(10);

/// A server accepts connections.
pub(super) fn started(endpoints: &[Endpoint], plan: Plan) {
    let places: Vec<String> = endpoints.iter().map(ToString::to_string).collect();
    let places = places.join(" ");
    log::info!(
        target: TARGET,
        "listening on {places} with {} reactors for {} connections",
        plan.reactors,
        plan.max_connections
    );
}

/// A server was told to stop.
pub(super) fn stopping() {
    log::info!(target: TARGET, "stopping: closing all connections");
}

/// A server was told to drain.
pub(super) fn draining() {
    log::info!(target: TARGET, "draining: closing connections one after the other");
}

/// All reactors have ended.
pub(super) fn ended() {
    log::info!(target: TARGET, "stopped: all reactors have ended");
}

/// A reactor could not go on.
pub(super) fn reactor_failed(text: &str) {
    log::error!(target: TARGET, "the server ends: {text}");
}

/// A handler, a responder or a hook panicked.
pub(super) fn panicked() {
    log::error!(target: TARGET, "a handler panicked; its connection is closed with 1011, or its request answered with 500");
}

/// Finds out from the counters of a reactor that it does not accept connections.
#[derive(Debug, Default)]
pub(super) struct AcceptWatch {
    for_errors: u64,
    for_places: u64,
    reported_at: Option<Instant>,
}

impl AcceptWatch {
    /// Looks at the counters; called at each tick.
    pub(super) fn look(&mut self, reactor: u16, counters: &Counters, now: Instant) {
        let (errors, places) = (counters.accept_paused_error.value(), counters.accept_paused_full.value());
        let (has_errors, is_full) = (errors > self.for_errors, places > self.for_places);
        (self.for_errors, self.for_places) = (errors, places);
        let is_quiet = self.reported_at.is_some_and(|at| now.saturating_duration_since(at) < QUIET);
        if is_quiet || !(has_errors || is_full) {
            return;
        }
        self.reported_at = Some(now);
        if has_errors {
            log::warn!(
                target: TARGET,
                "reactor {reactor} cannot accept connections: no descriptor or no memory is left; they wait in the listen queue"
            );
        } else {
            log::warn!(
                target: TARGET,
                "reactor {reactor} accepts no connections: it has as many as it may have; they wait in the listen queue"
            );
        }
    }
}
