//! The charts of the page.

use super::plot::{Axis, BLUE, Colour, GREEN, GREY, ORANGE, PALE, PINK, Plot, RED, SKY, Scale, Shape, VIOLET, YELLOW};
use steadfast::flood::latency::{Latency, MEASURES, Measure};
use steadfast::flood::ledger::STAGES;
use steadfast::flood::report::{Report, Second};

/// The most points of a line. More would exceed the pixels of a chart and make the page large.
const MAX_POINTS: usize = 240;

/// A chart with its title, text and legend.
#[derive(Debug)]
pub(super) struct Chart {
    pub(super) title: String,
    /// What the chart shows.
    pub(super) says: String,
    pub(super) plot: Plot,
    pub(super) legend: Vec<(Colour, String)>,
    /// Whether it takes the whole width of the page.
    pub(super) is_wide: bool,
}

/// The states in the order in which they are stacked, successful ones at the bottom.
const LAYERS: [(usize, Colour); 9] =
    [(5, BLUE), (4, SKY), (3, GREEN), (2, YELLOW), (1, ORANGE), (6, PINK), (7, GREY), (8, RED), (0, PALE)];

const SHARES: [(&str, f64, Colour); 4] =
    [("p50", 0.5, SKY), ("p90", 0.9, BLUE), ("p99", 0.99, ORANGE), ("max", 1.0, RED)];

/// Reduces the timeline to at most [`MAX_POINTS`] rows, each of as many seconds as needed. The flood may end shortly
/// after a row; less than half a second is not a row of its own, since its rate would be misleading.
pub(super) fn thinned(timeline: &[Second]) -> Vec<Second> {
    let last_s = timeline.last().map_or(0.0, |last| last.at_s);
    let least_s = (last_s / MAX_POINTS as f64).max(0.5);
    let mut rows: Vec<Second> = Vec::new();
    let mut since_s = 0.0;
    for row in timeline {
        match rows.last_mut() {
            Some(last) if last.at_s - since_s < least_s || row.at_s - last.at_s < 0.5 => {
                let mut latencies = row.latencies.clone();
                latencies.add(&last.latencies);
                *last = Second { latencies, ..row.clone() };
            }
            last => {
                since_s = last.map_or(0.0, |last| last.at_s);
                rows.push(row.clone());
            }
        }
    }
    rows
}

/// Returns how fast a count grew from row to row, per second.
pub(super) fn rates(rows: &[Second], count: fn(&Second) -> u64) -> Vec<(f64, f64)> {
    let before = std::iter::once((0.0, 0)).chain(rows.iter().map(|row| (row.at_s, count(row))));
    let rate = |((since, before), row): ((f64, u64), &Second)| {
        let took = row.at_s - since;
        (row.at_s, if took > 0.0 { count(row).saturating_sub(before) as f64 / took } else { 0.0 })
    };
    before.zip(rows).map(rate).collect()
}

/// Returns all charts for which there is data.
pub(super) fn charts(report: &Report) -> Vec<Chart> {
    let rows = thinned(&report.timeline);
    let mut charts = Vec::new();
    if !rows.is_empty() {
        charts.push(states(report, &rows));
        charts.push(rate(
            report,
            &rows,
            "Connects per second",
            "How many connections were opened per second.",
            &[("opened", BLUE, |row| row.opened)],
        ));
        let messages: &[Counted] = &[("answered", BLUE, |row| row.replies), ("pushed", ORANGE, |row| row.received)];
        let says = "How many messages were answered, and how many were received that were not replies.";
        charts.push(rate(report, &rows, "Messages per second", says, messages));
        charts.extend(MEASURES.into_iter().filter_map(|measure| latencies(report, &rows, measure)));
    }
    charts.extend(distribution(report));
    charts.extend(memory_each(report));
    if !rows.is_empty() {
        charts.extend(memory(report, &rows));
    }
    charts
}

