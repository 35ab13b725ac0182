//! Reports as a flood would have made them, out of what became of each connection.

use std::collections::BTreeMap;
use steadfast::flood::Cpu;
use steadfast::flood::latency::{Latencies, MEASURES, Measure};
use steadfast::flood::report::{
    Connections, PerSide, PhaseReport, Report, SCHEMA, Schedule, Second, SideMemory, States, Timing,
};

/// One connection: it is open from one second on, until it is closed or lost in another.
#[derive(Clone, Debug)]
pub(crate) struct Fate {
    pub(crate) opened_s: u64,
    pub(crate) ended_s: u64,
    pub(crate) cause: Option<&'static str>,
}

/// One latency, and in which second it was measured.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) second: u64,
    pub(crate) measure: Measure,
    pub(crate) us: u64,
}

/// The last second of the phase `ramp`; what comes later is `hold`.
const RAMP_S: u64 = 2;

/// The states of all connections at the end of a second.
fn states(fates: &[Fate], second: u64) -> States {
    let mut states = States::default();
    for fate in fates {
        let state = match (second < fate.opened_s, second < fate.ended_s, fate.cause) {
            (true, ..) => &mut states.planned,
            (_, true, _) => &mut states.open,
            (.., None) => &mut states.closed,
            (.., Some(_)) => &mut states.lost,
        };
        *state += 1;
    }
    states
}

fn latencies(samples: &[Sample], is_of: impl Fn(u64) -> bool) -> Latencies {
    let mut latencies = Latencies::default();
    samples.iter().filter(|sample| is_of(sample.second)).for_each(|sample| latencies.record(sample.measure, sample.us));
    latencies
}

fn rows(fates: &[Fate], samples: &[Sample], seconds: u64) -> Vec<Second> {
    let row = |second: u64| Second {
        at_s: second as f64,
        phase: if second <= RAMP_S { "ramp" } else { "hold" }.into(),
        states: states(fates, second),
        opened: fates.iter().filter(|fate| fate.opened_s <= second).count() as u64,
        replies: latencies(samples, |at| at <= second).of(Measure::Reply).samples(),
        received: latencies(samples, |at| at <= second).of(Measure::Age).samples(),
        latencies: latencies(samples, |at| at == second),
        client_user_bytes: None,
        server_user_bytes: Some(1000 * second),
        slab_bytes: Some(77 * second),
        sockets: None,
    };
    (1..=seconds).map(row).collect()
}

fn phases(fates: &[Fate], samples: &[Sample], seconds: u64, schedule: Schedule) -> Vec<PhaseReport> {
    let phase = |name: &str, began: u64, ended: u64| PhaseReport {
        missing: 0,
        name: name.into(),
        kind: name.into(),
        began_s: began as f64,
        seconds: ended.saturating_sub(began) as f64,
        latencies: latencies(samples, |second| began < second && second <= ended),
        schedule: if began == 0 { Schedule::default() } else { schedule },
        states: states(fates, ended),
    };
    vec![phase("ramp", 0, RAMP_S), phase("hold", RAMP_S, seconds)]
}

/// What a number of connections adds to a process, each about `bytes`: a whole number of bytes together.
fn memory(planned: u64, bytes: f64) -> SideMemory {
    let each = (planned as f64 * bytes).round() / planned as f64;
    SideMemory {
        connections: planned,
        user_bytes_per_connection: Some(each).filter(|_| planned > 0),
        kernel_bytes_per_connection: None,
    }
}

/// What a flood of these connections, with these latencies, reports after `seconds`.
pub(crate) fn report(fates: &[Fate], samples: &[Sample], seconds: u64) -> Report {
    let count = |is: fn(&Fate) -> bool| fates.iter().filter(|fate| is(fate)).count() as u64;
    let planned = fates.len() as u64;
    let (closed, lost) = (count(|fate| fate.cause.is_none()), count(|fate| fate.cause.is_some()));
    let mut lost_by_cause = BTreeMap::new();
    for cause in fates.iter().filter_map(|fate| fate.cause) {
        *lost_by_cause.entry(cause.to_owned()).or_default() += 1;
    }
    let all = latencies(samples, |_| true);
    let timing = |measure: Measure| {
        let latency = all.of(measure);
        Timing { seconds: 4.0, per_second: latency.samples() as f64 / 4.0, latency }
    };
    let [connect, reconnect, reply, hold, alive, response, service, lag, age] = MEASURES.map(timing);
    let sent = all.of(Measure::Reply).samples();
    let schedule = Schedule { due: planned * 3, sent: planned * 2, answered: closed };
    Report {
        schema: SCHEMA.into(),
        program: "steadfast 0.1.0".into(),
        target: "ws://127.0.0.1:8080/echo".into(),
        shards: Vec::new(),
        started_at_s: 1_764_000_000.25,
        seconds: seconds as f64,
        connections: Connections {
            planned,
            opened: planned,
            reopened: 0,
            answered: closed,
            held: closed,
            closed,
            lost,
        },
        states: states(fates, u64::MAX),
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
        schedule,
        close_seconds: 0.5,
        sent,
        replies: sent,
        received: all.of(Measure::Age).samples(),
        pings: planned,
        reply_check: "content".into(),
        memory: PerSide { server: memory(planned, 51.0), client: memory(planned, 68.0) },
        cpu: PerSide {
            server: Some(Cpu { user_s: 1.5, system_s: 2.25 }),
            client: Some(Cpu { user_s: planned as f64 / 4.0, system_s: planned as f64 / 8.0 }),
        },
        workers: 2 * fates.len(),
        phases: phases(fates, samples, seconds, schedule),
        timeline: rows(fates, samples, seconds),
        reconciliation: None,
        interrupted: None,
        warnings: Vec::new(),
        assertions: Vec::new(),
        ok: lost == 0,
    }
}
