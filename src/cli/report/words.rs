//! Formats figures for the table and the page.

use crate::cli::io::is_harmful;
use indicatif::HumanCount;
use steadfast::flood::report::{Agreement, Connections, Report, Verdict};
use steadfast::flood::verdict::Assertion;

/// The text for a figure that could not be measured.
pub(super) const NONE: &str = "-";

pub(super) fn count(count: u64) -> String {
    HumanCount(count).to_string()
}

pub(super) fn per_second(rate: f64) -> String {
    // A rate below ten has a decimal, so that it is not rounded to 0.
    if rate > 0.0 && rate < 10.0 { format!("{rate:.1}") } else { count(rate as u64) }
}

/// Formats a latency in a unit with up to four digits.
pub(super) fn latency(us: Option<u64>) -> String {
    match us {
        None => NONE.to_owned(),
        Some(us) if us < 10_000 => format!("{us} us"),
        Some(us) if us < 10_000_000 => format!("{} ms", us / 1000),
        Some(us) => format!("{} s", us / 1_000_000),
    }
}

pub(super) fn seconds(seconds: f64) -> String {
    format!("{seconds:.1} s")
}

/// Formats the bytes of one connection.
pub(super) fn bytes_each(bytes: Option<f64>) -> String {
    bytes.map_or_else(|| NONE.into(), |bytes| format!("{bytes:.0} B"))
}

/// Formats the memory of a process or a host.
pub(super) fn bytes(bytes: Option<u64>) -> String {
    match bytes {
        None => NONE.to_owned(),
        Some(bytes) if bytes < 10 << 20 => format!("{} KiB", count(bytes >> 10)),
        Some(bytes) => format!("{} MiB", count(bytes >> 20)),
    }
}

/// Formats the figure of an assertion: `61 ms`, `3`, or that it was not measured.
pub(super) fn figure(verdict: &Verdict) -> String {
    let unit = verdict.assertion.parse::<Assertion>().map_or("", |assertion| assertion.unit());
    match (verdict.figure, unit) {
        (None, _) => "not measured".to_owned(),
        (Some(us), "us") if us.fract() == 0.0 => format!("{us} us"),
        (Some(figure), unit) => {
            let number = if figure.fract() == 0.0 { format!("{figure}") } else { format!("{figure:.3}") };
            if unit.is_empty() || unit == "/s" { number + unit } else { format!("{number} {unit}") }
        }
    }
}

/// Returns the outcome in one line: what was done, or everything that was not.
pub(super) fn outcome(report: &Report) -> String {
    let Connections { planned, opened, answered, held, closed, lost, .. } = report.connections;
    if report.ok {
        // A scenario may have no replies and no hold.
        let steps = [("opened", true), ("answered", answered == planned), ("held", held == planned), ("closed", true)];
        let done: Vec<&str> = steps.into_iter().filter(|(_, is_done)| *is_done).map(|(step, _)| step).collect();
        let (last, first) = done.split_last().map_or(("", &[][..]), |(last, first)| (*last, first));
        return format!("all {} and {last}", first.join(", "));
    }
    let does = |kind: &str| report.phases.iter().any(|phase| phase.kind == kind);
    let went_all_the_way = [opened, closed, lost] == [planned, planned, 0]
        && (answered == planned || !does("reply"))
        && (held == planned || !does("check"));
    let unanswered = report.schedule.due.saturating_sub(report.schedule.answered);
    let missing = report.phases.iter().map(|phase| phase.missing).fold(0, u64::saturating_add);
    let agrees = report.reconciliation.as_ref().is_none_or(|both| both.agrees);
    let reasons: Vec<String> = [
        (!went_all_the_way).then(|| "NOT all opened, answered, held and closed".to_owned()),
        (unanswered > 0)
            .then(|| format!("NOT all messages due at a constant rate answered: {} were not", count(unanswered))),
        (missing > 0).then(|| format!("NOT all connections received what they waited for: {} did not", count(missing))),
        (!agrees).then(|| "the counts of server and flood do NOT agree".to_owned()),
    ]
    .into_iter()
    .flatten()
    .collect();
    if reasons.is_empty() { "NOT completed".to_owned() } else { reasons.join("; ") }
}

/// Lists the losses by cause: `3 refused, 2 timeout: connect`.
pub(super) fn causes(report: &Report) -> String {
    let each = report.lost_by_cause.iter().map(|(cause, lost)| format!("{} {cause}", count(*lost)));
    each.collect::<Vec<_>>().join(", ")
}

/// Formats the CPU time per opened connection in microseconds.
pub(super) fn cpu_each(report: &Report, server: bool) -> String {
    let cpu = if server { report.cpu.server } else { report.cpu.client };
    let opened = report.connections.opened.max(1) as f64;
    cpu.map_or_else(|| NONE.into(), |cpu| format!("{:.0} us", cpu.total_s() * 1e6 / opened))
}

/// Formats the values of both sides.
pub(super) fn both_sides(figure: &Agreement) -> String {
    let least = figure.at_least;
    let saw = match figure.at_most {
        None => format!("{} or more", count(least)),
        Some(most) if most == least => count(least),
        Some(most) => format!("{} to {}", count(least), count(most)),
    };
    format!("server {}, flood {saw}", count(figure.server))
}

/// Escapes text for HTML.
pub(super) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe += "&amp;",
            '<' => safe += "&lt;",
            '>' => safe += "&gt;",
            '"' => safe += "&quot;",
            '\'' => safe += "&#39;",
            // Characters that a document may not contain, or that reorder text.
            letter if is_harmful(letter) => safe += "\u{fffd}",
            letter => safe.push(letter),
        }
    }
    safe
}
