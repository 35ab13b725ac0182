//! What a flood is to keep: `lost == 0`, `connect.p99 < 50ms`; read before it begins, and judged by its report.

use super::latency::{Latency, MEASURES, Measure};
use super::report::{PhaseReport, Report, Schedule, SideMemory, Verdict};
use std::fmt;
use std::str::FromStr;

/// An assertion about a report: `NAME OP NUMBER[UNIT]`.
///
/// OP is one of `==`, `!=`, `<`, `<=`, `>` and `>=`. NAME is one of these:
///
/// | name | of what | units |
/// |---|---|---|
/// | `planned`, `opened`, `answered`, `held`, `closed`, `lost` | connections | none, or `%` of those that were planned |
/// | `reopened`, `sent`, `replies`, `received` | connections and messages | none |
/// | `lost["timeout"]` | connections lost for a cause, or for any that begins with these words | as `lost` |
/// | `connect.p99` | what 99 % took at most; any percentile, such as `p50` or `p99.9` | `us`, `ms`, `s` |
/// | `connect.max`, `connect.mean` | the longest, the mean | `us`, `ms`, `s` |
/// | `connect.samples`, `connect.per_second`, `connect.seconds` | how many, how fast, for how long | none; `/s`; `s` |
/// | `ramp2.connect.p99` | the same within one phase | the same |
/// | `ramp2.seconds` | how long a phase took | none, or `us`, `ms`, `s` |
/// | `schedule.due`, `schedule.sent`, `schedule.answered` | messages at a constant rate | none, or `%` of those due |
/// | `rate2.schedule.sent` | the same within one phase | the same |
/// | `server.user_bytes_per_connection`, `server.kernel_bytes_per_connection` | memory | none, or `B`, `KiB`, `MiB`, `GiB` |
/// | `server.cpu_s` | CPU time, user and system | none, or `us`, `ms`, `s` |
/// | `seconds`, `close_seconds` | how long all of it took, and closing | none, or `us`, `ms`, `s` |
/// | `reconciled` | 1 if both sides agree, 0 if not | none |
///
/// For `connect` stands any [`Measure`], for `server` also `client`.
#[derive(Clone, Debug, PartialEq)]
pub struct Assertion {
    text: String,
    /// Of one phase, or of all.
    phase: Option<String>,
    figure: Figure,
    comparison: Comparison,
    /// In the unit of the report, or in percent.
    number: f64,
    is_percent: bool,
}

/// Why a text is no assertion, or none about this flood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadAssertion(String);

impl fmt::Display for BadAssertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadAssertion {}

#[derive(Clone, Debug, PartialEq)]
enum Figure {
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
enum Statistic {
    /// What this share took at most.
    Quantile(f64),
    Max,
    Mean,
    Samples,
    PerSecond,
    Seconds,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Equal,
    Unequal,
    Less,
    AtMost,
    Greater,
    AtLeast,
}

/// What a figure is measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dimension {
    Count,
    /// A count of which a percentage makes sense.
    Share,
    /// Microseconds in the report, so that a unit has to say what is meant.
    Latency,
    Seconds,
    Bytes,
    Rate,
}

/// The longer ones first, since each begins with a shorter one.
const COMPARISONS: [(&str, Comparison); 6] = [
    ("==", Comparison::Equal),
    ("!=", Comparison::Unequal),
    ("<=", Comparison::AtMost),
    (">=", Comparison::AtLeast),
    ("<", Comparison::Less),
    (">", Comparison::Greater),
];

/// Names that stand alone; those of measures, phases and causes are made.
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

/// Statistics of a measure, as they are offered to who mistyped one.
const STATISTICS: [&str; 10] = ["p50", "p90", "p95", "p99", "p99.9", "max", "mean", "samples", "per_second", "seconds"];

/// How the causes of a loss begin, so that a mistyped one is not taken for one that never came.
const CAUSES: [&str; 17] = [
    "close code",
    "closed by peer",
    "driver",
    "interrupted",
    "local limit",
    "no free port or address",
    "not started",
    "protocol error",
    "refused",
    "reset",
    "status",
    "timeout",
    "timeout: TCP",
    "timeout: connect",
    "timeout: reply",
    "timeout: silence",
    "wrong reply",
];

impl FromStr for Assertion {
    type Err = BadAssertion;