fn time(report: &Report, rows: &[Second]) -> Axis {
    let last = rows.last().map_or(0.0, |row| row.at_s);
    Axis::from_zero(Scale::Time, last.max(report.seconds))
}

fn marks(report: &Report) -> Vec<(f64, String)> {
    report.phases.iter().map(|phase| (phase.began_s, phase.name.clone())).collect()
}

/// Returns the states over time: at the start, at the end of each second, and at the end of each phase.
fn standings(report: &Report, rows: &[Second]) -> Vec<(f64, [u64; 9])> {
    let mut begin = [0; 9];
    begin[0] = report.connections.planned;
    let mut standings = vec![(0.0, begin)];
    standings.extend(rows.iter().map(|row| (row.at_s, row.states.counts())));
    let ends = || report.phases.iter().map(|phase| (phase.began_s + phase.seconds, phase.states.counts()));
    // If the phases of shards end at different times, their summed end states never existed.
    let next = report.phases.iter().skip(1).map(|phase| phase.began_s);
    if ends().zip(next).all(|((ended, _), began)| ended <= began + 0.01) {
        standings.extend(ends());
    }
    standings.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    standings
}

fn states(report: &Report, rows: &[Second]) -> Chart {
    let planned = report.connections.planned;
    let standings = standings(report, rows).into_iter();
    let mut heights: Vec<(f64, [u64; 9], f64)> = standings.map(|(at, counts)| (at, counts, 0.0)).collect();
    let (mut shapes, mut legend) = (Vec::new(), Vec::new());
    for (stage, colour) in LAYERS {
        if heights.iter().all(|(_, counts, _)| counts[stage] == 0) {
            continue;
        }
        let layer = heights.iter_mut().map(|(at, counts, height)| {
            let low = *height;
            *height += counts[stage] as f64;
            (*at, low, *height)
        });
        shapes.push((colour, Shape::Area(layer.collect())));
        legend.push((colour, STAGES[stage].to_owned()));
    }
    Chart {
        title: "Connections by state".into(),
        says:
            "Every connection is in exactly one state, so the total height is always the number of planned connections."
                .into(),
        plot: Plot {
            x: time(report, rows),
            y: Axis::from_zero(Scale::Count, planned as f64),
            shapes,
            marks: marks(report),
            notes: Vec::new(),
        },
        legend,
        is_wide: true,
    }
}

type Counted<'a> = (&'a str, Colour, fn(&Second) -> u64);

fn rate(report: &Report, rows: &[Second], title: &str, says: &str, counted: &[Counted]) -> Chart {
    let (mut shapes, mut legend, mut most) = (Vec::new(), Vec::new(), 0.0_f64);
    for (name, colour, count) in counted {
        let rates = rates(rows, *count);
        let largest = rates.iter().map(|(_, rate)| *rate).fold(0.0, f64::max);
        if largest == 0.0 && counted.len() > 1 {
            continue;
        }
        most = most.max(largest);
        // A rate is constant over its second.
        let since = std::iter::once(0.0).chain(rates.iter().map(|(at, _)| *at));
        let steps = since.zip(&rates).flat_map(|(since, (at, rate))| [(since, *rate), (*at, *rate)]);
        shapes.push((*colour, Shape::Line(vec![steps.collect()])));
        legend.push((*colour, (*name).to_owned()));
    }
    Chart {
        title: title.into(),
        says: says.into(),
        plot: Plot {
            x: time(report, rows),
            y: Axis::from_zero(Scale::Rate, most),
            shapes,
            marks: marks(report),
            notes: Vec::new(),
        },
        legend,
        is_wide: false,
    }
}

