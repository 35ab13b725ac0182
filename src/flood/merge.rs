//! Merges several reports into one, exactly as if one flood had taken all of their samples.

use super::latency::{Latencies, MEASURES, Measure};
use super::report::{
    Agreement, Connections, Interrupted, PerSide, PhaseReport, Reconciliation, Report, SCHEMA, Schedule, Second,
    SideMemory, States, Timing, Verdict,
};
use super::verdict::{Assertion, BadAssertion};
use crate::stats::Cpu;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// How late a row of the timeline may be and still count for its second.
const LATE_S: f64 = 0.25;

/// Why reports cannot be merged. Reports are counted from 0, in the order given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MergeError {
    /// There is no report.
    Nothing,
    /// A report has another schema than [`SCHEMA`].
    Schema {
        /// Which report.
        report: usize,
        /// The value found.
        schema: String,
    },
    /// A report has another target than the first.
    Target {
        /// Which report.
        report: usize,
        /// Its target.
        target: String,
        /// The target of the first.
        first: String,
    },
    /// A report has another scenario than the first: its phases have other names, or another order.
    Phases {
        /// Which report.
        report: usize,
        /// Its phases.
        phases: String,
        /// The phases of the first.
        first: String,
    },
    /// A report has an invalid shard, such as `3/2`.
    NoShard {
        /// Which report.
        report: usize,
        /// The value found.
        shard: String,
    },
    /// A report has no shard or another number of shards than the first.
    Mixed {
        /// Which report.
        report: usize,
        /// What it is: a shard of how many, or no shard.
        shards: String,
        /// What the first is.
        first: String,
    },
    /// The same shard or the same report is given twice.
    Twice {
        /// The second of the two.
        report: usize,
        /// The shard; `None` for a report without shards.
        shard: Option<String>,
    },
    /// A shard is missing.
    Missing {
        /// Which one.
        shard: String,
    },
    /// An assertion of a report cannot be evaluated.
    Assertion {
        /// What was asserted.
        assertion: String,
        /// What is wrong with it.
        error: BadAssertion,
    },
}

impl MergeError {
    /// Returns the index of the report that does not fit, if the error is about one.
    pub fn report(&self) -> Option<usize> {
        match self {
            Self::Nothing | Self::Missing { .. } | Self::Assertion { .. } => None,
            Self::Schema { report, .. }
            | Self::Target { report, .. }
            | Self::Phases { report, .. }
            | Self::NoShard { report, .. }
            | Self::Mixed { report, .. }
            | Self::Twice { report, .. } => Some(*report),
        }
    }
}

impl fmt::Display for MergeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("there is no report to merge"),
            Self::Schema { schema, .. } => write!(f, "its schema is {schema:?}; expected {SCHEMA:?}"),
            Self::Target { target, first, .. } => {
                write!(f, "its target is {target:?}; that of the first report is {first:?}")
            }
            Self::Phases { phases, first, .. } => {
                write!(f, "it has another scenario: its phases are {phases}; those of the first report are {first}")
            }
            Self::NoShard { shard, .. } => write!(f, "{shard:?} is not a shard; expected e.g. 1/2"),
            Self::Mixed { shards, first, .. } => write!(f, "it is {shards}, and the first report is {first}"),
            Self::Twice { shard: Some(shard), .. } => write!(f, "shard {shard} is given twice"),
            Self::Twice { shard: None, .. } => f.write_str("the same report is given twice"),
            Self::Missing { shard } => write!(f, "shard {shard} is missing"),
            Self::Assertion { assertion, error } => {
                write!(f, "the assertion {assertion:?} cannot be evaluated: {error}")
            }
        }
    }
}

impl std::error::Error for MergeError {}