    fn from_str(text: &str) -> Result<Self, BadAssertion> {
        let right = "right would be NAME OP NUMBER[UNIT], such as 'lost == 0' or 'connect.p99 < 50ms'";
        // What stands in quotes is the cause of a loss, and may hold anything.
        let unquoted = text.rfind('"').map_or(0, |at| at + 1);
        let at = text[unquoted..].find(['=', '!', '<', '>']).map(|at| unquoted + at);
        let (name, rest) = text.split_at(at.ok_or_else(|| BadAssertion(format!("it compares nothing; {right}")))?);
        let (sign, comparison) = COMPARISONS
            .into_iter()
            .find(|(sign, _)| rest.starts_with(sign))
            .ok_or_else(|| BadAssertion("right would be one of == != < <= > >= between name and number".into()))?;
        let (name, value) = (name.trim(), rest[sign.len()..].trim());
        let (phase, figure) = figure(name)?;
        let unit_at = value.find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | '_' | '-' | '+'));
        let (number, unit) = value.split_at(unit_at.unwrap_or(value.len()));
        let number: f64 =
            number.replace('_', "").parse().map_err(|_| BadAssertion(format!("{value:?} is no number; {right}")))?;
        let factor = figure.dimension().factor(unit.trim()).map_err(|units| {
            let has =
                if unit.is_empty() { "needs a unit".to_owned() } else { format!("has no unit {:?}", unit.trim()) };
            BadAssertion(format!("{name} {has}; right would be {units}"))
        })?;
        let is_percent = unit.trim() == "%";
        Ok(Self { text: text.trim().to_owned(), phase, figure, comparison, number: number * factor, is_percent })
    }
}

impl fmt::Display for Assertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What a name stands for, and in which phase.
fn figure(name: &str) -> Result<(Option<String>, Figure), BadAssertion> {
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
        BadAssertion(format!("{name:?} is no figure of a report; {}", near(name, all.chain(of_measures))))
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

/// `connect.p99`; `None` if it begins with no measure.
fn timing(name: &str) -> Option<Result<Figure, BadAssertion>> {
    let (measure, statistic) = name.split_once('.')?;
    let measure = MEASURES.into_iter().find(|known| known.name() == measure)?;
    // A phase may be called as a measure is: `reply.reply.p99`, `hold.schedule.sent`.
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
            // So that 99.9 becomes the same 0.999 that the figures of the report are taken at.
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
        BadAssertion(format!("lost[{cause}] has no quotes; right would be lost[\"refused\"] or lost[\"timeout\"]"))
    })?;
    // Other errors of the system come as it words them, with their number.
    let known = cause.contains("(os error ") || CAUSES.iter().any(|known| begins_with(cause, known));
    if known {
        return Ok(Figure::LostBy(cause.to_owned()));
    }
    let near = near(cause, CAUSES.into_iter().map(str::to_owned));
    Err(BadAssertion(format!("{cause:?} is no cause of a loss; {near}")))
}

/// Whether a cause is this one, or of this kind: `timeout: connect` is a `timeout`, `close code 1001` a `close code`.
fn begins_with(cause: &str, kind: &str) -> bool {
    cause.strip_prefix(kind).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', ' ']))
}

/// Names for who mistyped one.
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
        return format!("right would be {}", close.join(" or "));
    }
    let mut all: Vec<&str> = known.iter().take(6).map(|(_, known)| known.as_str()).collect();
    all.sort_unstable();
    format!("there are {}, and more", all.join(", "))
}

