//! Writes the timeline of a report as CSV, one line per second (RFC 4180).

use crate::cli::escape::escaped;
use std::fmt::Write as _;
use steadfast::flood::latency::{Latency, MEASURES};
use steadfast::flood::ledger::STAGES;
use steadfast::flood::report::{Report, Second};

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