/// Merges reports into one. Their order does not matter.
///
/// Counts are summed and histograms added; percentiles and rates are computed from the sums. Durations are the longest
/// of all reports. Rows of the timeline are aligned by the clocks of the hosts, to the second; before its first row a
/// report counts with its initial states, and after its last row with its last ones. Clients are separate processes;
/// the server is the same for all. Assertions are evaluated again.
///
/// Reports of shards must be all shards of one flood. Other reports are merged as they are, if their targets and
/// scenarios are the same.
///
/// # Errors
/// [`MergeError`] if the reports do not fit together.
pub fn merge(reports: Vec<Report>) -> Result<Report, MergeError> {
    check(&reports)?;
    let parts = in_order(reports);
    let Some(first) = parts.first() else { return Err(MergeError::Nothing) };
    let began = parts.iter().map(|part| part.started_at_s).fold(f64::INFINITY, f64::min);
    let timing = |measure: Measure| {
        let mut sum = Timing::default().latency;
        parts.iter().for_each(|part| sum.add(&part.timing(measure).latency));
        Timing::of(sum, largest(&parts, |part| part.timing(measure).seconds))
    };
    let [connect, reconnect, reply, hold, alive, response, service, lag, age] = MEASURES.map(timing);
    let mut lost_by_cause = BTreeMap::new();
    for (cause, count) in parts.iter().flat_map(|part| &part.lost_by_cause) {
        add(lost_by_cause.entry(cause.clone()).or_default(), *count);
    }
    let by_content = parts.iter().all(|part| part.reply_check == "content");
    let mut merged = Report {
        schema: SCHEMA.into(),
        program: distinct(&parts, |part| &part.program).join(", "),
        target: first.target.clone(),
        shards: parts.iter().flat_map(|part| part.shards.clone()).collect(),
        started_at_s: began,
        seconds: largest(&parts, |part| part.started_at_s - began + part.seconds),
        connections: connections(&parts),
        states: states(parts.iter().map(|part| part.states)),
        lost_by_cause,
        connect,
        reconnect,
        reply,
        hold,
        alive,
        response,
        service,
        lag,
        age,
        schedule: schedule(parts.iter().map(|part| part.schedule)),
        close_seconds: largest(&parts, |part| part.close_seconds),
        sent: sum_of(parts.iter().map(|part| part.sent)),
        replies: sum_of(parts.iter().map(|part| part.replies)),
        received: sum_of(parts.iter().map(|part| part.received)),
        pings: sum_of(parts.iter().map(|part| part.pings)),
        reply_check: if by_content { "content" } else { "status" }.into(),
        memory: PerSide {
            server: memory(parts.iter().map(|part| part.memory.server)),
            client: memory(parts.iter().map(|part| part.memory.client)),
        },
        cpu: PerSide { server: largest_cpu(&parts), client: summed_cpu(&parts) },
        workers: parts.iter().map(|part| part.workers).fold(0, usize::saturating_add),
        phases: phases(&parts, began),
        timeline: timeline(&parts, began),
        reconciliation: reconciliation(&parts),
        interrupted: interrupted(&parts),
        warnings: parts.iter().flat_map(|part| &part.warnings).cloned().collect::<BTreeSet<_>>().into_iter().collect(),
        assertions: Vec::new(),
        ok: parts.iter().all(|part| part.ok),
    };
    for Verdict { assertion, .. } in parts.iter().flat_map(|part| &part.assertions) {
        if merged.assertions.iter().all(|judged| judged.assertion != *assertion) {
            let bad = |error| MergeError::Assertion { assertion: assertion.clone(), error };
            let judged = assertion.parse::<Assertion>().map_err(bad)?.judge(&merged);
            merged.assertions.push(judged);
        }
    }
    Ok(merged)
}

