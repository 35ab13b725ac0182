//! Where a flood stands: a bar on a terminal, a line every other second elsewhere; both on stderr.

use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};
use steadfast::flood::ledger::{STAGES, Stage};
use steadfast::flood::{Config, Progress};

/// How often a plain line tells where the flood stands, where there is no terminal to draw a bar on.
const LINE_EVERY: Duration = Duration::from_secs(2);

/// A bar on a terminal, a line every other second elsewhere; both on stderr.
pub(super) struct Display {
    bar: Option<ProgressBar>,
    planned: u64,
    last_line: Option<Instant>,
    phase: String,
}

impl Display {
    pub(super) fn new(config: &Config) -> Self {
        let planned = config.own_connections().len() as u64;
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(planned);
            // The template is a constant, and known to be right.
            if let Ok(style) = ProgressStyle::with_template("{wide_bar} {msg}") {
                bar.set_style(style);
            }
            bar
        });
        Self { bar, planned, last_line: None, phase: String::new() }
    }

    pub(super) fn show(&mut self, progress: &Progress) {
        let is_new = self.phase != progress.phase;
        if is_new {
            progress.phase.clone_into(&mut self.phase);
        }
        let counts = &progress.counts;
        let (done, what) = match progress.kind {
            "ramp" => (counts.opened, "opened"),
            "reply" => (counts.answered, "answered"),
            "check" => (counts.held, "alive"),
            "storm" => (counts.reopened, "opened again"),
            "drain" => (counts.in_stage(Stage::Closed), "closed"),
            "rate" => (counts.replies, "replies"),
            "receive" | "slow" => (counts.received, "received"),
            _ => (progress.elapsed.as_secs_f64() as u64, "seconds held"),
        };
        let elapsed_s = progress.elapsed.as_secs_f64();
        let rate = if elapsed_s > 0.0 { (done as f64 / elapsed_s) as u64 } else { 0 };
        let open = self.planned
            - counts.in_stage(Stage::Planned)
            - counts.in_stage(Stage::Closed)
            - counts.in_stage(Stage::Lost);
        let lost = counts.in_stage(Stage::Lost);
        let held = format!("{} held, {} lost", HumanCount(open), HumanCount(lost));
        if let Some(bar) = &self.bar {
            let (length, at, of) = match progress.length_s {
                Some(length_s) => {
                    (length_s, elapsed_s, format!("{elapsed_s:.0} of {length_s} s, {} {what}", HumanCount(done)))
                }
                None => {
                    (self.planned as f64, done as f64, format!("{} {what}, {}/s", HumanCount(done), HumanCount(rate)))
                }
            };
            bar.update(|state| {
                state.set_len(length.ceil() as u64);
                state.set_pos(at.min(length) as u64);
            });
            bar.set_message(format!("{}: {of}; {held}", progress.phase));
            return;
        }
        if !is_new && self.last_line.is_some_and(|last| last.elapsed() < LINE_EVERY) {
            return;
        }
        self.last_line = Some(Instant::now());
        let stages: Vec<String> = STAGES
            .iter()
            .zip(counts.stages)
            .filter(|(_, count)| *count > 0)
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        crate::cli::tell(&format!("{} {elapsed_s:.1} s: {done} {what}; {}", progress.phase, stages.join(", ")));
    }

    pub(super) fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
