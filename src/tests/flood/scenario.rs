//! Scenarios: parsing, and planning for a number of connections.

use crate::host::{Local, Scratch, quick, text};
use crate::rig::{assert_agrees, assert_whole, counts, flood, number};
use proptest::prelude::*;
use steadfast::flood::scenario::{Phase, Scenario};

/// A file with each phase and each key, as they are documented.
const ALL: &str = "
# What the morning looks like: they come in steps, talk, and leave.
[[phase]]
do = 'ramp'            # the first half, in two steps
connections = 20
over_s = 0.4
steps = 2

[[phase]]
do = 'ramp'            # and the rest, evenly
over_s = 0.2

[[phase]]
do = \"reply\"
messages = 3

[[phase]]
do = 'hold'
for_s = 0.3
trickle_per_s = 100.0

[[phase]]
do = 'check'

[[phase]]
do = 'rate'            # each ...
for_s = 0.5
per_s = 10

[[phase]]
do = 'rate'            # ... or all together
for_s = 0.5
total_per_s = 200

[[phase]]
do = 'receive'
for_s = 0.1

[[phase]]
do = 'storm'
share = 0.5

[[phase]]
do = 'slow'
for_s = 0.1
share = 0.5
bytes_per_s = 1000

[[phase]]
do = 'drain'
over_s = 0.2
";

#[test]
fn scenario_file_with_every_phase_is_read() {
    let scratch = Scratch::new();
    let file = scratch.file("scenario.toml");
    std::fs::write(&file, ALL).expect("a file");
    let local = Local::start(quick());
    let url = format!("ws://{}/echo", local.address);
    let (ended, report) = flood(&[&url, "--connections", "40", "--scenario", text(&file)]);
    assert_whole(&ended, &report, 40);
    assert_agrees(&report);
    let phases = report["phases"].as_array().expect("phases");
    let names: Vec<&str> = phases.iter().filter_map(|phase| phase["name"].as_str()).collect();
    let all = ["ramp", "ramp2", "reply", "hold", "check", "rate", "rate2", "receive", "storm", "slow", "drain"];
    assert_eq!(names, all);
    assert_eq!(counts(&report, ["opened", "reopened", "answered", "held"]), [40, 20, 40, 40]);
    assert_eq!((&phases[0]["states"]["open"], &phases[1]["states"]["open"]), (&20.into(), &40.into()), "{report}");
    assert_eq!(report["reply"]["samples"], 120);
    assert_eq!((number(&phases[5]["schedule"], "due"), number(&phases[6]["schedule"], "due")), (200, 100));
    // Each began when the one before it had ended.
    let began: Vec<f64> = phases.iter().filter_map(|phase| phase["began_s"].as_f64()).collect();
    assert!(began.is_sorted() && began.len() == all.len(), "{began:?}");
}

#[test]
fn phase_on_a_line_equals_phase_as_a_table() {
    let scenario: Scenario = ALL.parse().expect("a scenario");
    let lines = [
        "ramp connections=20 over_s=0.4 steps=2",
        "ramp over_s=0.2",
        "reply messages=3",
        "hold for_s=0.3 trickle_per_s=100",
        "check",
        "rate for_s=0.5 per_s=10.0",
        "  rate   total_per_s=200 for_s=0.5 ",
        "receive for_s=0.1",
        "storm share=0.5",
        "slow share=0.5 for_s=0.1 bytes_per_s=1000",
        "drain over_s=0.2",
    ];
    let phases: Vec<Phase> = lines.map(|line| line.parse().expect(line)).into();
    assert_eq!(scenario.phases, phases);
}

#[test]
fn value_out_of_range_is_refused_with_its_key() {
    for (phase, key, value) in [
        ("ramp connections=0", "connections", "1"),
        ("ramp connections=-1", "connections", "-1"),
        ("ramp connections=4294967296", "connections", "4294967296"),
        ("ramp connections=1.5", "connections", "1.5"),
        ("ramp connections=1 per_s=0", "per_s", "0"),
        ("ramp per_s=inf", "per_s", "inf"),
        ("ramp over_s=-0.1", "over_s", "-0.1"),
        ("ramp over_s=1 steps=0", "steps", "1"),
        ("reply messages=65536", "messages", "65536"),
        ("reply messages=-1", "messages", "-1"),
        ("hold for_s=nan", "for_s", "NaN"),
        ("hold for_s=2678401", "for_s", "2678401"),
        ("hold for_s=1 trickle_per_s=-1", "trickle_per_s", "-1"),
        ("hold for_s=1 trickle_per_s='many'", "trickle_per_s", "many"),
        ("rate for_s=0 per_s=1", "for_s", "0"),
        ("rate for_s=1 per_s=0", "per_s", "0"),
        ("rate for_s=1 per_s=100001", "per_s", "100001"),
        ("rate for_s=1 total_per_s=-5", "total_per_s", "-5"),
        ("receive for_s=1 messages=-3", "messages", "-3"),
        ("receive for_s=true", "for_s", "true"),
        ("slow for_s=1 share=1.01", "share", "1.01"),
        ("slow for_s=1 share=-0.5", "share", "-0.5"),
        ("slow for_s=1 share=1 bytes_per_s=-1", "bytes_per_s", "-1"),
        ("storm share=nan", "share", "NaN"),
        ("storm", "share", "missing"),
        ("drain over_s=-1", "over_s", "-1"),
    ] {
        let wrong = phase.parse::<Phase>().expect_err(phase).to_string();
        assert!(wrong.contains(key) && wrong.contains(value), "{phase}: {wrong}");
    }
}

