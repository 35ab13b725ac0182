//! The ledger: what is lost is counted to one, with its cause, and both sides say the same.

use crate::host::{Local, quick};
use crate::kill::{How, killing};
use crate::rig::{assert_agrees, assert_sums, counts, flood};
use serde_json::{Value, json};
use std::sync::atomic::AtomicU32;
use steadfast::flood::latency::{Latencies, MEASURES};
use steadfast::flood::scenario::Scenario;
use steadfast::flood::{self, Config};
use steadfast::server::Server;

const PLANNED: u64 = 2000;

/// Of 2,000 connections every hundredth is ended, and 20 are lost.
fn assert_kills(how: How, cause: &str, answered: u64) {
    let local = Local::serve(killing(Server::from(quick()), how, 100, PLANNED));
    let url = format!("ws://{}/", local.address);
    let (ended, report) = flood(&[&url, "--connections", "2000", "--hold", "1", "--trickle", "0"]);
    assert_sums(&ended, &report, PLANNED);
    assert_agrees(&report);
    assert_eq!(report["lost_by_cause"], json!({ cause: 20 }), "{how:?}");
    let names = ["opened", "answered", "held", "closed", "lost"];
    assert_eq!(counts(&report, names), [PLANNED, answered, PLANNED - 20, PLANNED - 20, 20], "{how:?}: {report}");
    assert_eq!((ended.code(), &report["ok"]), (1, &Value::Bool(false)), "{ended:?}");
    assert!(ended.out.iter().any(|line| line.trim() == format!("20 {cause}")), "{ended:?}");
}

#[test]
fn connection_closed_instead_of_answered_is_lost_with_its_cause() {
    assert_kills(How::Close, "close code 4000", PLANNED - 20);
}

#[test]
fn connection_ended_instead_of_answered_is_lost_with_its_cause() {
    assert_kills(How::Abort, "closed by peer", PLANNED - 20);
}

#[test]
fn connection_closed_during_the_hold_is_lost_with_its_cause() {
    assert_kills(How::CloseInHold, "close code 4000", PLANNED);
}

#[test]
fn states_sum_to_the_planned_connections_at_every_tick() {
    let local = Local::serve(killing(Server::from(quick()), How::Close, 7, 300));
    let scenario: Scenario = "
        [[phase]]
        do = 'ramp'
        over_s = 0.5
        [[phase]]
        do = 'reply'
        [[phase]]
        do = 'hold'
        for_s = 0.3
        trickle_per_s = 200
        [[phase]]
        do = 'storm'
        share = 0.5
        [[phase]]
        do = 'rate'
        for_s = 0.5
        per_s = 4
        [[phase]]
        do = 'drain'
        over_s = 0.5
    "
    .parse()
    .expect("a scenario");
    let target = format!("ws://{}/", local.address).parse().expect("a target");
    let config = Config { scenario, ..Config::new(vec![target], 300) };
    let mut seen = Vec::new();
    let report = flood::run(&config, &AtomicU32::new(0), &mut |progress| {
        assert_eq!(progress.counts.stages.iter().sum::<u64>(), 300, "{progress:?}");
        seen.push(progress.phase.to_owned());
    });
    let report = report.expect("a flood");
    seen.dedup();
    assert_eq!(seen, ["ramp", "reply", "hold", "storm", "rate", "drain"]);
    assert!(report.timeline.iter().all(|row| row.states.counts().iter().sum::<u64>() == 300));
    assert_eq!(report.states.counts().iter().sum::<u64>(), 300);
    assert_eq!(report.lost_by_cause.keys().collect::<Vec<_>>(), ["close code 4000"]);
    assert!(report.reconciliation.as_ref().is_some_and(|both| both.agrees), "{:?}", report.reconciliation);
    // What was measured is in one row, and in one phase.
    let (mut rows, mut phases) = (Latencies::default(), Latencies::default());
    report.timeline.iter().for_each(|row| rows.add(&row.latencies));
    report.phases.iter().for_each(|phase| phases.add(&phase.latencies));
    for measure in MEASURES {
        let all = &report.timing(measure).latency;
        assert_eq!((&rows.of(measure), &phases.of(measure)), (all, all), "{measure:?}");
    }
}