/// How many letters have to be added, taken away or changed (Levenshtein).
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
    /// What a number with this unit is multiplied with, to be in the unit of the report; else the units that there are.
    fn factor(self, unit: &str) -> Result<f64, &'static str> {
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
    fn dimension(&self) -> Dimension {
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

impl Assertion {
    /// Whether the flood will have what this is about: the names of its phases are given.
    ///
    /// # Errors
    /// [`BadAssertion`] if there is no such phase.
    pub fn check<'a>(&self, phases: impl IntoIterator<Item = &'a str>) -> Result<(), BadAssertion> {
        let Some(wanted) = &self.phase else { return Ok(()) };
        let phases: Vec<&str> = phases.into_iter().collect();
        if phases.contains(&wanted.as_str()) {
            return Ok(());
        }
        let right =
            if phases.is_empty() { "there are none".into() } else { format!("right would be {}", phases.join(" or ")) };
        Err(BadAssertion(format!("there is no phase {wanted:?}; {right}")))
    }

    /// The unit that the figure of its verdict has: `us`, `s`, `B`, `/s`, or none.
    pub fn unit(&self) -> &'static str {
        match self.figure.dimension() {
            Dimension::Count | Dimension::Share => "",
            Dimension::Latency => "us",
            Dimension::Seconds => "s",
            Dimension::Bytes => "B",
            Dimension::Rate => "/s",
        }
    }

    /// Judges a report. What it does not have does not hold.
    pub fn judge(&self, report: &Report) -> Verdict {
        let figure = self.figure(report);
        let holds = figure.is_some_and(|figure| {
            let number = if self.is_percent { self.number / 100.0 * self.whole(report) } else { self.number };
            match self.comparison {
                Comparison::Equal => figure == number,
                Comparison::Unequal => figure != number,
                Comparison::Less => figure < number,
                Comparison::AtMost => figure <= number,
                Comparison::Greater => figure > number,
                Comparison::AtLeast => figure >= number,
            }
        });
        Verdict { assertion: self.text.clone(), figure, holds }
    }

    /// What a percentage is of.
    fn whole(&self, report: &Report) -> f64 {
        let whole = match self.figure {
            Figure::DueSent | Figure::DueAnswered => self.schedule(report).map_or(0, |schedule| schedule.due),
            _ => report.connections.planned,
        };
        whole as f64
    }

    fn phase<'a>(&self, report: &'a Report) -> Option<&'a PhaseReport> {
        let name = self.phase.as_ref()?;
        report.phases.iter().find(|phase| phase.name == *name)
    }

    fn schedule(&self, report: &Report) -> Option<Schedule> {
        match self.phase {
            None => Some(report.schedule),
            Some(_) => self.phase(report).map(|phase| phase.schedule),
        }
    }

    fn figure(&self, report: &Report) -> Option<f64> {
        let connections = &report.connections;
        let memory = |server: bool| if server { &report.memory.server } else { &report.memory.client };
        let count = match &self.figure {
            Figure::Planned => connections.planned,
            Figure::Opened => connections.opened,
            Figure::Reopened => connections.reopened,
            Figure::Answered => connections.answered,
            Figure::Held => connections.held,
            Figure::Closed => connections.closed,
            Figure::Lost => connections.lost,
            Figure::LostBy(kind) => {
                let lost = report.lost_by_cause.iter().filter(|(cause, _)| begins_with(cause, kind));
                lost.map(|(_, count)| count).sum()
            }
            Figure::Sent => report.sent,
            Figure::Replies => report.replies,
            Figure::Received => report.received,
            Figure::Reconciled => u64::from(report.reconciliation.as_ref()?.agrees),
            Figure::Due => self.schedule(report)?.due,
            Figure::DueSent => self.schedule(report)?.sent,
            Figure::DueAnswered => self.schedule(report)?.answered,
            Figure::Seconds => return Some(report.seconds),
            Figure::CloseSeconds => return Some(report.close_seconds),
            Figure::PhaseSeconds => return Some(self.phase(report)?.seconds),
            Figure::UserBytes { server } => {
                let SideMemory { user_bytes_per_connection, .. } = memory(*server);
                return *user_bytes_per_connection;
            }
            Figure::KernelBytes { server } => return memory(*server).kernel_bytes_per_connection,
            Figure::Cpu { server } => {
                let cpu = if *server { report.cpu.server } else { report.cpu.client };
                return cpu.map(|cpu| cpu.total_s());
            }
            Figure::Timing(measure, statistic) => return self.timing(report, *measure, *statistic),
        };
        Some(count as f64)
    }

    fn timing(&self, report: &Report, measure: Measure, statistic: Statistic) -> Option<f64> {
        match &self.phase {
            None => {
                let timing = report.timing(measure);
                statistic.of(&timing.latency, timing.seconds)
            }
            Some(_) => {
                let phase = self.phase(report)?;
                statistic.of(&phase.latencies.of(measure), phase.seconds)
            }
        }
    }
}

impl Statistic {
    fn of(self, latency: &Latency, seconds: f64) -> Option<f64> {
        match self {
            Self::Quantile(share) => latency.quantile_us(share).map(|us| us as f64),
            Self::Max => latency.max_us().map(|us| us as f64),
            Self::Mean => latency.mean_us(),
            Self::Samples => Some(latency.samples() as f64),
            Self::PerSecond => (seconds > 0.0).then(|| latency.samples() as f64 / seconds),
            Self::Seconds => Some(seconds),
        }
    }
}
