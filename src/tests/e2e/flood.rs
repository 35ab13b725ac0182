//! Floods that go well: what they report, and that it is so.

use crate::host::{Ended, Scratch, Serve, run, steadfast, text};
use crate::wire::Wire;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

/// Runs a flood; what it said, and what it wrote.
pub(crate) fn flood(arguments: &[&str]) -> (Ended, Value) {
    let scratch = Scratch::new();
    let file = scratch.file("report.json");
    let ended = run("", &[&["flood", "--json", text(&file)], arguments].concat());
    let report = std::fs::read(&file).unwrap_or_default();
    let report = serde_json::from_slice(&report).unwrap_or_else(|error| panic!("no report: {error}: {ended:?}"));
    (ended, report)
}

/// All of `planned` went the whole way.
fn assert_whole(ended: &Ended, report: &Value, planned: u64) {
    let counts = json!({
        "planned": planned, "opened": planned, "reopened": 0, "answered": planned, "held": planned, "closed": planned, "lost": 0,
    });
    assert_eq!(report["connections"], counts, "{ended:?}");
    assert_eq!(report["lost_by_cause"], json!({}), "{ended:?}");
    assert_eq!((ended.code(), &report["ok"]), (0, &Value::Bool(true)), "{ended:?}");
    let table = ended.out.join("\n");
    for word in ["planned", "opened", "answered", "held", "closed", "lost", "connect", "reply", "p99.9", "all opened"] {
        assert!(table.contains(word), "no {word:?} in {table}");
    }
}

/// A phase's figures are there, and in order.
fn assert_phase(phase: &Value, samples: u64) {
    assert_eq!(phase["samples"], samples, "{phase}");
    assert!(phase["seconds"].as_f64().is_some_and(|seconds| seconds > 0.0), "{phase}");
    assert!(phase["per_second"].as_f64().is_some_and(|rate| rate > 0.0), "{phase}");
    let names = ["p50_us", "p90_us", "p99_us", "p99_9_us", "max_us"];
    let values: Vec<u64> = names.iter().map(|name| phase[name].as_u64().unwrap_or_else(|| panic!("{phase}"))).collect();
    assert!(values.is_sorted(), "{phase}");
}

/// The figures that the issue asks for are there; a figure that cannot be had is null.
fn assert_figures(report: &Value, target: &str, planned: u64, messages: u64) {
    assert_eq!((&report["schema"], &report["target"]), (&"steadfast.flood/2".into(), &target.into()));
    assert_phase(&report["connect"], planned);
    assert_phase(&report["reply"], planned * messages);
    for side in ["server", "client"] {
        for name in ["user_bytes_per_connection", "kernel_bytes_per_connection"] {
            let figure = report["memory"][side].get(name).unwrap_or_else(|| panic!("no {side} {name}: {report}"));
            assert!(figure.is_null() || figure.as_f64().is_some_and(|bytes| bytes >= 0.0), "{side} {name}: {figure}");
        }
    }
    assert!(report["replies"].as_u64().is_some_and(|replies| replies >= planned * (messages + 1)), "{report}");
}

#[test]
fn websockets() {
    let server = Serve::start(&[]);
    let url = format!("ws://{}/echo", server.address());
    let more = ["--connections", "200", "--messages", "3", "--payload", "1000", "--hold", "1"];
    let (ended, report) = flood(&[&[url.as_str()], &more[..]].concat());
    assert_whole(&ended, &report, 200);
    assert_figures(&report, &url, 200, 3);
    assert_eq!(report["reply_check"], "content");
    assert!(report["memory"]["server"]["user_bytes_per_connection"].is_number(), "/stats tells: {report}");
    let stats = Wire::connect(server.address()).stats();
    assert_eq!(stats["counters"]["upgraded"], 200, "{stats}");
    assert_eq!(stats["messages"]["in"], report["replies"], "each message has its reply");
    assert_eq!(stats["counters"]["ended_by_error"], 0, "none was reset: {stats}");
    server.stop();
}

#[test]
fn requests() {
    let server = Serve::start_counting();
    let page = format!("http://{}/", server.address());
    let (ended, report) = flood(&[&page, "--connections", "100", "--messages", "3"]);
    assert_whole(&ended, &report, 100);
    assert_figures(&report, &page, 100, 3);
    assert_eq!(report["reply_check"], "content");
    // A page that differs each time is compared by its status.
    let stats = format!("http://{}/stats", server.address());
    let (ended, report) = flood(&[&stats, "--connections", "20"]);
    assert_whole(&ended, &report, 20);
    assert_eq!(report["reply_check"], "status");
    server.stop();
}

#[test]
fn raw_bytes() {
    let server = Serve::start(&["--protocol", "tcp"]);
    let url = format!("tcp://{}", server.address());
    let pid = server.running.pid().to_string();
    // Longer than any one read or write.
    let more = ["--connections", "50", "--messages", "2", "--payload", "300000", "--server-pid", &pid];
    let (ended, report) = flood(&[&[url.as_str()], &more[..]].concat());
    assert_whole(&ended, &report, 50);
    assert_figures(&report, &url, 50, 2);
    assert!(report["memory"]["server"]["user_bytes_per_connection"].is_number(), "proc(5) tells: {report}");
    server.stop();
}

#[test]
fn flood_without_messages_holds_its_connections() {
    let server = Serve::start(&[]);
    let url = format!("ws://{}/", server.address());
    let (ended, report) = flood(&[&url, "--connections", "30", "--messages", "0", "--trickle", "0", "--hold", "0.2"]);
    assert_whole(&ended, &report, 30);
    assert_eq!((&report["reply"]["samples"], &report["reply"]["p50_us"]), (&0.into(), &Value::Null));
    // Whether each is alive is asked all the same.
    assert_eq!(report["alive"]["samples"], 30);
    server.stop();
}

