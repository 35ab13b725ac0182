//! The progress of a flood: for the display, and second by second for its report.

use super::latency::Latencies;
use super::ledger::Counts;
use super::report::{Second, States};
use crate::stats::Memory;
use std::time::{Duration, Instant};

/// How often the observer is shown where the flood stands.
pub(super) const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// Where a flood stands.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// The name of the phase.
    pub phase: &'a str,
    /// What it does: `ramp`, `reply`, `hold`, …
    pub kind: &'static str,
    /// How long it will take, if that is known.
    pub length_s: Option<f64>,
    /// For how long it has done that.
    pub elapsed: Duration,
    /// The ledger, all workers together; its stages sum to what was planned.
    pub counts: Counts,
}

/// Takes down how things stand, once a second.
#[derive(Debug)]
pub(super) struct Timeline {
    began: Instant,
    /// What was measured and is in no row yet.
    latencies: Latencies,
    /// The row of the second that has just ended; what the workers measured in it is on its way.
    ending: Option<Second>,
    /// When the next second is over, from the beginning of the flood.
    next_s: u64,
    pub(super) rows: Vec<Second>,
}

impl Timeline {
    pub(super) fn new(began: Instant) -> Self {
        Self { began, latencies: Latencies::default(), ending: None, next_s: 1, rows: Vec::new() }
    }

    pub(super) fn add(&mut self, latencies: &Latencies) {
        self.latencies.add(latencies);
    }

    /// Whether another second is over, whose row is to be begun with [`Timeline::begin_row`].
    pub(super) fn is_due(&self) -> bool {
        self.began.elapsed() >= Duration::from_secs(self.next_s)
    }

    /// Ends the row before, with what has been measured until now.
    pub(super) fn end_row(&mut self) {
        if let Some(mut row) = self.ending.take() {
            row.latencies = std::mem::take(&mut self.latencies);
            row.latencies.pack();
            self.rows.push(row);
        }
    }

    pub(super) fn begin_row(&mut self, phase: &str, counts: &Counts, server_user_bytes: Option<u64>) {
        let memory = Memory::read(None);
        // Seconds that nobody saw have no row.
        self.next_s = self.began.elapsed().as_secs() + 1;
        self.ending = Some(Second {
            at_s: self.began.elapsed().as_secs_f64(),
            phase: phase.to_owned(),
            states: States::from(counts.stages),
            opened: counts.opened + counts.reopened,
            replies: counts.replies,
            received: counts.received,
            latencies: Latencies::default(),
            client_user_bytes: memory.user_bytes,
            server_user_bytes,
            slab_bytes: memory.slab_bytes,
            sockets: memory.sockets,
        });
    }
}
