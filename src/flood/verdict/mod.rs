//! Assertions about a flood, such as `lost == 0` or `connect.p99 < 50ms`: parsed before it begins, and evaluated with
//! its report.

mod names;

pub use names::BadAssertion;

use super::latency::{Latency, Measure};
use super::report::{PhaseReport, Report, Schedule, SideMemory, Verdict};
use names::{Dimension, Figure, Statistic, begins_with, figure};
use std::fmt;
use std::str::FromStr;

/// The longest assertion in bytes; most of it may be the name of a cause.
const MAX_BYTES: usize = 1024;

/// An assertion about a report: `NAME OP NUMBER[UNIT]`.
///
/// OP is one of `==`, `!=`, `<`, `<=`, `>` and `>=`. NAME is one of these:
///
/// | name | figure | units |
/// |---|---|---|
/// | `planned`, `opened`, `answered`, `held`, `closed`, `lost` | connections | none, or `%` of those that were planned |
/// | `reopened`, `sent`, `replies`, `received` | connections and messages | none |
/// | `lost["timeout"]` | connections lost by a cause, or by any cause that begins with these words | as `lost` |
/// | `connect.p99` | the latency that 99 % did not exceed; any percentile, such as `p50` or `p99.9` | `us`, `ms`, `s` |
/// | `connect.max`, `connect.mean` | the longest, the mean | `us`, `ms`, `s` |
/// | `connect.samples`, `connect.per_second`, `connect.seconds` | number of samples, rate, duration | none; `/s`; `s` |
/// | `ramp2.connect.p99` | the same within one phase | the same |
/// | `ramp2.seconds` | how long a phase took | none, or `us`, `ms`, `s` |
/// | `schedule.due`, `schedule.sent`, `schedule.answered` | messages at a constant rate | none, or `%` of those due |
/// | `rate2.schedule.sent` | the same within one phase | the same |
/// | `server.user_bytes_per_connection`, `server.kernel_bytes_per_connection` | memory | none, or `B`, `KiB`, `MiB`, `GiB` |
/// | `server.cpu_s` | CPU time, user and system | none, or `us`, `ms`, `s` |
/// | `seconds`, `close_seconds` | how long the flood took, and closing | none, or `us`, `ms`, `s` |
/// | `reconciled` | 1 if both sides agree, 0 if not | none |
///
/// `connect` may be replaced by any [`Measure`], and `server` by `client`.
#[derive(Clone, Debug, PartialEq)]
pub struct Assertion {
    text: String,
    /// The phase, or `None` for the whole flood.
    phase: Option<String>,
    figure: Figure,
    comparison: Comparison,
    /// In the unit of the report, or in percent.
    number: f64,
    is_percent: bool,
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

/// Longer operators first, since each begins with a shorter one.
const COMPARISONS: [(&str, Comparison); 6] = [
    ("==", Comparison::Equal),
    ("!=", Comparison::Unequal),
    ("<=", Comparison::AtMost),
    (">=", Comparison::AtLeast),
    ("<", Comparison::Less),
    (">", Comparison::Greater),
];

impl FromStr for Assertion {
    type Err = BadAssertion;

    fn from_str(text: &str) -> Result<Self, BadAssertion> {
        if text.len() > MAX_BYTES {
            return Err(BadAssertion(format!("it has {} bytes; expected at most {MAX_BYTES}", text.len())));
        }
        let right = "expected NAME OP NUMBER[UNIT], such as 'lost == 0' or 'connect.p99 < 50ms'";
        // A quoted part is the cause of a loss, and may contain operators.
        let unquoted = text.rfind('"').map_or(0, |at| at + 1);
        let at = text[unquoted..].find(['=', '!', '<', '>']).map(|at| unquoted + at);
        let (name, rest) = text.split_at(at.ok_or_else(|| BadAssertion(format!("it has no comparison; {right}")))?);
        let (sign, comparison) = COMPARISONS
            .into_iter()
            .find(|(sign, _)| rest.starts_with(sign))
            .ok_or_else(|| BadAssertion("expected one of == != < <= > >= between name and number".into()))?;
        let (name, value) = (name.trim(), rest[sign.len()..].trim());
        let (phase, figure) = figure(name)?;
        let unit_at = value.find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | '_' | '-' | '+'));
        let (number, unit) = value.split_at(unit_at.unwrap_or(value.len()));
        let number: f64 =
            number.replace('_', "").parse().map_err(|_| BadAssertion(format!("{value:?} is not a number; {right}")))?;
        let factor = figure.dimension().factor(unit.trim()).map_err(|units| {
            let has =
                if unit.is_empty() { "needs a unit".to_owned() } else { format!("has no unit {:?}", unit.trim()) };
            BadAssertion(format!("{name} {has}; expected {units}"))
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

impl Assertion {
    /// Checks the assertion against the names of the flood's phases.
    ///
    /// # Errors
    /// [`BadAssertion`] if the flood has no such phase.
    pub fn check<'a>(&self, phases: impl IntoIterator<Item = &'a str>) -> Result<(), BadAssertion> {
        let Some(wanted) = &self.phase else { return Ok(()) };
        let phases: Vec<&str> = phases.into_iter().collect();
        if phases.contains(&wanted.as_str()) {
            return Ok(());
        }
        let right =
            if phases.is_empty() { "there are none".into() } else { format!("expected {}", phases.join(" or ")) };
        Err(BadAssertion(format!("there is no phase {wanted:?}; {right}")))
    }

    /// Returns the unit of the figure in the verdict: `us`, `s`, `B`, `/s`, or none.
    pub fn unit(&self) -> &'static str {
        match self.figure.dimension() {
            Dimension::Count | Dimension::Share => "",
            Dimension::Latency => "us",
            Dimension::Seconds => "s",
            Dimension::Bytes => "B",
            Dimension::Rate => "/s",
        }
    }

    /// Evaluates the assertion with a report. If the report lacks the figure, the assertion does not hold.
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

    /// Returns the total that a percentage refers to.
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
                lost.map(|(_, count)| *count).fold(0, u64::saturating_add)
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
