//! Writes the report for a terminal. Text from elsewhere is escaped.

use super::words;
use crate::cli::escape::escaped;
use steadfast::flood::latency::MEASURES;
use steadfast::flood::report::{Report, Timing, Verdict};

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