/// Checks that the reports fit together.
fn check(reports: &[Report]) -> Result<(), MergeError> {
    // Phases are merged one by one, so their number and names must be equal.
    let names = |report: &Report| report.phases.iter().map(|phase| phase.name.clone()).collect::<Vec<_>>();
    let listed = |report: &Report| match names(report) {
        none if none.is_empty() => "none".to_owned(),
        names => names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", "),
    };
    let Some(first) = reports.first() else { return Err(MergeError::Nothing) };
    for (at, report) in reports.iter().enumerate() {
        if report.schema != SCHEMA {
            return Err(MergeError::Schema { report: at, schema: report.schema.clone() });
        }
        if report.target != first.target {
            let (target, first) = (report.target.clone(), first.target.clone());
            return Err(MergeError::Target { report: at, target, first });
        }
        if names(report) != names(first) {
            return Err(MergeError::Phases { report: at, phases: listed(report), first: listed(first) });
        }
    }
    check_shards(reports)
}

fn check_shards(reports: &[Report]) -> Result<(), MergeError> {
    let mut seen = BTreeSet::new();
    let mut of_first = None;
    for (at, report) in reports.iter().enumerate() {
        let mut count = None;
        for shard in &report.shards {
            let (number, of) =
                numbers(shard).ok_or_else(|| MergeError::NoShard { report: at, shard: shard.clone() })?;
            count = Some(of);
            if !seen.insert(number) {
                return Err(MergeError::Twice { report: at, shard: Some(shard.clone()) });
            }
        }
        let first = *of_first.get_or_insert(count);
        if count != first {
            let says =
                |count: Option<u64>| count.map_or("not a shard".to_owned(), |count| format!("one of {count} shards"));
            return Err(MergeError::Mixed { report: at, shards: says(count), first: says(first) });
        }
        if count.is_none() && reports[..at].contains(report) {
            return Err(MergeError::Twice { report: at, shard: None });
        }
    }
    let count = of_first.flatten().unwrap_or(0);
    match (1..=count).find(|number| !seen.contains(number)) {
        Some(number) => Err(MergeError::Missing { shard: format!("{number}/{count}") }),
        None => Ok(()),
    }
}

/// Parses `2/3`, the second of three.
fn numbers(shard: &str) -> Option<(u64, u64)> {
    let (number, count) = shard.split_once('/')?;
    let (number, count) = (number.parse().ok()?, count.parse().ok()?);
    (1..=count).contains(&number).then_some((number, count))
}

/// Sorts the reports, so that the result does not depend on the order given: sums of floats do, in the last digits.
fn in_order(reports: Vec<Report>) -> Vec<Report> {
    let shard = |report: &Report| report.shards.first().and_then(|shard| numbers(shard));
    let text = |report: &Report| serde_json::to_string(report).unwrap_or_default();
    let mut parts = reports;
    parts.sort_by(|one, other| {
        shard(one)
            .cmp(&shard(other))
            .then_with(|| one.started_at_s.total_cmp(&other.started_at_s))
            .then_with(|| text(one).cmp(&text(other)))
    });
    parts
}

/// Sums counts without overflow: a file may contain any number.
fn sum_of(counts: impl Iterator<Item = u64>) -> u64 {
    counts.fold(0, u64::saturating_add)
}

fn add(sum: &mut u64, count: u64) {
    *sum = sum.saturating_add(count);
}

fn largest(parts: &[Report], seconds: impl Fn(&Report) -> f64) -> f64 {
    parts.iter().map(seconds).fold(0.0, f64::max)
}

fn distinct<'a>(parts: &'a [Report], text: impl Fn(&'a Report) -> &'a String) -> Vec<&'a str> {
    parts.iter().map(|part| text(part).as_str()).collect::<BTreeSet<&str>>().into_iter().collect()
}

fn connections(parts: &[Report]) -> Connections {
    let mut sum = Connections::default();
    for Connections { planned, opened, reopened, answered, held, closed, lost } in
        parts.iter().map(|part| part.connections)
    {
        add(&mut sum.planned, planned);
        add(&mut sum.opened, opened);
        add(&mut sum.reopened, reopened);
        add(&mut sum.answered, answered);
        add(&mut sum.held, held);
        add(&mut sum.closed, closed);
        add(&mut sum.lost, lost);
    }
    sum
}

