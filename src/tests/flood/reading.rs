//! Reports and scenarios from other sources: an error names the member, and nothing is allocated by a declared size.

use crate::reports::{Fate, Sample, report};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::io::Write;
use steadfast::flood::latency::Measure;
use steadfast::flood::merge::merge;
use steadfast::flood::report::Report;
use steadfast::flood::scenario::{Phase, Scenario};
use steadfast::flood::verdict::Assertion;

/// A report with something in each member.
fn document() -> Value {
    let fates: Vec<Fate> = (0..9).map(|at| Fate { opened_s: 1 + at % 3, ended_s: 5, cause: None }).collect();
    let sample = |us: u64| Sample { second: 1 + us % 4, measure: Measure::Reply, us };
    let mut report = report(&fates, &(0..200).map(sample).collect::<Vec<_>>(), 6);
    report.shards = vec!["1/2".into()];
    report.lost_by_cause.insert("refused".into(), 2);
    report.assertions = vec!["lost == 0".parse::<Assertion>().expect("an assertion").judge(&report)];
    serde_json::to_value(&report).expect("JSON")
}

fn read(document: &Value) -> Result<Report, String> {
    Report::from_json(document.to_string().as_bytes()).map_err(|bad| bad.to_string())
}

/// What is said of a report with this member.
fn said(pointer: &str, value: Value) -> String {
    let mut document = document();
    *document.pointer_mut(pointer).unwrap_or_else(|| panic!("no {pointer}")) = value;
    read(&document).expect_err("a report that nobody wrote")
}

/// A deflated histogram with this header and these counts.
fn histogram(digits: u32, lowest: u64, highest: u64, declared: Option<u32>, counts: &[u8]) -> String {
    let mut plain = 0x1c84_9313_u32.to_be_bytes().to_vec();
    for word in [declared.unwrap_or(counts.len() as u32), 0, digits] {
        plain.extend(word.to_be_bytes());
    }
    for long in [lowest, highest, 1.0_f64.to_bits()] {
        plain.extend(long.to_be_bytes());
    }
    plain.extend(counts);
    let mut deflater = ZlibEncoder::new(Vec::new(), Compression::best());
    deflater.write_all(&plain).expect("a Vec takes all");
    let deflated = deflater.finish().expect("a Vec takes all");
    wrapped(deflated.len() as u32, &deflated)
}

fn wrapped(declared: u32, deflated: &[u8]) -> String {
    let head = [0x1c84_9314_u32.to_be_bytes(), declared.to_be_bytes()].concat();
    BASE64_STANDARD.encode([&head, deflated].concat())
}

