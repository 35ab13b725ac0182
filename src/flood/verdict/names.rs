//! The names of figures that can be asserted, and suggestions for mistyped ones.

use crate::flood::latency::{MEASURES, Measure};
use std::fmt;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Figure {
    Planned,
    Opened,
    Reopened,
    Answered,
    Held,
    Closed,
    Lost,
    LostBy(String),
    Sent,
    Replies,
    Received,
    Seconds,
    CloseSeconds,
    Reconciled,
    Due,
    DueSent,
    DueAnswered,
    UserBytes { server: bool },
    KernelBytes { server: bool },
    Cpu { server: bool },
    PhaseSeconds,
    Timing(Measure, Statistic),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Statistic {
    /// The latency that this share did not exceed.
    Quantile(f64),
    Max,
    Mean,
    Samples,
    PerSecond,
    Seconds,
}

/// The dimension of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dimension {
    Count,
    /// A count that may be compared with a percentage.
    Share,
    /// A latency. Reports have microseconds, so a unit is required to avoid mistakes.
    Latency,
    Seconds,
    Bytes,
    Rate,
}

/// Names without parts; those of measures, phases and causes are composed.
const NAMES: [(&str, Figure); 22] = [
    ("planned", Figure::Planned),
    ("opened", Figure::Opened),
    ("reopened", Figure::Reopened),
    ("answered", Figure::Answered),
    ("held", Figure::Held),
    ("closed", Figure::Closed),
    ("lost", Figure::Lost),
    ("sent", Figure::Sent),
    ("replies", Figure::Replies),
    ("received", Figure::Received),
    ("seconds", Figure::Seconds),
    ("close_seconds", Figure::CloseSeconds),
    ("reconciled", Figure::Reconciled),
    ("schedule.due", Figure::Due),
    ("schedule.sent", Figure::DueSent),
    ("schedule.answered", Figure::DueAnswered),
    ("server.user_bytes_per_connection", Figure::UserBytes { server: true }),
    ("server.kernel_bytes_per_connection", Figure::KernelBytes { server: true }),
    ("server.cpu_s", Figure::Cpu { server: true }),
    ("client.user_bytes_per_connection", Figure::UserBytes { server: false }),
    ("client.kernel_bytes_per_connection", Figure::KernelBytes { server: false }),
    ("client.cpu_s", Figure::Cpu { server: false }),
];

/// Statistics of a measure, as suggested for a mistyped one.
const STATISTICS: [&str; 10] = ["p50", "p90", "p95", "p99", "p99.9", "max", "mean", "samples", "per_second", "seconds"];

/// The causes of losses and their common prefixes, so that a mistyped cause is not taken for one that did not occur.
const CAUSES: [&str; 21] = [
    "close code",
    "closed by peer",
    "driver",
    "interrupted",
    "interrupted: reset",
    "local limit",
    "no free port or address",
    "not started",
    "protocol error",
    "refused",
    "reply too long",
    "reset",
    "status",
    "timeout",
    "timeout: TCP",
    "timeout: close",
    "timeout: connect",
    "timeout: reply",
    "timeout: silence",
    "timeout: stalled",
    "wrong reply",
];

/// Causes that continue with a number, or with text from elsewhere.
const OPEN_CAUSES: [&str; 5] = ["close code", "driver", "local limit", "protocol error", "status"];

/// Parses a name; returns the phase, if it has one, and the figure.
pub(super) fn figure(name: &str) -> Result<(Option<String>, Figure), BadAssertion> {
    if let Some((_, figure)) = NAMES.iter().find(|(known, _)| *known == name) {
        return Ok((None, figure.clone()));
    }
    if let Some(cause) = name.strip_prefix("lost[").and_then(|rest| rest.strip_suffix(']')) {
        return lost_by(cause.trim()).map(|figure| (None, figure));
    }
    if let Some(timing) = timing(name) {
        return timing.map(|figure| (None, figure));
    }
    let unknown = || {
        let all = NAMES.iter().map(|(known, _)| (*known).to_owned());
        let of_measures = MEASURES.iter().flat_map(|measure| STATISTICS.map(|of| format!("{}.{of}", measure.name())));
        BadAssertion(format!("{name:?} is not a figure of a report; {}", near(name, all.chain(of_measures))))
    };
    let (phase, rest) = name.split_once('.').ok_or_else(unknown)?;
    if !is_phase_name(phase) {
        return Err(unknown());
    }
    let figure = match rest {
        "seconds" => Figure::PhaseSeconds,
        "schedule.due" => Figure::Due,
        "schedule.sent" => Figure::DueSent,
        "schedule.answered" => Figure::DueAnswered,
        _ => timing(rest).ok_or_else(unknown)??,
    };
    Ok((Some(phase.to_owned()), figure))
}

fn is_phase_name(name: &str) -> bool {
    let is_side = matches!(name, "server" | "client" | "schedule");
    !is_side && !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}