/// Makes the chart of one measure's percentiles over time, if it has samples in at least two seconds; for one second
/// the table suffices.
fn latencies(report: &Report, rows: &[Second], measure: Measure) -> Option<Chart> {
    let each: Vec<(f64, Option<&Latency>)> = rows.iter().map(|row| (row.at_s, row.latencies.0.get(&measure))).collect();
    let known = || each.iter().filter_map(|(_, latency)| latency.filter(|latency| latency.samples() > 0));
    if known().count() < 2 {
        return None;
    }
    let pieces = |share: f64| {
        let mut pieces = vec![Vec::new()];
        for (at, latency) in &each {
            match latency.and_then(|latency| latency.quantile_us(share)) {
                Some(us) => pieces.last_mut().into_iter().for_each(|piece| piece.push((*at, log(us)))),
                None => pieces.push(Vec::new()),
            }
        }
        pieces.retain(|piece| !piece.is_empty());
        pieces
    };
    let lines = SHARES.into_iter().rev();
    let (shapes, legend) =
        lines.map(|(name, share, colour)| ((colour, Shape::Line(pieces(share))), (colour, name.to_owned()))).unzip();
    let longest = known().filter_map(Latency::max_us).max()?;
    let shortest = known().filter_map(|latency| latency.quantile_us(0.5)).min()?;
    Some(Chart {
        title: format!("Latency over time: {}", measure.name()),
        says: meaning(measure).into(),
        plot: Plot {
            x: time(report, rows),
            y: Axis::of_latencies(shortest, longest),
            shapes,
            marks: marks(report),
            notes: Vec::new(),
        },
        legend,
        is_wide: false,
    })
}

fn log(us: u64) -> f64 {
    (us.max(1) as f64).log10()
}

/// Describes a measure.
pub(super) fn meaning(measure: Measure) -> &'static str {
    match measure {
        Measure::Connect => "From connect(2) to the open connection.",
        Measure::Reconnect => "From connect(2) to the open connection, for connections that a storm had reset.",
        Measure::Reply => "From a message to its reply, one in flight on each connection.",
        Measure::Hold => "From a message to its reply, during a hold.",
        Measure::Alive => "From a message to its reply, for the check at the end of a hold.",
        Measure::Response => "At a constant rate: from the time a message was due to its reply.",
        Measure::Service => "At a constant rate: from the time a message was sent to its reply.",
        Measure::Lag => "At a constant rate: how late the flood itself sent. This is part of the response times.",
        Measure::Age => "From the timestamp in a pushed message to its arrival, by the clocks of both hosts.",
    }
}

const MEASURE_COLOURS: [Colour; 9] = [BLUE, VIOLET, RED, GREEN, PINK, ORANGE, SKY, GREY, YELLOW];

/// Makes the chart of latency by percentile, as HdrHistogram draws it: each further nine has as much room as the one
/// before.
fn distribution(report: &Report) -> Option<Chart> {
    let (mut shapes, mut legend) = (Vec::new(), Vec::new());
    let (mut shortest, mut longest, mut nines) = (u64::MAX, 0, 1.0_f64);
    for (measure, colour) in MEASURES.into_iter().zip(MEASURE_COLOURS) {
        let latency = &report.timing(measure).latency;
        let (Some(least), Some(most)) = (latency.quantile_us(0.0), latency.max_us()) else { continue };
        (shortest, longest) = (shortest.min(least), longest.max(most));
        let samples = latency.samples() as f64;
        let mut below = 0;
        let mut line = vec![(0.0, log(least))];
        for (us, count) in latency.steps() {
            below += count;
            // No share is above the last sample; it is drawn where half a sample would be.
            let above = (samples - below as f64).max(0.5) / samples;
            line.push((-above.log10(), log(us)));
        }
        nines = nines.max(samples.log10() + 0.31);
        shapes.push((colour, Shape::Line(vec![thin_line(line)])));
        legend.push((colour, measure.name().to_owned()));
    }
    (!shapes.is_empty()).then(|| Chart {
        title: "Latency by percentile".into(),
        says:
            "The latency that the given share did not exceed, over the whole flood. Each further nine has as much room \
               as the one before, so that the slowest are visible."
                .into(),
        plot: Plot {
            x: Axis { scale: Scale::Nines, range: 0.0..nines },
            y: Axis::of_latencies(shortest, longest),
            shapes,
            marks: Vec::new(),
            notes: Vec::new(),
        },
        legend,
        is_wide: true,
    })
}