const KEYS: [&str; 10] =
    ["do", "connections", "per_s", "over_s", "steps", "messages", "for_s", "trickle_per_s", "total_per_s", "share"];

fn kind() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "ramp",
        "reply",
        "hold for_s=1",
        "check",
        "rate for_s=1 per_s=1",
        "receive for_s=1",
        "slow for_s=1 share=0",
        "storm share=0",
        "drain",
    ])
}

proptest! {
    #[test]
    fn unknown_key_is_refused_by_name(phase in kind(), key in "[a-z_]{1,14}", value in 0..1000_u32) {
        prop_assume!(!KEYS.contains(&key.as_str()) && key != "bytes_per_s");
        prop_assert!(phase.parse::<Phase>().is_ok());
        let wrong = format!("{phase} {key}={value}").parse::<Phase>().expect_err("a key of nobody").to_string();
        prop_assert!(wrong.contains(&format!("`{key}`")), "{}", wrong);
        let (name, rest) = phase.split_once(' ').unwrap_or((phase, ""));
        let file = format!("[[phase]]\ndo = '{name}'\n{}\n{key} = {value}\n", rest.replace(' ', "\n"));
        let wrong = file.parse::<Scenario>().expect_err("a key of nobody").to_string();
        prop_assert!(wrong.contains(&format!("`{key}`")) && wrong.starts_with("line 1: "), "{}", wrong);
    }

    #[test]
    fn share_must_be_from_0_to_1(share in any::<f64>()) {
        let phase = Phase::Storm { share };
        let read = format!("storm share={share:?}").parse::<Phase>();
        // A float of TOML is written with an exponent just as Rust does.
        if (0.0..=1.0).contains(&share) {
            prop_assert_eq!(read, Ok(phase));
        } else {
            prop_assert!(read.is_err());
        }
    }

    #[test]
    fn ramps_must_open_exactly_all_connections(
        parts in prop::collection::vec(1..50_000_u32, 1..6),
        leaves_last in any::<bool>(),
        between in prop::collection::vec(kind(), 0..4),
    ) {
        let all: u32 = parts.iter().sum();
        let ramp = |connections| Phase::Ramp { connections, per_s: None, over_s: None, steps: None };
        let mut phases: Vec<Phase> = parts.iter().map(|part| ramp(Some(*part))).collect();
        if leaves_last {
            *phases.last_mut().expect("a ramp") = ramp(None);
        }
        let between: Vec<Phase> = between.iter().filter(|kind| !["ramp", "drain"].contains(kind))
            .map(|kind| kind.parse().expect("a phase")).collect();
        phases.splice(1..1, between);
        let scenario = Scenario { phases };
        let planned = scenario.planned(all).expect("a plan");
        let opened: u32 = planned.phases.iter().map(|phase| match phase {
            Phase::Ramp { connections, .. } => connections.expect("each knows how many"),
            _ => 0,
        }).sum();
        prop_assert_eq!(opened, all);
        prop_assert_eq!(planned.phases.iter().filter(|phase| phase.kind() == "drain").count(), 1);
        prop_assert_eq!(planned.phases.last().map(Phase::kind), Some("drain"));
        // Done once more it is the same.
        prop_assert_eq!(planned.planned(all), Ok(planned.clone()));
        // And with another number it is not what was said.
        prop_assert_eq!(scenario.planned(all + 1).is_ok(), leaves_last);
        prop_assert!(all == 1 || parts.len() == 1 && leaves_last || scenario.planned(parts[0] - u32::from(parts[0] > 1)).is_err());
        let names = planned.names();
        let mut once = names.clone();
        once.sort();
        once.dedup();
        prop_assert_eq!(once.len(), names.len(), "{:?}", names);
    }
}

#[test]
fn scenario_must_begin_with_a_ramp_and_end_with_a_drain() {
    for wrong in [&["drain"][..], &["hold for_s=1", "ramp"], &["ramp", "drain", "drain"], &["ramp", "drain", "check"]] {
        let phases = wrong.iter().map(|phase| phase.parse().expect("a phase")).collect();
        assert!(Scenario { phases }.planned(10).is_err(), "{wrong:?}");
    }
    assert!(Scenario { phases: Vec::new() }.planned(10).is_err());
}
