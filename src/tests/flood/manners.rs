//! Permission for targets, the start time, and interrupts.

use crate::host::{Local, Serve, quick, run};
use crate::rig::{
    Flooding, assert_agrees, assert_sums, assert_whole, counts, echo_frames, flood, foreign, grant, number, phases,
    read_head, stranger, until_gone,
};
use serde_json::{Value, json};
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use steadfast::server::{Config, Deadlines};

#[test]
fn public_target_is_refused_without_confirmation() {
    // Addresses reserved for documentation, RFC 5737 and RFC 3849: no host has them.
    for (url, address) in [
        ("ws://192.0.2.1/", "192.0.2.1"),
        ("http://192.0.2.1:8080/", "192.0.2.1"),
        ("tcp://198.51.100.7:7", "198.51.100.7"),
        ("ws://[2001:db8::1]/", "2001:db8::1"),
        ("ws://[::ffff:192.0.2.1]/", "192.0.2.1"),
    ] {
        let ended = run("", &["flood", url, "--connections", "1"]);
        assert_eq!((ended.code(), ended.out.len(), ended.err.len()), (2, 0, 1), "{url}: {ended:?}");
        for word in [url, address, "neither a loopback nor a private address", "--i-own-this-host"] {
            assert!(ended.err[0].contains(word), "{url}: no {word:?} in {ended:?}");
        }
    }
}

/// In an hour.
fn later() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock");
    (now + Duration::from_secs(3600)).as_secs().to_string()
}

/// A flood that is interrupted before it begins: nothing was done.
fn assert_never_begins(arguments: &[&str]) {
    let later = later();
    let mut flooding = Flooding::start(&[arguments, &["--connections", "10", "--start-at", &later]].concat());
    flooding.running.error_line("starts at ");
    flooding.running.signal("INT");
    let (ended, report) = flooding.ended();
    assert_sums(&ended, &report, 10);
    assert_eq!(report["lost_by_cause"], json!({ "not started": 10 }), "{report}");
    assert_eq!((ended.code(), counts(&report, ["opened", "lost"])), (1, [0, 10]), "{ended:?}");
}

#[test]
fn public_target_is_accepted_with_confirmation() {
    assert_never_begins(&["ws://192.0.2.1/", "--i-own-this-host"]);
}

#[test]
fn flood_sends_nothing_before_its_start_time() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("its address");
    for scheme in ["ws", "http", "tcp"] {
        assert_never_begins(&[&format!("{scheme}://{address}/")]);
    }
    listener.set_nonblocking(true).expect("O_NONBLOCK");
    assert_eq!(listener.accept().map(|_| ()).map_err(|error| error.kind()), Err(ErrorKind::WouldBlock));
}

/// Interrupts a flood of 40 in the last of `scenario`: what is open is closed.
fn assert_interruptible(scenario: &[&str], opened: u64) {
    let server = Serve::start(&[]);
    let url = format!("ws://{}/echo", server.address());
    let mut flooding = Flooding::start(&[&[url.as_str(), "--connections", "40"], &phases(scenario)[..]].concat());
    let phase = scenario.last().and_then(|last| last.split(' ').next()).expect("a phase");
    flooding.reaches(phase);
    flooding.running.signal("INT");
    let (ended, report) = flooding.ended();
    assert_sums(&ended, &report, 40);
    assert_agrees(&report);
    assert_eq!((ended.code(), &report["ok"]), (1, &Value::Bool(false)), "{scenario:?}: {ended:?}");
    let [came, closed] = counts(&report, ["opened", "closed"]);
    assert!(came >= opened && came == closed, "{scenario:?}: {report}");
    server.stop();
}

#[test]
fn interrupt_ends_a_ramp() {
    assert_interruptible(&["ramp over_s=3600"], 0);
}

#[test]
fn interrupt_ends_a_ramp_in_steps_before_the_next_step() {
    let server = Serve::start(&[]);
    let url = format!("ws://{}/echo", server.address());
    let ramp = phases(&["ramp over_s=3600 steps=20"]);
    let mut flooding = Flooding::start(&[&[url.as_str(), "--connections", "40"], &ramp[..]].concat());
    // Behind the first step, another line comes in two seconds.
    flooding.reaches("ramp");
    flooding.reaches("ramp");
    flooding.running.signal("INT");
    let (ended, report) = flooding.ended();
    assert_sums(&ended, &report, 40);
    assert_eq!(report["lost_by_cause"], json!({ "not started": 38 }), "{report}");
    assert_eq!(counts(&report, ["opened", "closed"]), [2, 2], "{report}");
    server.stop();
}

#[test]
fn interrupt_ends_a_rate() {
    assert_interruptible(&["ramp", "rate per_s=50 for_s=3600"], 40);
}