/// Leaves out points on the same pixel as the previous one.
fn thin_line(line: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    let mut thin: Vec<(f64, f64)> = Vec::new();
    let last = line.len().saturating_sub(1);
    for (at, point) in line.into_iter().enumerate() {
        let is_far = |before: &(f64, f64)| (point.0 - before.0).abs() > 0.005 || (point.1 - before.1).abs() > 0.005;
        if at == last || thin.last().is_none_or(is_far) {
            thin.push(point);
        }
    }
    thin
}

/// Makes the charts of the memory per connection, one for user space and one for the kernel, since one is a hundred
/// times the other.
fn memory_each(report: &Report) -> Vec<Chart> {
    let (server, client) = (&report.memory.server, &report.memory.client);
    let user = [server.user_bytes_per_connection, client.user_bytes_per_connection];
    let kernel = [server.kernel_bytes_per_connection, client.kernel_bytes_per_connection];
    let chart = |title: &str, says: &str, figures: [Option<f64>; 2]| {
        let most = figures.into_iter().flatten().reduce(f64::max)?;
        let bar = |(at, figure): (usize, Option<f64>)| {
            let (left, height) = (at as f64 + 0.2, figure.unwrap_or(0.0));
            let colour = if at == 0 { BLUE } else { ORANGE };
            (colour, Shape::Area(vec![(left, 0.0, height), (left + 0.6, 0.0, height)]))
        };
        let note = |(at, figure): (usize, Option<f64>)| {
            let text = figure.map_or("not measured".to_owned(), |figure| format!("{figure:.0} B"));
            (at as f64 + 0.5, figure.unwrap_or(0.0), text)
        };
        Some(Chart {
            title: title.into(),
            says: says.into(),
            plot: Plot {
                x: Axis { scale: Scale::PerSide, range: 0.0..2.0 },
                // Room for the figure above the bar.
                y: Axis::from_zero(Scale::Bytes, most * 1.12),
                shapes: figures.into_iter().enumerate().map(bar).collect(),
                marks: Vec::new(),
                notes: figures.into_iter().enumerate().map(note).collect(),
            },
            legend: Vec::new(),
            is_wide: false,
        })
    };
    [
        chart("Memory of a connection: user space", "How much one connection added to the process of each side.", user),
        chart(
            "Memory of a connection: kernel",
            "How much one socket added to the kernel's slabs, at either end.",
            kernel,
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Makes the chart of memory over time, above its minimum.
fn memory(report: &Report, rows: &[Second]) -> Option<Chart> {
    type Read = fn(&Second) -> Option<u64>;
    let lines: [(&str, Colour, Read); 3] = [
        ("server, user space", BLUE, |row| row.server_user_bytes),
        ("client, user space", ORANGE, |row| row.client_user_bytes),
        ("kernel, of the whole host", GREY, |row| row.slab_bytes),
    ];
    let (mut shapes, mut legend, mut most) = (Vec::new(), Vec::new(), 0.0_f64);
    for (name, colour, read) in lines {
        let Some(least) = rows.iter().filter_map(read).min() else { continue };
        let grown = rows.iter().filter_map(|row| Some((row.at_s, (read(row)? - least) as f64)));
        let line: Vec<(f64, f64)> = grown.collect();
        most = line.iter().map(|(_, bytes)| *bytes).fold(most, f64::max);
        shapes.push((colour, Shape::Line(vec![line])));
        legend.push((colour, name.to_owned()));
    }
    (rows.len() > 1 && !shapes.is_empty()).then(|| Chart {
        title: "Memory over time".into(),
        says: "How much memory was used above its minimum.".into(),
        plot: Plot {
            x: time(report, rows),
            y: Axis::from_zero(Scale::Bytes, most),
            shapes,
            marks: marks(report),
            notes: Vec::new(),
        },
        legend,
        is_wide: true,
    })
}
