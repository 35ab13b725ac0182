//! Writes the report as one HTML page that needs no network and runs no script.

use super::charts::{self, Chart};
use super::plot::{Failed, Size};
use super::words::escape;
use super::{plot, words};
use steadfast::flood::latency::{Latency, MEASURES, Measure};
use steadfast::flood::ledger::STAGES;
use steadfast::flood::report::{Agreement, PhaseReport, Report, SideMemory, Timing, Verdict};

/// The sizes of charts: the page's width, half of it, and a narrow window.
const WIDE: Size = Size { width: 960, height: 300 };
const HALF: Size = Size { width: 472, height: 260 };
const NARROW: Size = Size { width: 336, height: 250 };

/// Nothing may be loaded or run, whatever the name of a target or a cause contains.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'";

pub(super) fn html(report: &Report) -> Result<String, Failed> {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Flood of {target}: {well}</title>\n<link rel=\"icon\" href=\"data:,\">\n\
         <style>\n{colours}{style}</style>\n<main>\n<h1>A flood of {planned} connections</h1>\n\
         <p class=\"target\">{target}</p>\n",
        target = escape(&report.target),
        well = if is_well(report) { "well" } else { "NOT well" },
        colours = plot::style_sheet(),
        style = include_str!("page.css"),
        planned = words::count(report.connections.planned),
    );
    page += &lead(report);
    page += &cards(report);
    page += "<h2>Charts</h2>\n";
    if report.timeline.is_empty() {
        page += "<p>The flood took less than a second, so there are no charts over time.</p>\n";
    }
    page += "<div class=\"charts\">\n";
    for (at, chart) in charts::charts(report).iter().enumerate() {
        page += &figure(at, chart)?;
    }
    page += "</div>\n<h2>Figures</h2>\n";
    page += &tables(report);
    page += &format!("</main>\n<footer>{}, schema {}</footer>\n", escape(&report.program), escape(&report.schema));
    Ok(page)
}

fn is_well(report: &Report) -> bool {
    report.ok && report.assertions.iter().all(|verdict| verdict.holds)
}

/// Returns the summary at the top of the page.
fn lead(report: &Report) -> String {
    let connections = &report.connections;
    let lost = match connections.lost {
        0 => "none was lost".to_owned(),
        lost => format!("{} lost: {}", words::count(lost), escape(&words::causes(report))),
    };
    let sentence =
        format!("{} of {} connections opened", words::count(connections.opened), words::count(connections.planned));
    let outcome = words::outcome(report);
    let mut text = format!(
        "<div class=\"lead {}\" id=\"outcome\"><p><strong>{sentence}, {lost}.</strong></p><p{}>{}.</p>",
        if is_well(report) { "well" } else { "bad" },
        if report.ok { "" } else { " class=\"broken\"" },
        outcome[..1].to_uppercase() + &outcome[1..],
    );
    for warning in &report.warnings {
        text += &format!("<p>Warning: {}.</p>", escape(warning));
    }
    for verdict in &report.assertions {
        let (class, word) = if verdict.holds { ("", "holds") } else { (" class=\"broken\"", "is broken") };
        let (assertion, figure) = (escape(&verdict.assertion), escape(&words::figure(verdict)));
        text += &format!("<p{class}><code>{assertion}</code> {word}: {figure}.</p>");
    }
    text + "</div>\n"
}

/// Returns the cards with the main figures. What the flood did not measure has no card.
fn cards(report: &Report) -> String {
    let connections = &report.connections;
    let mut cards = vec![
        ("Opened", words::count(connections.opened)),
        ("Lost", words::count(connections.lost)),
        ("Duration", words::seconds(report.seconds)),
    ];
    let timed = [
        (Measure::Connect, "Connects per second", "Connect, p99"),
        (Measure::Reply, "Replies per second", "Reply, p99"),
        (Measure::Response, "Responses per second", "Response, p99"),
    ];
    for (measure, rate, p99) in timed {
        let timing = report.timing(measure);
        if timing.latency.samples() > 0 {
            cards.push((rate, words::per_second(timing.per_second)));
            cards.push((p99, words::latency(timing.latency.quantile_us(0.99))));
        }
    }
    let memory = &report.memory;
    for (name, bytes) in [
        ("Server, user space", memory.server.user_bytes_per_connection),
        ("Server, kernel", memory.server.kernel_bytes_per_connection),
        ("Client, user space", memory.client.user_bytes_per_connection),
        ("Client, kernel", memory.client.kernel_bytes_per_connection),
    ] {
        if bytes.is_some() {
            cards.push((name, words::bytes_each(bytes)));
        }
    }
    let card = |(name, figure): &(&str, String)| format!("<div><dt>{name}</dt><dd>{figure}</dd></div>\n");
    format!("<dl>\n{}</dl>\n", cards.iter().map(card).collect::<String>())
}

