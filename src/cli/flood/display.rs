//! Shows the progress of a flood on stderr: a bar on a terminal, a line every two seconds elsewhere.

use crate::cli::io::tell;
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};
use steadfast::flood::ledger::{STAGES, Stage};
use steadfast::flood::{Config, Progress};

/// How often a line is printed where there is no terminal for a bar.
const LINE_EVERY: Duration = Duration::from_secs(2);

/// The display of a flood's progress.
pub(super) struct Display {
    bar: Option<ProgressBar>,
    planned: u64,
    last_line: Option<Instant>,
    phase: String,
    /// The total when the phase began.
    before: u64,
}

impl Display {
    pub(super) fn new(config: &Config) -> Self {
        let planned = config.own_connections().len() as u64;
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(planned);
            // The template is a constant and is valid.
            if let Ok(style) = ProgressStyle::with_template("{wide_bar} {msg}") {
                bar.set_style(style);
            }
            bar
        });
        Self { bar, planned, last_line: None, phase: String::new(), before: 0 }
    }

    pub(super) fn show(&mut self, progress: &Progress) {
        let (total, what) = done(progress);
        let is_new = self.phase != progress.phase;
        if is_new {
            progress.phase.clone_into(&mut self.phase);
            self.before = total;
        }
        // Do not count what earlier phases have done.
        let (done, elapsed_s) = (total.saturating_sub(self.before), progress.elapsed.as_secs_f64());
        let stages: Vec<String> = STAGES
            .iter()
            .zip(progress.counts.stages)
            .filter(|(_, count)| *count > 0)
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        let stages = stages.join(", ");
        if let Some(bar) = &self.bar {
            let rate = if elapsed_s > 0.0 { (done as f64 / elapsed_s) as u64 } else { 0 };
            let (length, at, of) = match progress.length_s {
                Some(length_s) => (length_s, elapsed_s, format!("{elapsed_s:.0} of {length_s} s")),
                None => (self.planned as f64, total as f64, format!("{}/s", HumanCount(rate))),
            };
            bar.update(|state| {
                state.set_len(length.ceil() as u64);
                state.set_pos(at.min(length) as u64);
            });
            bar.set_message(format!("{}: {} {what}, {of}; {stages}", progress.phase, HumanCount(done)));
            return;
        }
        if !is_new && self.last_line.is_some_and(|last| last.elapsed() < LINE_EVERY) {
            return;
        }
        self.last_line = Some(Instant::now());
        tell(&format!("{} {elapsed_s:.1} s: {done} {what}; {stages}", progress.phase));
    }

    pub(super) fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Returns the total that a phase is about, over all phases, and its name.
fn done(progress: &Progress) -> (u64, &'static str) {
    let counts = &progress.counts;
    match progress.kind {
        "ramp" => (counts.opened, "opened"),
        "reply" => (counts.answered, "answered"),
        "check" => (counts.held, "alive"),
        "storm" => (counts.reopened, "opened again"),
        "drain" => (counts.in_stage(Stage::Closed), "closed"),
        "receive" | "slow" => (counts.received, "received"),
        _ => (counts.replies, "replies"),
    }
}
