//! Messages at a constant rate: each is sent and measured, also those that were due while the server stalled.

use crate::host::{Local, Serve, quick};
use crate::rig::{Flooding, assert_agrees, assert_sums, assert_whole, counts, flood, number, phases};
use serde_json::Value;
use std::sync::atomic::AtomicU32;
use std::thread::sleep;
use std::time::Duration;
use steadfast::flood::report::Report;
use steadfast::flood::scenario::{Phase, Scenario};
use steadfast::flood::{self, Config};
use steadfast::server::Protocol;

/// How long a server is stopped.
const STALL: Duration = Duration::from_secs(1);

/// As many messages were due, sent, answered and measured.
fn assert_schedule(report: &Value, messages: u64) {
    for name in ["due", "sent", "answered"] {
        assert_eq!(report["schedule"][name], messages, "{name}: {}", report["schedule"]);
    }
    for name in ["response", "service"] {
        assert_eq!(report[name]["samples"], messages, "{name}");
    }
    assert!(report["lag"]["samples"].as_u64().is_some_and(|samples| samples <= messages));
}

/// Floods a server at a constant rate, and stops it for a second in that.
fn stalled(connections: u64, per_s: u64, for_s: u64) -> Value {
    let server = Serve::start(&[]);
    let url = format!("ws://{}/echo", server.address());
    let (count, rate) = (connections.to_string(), format!("rate per_s={per_s} for_s={for_s}"));
    let mut flooding = Flooding::start(
        &[&[url.as_str(), "--connections", &count, "--in-flight", "64"], &phases(&["ramp", &rate])[..]].concat(),
    );
    flooding.reaches("rate");
    server.running.signal("STOP");
    sleep(STALL);
    server.running.signal("CONT");
    let (ended, report) = flooding.ended();
    assert_whole(&ended, &report, connections);
    assert_agrees(&report);
    assert_schedule(&report, connections * per_s * for_s);
    for quantile in ["p50_us", "p90_us", "p95_us", "p99_us", "max_us"] {
        let [service, response] = ["service", "response"].map(|name| number(&report[name], quantile));
        assert!(service <= response, "{quantile}: {service} {response}");
    }
    server.stop();
    report
}

#[test]
fn stall_raises_the_response_time_of_every_message_due_in_it() {
    let report = stalled(500, 1, 5);
    // A fifth of the messages were due within the second, evenly: one of twenty had to wait for all but a quarter of it.
    let response = &report["response"];
    assert!(number(response, "p99_us") >= 900_000, "{}", response["p99_us"]);
    assert!(number(response, "p95_us") >= 700_000, "{}", response["p95_us"]);
}

#[test]
fn connection_that_waits_in_a_stall_still_has_its_messages_measured() {
    let report = stalled(10, 20, 4);
    let mean_us = |name: &str| report[name]["mean_us"].as_f64().expect("a mean");
    // Of each connection's 80 messages twenty waited for half a second on average, and only the first of them as one that
    // had been sent.
    assert!(mean_us("response") >= 100_000.0, "{}", mean_us("response"));
    assert!(mean_us("service") * 2.0 <= mean_us("response"), "{} {}", mean_us("service"), mean_us("response"));
}

#[test]
fn connection_with_an_earlier_unanswered_message_sends_all_due_messages() {
    let server = Serve::start(&[]);
    let url = format!("ws://{}/echo", server.address());
    let phases = phases(&["ramp", "hold for_s=0.5 trickle_per_s=200", "rate per_s=5 for_s=2"]);
    let mut flooding = Flooding::start(&[&[url.as_str(), "--connections", "10"], &phases[..]].concat());
    flooding.reaches("hold");
    server.running.signal("STOP");
    flooding.reaches("rate");
    sleep(STALL / 2);
    server.running.signal("CONT");
    let (ended, report) = flooding.ended();
    assert_whole(&ended, &report, 10);
    assert_schedule(&report, 100);
    server.stop();
}

#[test]
fn constant_rate_works_for_each_protocol() {
    let local = Local::start(quick());
    let raw = Local::start(steadfast::server::Config { protocol: Protocol::Tcp, ..quick() });
    let urls = [
        format!("ws://{}/echo", local.address),
        format!("http://{}/", local.address),
        format!("tcp://{}", raw.address),
    ];
    for url in urls {
        let phases = phases(&["ramp", "rate per_s=20 for_s=0.5", "storm share=0.5", "rate per_s=10 for_s=0.5"]);
        let (ended, report) =
            flood(&[&[url.as_str(), "--connections", "20", "--payload", "1-500"], &phases[..]].concat());
        assert_whole(&ended, &report, 20);
        assert_schedule(&report, 300);
    }
}

#[test]
fn server_that_ends_during_a_schedule_leaves_consistent_counts() {
    let server = Serve::start(&[]);
    let url = format!("ws://{}/echo", server.address());
    let phases = phases(&["ramp", "rate per_s=50 for_s=2"]);
    let mut flooding = Flooding::start(&[&[url.as_str(), "--connections", "20"], &phases[..]].concat());
    flooding.reaches("rate");
    server.running.signal("KILL");
    let (ended, report) = flooding.ended();
    assert_sums(&ended, &report, 20);
    assert_eq!((ended.code(), counts(&report, ["opened", "closed", "lost"])), (1, [20, 0, 20]), "{report}");
    let [due, sent, answered] = ["due", "sent", "answered"].map(|name| number(&report["schedule"], name));
    assert!(due == 2000 && sent < due && answered <= sent, "{}", report["schedule"]);
    assert_eq!(report["response"]["samples"], answered);
    assert_eq!((number(&report, "sent"), number(&report, "replies")), (sent, answered));
}

/// In this process, for what only counts.
fn rate(connections: u32, for_s: f64, per_s: Option<f64>, total_per_s: Option<f64>) -> Report {
    let local = Local::start(quick());
    let target = format!("ws://{}/echo", local.address).parse().expect("a target");
    let ramp = Phase::Ramp { connections: None, per_s: None, over_s: None, steps: None };
    let scenario = Scenario { phases: vec![ramp, Phase::Rate { for_s, per_s, total_per_s }] };
    let config = Config { scenario, ..Config::new(vec![target], connections) };
    let report = flood::run(&config, &AtomicU32::new(0), &mut |_| ()).expect("a flood");
    assert!(report.ok, "{report:?}");
    assert_eq!([report.schedule.sent, report.schedule.answered], [report.schedule.due; 2]);
    report
}

#[test]
fn rate_with_a_fractional_interval_sends_the_exact_number_of_messages() {
    // 333,333 us six times are two microseconds less than two seconds.
    assert_eq!(rate(10, 2.0, Some(3.0), None).schedule.due, 60);
    assert_eq!(rate(3, 0.5, Some(700.0), None).schedule.due, 1050);
}

#[test]
fn total_rate_is_shared_by_all_connections() {
    assert_eq!(rate(7, 2.0, None, Some(14.0)).schedule.due, 28);
    // Thirty among nine: a worker's own part may end with half a message.
    let report = rate(9, 1.0, None, Some(30.0));
    assert!((30..=30 + report.workers as u64).contains(&report.schedule.due), "{:?}", report.schedule);
}

#[test]
fn rate_below_one_message_reaches_some_connections() {
    let report = rate(20, 1.0, Some(0.5), None);
    assert_eq!(report.schedule.due, 10);
}