#[test]
fn interrupt_ends_a_flood_of_a_stalled_server() {
    let server = Serve::start(&[]);
    let url = format!("ws://{}/echo", server.address());
    let scenario = phases(&["ramp", "rate per_s=50 for_s=3600"]);
    let mut flooding = Flooding::start(&[&[url.as_str(), "--connections", "20"], &scenario[..]].concat());
    flooding.reaches("rate");
    server.running.signal("STOP");
    flooding.running.signal("INT");
    let (ended, report) = flooding.ended();
    assert_sums(&ended, &report, 20);
    assert_eq!(report["lost_by_cause"], json!({ "timeout: close": 20 }), "{report}");
    // Its /stats cannot be requested either, and the report says so.
    assert_eq!((ended.code(), &report["reconciliation"]["agrees"]), (1, &Value::Bool(false)), "{ended:?}");
    assert_eq!(report["reconciliation"]["figures"][0]["what"], "servers that answer", "{ended:?}");
    server.running.signal("CONT");
    server.stop();
}

#[test]
fn interrupt_ends_a_receive_phase() {
    assert_interruptible(&["ramp", "receive for_s=3600"], 40);
    assert_interruptible(&["ramp", "slow for_s=3600 share=0.5"], 40);
}

#[test]
fn interrupt_shortens_a_drain() {
    assert_interruptible(&["ramp", "reply", "drain over_s=3600"], 40);
}

#[test]
fn interrupt_before_a_drain_skips_its_pace() {
    let server = Serve::start(&[]);
    let url = format!("ws://{}/echo", server.address());
    let scenario = phases(&["ramp", "hold for_s=3600", "drain over_s=3600"]);
    let mut flooding = Flooding::start(&[&[url.as_str(), "--connections", "40"], &scenario[..]].concat());
    flooding.reaches("hold");
    flooding.running.signal("INT");
    let (ended, report) = flooding.ended();
    assert_sums(&ended, &report, 40);
    assert_eq!(counts(&report, ["opened", "closed"]), [40, 40], "{report}");
    server.stop();
}

#[test]
fn interrupt_ends_a_storm_whose_connections_do_not_reopen() {
    let granted = AtomicUsize::new(0);
    let address = stranger(move |_| granted.fetch_add(1, Ordering::Relaxed) < 20);
    let url = format!("ws://{address}/");
    let scenario = phases(&["ramp", "reply", "storm share=0.4"]);
    let mut flooding = Flooding::start(&[&[url.as_str(), "--connections", "20"], &scenario[..]].concat());
    flooding.reaches("storm");
    flooding.running.signal("INT");
    let (ended, report) = flooding.ended();
    assert_sums(&ended, &report, 20);
    assert_eq!(report["lost_by_cause"], json!({ "interrupted": 8 }), "{report}");
    assert_eq!(counts(&report, ["opened", "reopened", "closed"]), [20, 0, 12], "{report}");
    assert_eq!(ended.code(), 1, "{ended:?}");
}

#[test]
fn flood_reports_the_length_of_each_phase() {
    let server = Serve::start(&[]);
    let url = format!("ws://{}/echo", server.address());
    let scenario = phases(&[
        "ramp over_s=0.3",
        "hold for_s=0.2",
        "receive for_s=0.2",
        "slow for_s=0.2 share=1",
        "drain over_s=0.3",
    ]);
    let (ended, report) = Flooding::start(&[&[url.as_str(), "--connections", "40"], &scenario[..]].concat()).ended();
    assert_whole(&ended, &report, 40);
    let phases = report["phases"].as_array().expect("phases");
    let named: Vec<(&str, f64)> = phases
        .iter()
        .map(|phase| (phase["name"].as_str().expect("a name"), phase["seconds"].as_f64().expect("seconds")))
        .collect();
    assert_eq!(named.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["ramp", "hold", "receive", "slow", "drain"]);
    // Each worker's first of a paced phase is free.
    let paced_s = 0.3 * (40 - number(&report, "workers")) as f64 / 40.0;
    for (name, seconds) in named {
        let least = if matches!(name, "ramp" | "drain") { paced_s } else { 0.2 };
        assert!(seconds >= least - 1e-6, "{name}: {seconds}");
    }
    server.stop();
}

/// A server that does not answer the Close of every second connection.
fn half_deaf() -> SocketAddr {
    let number = AtomicUsize::new(0);
    foreign(move |mut client| {
        let head = read_head(&mut client)?;
        if !head.contains("Upgrade: websocket") {
            return Ok(());
        }
        grant(&mut client, &head, "")?;
        match number.fetch_add(1, Ordering::Relaxed) % 2 {
            0 => echo_frames(&mut client),
            _ => until_gone(&mut client),
        }
    })
}

