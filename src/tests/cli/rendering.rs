//! Whatever a report that can be read says, it is shown.

use super::{OutputArgs, html, text};
use crate::mutants;
use proptest::prelude::*;
use serde_json::Value;
use steadfast::flood::Cpu;
use steadfast::flood::latency::{Latencies, MEASURES};
use steadfast::flood::report::{
    Agreement, Connections, PerSide, PhaseReport, Reconciliation, Report, SCHEMA, Schedule, Second, SideMemory, States,
    Timing,
};

/// A report with something in each member.
fn document() -> Value {
    let states = States { planned: 1, open: 5, lost: 3, ..States::default() };
    let mut latencies = Latencies::default();
    for (at, measure) in MEASURES.into_iter().enumerate() {
        (0..40).for_each(|us| latencies.record(measure, us * us * us * (1 + at as u64)));
    }
    let timing = Timing { seconds: 2.0, per_second: 20.0, latency: latencies.of(MEASURES[0]) };
    let phase = |at: u32, kind: &str| PhaseReport {
        name: kind.into(),
        kind: kind.into(),
        began_s: f64::from(at),
        seconds: 1.0,
        latencies: latencies.clone(),
        schedule: Schedule { due: 9, sent: 8, answered: 7 },
        missing: 1,
        states,
    };
    let row = |at: u32| Second {
        at_s: f64::from(at),
        phase: "ramp".into(),
        states,
        opened: u64::from(at),
        replies: 7,
        received: 8,
        latencies: latencies.clone(),
        client_user_bytes: Some(1 << 20),
        server_user_bytes: Some(1 << 21),
        slab_bytes: Some(1 << 30),
        sockets: Some(9),
    };
    let memory =
        SideMemory { connections: 9, user_bytes_per_connection: Some(51.0), kernel_bytes_per_connection: Some(4179.0) };
    let figure = Agreement { what: "upgraded".into(), at_least: 7, at_most: Some(8), server: 8, agrees: true };
    let mut report = Report {
        schema: SCHEMA.into(),
        target: "ws://127.0.0.1/".into(),
        seconds: 4.0,
        connections: Connections { planned: 9, opened: 8, answered: 5, held: 5, closed: 5, lost: 3, reopened: 1 },
        states,
        lost_by_cause: [("refused".to_owned(), 3)].into(),
        memory: PerSide { server: memory, client: memory },
        cpu: PerSide { server: Some(Cpu { user_s: 1.0, system_s: 2.0 }), client: None },
        phases: vec![phase(0, "ramp"), phase(1, "reply"), phase(2, "drain")],
        timeline: (1..5).map(row).collect(),
        reconciliation: Some(Reconciliation { figures: vec![figure], agrees: true }),
        ..Report::default()
    };
    for timed in [&mut report.connect, &mut report.reply, &mut report.response, &mut report.age] {
        timed.clone_from(&timing);
    }
    let verdict = "ramp.connect.p99 < 5ms".parse::<steadfast::flood::verdict::Assertion>();
    report.assertions = vec![verdict.expect("an assertion").judge(&report)];
    serde_json::to_value(&report).expect("JSON")
}

fn assert_shown(report: &Report) {
    drop(text::table(report));
    drop(text::csv(report));
    let page = html::html(report).map(|page| page.len()).map_err(|error| error.to_string());
    // Charts have at most some hundred points, whatever the timeline has.
    assert!(page.as_ref().is_ok_and(|bytes| *bytes < 4 << 20), "{page:?}");
    assert_eq!(OutputArgs::default().check(report.phases.iter().map(|phase| phase.name.as_str())), Ok(()));
}

#[test]
fn a_report_of_many_rows_and_phases_is_a_page_of_some_megabytes() {
    let mut document = document();
    let row = document["timeline"][0].clone();
    let rows = document["timeline"].as_array_mut().expect("rows");
    for at in 0..5_000 {
        rows.push(row.clone());
        rows[at]["at_s"] = (at as f64).into();
    }
    let last = rows.len() - 1;
    rows[5_000..].iter_mut().for_each(|row| row["at_s"] = 5_000.0.into());
    assert_eq!(last, 5_003);
    let report = Report::from_json(document.to_string().as_bytes()).expect("a report");
    assert_shown(&report);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn whatever_a_report_says_it_is_shown(changes in mutants::changes()) {
        let mut document = document();
        changes.iter().for_each(|change| change.apply(&mut document));
        if let Ok(report) = Report::from_json(document.to_string().as_bytes()) {
            assert_shown(&report);
        }
    }
}
