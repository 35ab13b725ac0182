//! The progress of a flood: for a display while it runs, and second by second for its report.

use super::latency::Latencies;
use super::ledger::Counts;
use super::report::{Second, States};
use crate::stats::Memory;
use std::time::{Duration, Instant};

/// How often the observer is called.
pub(super) const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// The state of a running flood, for a display.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// The name of the phase.
    pub phase: &'a str,
    /// The kind of the phase: `ramp`, `reply`, `hold`, …
    pub kind: &'static str,
    /// The length of the phase in seconds, if it is known.
    pub length_s: Option<f64>,
    /// How long the phase has run.
    pub elapsed: Duration,
    /// The counts of all workers together; the stages sum to the planned connections.
    pub counts: Counts,
}

/// Builds the timeline of the report, one row per second.
#[derive(Debug)]
pub(super) struct Timeline {
    began: Instant,
    /// Latencies that are in no row yet.
    latencies: Latencies,
    /// The row of the second that has just ended; the workers are still sending its samples.
    ending: Option<Second>,
    /// The end of the next second, counted from the start of the flood.
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

    /// Returns whether another second is over, so that [`Timeline::begin_row`] is due.
    pub(super) fn is_due(&self) -> bool {
        self.began.elapsed() >= Duration::from_secs(self.next_s)
    }

    /// Completes the previous row with the latencies that arrived since.
    pub(super) fn end_row(&mut self) {
        if let Some(mut row) = self.ending.take() {
            row.latencies = std::mem::take(&mut self.latencies);
            row.latencies.pack();
            self.rows.push(row);
        }
    }

    pub(super) fn begin_row(&mut self, phase: &str, counts: &Counts, server_user_bytes: Option<u64>) {
        let memory = Memory::read(None);
        // Seconds during which the coordinator did not run have no row.
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
