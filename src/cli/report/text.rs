//! Writes a report as text: the table on the terminal, and the timeline as CSV.

use super::words;
use crate::cli::io::escaped;
use std::fmt::Write as _;
use steadfast::flood::latency::{Latency, MEASURES};
use steadfast::flood::ledger::STAGES;
use steadfast::flood::report::{Report, Second, Timing, Verdict};

pub(super) fn table(report: &Report) -> String {
    let mut text = format!("target       {}\n", escaped(&report.target));
    if !report.shards.is_empty() {
        text += &format!("shards       {}\n", escaped(&report.shards.join(" ")));
    }
    text += &connections(report);
    text += &latencies(report);
    text += &phases(report);
    text += &costs(report);
    text += &format!(
        "\n{} replies, each checked by {}; {} workers\n",
        words::count(report.replies),
        escaped(&report.reply_check),
        report.workers
    );
    if report.received > 0 {
        text += &format!("{} messages received that were not replies\n", words::count(report.received));
    }
    if report.pings > 0 {
        text += &format!("{} pings of the server were answered\n", words::count(report.pings));
    }
    if let Some(interrupted) = &report.interrupted {
        text += &format!(
            "interrupted: {} closed, {} reset\n",
            words::count(interrupted.closed),
            words::count(interrupted.reset)
        );
    }
    text += &agreements(report);
    text += &verdicts(report);
    text += &words::outcome(report);
    text + "\n"
}

fn connections(report: &Report) -> String {
    let connections = &report.connections;
    let counts = [
        ("planned", Some(connections.planned)),
        ("opened", Some(connections.opened)),
        ("reopened", Some(connections.reopened).filter(|count| *count > 0)),
        ("answered", Some(connections.answered)),
        ("held", Some(connections.held)),
        ("closed", Some(connections.closed)),
        ("lost", Some(connections.lost)),
    ];
    let mut text = String::new();
    for (name, count) in counts.into_iter().filter_map(|(name, count)| Some((name, count?))) {
        text += &format!("{name:<12} {:>12}\n", words::count(count));
    }
    for (cause, count) in &report.lost_by_cause {
        text += &format!("  {:>10} {}\n", words::count(*count), escaped(cause));
    }
    text
}

fn latencies(report: &Report) -> String {
    let mut text =
        "\n             seconds  per second        p50        p90        p99      p99.9        max\n".to_owned();
    for measure in MEASURES {
        let timing = report.timing(measure);
        if timing.latency.samples() > 0 {
            text += &latency_line(measure.name(), timing);
        }
    }
    text += &format!("close        {:>7.1}\n", report.close_seconds);
    let schedule = &report.schedule;
    if schedule.due > 0 {
        text += &format!(
            "at a constant rate: {} due, {} sent, {} answered\n",
            words::count(schedule.due),
            words::count(schedule.sent),
            words::count(schedule.answered)
        );
    }
    text
}

fn latency_line(name: &str, timing: &Timing) -> String {
    let latency = &timing.latency;
    let quantile = |share: f64| words::latency(latency.quantile_us(share));
    format!(
        "{name:<12} {:>7.1} {:>11} {:>10} {:>10} {:>10} {:>10} {:>10}\n",
        timing.seconds,
        words::per_second(timing.per_second),
        quantile(0.5),
        quantile(0.9),
        quantile(0.99),
        quantile(0.999),
        words::latency(latency.max_us()),
    )
}

fn phases(report: &Report) -> String {
    if report.phases.is_empty() {
        return String::new();
    }
    let mut text = "\nphase            begins     takes   open at its end        lost\n".to_owned();
    for phase in &report.phases {
        text += &format!(
            "{:<12} {:>10} {:>9} {:>17} {:>11}\n",
            escaped(&phase.name),
            words::seconds(phase.began_s),
            words::seconds(phase.seconds),
            words::count(phase.states.held_open()),
            words::count(phase.states.lost),
        );
    }
    text
}

fn costs(report: &Report) -> String {
    let mut text = "\neach connection         user space       kernel   CPU to the last reply\n".to_owned();
    for (name, memory, is_server) in [("server", &report.memory.server, true), ("client", &report.memory.client, false)]
    {
        text += &format!(
            "  {name:<20} {:>12} {:>12}   {:>21}\n",
            words::bytes_each(memory.user_bytes_per_connection),
            words::bytes_each(memory.kernel_bytes_per_connection),
            words::cpu_each(report, is_server),
        );
    }
    text
}

fn agreements(report: &Report) -> String {
    let Some(reconciliation) = &report.reconciliation else { return String::new() };
    let mut text = String::new();
    if reconciliation.agrees {
        text += &format!("both sides agree on {} figures\n", reconciliation.figures.len());
    }
    for figure in reconciliation.figures.iter().filter(|figure| !figure.agrees) {
        text += &format!("both sides DISAGREE on {}: {}\n", escaped(&figure.what), words::both_sides(figure));
    }
    text
}

fn verdicts(report: &Report) -> String {
    let line = |verdict: &Verdict| {
        let Verdict { assertion, holds, .. } = verdict;
        let word = if *holds { "holds" } else { "BROKEN" };
        format!("{word:<7} {}: {}\n", escaped(assertion), words::figure(verdict))
    };
    report.assertions.iter().map(line).collect()
}

// Writes the timeline of a report as CSV, one line per second (RFC 4180).

/// Returns a header and a line for each second. What was not measured is an empty field.
pub(super) fn csv(report: &Report) -> String {
    let mut text = header() + "\r\n";
    for second in &report.timeline {
        text += &line(second);
        text += "\r\n";
    }
    text
}

fn header() -> String {
    let mut names = vec!["at_s".to_owned(), "phase".to_owned()];
    names.extend(STAGES.map(str::to_owned));
    // Totals so far, besides the states at that time.
    names.extend(["opened_until", "replies_until", "received_until"].map(str::to_owned));
    for measure in MEASURES {
        names.extend(["samples", "p50_us", "p90_us", "p99_us", "max_us"].map(|of| format!("{}_{of}", measure.name())));
    }
    names.extend(["client_user_bytes", "server_user_bytes", "slab_bytes", "sockets"].map(str::to_owned));
    names.join(",")
}

fn line(second: &Second) -> String {
    let mut line = format!("{:.3},{}", second.at_s, field(&second.phase));
    let Second { opened, replies, received, .. } = *second;
    for count in second.states.counts().into_iter().chain([opened, replies, received]) {
        push(&mut line, Some(count));
    }
    for measure in MEASURES {
        let latency = second.latencies.0.get(&measure);
        push(&mut line, Some(latency.map_or(0, Latency::samples)));
        for share in [0.5, 0.9, 0.99] {
            push(&mut line, latency.and_then(|latency| latency.quantile_us(share)));
        }
        push(&mut line, latency.and_then(Latency::max_us));
    }
    for memory in [second.client_user_bytes, second.server_user_bytes, second.slab_bytes, second.sockets] {
        push(&mut line, memory);
    }
    line
}

fn push(line: &mut String, number: Option<u64>) {
    line.push(',');
    if let Some(number) = number {
        // Writing to a `String` cannot fail.
        let _ = write!(line, "{number}");
    }
}

/// Quotes a field if it contains a separator. Text is escaped, since the file may be a terminal.
fn field(text: &str) -> String {
    let text = escaped(text);
    if text.contains([',', '"']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}