fn states(parts: impl Iterator<Item = States>) -> States {
    let mut sum = [0; 9];
    for part in parts {
        sum.iter_mut().zip(part.counts()).for_each(|(sum, count)| add(sum, count));
    }
    sum.into()
}

fn schedule(parts: impl Iterator<Item = Schedule>) -> Schedule {
    parts.fold(Schedule::default(), |sum, part| Schedule {
        due: sum.due.saturating_add(part.due),
        sent: sum.sent.saturating_add(part.sent),
        answered: sum.answered.saturating_add(part.answered),
    })
}

/// Averages, weighted by connections. The total is a whole number of bytes, so rounding keeps it exact.
fn memory(parts: impl Iterator<Item = SideMemory> + Clone) -> SideMemory {
    let each = |figure: fn(&SideMemory) -> Option<f64>| {
        let known = parts.clone().filter_map(|part| Some((figure(&part)?, part.connections)));
        let (bytes, connections) = known.fold((0.0, 0_u64), |(bytes, connections), (each, more)| {
            (bytes + (each * more as f64).round(), connections.saturating_add(more))
        });
        (connections > 0).then(|| bytes / connections as f64)
    };
    SideMemory {
        connections: sum_of(parts.clone().map(|part| part.connections)),
        user_bytes_per_connection: each(|part| part.user_bytes_per_connection),
        kernel_bytes_per_connection: each(|part| part.kernel_bytes_per_connection),
    }
}

/// Returns the largest server figure: there is one server, and the shard that ran longest saw most of it.
fn largest_cpu(parts: &[Report]) -> Option<Cpu> {
    let seen = parts.iter().filter_map(|part| part.cpu.server);
    seen.max_by(|one, other| one.total_s().total_cmp(&other.total_s()))
}

fn summed_cpu(parts: &[Report]) -> Option<Cpu> {
    let each = parts.iter().filter_map(|part| part.cpu.client);
    each.reduce(|sum, part| Cpu { user_s: sum.user_s + part.user_s, system_s: sum.system_s + part.system_s })
}

fn phases(parts: &[Report], began: f64) -> Vec<PhaseReport> {
    let merged = |at: usize, first: &PhaseReport| {
        let each = || parts.iter().map(move |part| (part.started_at_s - began, &part.phases[at]));
        let mut latencies = Latencies::default();
        each().for_each(|(_, phase)| latencies.add(&phase.latencies));
        PhaseReport {
            name: first.name.clone(),
            kind: first.kind.clone(),
            began_s: each().map(|(later, phase)| later + phase.began_s).fold(f64::INFINITY, f64::min),
            seconds: each().map(|(_, phase)| phase.seconds).fold(0.0, f64::max),
            latencies,
            schedule: schedule(each().map(|(_, phase)| phase.schedule)),
            missing: sum_of(each().map(|(_, phase)| phase.missing)),
            states: states(each().map(|(_, phase)| phase.states)),
        }
    };
    let first = parts.first().map_or(&[][..], |part| &part.phases);
    first.iter().enumerate().map(|(at, phase)| merged(at, phase)).collect()
}

/// The timeline of one report while it is merged.
struct Rows<'a> {
    /// Rows by second, counted from the start of the first report.
    rows: BTreeMap<u64, Vec<&'a Second>>,
    /// How much later than the first report this one began.
    later_s: f64,
    /// The states before its first row.
    states: States,
    last: Option<&'a Second>,
}

fn timeline(parts: &[Report], began: f64) -> Vec<Second> {
    let phases = parts.first().map_or(&[][..], |part| &part.phases);
    let mut parts: Vec<Rows> = parts.iter().map(|part| Rows::new(part, part.started_at_s - began)).collect();
    let seconds: BTreeSet<u64> = parts.iter().flat_map(|part| part.rows.keys().copied()).collect();
    seconds.into_iter().filter_map(|second| row(&mut parts, second, phases)).collect()
}

