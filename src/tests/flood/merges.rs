//! Reports that are merged say what one flood over the same samples would have said.

use crate::reports::{Fate, Sample, report};
use proptest::collection::vec;
use proptest::prelude::*;
use steadfast::flood::latency::MEASURES;
use steadfast::flood::merge::{MergeError, merge};
use steadfast::flood::report::{Agreement, Reconciliation, Report};
use steadfast::flood::verdict::Assertion;

const CAUSES: [Option<&str>; 4] = [None, None, Some("refused"), Some("timeout: connect")];

fn fates() -> impl Strategy<Value = Vec<(usize, Fate)>> {
    let fate = (0..3_usize, 1..7_u64, 1..7_u64, 0..CAUSES.len()).prop_map(|(part, one, other, cause)| {
        (part, Fate { opened_s: one.min(other), ended_s: one.max(other), cause: CAUSES[cause] })
    });
    vec(fate, 0..40)
}

fn samples() -> impl Strategy<Value = Vec<(usize, Sample)>> {
    let us = prop_oneof![0..200_u64, 0..50_000_u64, 0..700_000_000_u64];
    let sample = (0..3_usize, 1..7_u64, 0..MEASURES.len(), us)
        .prop_map(|(part, second, measure, us)| (part, Sample { second, measure: MEASURES[measure], us }));
    vec(sample, 0..200)
}

fn of<T: Clone>(part: usize, all: &[(usize, T)]) -> Vec<T> {
    all.iter().filter(|(of, _)| *of == part).map(|(_, one)| one.clone()).collect()
}

fn json(report: &Report) -> String {
    serde_json::to_string_pretty(report).expect("JSON")
}

fn read(text: &str) -> Report {
    serde_json::from_str(text).expect("a report")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn parts_make_the_whole(
        fates in fates(),
        samples in samples(),
        idle_s in [0..4_u64, 0..4_u64, 0..4_u64],
        are_shards in any::<bool>(),
        order in Just([0_usize, 1, 2]).prop_shuffle(),
    ) {
        // A part whose connections are gone may end before the others do.
        let last = |part: usize| {
            let ended = of(part, &fates).iter().map(|fate| fate.ended_s).max();
            ended.max(of(part, &samples).iter().map(|sample| sample.second).max()).unwrap_or(0)
        };
        let ends = [0, 1, 2].map(|part| last(part).max(3) + idle_s[part]);
        let mut parts: Vec<Report> =
            (0..3).map(|part| report(&of(part, &fates), &of(part, &samples), ends[part])).collect();
        let all = |part: usize| (of(part, &fates), of(part, &samples));
        let (fates, samples): (Vec<_>, Vec<_>) = (0..3).map(all).unzip();
        let mut whole = report(&fates.concat(), &samples.concat(), ends.into_iter().max().unwrap_or(0));
        for (at, part) in parts.iter_mut().enumerate() {
            // Two empty parts would be the same report, if they did not say what they are.
            let is_like_another = !are_shards && at > 0 && part.connections.planned == 0;
            if is_like_another {
                part.started_at_s += 1e-3 * at as f64;
            }
            if are_shards {
                part.shards = vec![format!("{}/3", at + 1)];
                whole.shards.push(format!("{}/3", at + 1));
            }
            part.assertions = vec!["lost == 0".parse::<Assertion>().expect("an assertion").judge(part)];
        }
        whole.assertions = vec!["lost == 0".parse::<Assertion>().expect("an assertion").judge(&whole)];
        // By way of the files, as a user would.
        let written: Vec<Report> = order.iter().map(|at| read(&json(&parts[*at]))).collect();
        let merged = merge(written).expect("parts of one flood");
        if parts.iter().all(|part| part.started_at_s == whole.started_at_s) {
            prop_assert_eq!(json(&merged), json(&whole));
        }
        prop_assert_eq!(json(&merged), json(&merge(parts).expect("in another order")));
    }
}

