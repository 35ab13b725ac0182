//! Writes the report as one HTML page that needs no network and runs no script.

use super::charts::{self, Chart};
use super::plot::{Failed, Size};
use super::words::escape;
use super::{colours, tables, words};
use steadfast::flood::latency::Measure;
use steadfast::flood::report::Report;

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
        colours = colours::style_sheet(),
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
    page += &tables::tables(report);
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
    let entry = |(colour, name): &(colours::Colour, String)| {
        format!("<li><i class=\"{}\"></i>{}</li>", colour.name, escape(name))
    };
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