impl<'a> Rows<'a> {
    fn new(part: &'a Report, later_s: f64) -> Self {
        let mut rows: BTreeMap<u64, Vec<&Second>> = BTreeMap::new();
        for row in &part.timeline {
            rows.entry((later_s + row.at_s - LATE_S).ceil().max(0.0) as u64).or_default().push(row);
        }
        let states = States { planned: part.connections.planned, ..States::default() };
        Self { rows, later_s, states, last: None }
    }

    fn has_ended(&self, second: u64) -> bool {
        self.rows.keys().next_back().is_none_or(|last| *last < second)
    }
}

/// Merges one second of all reports.
fn row(parts: &mut [Rows], second: u64, phases: &[PhaseReport]) -> Option<Second> {
    let mut sum: Option<Second> = None;
    let mut latencies = Latencies::default();
    let mut standing = Vec::new();
    let mut clients = Vec::new();
    for part in parts.iter_mut() {
        let rows = part.rows.get(&second).map_or(&[][..], Vec::as_slice);
        rows.iter().for_each(|row| latencies.add(&row.latencies));
        part.last = rows.last().copied().or(part.last);
        if let Some(last) = part.last.filter(|_| !part.has_ended(second)) {
            clients.push(last.client_user_bytes);
        }
        if let Some(row) = rows.last() {
            let at_s = part.later_s + row.at_s;
            sum = Some(match sum {
                None => Second { at_s, ..(*row).clone() },
                Some(sum) => seen_by_both(sum, row, at_s, phases),
            });
        }
        standing.push((part.last, part.states));
    }
    let total = |count: fn(&Second) -> u64| sum_of(standing.iter().filter_map(|(last, _)| last.map(count)));
    Some(Second {
        states: states(standing.iter().map(|(last, before)| last.map_or(*before, |last| last.states))),
        opened: total(|last| last.opened),
        replies: total(|last| last.replies),
        received: total(|last| last.received),
        latencies,
        client_user_bytes: clients.into_iter().collect::<Option<Vec<u64>>>().map(|each| sum_of(each.into_iter())),
        ..sum?
    })
}

/// Merges figures that are of the whole, not of a part. A host that two parts share is not counted twice: the larger
/// figure counts.
fn seen_by_both(sum: Second, row: &Second, at_s: f64, phases: &[PhaseReport]) -> Second {
    let place = |name: &str| phases.iter().position(|phase| phase.name == name);
    Second {
        // The latest phase that all parts have reached.
        phase: if place(&row.phase) < place(&sum.phase) { row.phase.clone() } else { sum.phase },
        at_s: sum.at_s.max(at_s),
        server_user_bytes: sum.server_user_bytes.max(row.server_user_bytes),
        slab_bytes: sum.slab_bytes.max(row.slab_bytes),
        sockets: sum.sockets.max(row.sockets),
        ..sum
    }
}

/// Sums the interrupts of all parts.
fn interrupted(parts: &[Report]) -> Option<Interrupted> {
    parts.iter().filter_map(|part| part.interrupted).reduce(|sum, part| Interrupted {
        closed: sum.closed.saturating_add(part.closed),
        reset: sum.reset.saturating_add(part.reset),
    })
}

/// Sums the reconciliations: if both sides agree in every part, they agree as a whole.
fn reconciliation(parts: &[Report]) -> Option<Reconciliation> {
    let each: Vec<&Reconciliation> = parts.iter().map(|part| part.reconciliation.as_ref()).collect::<Option<_>>()?;
    let mut figures: Vec<Agreement> = Vec::new();
    for figure in each.iter().flat_map(|part| &part.figures) {
        match figures.iter_mut().find(|sum| sum.what == figure.what) {
            None => figures.push(figure.clone()),
            Some(sum) => {
                add(&mut sum.at_least, figure.at_least);
                sum.at_most = sum.at_most.zip(figure.at_most).map(|(one, other)| one.saturating_add(other));
                add(&mut sum.server, figure.server);
                sum.agrees &= figure.agrees;
            }
        }
    }
    Some(Reconciliation { figures, agrees: each.iter().all(|part| part.agrees) })
}