fn small(planned: u64, shard: &str) -> Report {
    let fate = |at: u64| Fate { opened_s: 1 + at % 3, ended_s: 4, cause: None };
    let mut report = report(&(0..planned).map(fate).collect::<Vec<_>>(), &[], 4);
    report.shards = vec![shard.into()];
    report
}

#[test]
fn what_began_later_is_aligned_by_the_clock() {
    let (one, mut other) = (small(10, "1/2"), small(5, "2/2"));
    other.started_at_s += 3.1;
    for row in &mut other.timeline {
        // A tick may come a little late.
        row.at_s += 0.05;
    }
    let merged = merge(vec![other, one]).expect("two shards");
    let at: Vec<u64> = merged.timeline.iter().map(|row| row.at_s.round() as u64).collect();
    assert_eq!(at, [1, 2, 3, 4, 5, 6, 7]);
    assert!((merged.seconds - 7.1).abs() < 1e-6, "{}", merged.seconds);
    for row in &merged.timeline {
        assert_eq!(row.states.counts().iter().sum::<u64>(), 15, "{row:?}");
    }
    let planned: Vec<u64> = merged.timeline.iter().map(|row| row.states.planned).collect();
    // The first shard opens 4, 3 and 3 connections; the second waits for three seconds, and opens 2, 2 and 1.
    assert_eq!(planned, [11, 8, 5, 3, 1, 0, 0]);
    assert_eq!(merged.timeline.last().map(|row| (row.states.closed, row.opened)), Some((15, 15)));
}

#[test]
fn what_is_of_a_client_is_summed_and_what_is_of_the_server_is_not() {
    let (mut one, mut other) = (small(30, "1/2"), small(10, "2/2"));
    one.memory.client.user_bytes_per_connection = Some(60.0);
    other.memory.client.user_bytes_per_connection = Some(100.0);
    one.memory.server.kernel_bytes_per_connection = Some(4100.0);
    one.timeline[3].client_user_bytes = Some(1000);
    other.timeline[3].client_user_bytes = Some(500);
    other.cpu.client = None;
    let merged = merge(vec![one.clone(), other]).expect("two shards");
    assert_eq!(merged.memory.client.user_bytes_per_connection, Some(70.0));
    assert_eq!((merged.memory.client.connections, merged.memory.server.connections), (40, 40));
    // Only one of them could be compared.
    assert_eq!(merged.memory.server.kernel_bytes_per_connection, Some(4100.0));
    assert_eq!((merged.cpu.client, merged.cpu.server), (one.cpu.client, one.cpu.server));
    assert_eq!(merged.timeline[3].client_user_bytes, Some(1500));
    assert_eq!(merged.timeline[3].server_user_bytes, Some(4000));
    assert_eq!(merged.timeline[2].client_user_bytes, None);
}

#[test]
fn both_sides_agree_if_they_do_in_each_part() {
    let mut parts = [small(3, "1/2"), small(4, "2/2")];
    for (part, server) in parts.iter_mut().zip([3, 5]) {
        let at_least = part.connections.opened;
        let (what, at_most) = ("upgraded".into(), Some(at_least));
        let figure = Agreement { what, at_least, at_most, server, agrees: at_least == server };
        part.reconciliation = Some(Reconciliation { agrees: figure.agrees, figures: vec![figure] });
    }
    let merged = merge(parts.to_vec()).expect("two shards").reconciliation.expect("both have one");
    let figure = Agreement { what: "upgraded".into(), at_least: 7, at_most: Some(7), server: 8, agrees: false };
    assert_eq!(merged, Reconciliation { figures: vec![figure], agrees: false });
    parts[0].reconciliation = None;
    assert_eq!(merge(parts.to_vec()).expect("two shards").reconciliation, None);
}

