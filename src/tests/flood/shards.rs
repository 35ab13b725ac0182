//! Shards: several hosts make one flood together.

use crate::host::{Local, quick};
use crate::rig::{Flooding, assert_whole, counts, foreign, number};
use proptest::prelude::*;
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::IpAddr;
use std::sync::mpsc::channel;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use steadfast::flood::{Config, Shard};

/// In a while: long enough for two programs to start.
fn soon() -> f64 {
    (SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock") + Duration::from_secs(3)).as_secs_f64()
}

/// Runs both halves of a flood, that begin together.
fn both(url: &str, more: &[&str]) -> [Value; 2] {
    let start_at = soon();
    let text = format!("{start_at:.3}");
    let flooding =
        ["1/2", "2/2"].map(|shard| Flooding::start(&[&[url, "--start-at", &text, "--shard", shard], more].concat()));
    flooding.map(|flooding| {
        let (ended, report) = flooding.ended();
        assert_whole(&ended, &report, number(&report["connections"], "planned"));
        let started_at_s = report["started_at_s"].as_f64().expect("a time");
        // Not before its time; and within what turns a hang into a failure.
        assert!((start_at - 0.001..start_at + 20.0).contains(&started_at_s), "{started_at_s} {start_at}");
        report
    })
}

#[test]
fn shards_on_one_host_share_no_source_address() {
    let (tell, told) = channel();
    let address = foreign(move |mut stream| {
        let from = stream.peer_addr()?.ip();
        loop {
            let mut message = [0; 20];
            stream.read_exact(&mut message)?;
            stream.write_all(&message)?;
            // Twelve hexadecimal digits, of which the last four number the messages of a connection.
            let number = u64::from_str_radix(&String::from_utf8_lossy(&message[..12]), 16).expect("a number") >> 16;
            let _ = tell.send((from, number));
        }
    });
    let reports = both(&format!("tcp://{address}"), &["--connections", "101", "--messages", "1"]);
    assert_eq!(reports.each_ref().map(|report| number(&report["connections"], "planned")), [50, 51]);
    assert_eq!(reports.each_ref().map(|report| report["shards"][0].as_str().expect("a shard")), ["1/2", "2/2"]);
    let told: BTreeSet<(IpAddr, u64)> = told.try_iter().collect();
    let numbers: BTreeSet<u64> = told.iter().map(|(_, number)| *number).collect();
    assert_eq!(numbers, (0..101).collect());
    let sources = |own: std::ops::Range<u64>| -> BTreeSet<IpAddr> {
        told.iter().filter(|(_, number)| own.contains(number)).map(|(from, _)| *from).collect()
    };
    let (first, second) = (sources(0..50), sources(50..101));
    assert!(first.is_disjoint(&second) && first.len() + second.len() == 2, "{first:?} {second:?}");
}

#[test]
fn rates_are_divided_among_shards_and_shards_are_not_reconciled() {
    let local = Local::start(quick());
    let url = format!("ws://{}/echo", local.address);
    let phases = crate::rig::phases(&["ramp per_s=1000", "rate total_per_s=100 for_s=1", "storm share=0.5"]);
    let reports = both(&url, &[&["--connections", "40"], &phases[..]].concat());
    for report in &reports {
        assert_eq!(counts(report, ["planned", "opened", "reopened"]), [20, 20, 10], "{report}");
        assert_eq!(report["schedule"]["due"], 50, "{report}");
        assert_eq!(report["reconciliation"], Value::Null);
    }
    assert_eq!(local.server.counters().upgraded, 60);
}

proptest! {
    #[test]
    fn shards_are_disjoint_and_cover_everything(connections in 1..1_000_000_u32, count in 1..64_u32) {
        let target: steadfast::flood::target::Target = "tcp://127.0.0.1:1".parse().expect("a target");
        let mut next = 0;
        for index in 1..=count {
            let shard: Shard = format!("{index}/{count}").parse().expect("a shard");
            prop_assert_eq!(shard, Shard { index, count });
            let config = Config { shard: Some(shard), ..Config::new(vec![target.clone()], connections) };
            let own = config.own_connections();
            prop_assert_eq!(own.start, next);
            prop_assert!(own.len() as u32 <= connections.div_ceil(count));
            next = own.end;
        }
        prop_assert_eq!(next, connections);
    }

    #[test]
    fn invalid_shard_is_refused(text in "[0-9]{0,6}/?-?[0-9]{0,6}") {
        let numbers = text.split_once('/').and_then(|(index, count)| Some((index.parse::<u32>().ok()?, count.parse::<u32>().ok()?)));
        let right = numbers.is_some_and(|(index, count)| index >= 1 && index <= count && count <= 100_000);
        prop_assert_eq!(text.parse::<Shard>().is_ok(), right, "{}", text);
    }
}