#[test]
fn a_histogram_that_declares_what_it_has_not_is_refused() {
    let most = 600_000_000;
    // A ninth byte is taken whole: -2^63 and 2^63 - 1.
    let (least_count, largest_count) = ([0xff; 9], [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    for (histogram, wrong) in [
        (histogram(3, 1, most, Some(u32::MAX), &[2]), "it declares 4294967295 bytes of counts and has 1"),
        (wrapped(u32::MAX, &[0; 50]), "it declares 4294967295 deflated bytes and has 50"),
        (wrapped(50, &[0; 50]), "it cannot be inflated: "),
        (histogram(3, 1, most, None, &vec![0; 3 << 20]), "it inflates to more than "),
        (histogram(5, 1, most, None, &[2]), "it has 5 significant digits; expected 3"),
        (
            histogram(3, 1, u64::MAX, None, &[2]),
            "it is of values from 1 to 18446744073709551615; expected 1 to at most ",
        ),
        (histogram(3, 0, most, None, &[2]), "it is of values from 0 to "),
        (histogram(3, 1, 1, None, &[2]), "it is of values from 1 to 1; "),
        (histogram(3, 1, most, None, &least_count), "it has more than 24576 steps"),
        (histogram(3, 1, most, None, &largest_count), "it has 9223372036854775807 samples; expected at most "),
        (histogram(3, 1, 2_000, None, &[0xff, 0xff, 1, 2]), ""),
        (histogram(3, 1, most, None, &[0x80]), ""),
        ("A".repeat(1 << 20), "it has 1048576 characters; expected at most "),
        ("not base 64".into(), "it is not base 64: "),
        (String::new(), "it ends within its header"),
    ] {
        for (pointer, member) in [
            ("/reply/histogram", "reply"),
            ("/phases/0/latencies/reply/histogram", "phases[0].latencies.reply"),
            ("/timeline/2/latencies/reply/histogram", "timeline[2].latencies.reply"),
        ] {
            let said = said(pointer, histogram.clone().into());
            let wanted = format!("it is not a complete report: {member}: histogram: {wrong}");
            assert!(said.starts_with(&wanted), "{said} is not {wanted}");
        }
    }
}

#[test]
fn a_histogram_that_is_long_in_few_bytes_takes_few() {
    // 21,504 steps with one sample each are some 50 deflated bytes.
    let all = histogram(3, 1, 600_000_000, None, &[2; 21_504]);
    assert!(all.len() < 200, "{}", all.len());
    let mut document = document();
    document["reply"]["histogram"] = all.into();
    document["reply"]["samples"] = 21_504.into();
    let report = read(&document).expect("it declares what it has");
    assert_eq!((report.reply.latency.samples(), report.reply.latency.steps().len()), (21_504, 21_504));
    assert!(format!("{:?}", report.reply.latency).len() < 1000, "it is kept as it came");
    assert_eq!(Report::from_json(serde_json::to_string(&report).expect("JSON").as_bytes()), Ok(report));
}

#[test]
fn figures_that_no_flood_has_are_refused() {
    let rows = document()["timeline"].clone();
    let phase = document()["phases"][0].clone();
    let verdict = document()["assertions"][0].clone();
    for (pointer, value, wanted) in [
        ("/seconds", json!(-1.0), "seconds: -1 is out of range; expected 0 to 1e12"),
        ("/started_at_s", json!(1e300), "started_at_s: 1"),
        ("/connect/per_second", json!(1e300), "connect.per_second: 1"),
        ("/phases/1/began_s", json!(1e13), "phases[1].began_s: 10000000000000 is out of range; expected 0 to 1e12"),
        ("/memory/client/user_bytes_per_connection", json!(1e30), "memory.client.user_bytes_per_connection: 1"),
        ("/cpu/server/user_s", json!(-3.0), "cpu.server.user_s: -3 is out of range; expected 0 to 1e12"),
        ("/timeline", json!([rows[1], rows[0]]), "timeline[1].at_s: 1 is earlier than the previous row, 2"),
        ("/phases", json!(vec![phase; 1001]), "phases: it has 1001 members; expected at most 1000"),
        ("/assertions", json!(vec![verdict; 1001]), "assertions: it has 1001 members; expected at most 1000"),
        ("/connections/planned", json!(-1), "connections.planned: invalid value: integer `-1`, expected u64"),
        ("/states/open", json!("many"), "states.open: invalid type: string \"many\", expected u64"),
    ] {
        let said = said(pointer, value);
        assert!(said.starts_with(&format!("it is not a complete report: {wanted}")), "{said} is not {wanted}");
    }
    let nested = "[".repeat(100_000);
    let said = Report::from_json(nested.as_bytes()).map_err(|bad| bad.to_string());
    assert!(said.as_ref().is_err_and(|said| said.starts_with("it is not a report: ")), "{said:?}");
}

#[test]
fn reports_of_before_are_read() {
    let mut document = document();
    let members = document.as_object_mut().expect("a report");
    for name in ["pings", "interrupted", "warnings"] {
        assert!(members.remove(name).is_some(), "no {name}");
    }
    assert!(read(&document).is_ok_and(|report| report.interrupted.is_none() && report.pings == 0));
}

#[test]
fn scenarios_and_assertions_that_go_on_without_end_are_refused() {
    let nested = format!("[[phase]]\ndo = {}", "[".repeat(100_000));
    assert!(nested.parse::<Scenario>().is_err());
    let keys: String = (0..100_000).map(|at| format!("k{at} = 1\n")).collect();
    let said = format!("[[phase]]\ndo = 'ramp'\n{keys}").parse::<Scenario>().map_err(|bad| bad.to_string());
    assert_eq!(said, Err("line 1: it has 100001 keys; expected at most 8".into()));
    let mut phases = vec![Phase::Ramp { connections: None, per_s: None, over_s: None, steps: None }];
    phases.resize(100_000, Phase::Check {});
    let said = Scenario { phases }.planned(10).map_err(|bad| bad.to_string());
    assert_eq!(said, Err("there are 100000 phases; expected at most 999".into()));
    // Each name would be looked up within the one before it.
    let deep = format!("{}p99 < 5ms", "hold.".repeat(100_000));
    let said = deep.parse::<Assertion>().map_err(|bad| bad.to_string());
    assert_eq!(said, Err("it has 500009 bytes; expected at most 1024".into()));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn whatever_a_report_says_it_is_read_or_refused(changes in crate::mutants::changes(), bytes in any::<Vec<(u16, u8)>>()) {
        let good = document();
        let mut bad = good.clone();
        changes.iter().for_each(|change| change.apply(&mut bad));
        let mut other = good;
        other["shards"] = json!(["2/2"]);
        if let (Ok(report), Ok(other)) = (read(&bad), read(&other)) {
            drop(merge(vec![report.clone(), other]));
            let text = serde_json::to_string(&report).expect("JSON");
            prop_assert!(Report::from_json(text.as_bytes()).is_ok(), "{}", text);
        }
        let mut text = bad.to_string().into_bytes();
        for (at, byte) in bytes {
            let at = usize::from(at) % text.len();
            text[at] = byte;
        }
        drop(Report::from_json(&text));
    }
}