#[test]
fn connection_that_does_not_close_after_an_interrupt_is_reset() {
    let url = format!("ws://{}/", half_deaf());
    let limits = ["--connections", "20", "--interrupt-s", "1"];
    let mut flooding = Flooding::start(&[&[url.as_str()], &limits[..], &phases(&["ramp", "hold for_s=3600"])].concat());
    flooding.reaches("hold");
    flooding.running.signal("INT");
    let (ended, report) = flooding.ended();
    assert_sums(&ended, &report, 20);
    assert_eq!(report["interrupted"], json!({ "closed": 10, "reset": 10 }), "{report}");
    assert_eq!(report["lost_by_cause"], json!({ "interrupted: reset": 10 }), "{report}");
    assert!(ended.out.iter().any(|line| line == "interrupted: 10 closed, 10 reset"), "{ended:?}");
    assert_eq!(ended.code(), 1);
}

#[test]
fn interrupt_with_zero_grace_resets_at_once() {
    let server = Serve::start(&[]);
    let url = format!("ws://{}/echo", server.address());
    let limits = ["--connections", "20", "--interrupt-s", "0"];
    let mut flooding = Flooding::start(&[&[url.as_str()], &limits[..], &phases(&["ramp", "hold for_s=3600"])].concat());
    flooding.reaches("hold");
    flooding.running.signal("TERM");
    let (ended, report) = flooding.ended();
    assert_sums(&ended, &report, 20);
    assert_eq!(report["interrupted"], json!({ "closed": 0, "reset": 20 }), "{report}");
    assert_agrees(&report);
    server.stop();
}

#[test]
fn second_interrupt_resets_at_once_and_reports() {
    let url = format!("ws://{}/", half_deaf());
    let limits = ["--connections", "20", "--interrupt-s", "3600"];
    let mut flooding = Flooding::start(&[&[url.as_str()], &limits[..], &phases(&["ramp", "hold for_s=3600"])].concat());
    flooding.reaches("hold");
    flooding.running.signal("INT");
    flooding.reaches("drain");
    flooding.running.signal("INT");
    let (ended, report) = flooding.ended();
    assert_sums(&ended, &report, 20);
    let [closed, lost] = counts(&report, ["closed", "lost"]);
    let reset = number(&report["interrupted"], "reset");
    // Behind a host that stalls, their own deadline may come first.
    let timed_out = report["lost_by_cause"]["timeout: close"].as_u64().unwrap_or(0);
    assert_eq!((closed + lost, reset + timed_out, report["reconciliation"].is_null()), (20, lost, true), "{report}");
    assert!(lost >= 10, "{report}");
    assert_eq!(ended.code(), 1);
}

#[test]
fn report_without_an_interrupt_does_not_mention_one() {
    let server = Serve::start(&[]);
    let url = format!("ws://{}/echo", server.address());
    let (ended, report) = flood(&[&url, "--connections", "3"]);
    assert_whole(&ended, &report, 3);
    assert_eq!((&report["interrupted"], &report["pings"]), (&Value::Null, &json!(0)));
    server.stop();
}

#[test]
fn pings_of_the_server_are_answered_and_counted() {
    let deadlines = Deadlines { ping_s: 1, ..quick().deadlines };
    let local = Local::start(Config { deadlines, ..quick() });
    let url = format!("ws://{}/echo", local.address);
    let scenario = phases(&["ramp", "hold for_s=3", "check"]);
    let (ended, report) = flood(&[&[url.as_str(), "--connections", "20"], &scenario[..]].concat());
    assert_whole(&ended, &report, 20);
    let pings = number(&report, "pings");
    assert!(pings >= 20, "{pings}");
    assert!(ended.out.iter().any(|line| line == &format!("{pings} pings of the server were answered")), "{ended:?}");
}

#[test]
fn reply_during_a_pause_of_the_flood_is_not_late() {
    let (may_answer, was_asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (gate, asked) = (Arc::clone(&may_answer), Arc::clone(&was_asked));
    let address = foreign(move |mut client| {
        let head = read_head(&mut client)?;
        if !head.contains("Upgrade: websocket") {
            return Ok(());
        }
        grant(&mut client, &head, "")?;
        client.peek(&mut [0])?;
        asked.fetch_add(1, Ordering::Relaxed);
        while !gate.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(10));
        }
        echo_frames(&mut client)
    });
    let url = format!("ws://{address}/");
    let limits = ["--connections", "10", "--reply-timeout-s", "5", "--trickle", "0"];
    let flooding = Flooding::start(&[&[url.as_str()], &limits[..]].concat());
    while was_asked.load(Ordering::Relaxed) < 10 {
        thread::sleep(Duration::from_millis(10));
    }
    flooding.running.signal("STOP");
    thread::sleep(Duration::from_secs(7));
    flooding.running.signal("CONT");
    // All connections are swept within a second, before any reply arrives.
    thread::sleep(Duration::from_millis(1500));
    may_answer.store(true, Ordering::Relaxed);
    let (ended, report) = flooding.ended();
    assert_whole(&ended, &report, 10);
}