/// Parses `connect.p99`; `None` if it does not begin with a measure.
fn timing(name: &str) -> Option<Result<Figure, BadAssertion>> {
    let (measure, statistic) = name.split_once('.')?;
    let measure = MEASURES.into_iter().find(|known| known.name() == measure)?;
    // A phase may have the name of a measure: `reply.reply.p99`, `hold.schedule.sent`.
    if timing(statistic).is_some() || statistic.starts_with("schedule.") {
        return None;
    }
    let statistic = match statistic {
        "max" => Statistic::Max,
        "mean" => Statistic::Mean,
        "samples" => Statistic::Samples,
        "per_second" => Statistic::PerSecond,
        "seconds" => Statistic::Seconds,
        other => {
            let percent = other.strip_prefix('p').filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
            // Parsed as 99.9e-2, so that it is the same 0.999 that reports use.
            let share = percent.filter(|rest| !rest.contains('e')).and_then(|rest| format!("{rest}e-2").parse().ok());
            let Some(share) = share.filter(|share| (0.0..=1.0).contains(share)) else {
                let near = near(other, STATISTICS.into_iter().map(str::to_owned));
                return Some(Err(BadAssertion(format!("{} has no {other:?}; {near}", measure.name()))));
            };
            Statistic::Quantile(share)
        }
    };
    Some(Ok(Figure::Timing(measure, statistic)))
}

fn lost_by(cause: &str) -> Result<Figure, BadAssertion> {
    let cause = cause.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).ok_or_else(|| {
        BadAssertion(format!("lost[{cause}] has no quotes; expected lost[\"refused\"] or lost[\"timeout\"]"))
    })?;
    // Other system errors have the system's text, with their number.
    let goes_on = || cause.contains("(os error ") || OPEN_CAUSES.iter().any(|known| begins_with(cause, known));
    if CAUSES.contains(&cause) || goes_on() {
        return Ok(Figure::LostBy(cause.to_owned()));
    }
    let near = near(cause, CAUSES.into_iter().map(str::to_owned));
    Err(BadAssertion(format!("{cause:?} is not a cause of a loss; {near}")))
}

/// Returns whether a cause is `kind` or begins with it: `timeout: connect` is a `timeout`, `close code 1001` a `close
/// code`.
pub(super) fn begins_with(cause: &str, kind: &str) -> bool {
    cause.strip_prefix(kind).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', ' ']))
}

/// Suggests known names for a mistyped one.
fn near(name: &str, known: impl Iterator<Item = String>) -> String {
    let mut known: Vec<(usize, String)> = known.map(|known| (distance(name, &known), known)).collect();
    known.sort();
    let close: Vec<&str> = known
        .iter()
        .filter(|(distance, known)| *distance <= 1 + known.len() / 4)
        .take(3)
        .map(|(_, known)| known.as_str())
        .collect();
    if !close.is_empty() {
        return format!("expected {}", close.join(" or "));
    }
    let mut all: Vec<&str> = known.iter().take(6).map(|(_, known)| known.as_str()).collect();
    all.sort_unstable();
    format!("there are {}, and more", all.join(", "))
}

/// Returns how many letters must be added, removed or changed (Levenshtein distance).
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (at, letter) in one.chars().enumerate() {
        let mut diagonal = at;
        row[0] = at + 1;
        for (column, wanted) in other.chars().enumerate() {
            let changed = diagonal + usize::from(letter != wanted);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}

impl Dimension {
    /// Returns the factor from this unit to the unit of the report, or else the units that are accepted.
    pub(super) fn factor(self, unit: &str) -> Result<f64, &'static str> {
        let (factor, units) = match self {
            Self::Count => (matches!(unit, "").then_some(1.0), "a number without unit"),
            Self::Share => (matches!(unit, "" | "%").then_some(1.0), "a number without unit, or %"),
            Self::Rate => (matches!(unit, "" | "/s").then_some(1.0), "/s"),
            Self::Latency => (seconds(unit).map(|seconds| (seconds * 1e6).round()), "us, ms or s"),
            Self::Seconds => (if unit.is_empty() { Some(1.0) } else { seconds(unit) }, "us, ms or s"),
            Self::Bytes => {
                let factor = match unit {
                    "" | "B" => Some(1.0),
                    "KiB" => Some(1024.0),
                    "MiB" => Some(1024.0 * 1024.0),
                    "GiB" => Some(1024.0 * 1024.0 * 1024.0),
                    _ => None,
                };
                (factor, "B, KiB, MiB or GiB")
            }
        };
        factor.ok_or(units)
    }
}

fn seconds(unit: &str) -> Option<f64> {
    match unit {
        "us" => Some(1e-6),
        "ms" => Some(1e-3),
        "s" => Some(1.0),
        _ => None,
    }
}

impl Figure {
    pub(super) fn dimension(&self) -> Dimension {
        match self {
            Self::Planned | Self::Opened | Self::Answered | Self::Held | Self::Closed | Self::Lost => Dimension::Share,
            Self::LostBy(_) | Self::DueSent | Self::DueAnswered => Dimension::Share,
            Self::Reopened | Self::Sent | Self::Replies | Self::Received | Self::Reconciled => Dimension::Count,
            Self::Due | Self::Timing(_, Statistic::Samples) => Dimension::Count,
            Self::Seconds | Self::CloseSeconds | Self::PhaseSeconds | Self::Cpu { .. } => Dimension::Seconds,
            Self::Timing(_, Statistic::Seconds) => Dimension::Seconds,
            Self::UserBytes { .. } | Self::KernelBytes { .. } => Dimension::Bytes,
            Self::Timing(_, Statistic::PerSecond) => Dimension::Rate,
            Self::Timing(..) => Dimension::Latency,
        }
    }
}

/// Why a text is not an assertion, or not one about this flood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadAssertion(pub(super) String);

impl fmt::Display for BadAssertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadAssertion {}