fn figure(at: usize, chart: &Chart) -> Result<String, Failed> {
    let (class, broad) = if chart.is_wide { (" class=\"wide\"", WIDE) } else { ("", HALF) };
    let entry =
        |(colour, name): &(plot::Colour, String)| format!("<li><i class=\"{}\"></i>{}</li>", colour.name, escape(name));
    let legend: String = chart.legend.iter().map(entry).collect();
    let mut text = format!(
        "<figure{class}>\n<figcaption><h3 id=\"chart-{at}\">{}</h3><p>{}</p>",
        escape(&chart.title),
        escape(&chart.says)
    );
    if !legend.is_empty() {
        text += &format!("<ul class=\"legend\">{legend}</ul>");
    }
    text += "</figcaption>\n";
    for (class, size) in [("broad", broad), ("narrow", NARROW)] {
        let svg = chart.plot.svg(size)?;
        text += &format!("<div class=\"{class}\" role=\"img\" aria-labelledby=\"chart-{at}\">\n{svg}</div>\n");
    }
    Ok(text + "</figure>\n")
}

// The tables of the page: everything that its charts show, as text.

/// Returns all tables that have rows.
fn tables(report: &Report) -> String {
    let mut text = connections(report) + &verdicts(report);
    text += &latencies(report);
    text += &costs(report);
    text += &phases(report);
    text += &phase_latencies(report);
    text += &agreements(report);
    text + &timeline(report)
}

/// Makes a table. The first cell of a row is its header. A table wider than the window scrolls by itself.
fn table(caption: &str, heads: &[&str], rows: Vec<Vec<String>>) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let heads: String = heads.iter().map(|head| format!("<th scope=\"col\">{}</th>", escape(head))).collect();
    let row = |cells: &Vec<String>| {
        let (first, rest) = cells.split_first().map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
        let rest: String = rest.iter().map(|cell| format!("<td>{}</td>", escape(cell))).collect();
        format!("<tr><th scope=\"row\">{}</th>{rest}</tr>\n", escape(first))
    };
    let rows: String = rows.iter().map(row).collect();
    let caption = escape(caption);
    format!(
        "<div class=\"scroll\" role=\"region\" aria-label=\"{caption}\" tabindex=\"0\"><table>\n\
         <caption>{caption}</caption>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}</tbody></table></div>\n"
    )
}

fn connections(report: &Report) -> String {
    let connections = &report.connections;
    let mut rows = vec![
        vec!["planned".to_owned(), words::count(connections.planned)],
        vec!["opened".to_owned(), words::count(connections.opened)],
        vec!["answered".to_owned(), words::count(connections.answered)],
        vec!["held".to_owned(), words::count(connections.held)],
        vec!["closed".to_owned(), words::count(connections.closed)],
        vec!["lost".to_owned(), words::count(connections.lost)],
    ];
    if connections.reopened > 0 {
        rows.insert(2, vec!["reopened".to_owned(), words::count(connections.reopened)]);
    }
    for (cause, lost) in &report.lost_by_cause {
        rows.push(vec![format!("lost: {cause}"), words::count(*lost)]);
    }
    rows.push(vec!["messages sent".to_owned(), words::count(report.sent)]);
    rows.push(vec![format!("replies, checked by {}", report.reply_check), words::count(report.replies)]);
    rows.push(vec!["messages that were not replies".to_owned(), words::count(report.received)]);
    rows.push(vec!["pings of the server, answered".to_owned(), words::count(report.pings)]);
    if let Some(interrupted) = &report.interrupted {
        rows.push(vec!["closed after the interrupt".to_owned(), words::count(interrupted.closed)]);
        rows.push(vec!["reset after the interrupt".to_owned(), words::count(interrupted.reset)]);
    }
    let schedule = &report.schedule;
    if schedule.due > 0 {
        rows.push(vec!["due at a constant rate".to_owned(), words::count(schedule.due)]);
        rows.push(vec!["of these sent".to_owned(), words::count(schedule.sent)]);
        rows.push(vec!["of these answered".to_owned(), words::count(schedule.answered)]);
    }
    table("Connections and messages", &["what", "number"], rows)
}

fn verdicts(report: &Report) -> String {
    let row = |verdict: &Verdict| {
        let word = if verdict.holds { "holds" } else { "broken" };
        vec![verdict.assertion.clone(), words::figure(verdict), word.to_owned()]
    };
    table("Assertions", &["assertion", "figure", "verdict"], report.assertions.iter().map(row).collect())
}

fn percentiles(latency: &Latency) -> [String; 7] {
    let quantile = |share: f64| latency.quantile_us(share);
    let mean = latency.mean_us().map(|us| us.round() as u64);
    [mean, quantile(0.5), quantile(0.9), quantile(0.95), quantile(0.99), quantile(0.999), latency.max_us()]
        .map(words::latency)
}