#[test]
fn hold_sends_and_checks_a_trickle_of_messages() {
    let server = Serve::start(&[]);
    let url = format!("ws://{}/", server.address());
    let (ended, report) = flood(&[&url, "--connections", "10", "--trickle", "50", "--hold", "1"]);
    assert_whole(&ended, &report, 10);
    let trickled = report["hold"]["samples"].as_u64().expect("a number");
    // One more for each worker, which begins with one.
    let workers = report["workers"].as_u64().expect("a number");
    assert!(
        trickled > 0 && trickled as f64 <= 50.0 * report["hold"]["seconds"].as_f64().expect("seconds") + workers as f64
    );
    server.stop();
}

/// A server on three ports in a row, that the kernel has free.
fn serve_range() -> (Serve, u16) {
    for _ in 0..100 {
        let first = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
        let Some(last) = first.checked_add(2) else { continue };
        let range = format!("127.0.0.1:{first}-{last}");
        let free = |port| TcpListener::bind(("127.0.0.1", port)).is_ok();
        // Another program may be faster; then another three ports will do.
        if (first..=last).all(free)
            && let Ok(server) = Serve::try_of(steadfast("", &["serve", "--listen", &range]))
        {
            return (server, first);
        }
    }
    panic!("no three free ports in a row");
}

#[test]
fn connections_are_spread_evenly_over_a_range_of_ports() {
    let (server, first) = serve_range();
    assert!(server.said[0].contains(&format!("127.0.0.1:{first}-{} (ws)", first + 2)), "{}", server.said[0]);
    for port in first..first + 3 {
        Wire::websocket(SocketAddr::from(([127, 0, 0, 1], port))).echo(b"on each of them");
    }
    let url = format!("ws://127.0.0.1:{first}-{}/echo", first + 2);
    let (ended, report) = flood(&[&url, "--connections", "30"]);
    assert_whole(&ended, &report, 30);
    server.stop();
}

#[test]
fn connections_are_spread_evenly_over_targets() {
    let (one, two) = (Serve::start_counting(), Serve::start_counting());
    let urls = [&one, &two].map(|server| format!("ws://{}/echo", server.address()));
    let (ended, report) = flood(&[&urls[0], &urls[1], "--connections", "40"]);
    assert_whole(&ended, &report, 40);
    assert_eq!(report["target"], urls.join(" "));
    for server in [one, two] {
        assert_eq!(Wire::connect(server.address()).counter("upgraded"), 20);
        server.stop();
    }
}

/// Starts another echo server: returns its address, and the addresses that connect to it.
fn foreign_echo() -> (SocketAddr, Receiver<IpAddr>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("its address");
    let (sender, peers) = channel();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            if sender.send(stream.peer_addr().expect("a peer").ip()).is_err() {
                return;
            }
            thread::spawn(move || io::copy(&mut &stream, &mut &stream));
        }
    });
    (address, peers)
}

#[test]
fn given_sources_are_used() {
    let (address, peers) = foreign_echo();
    let url = format!("tcp://{address}");
    let (ended, report) =
        flood(&[&url, "--connections", "30", "--source", "127.0.0.7", "--source", "127.1.2.3-127.1.2.4"]);
    assert_whole(&ended, &report, 30);
    // The server's memory is not known.
    assert!(report["memory"]["server"]["user_bytes_per_connection"].is_null(), "{report}");
    let seen: Vec<IpAddr> = peers.try_iter().collect();
    let each: BTreeSet<String> = seen.iter().map(ToString::to_string).collect();
    assert_eq!(each.iter().map(String::as_str).collect::<Vec<_>>(), ["127.0.0.7", "127.1.2.3", "127.1.2.4"]);
    for source in each {
        assert_eq!(seen.iter().filter(|ip| ip.to_string() == source).count(), 10, "from {source}");
    }
}

#[test]
fn connect_rate_is_never_exceeded() {
    let (address, _peers) = foreign_echo();
    let (ended, report) = flood(&[&format!("tcp://{address}"), "--connections", "60", "--connect-rate", "40"]);
    assert_whole(&ended, &report, 60);
    // Each worker's first connect is free.
    let workers = report["workers"].as_u64().expect("a number");
    let least = Duration::from_secs_f64((60 - workers) as f64 / 40.0);
    let took = Duration::from_secs_f64(report["connect"]["seconds"].as_f64().expect("seconds"));
    assert!(took >= least, "60 connects at 40/s in {took:?}");
}

#[test]
fn in_flight_limits_concurrent_connects() {
    // Takes one connection at a time, and answers the next only when the last was answered.
    let server = Serve::start(&["--reactors", "1"]);
    let url = format!("ws://{}/echo", server.address());
    let (ended, report) = flood(&[&url, "--connections", "50", "--in-flight", "1", "--messages", "2"]);
    assert_whole(&ended, &report, 50);
    server.stop();
}

#[test]
fn several_descriptor_tables_work_on_both_sides() {
    let server = Serve::start_under("ulimit -n 200", &["--max-connections", "400"]);
    let scratch = Scratch::new();
    let file = scratch.file("report.json");
    let url = format!("ws://{}/echo", server.address());
    // The flood asks /stats, which takes one place.
    let ended = run("ulimit -n 150", &["flood", &url, "--connections", "390", "--json", text(&file), "--hold", "0.5"]);
    let report: Value = serde_json::from_slice(&std::fs::read(&file).expect("a report")).expect("JSON");
    assert_whole(&ended, &report, 390);
    assert!(report["workers"].as_u64().is_some_and(|workers| workers >= 5), "{report}");
    server.stop();
}