/// Why these are refused, and which one it is.
fn refused(reports: Vec<Report>) -> (Option<usize>, String) {
    let error = merge(reports).expect_err("they do not belong together");
    (error.report(), error.to_string())
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let good = || small(3, "1/3");
    let changed = |change: fn(&mut Report)| {
        let mut report = small(3, "2/3");
        change(&mut report);
        report
    };
    assert_eq!(merge(Vec::new()), Err(MergeError::Nothing));
    let said = |report: Option<usize>, text: &str| (report, text.to_owned());
    assert_eq!(
        refused(vec![good(), changed(|report| report.schema = "steadfast.flood/1".into())]),
        said(Some(1), "its schema is \"steadfast.flood/1\"; expected \"steadfast.flood/2\"")
    );
    assert_eq!(
        refused(vec![good(), changed(|report| report.target = "ws://[::1]/".into())]),
        said(Some(1), "its target is \"ws://[::1]/\"; that of the first report is \"ws://127.0.0.1:8080/echo\"")
    );
    assert_eq!(
        refused(vec![good(), changed(|report| report.phases.reverse())]),
        said(
            Some(1),
            "it has another scenario: its phases are \"hold\", \"ramp\"; those of the first report are \"ramp\", \"hold\""
        )
    );
    assert_eq!(
        refused(vec![good(), changed(|report| report.shards = vec!["4/3".into()])]),
        said(Some(1), "\"4/3\" is not a shard; expected e.g. 1/2")
    );
    assert_eq!(
        refused(vec![good(), changed(|report| report.shards = vec!["2/2".into()])]),
        said(Some(1), "it is one of 2 shards, and the first report is one of 3 shards")
    );
    assert_eq!(
        refused(vec![good(), changed(|report| report.shards.clear())]),
        said(Some(1), "it is not a shard, and the first report is one of 3 shards")
    );
    assert_eq!(refused(vec![good(), changed(|_| {}), good()]), said(Some(2), "shard 1/3 is given twice"));
    assert_eq!(refused(vec![small(1, "3/3"), good()]), said(None, "shard 2/3 is missing"));
    let alone = changed(|report| report.shards.clear());
    assert_eq!(refused(vec![alone.clone(), alone]), said(Some(1), "the same report is given twice"));
}

#[test]
fn phases_whose_names_only_read_alike_are_refused() {
    // Joined with commas, the names of two phases are those of one.
    let (first, mut other) = (small(3, "1/2"), small(3, "2/2"));
    other.phases.truncate(1);
    other.phases[0].name = "ramp, hold".into();
    let said =
        "it has another scenario: its phases are \"ramp, hold\"; those of the first report are \"ramp\", \"hold\"";
    assert_eq!(refused(vec![first, other]), (Some(1), said.to_owned()));
}

#[test]
fn counts_of_any_size_are_merged() {
    let largest = |shard: &str| {
        let mut report = small(3, shard);
        report.connections.planned = u64::MAX;
        (report.sent, report.workers, report.schedule.due) = (u64::MAX, usize::MAX, u64::MAX);
        report.states.open = u64::MAX;
        report.lost_by_cause.insert("refused".into(), u64::MAX);
        report.memory.client.connections = u64::MAX;
        report.phases[0].missing = u64::MAX;
        report.timeline[0].opened = u64::MAX;
        report.timeline[0].client_user_bytes = Some(u64::MAX);
        let (what, at_most) = ("upgraded".into(), Some(u64::MAX));
        let figure = Agreement { what, at_least: u64::MAX, at_most, server: u64::MAX, agrees: true };
        report.reconciliation = Some(Reconciliation { figures: vec![figure], agrees: true });
        (report.started_at_s, report.timeline[1].at_s) = (f64::MAX, -f64::MAX);
        report
    };
    let merged = merge(vec![largest("1/2"), largest("2/2")]).expect("two shards");
    assert_eq!((merged.connections.planned, merged.states.open, merged.workers), (u64::MAX, u64::MAX, usize::MAX));
    assert_eq!(merged.lost_by_cause["refused"], u64::MAX);
}
