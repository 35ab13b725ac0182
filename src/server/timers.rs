//! Timers of connections: at most one for each, in the order in which they expire.

use crate::net::slots::ConnectionId;
use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

/// Timers that are called in one iteration of the reactor; other work is done before the next ones.
const MAX_EXPIRED: usize = 128;

/// The timers of one reactor. A connection without one is nowhere in it.
#[derive(Debug, Default)]
pub(super) struct Timers {
    /// Connections by the time at which their timer expires. The index makes each key unique.
    expirations: BTreeMap<(Instant, usize), ConnectionId>,
    /// When the timer of a connection expires, by the index of the connection.
    instants: HashMap<usize, Instant>,
}

impl Timers {
    /// Sets the timer of a connection, in place of the one that it has.
    pub(super) fn set(&mut self, id: ConnectionId, at: Instant) {
        self.cancel(id);
        self.instants.insert(id.index(), at);
        self.expirations.insert((at, id.index()), id);
    }

    /// Cancels the timer of a connection. Returns whether there was one.
    #[inline]
    pub(super) fn cancel(&mut self, id: ConnectionId) -> bool {
        if self.instants.is_empty() {
            return false;
        }
        let Some(at) = self.instants.remove(&id.index()) else { return false };
        self.expirations.remove(&(at, id.index())).is_some()
    }

    /// Returns the time at which the next timer expires.
    pub(super) fn next(&self) -> Option<Instant> {
        self.expirations.first_key_value().map(|(&(at, _), _)| at)
    }

    /// Removes the timers that have expired at `now`, the earliest first, and returns their connections. There may be more.
    pub(super) fn take_expired(&mut self, now: Instant) -> Vec<ConnectionId> {
        let mut expired = Vec::new();
        while expired.len() < MAX_EXPIRED
            && let Some(first) = self.expirations.first_entry().filter(|first| first.key().0 <= now)
        {
            let id = first.remove();
            self.instants.remove(&id.index());
            expired.push(id);
        }
        expired
    }
}

#[cfg(test)]
#[path = "../tests/server/timers.rs"]
mod tests;