fn latencies(report: &Report) -> String {
    let row = |(name, timing): (&str, &Timing)| {
        let about =
            [name.to_owned(), words::count(timing.latency.samples()), words::seconds(timing.seconds)].into_iter();
        about.chain([words::per_second(timing.per_second)]).chain(percentiles(&timing.latency)).collect()
    };
    let measured = MEASURES.into_iter().map(|measure| (measure.name(), report.timing(measure)));
    let heads = ["measure", "samples", "took", "per second", "mean", "p50", "p90", "p95", "p99", "p99.9", "max"];
    table("Latencies", &heads, measured.filter(|(_, timing)| timing.latency.samples() > 0).map(row).collect())
}

fn costs(report: &Report) -> String {
    let sides = [("server", &report.memory.server, true), ("client", &report.memory.client, false)];
    let row = |(name, memory, is_server): (&str, &SideMemory, bool)| {
        vec![
            name.to_owned(),
            words::bytes_each(memory.user_bytes_per_connection),
            words::bytes_each(memory.kernel_bytes_per_connection),
            words::cpu_each(report, is_server),
            words::count(memory.connections),
        ]
    };
    let heads = ["side", "user space", "kernel", "CPU time to the last reply", "connections when measured"];
    table("What each connection costs", &heads, sides.map(row).into())
}

fn phases(report: &Report) -> String {
    let row = |phase: &PhaseReport| {
        let about = [phase.name.clone(), phase.kind.clone()].into_iter();
        let times = [words::seconds(phase.began_s), words::seconds(phase.seconds)];
        about.chain(times).chain(phase.states.counts().map(words::count)).collect()
    };
    let heads: Vec<&str> = ["phase", "kind", "start", "took"].into_iter().chain(STAGES).collect();
    table("Phases, with the states at their ends", &heads, report.phases.iter().map(row).collect())
}

fn phase_latencies(report: &Report) -> String {
    let mut rows = Vec::new();
    for phase in &report.phases {
        for (measure, latency) in phase.latencies.0.iter().filter(|(_, latency)| latency.samples() > 0) {
            let about = [format!("{}: {}", phase.name, measure.name()), words::count(latency.samples())];
            rows.push(about.into_iter().chain(percentiles(latency)).collect());
        }
    }
    let heads = ["phase: measure", "samples", "mean", "p50", "p90", "p95", "p99", "p99.9", "max"];
    table("Latencies of each phase", &heads, rows)
}

fn agreements(report: &Report) -> String {
    let row = |figure: &Agreement| {
        let word = if figure.agrees { "agree" } else { "DISAGREE" };
        vec![figure.what.clone(), words::both_sides(figure), word.to_owned()]
    };
    let figures = report.reconciliation.iter().flat_map(|reconciliation| &reconciliation.figures);
    table("Server and flood compared", &["figure", "values", "result"], figures.map(row).collect())
}

/// Makes the timeline table, with as many rows as the charts have points.
fn timeline(report: &Report) -> String {
    let rows = charts::thinned(&report.timeline);
    let (opened, replies) = (charts::rates(&rows, |row| row.opened), charts::rates(&rows, |row| row.replies));
    let received = charts::rates(&rows, |row| row.received);
    let mut heads: Vec<String> = vec!["until".into(), "phase".into()];
    heads.extend(STAGES.map(str::to_owned));
    heads.extend(["opened/s", "answered/s", "pushed/s"].map(str::to_owned));
    let measured: Vec<_> =
        MEASURES.into_iter().filter(|measure| report.timing(*measure).latency.samples() > 0).collect();
    for measure in &measured {
        heads.extend(["p50", "p99", "max"].map(|of| format!("{} {of}", measure.name())));
    }
    heads.extend(["server memory", "client memory", "kernel slabs", "TCP sockets"].map(str::to_owned));
    let cells = rows.iter().enumerate().map(|(at, row)| {
        let mut cells = vec![words::seconds(row.at_s), row.phase.clone()];
        cells.extend(row.states.counts().map(words::count));
        cells.extend([&opened, &replies, &received].map(|rates| words::per_second(rates[at].1)));
        for measure in &measured {
            let latency = row.latencies.0.get(measure);
            let quantile = |share: f64| latency.and_then(|latency| latency.quantile_us(share));
            cells.extend([quantile(0.5), quantile(0.99), quantile(1.0)].map(words::latency));
        }
        cells.extend([row.server_user_bytes, row.client_user_bytes, row.slab_bytes].map(words::bytes));
        cells.push(row.sockets.map_or_else(|| words::NONE.into(), words::count));
        cells
    });
    let heads: Vec<&str> = heads.iter().map(String::as_str).collect();
    let table = table("Second by second", &heads, cells.collect());
    if table.is_empty() { table } else { format!("<details><summary>Second by second</summary>\n{table}</details>\n") }
}
