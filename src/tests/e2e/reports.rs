//! What becomes of the report of a flood: its files, its assertions, and `steadfast report`.

use crate::flood::flood;
use crate::host::{Ended, Scratch, Serve, run, text};
use serde_json::{Value, json};
use std::fs;
use std::net::TcpListener;
use std::path::Path;

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn report(path: &Path) -> Value {
    serde_json::from_str(&read(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A flood of `connections` against a server of ours, written as JSON.
fn flooded(server: &Serve, connections: &str, file: &Path) -> Value {
    let url = format!("ws://{}/echo", server.address());
    let ended = run("", &["flood", &url, "--connections", connections, "--hold", "1.5", "--json", text(file)]);
    assert_eq!(ended.code(), 0, "{ended:?}");
    report(file)
}

/// Refused with this one line, and with exit code 2.
fn assert_refused(ended: &Ended, said: &str) {
    assert_eq!((ended.code(), &ended.err[..]), (2, &[format!("steadfast: {said}")][..]), "{ended:?}");
}

#[test]
fn flood_writes_the_requested_files() {
    let server = Serve::start(&[]);
    let scratch = Scratch::new();
    let (csv, html) = (scratch.file("report.csv"), scratch.file("report.html"));
    let url = format!("ws://{}/echo", server.address());
    let (ended, report) =
        flood(&[&url, "--connections", "50", "--hold", "2.5", "--csv", text(&csv), "--html", text(&html)]);
    assert_eq!(ended.code(), 0, "{ended:?}");
    let csv = read(&csv);
    let mut lines = csv.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let header = lines.next().expect("a header");
    assert_eq!(header[..4], ["at_s", "phase", "planned", "connecting"]);
    let rows: Vec<_> = lines.collect();
    assert_eq!(rows.len(), report["timeline"].as_array().expect("rows").len());
    assert!(rows.len() >= 2, "{csv}");
    for row in &rows {
        assert_eq!(row.len(), header.len(), "{row:?}");
        let states = row[2..11].iter().map(|count| count.parse::<u64>().expect("a count"));
        assert_eq!(states.sum::<u64>(), 50, "{row:?}");
    }
    let html = read(&html);
    assert!(html.contains("50 of 50 connections opened, none was lost") && html.contains("<svg"), "{html}");
    server.stop();
}

#[test]
fn failed_assertion_is_printed_with_its_figure() {
    let server = Serve::start(&[]);
    let url = format!("ws://{}/echo", server.address());
    let good = ["--assert", "lost == 0", "--assert", "opened >= 100%", "--assert", "connect.max < 1000s"];
    let (ended, report) = flood(&[&[url.as_str(), "--connections", "20"], &good[..]].concat());
    assert_eq!((ended.code(), report["assertions"].as_array().map(Vec::len)), (0, Some(3)), "{ended:?}");
    let bad = ["--assert", "closed < 20", "--assert", "lost == 0", "--assert", "reconnect.p99 < 1s"];
    let (ended, report) = flood(&[&[url.as_str(), "--connections", "20"], &bad[..]].concat());
    assert_eq!(ended.code(), 3, "{ended:?}");
    let verdicts = json!([
        { "assertion": "closed < 20", "figure": 20.0, "holds": false },
        { "assertion": "lost == 0", "figure": 0.0, "holds": true },
        { "assertion": "reconnect.p99 < 1s", "figure": null, "holds": false },
    ]);
    assert_eq!((&report["assertions"], &report["ok"]), (&verdicts, &Value::Bool(true)));
    let said: Vec<&String> = ended.err.iter().filter(|line| line.starts_with("steadfast: broken")).collect();
    assert_eq!(
        said,
        ["steadfast: broken: closed < 20: 20", "steadfast: broken: reconnect.p99 < 1s: not measured"],
        "{ended:?}"
    );
    server.stop();
}

#[test]
fn failed_flood_and_failed_assertion_have_different_exit_codes() {
    // Nobody listens there any more.
    let gone = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port");
    let url = format!("tcp://{gone}");
    let (ended, _) = flood(&[&url, "--connections", "5", "--assert", "lost[\"refused\"] == 5"]);
    assert_eq!(ended.code(), 1, "{ended:?}");
    let (ended, _) = flood(&[&url, "--connections", "5", "--assert", "lost < 50%"]);
    assert_eq!(ended.code(), 3, "{ended:?}");
}

#[test]
fn invalid_assertions_and_files_are_refused_before_the_flood() {
    // Whoever connected would wait in the queue of this listener.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let url = format!("tcp://{}", listener.local_addr().expect("its address"));
    let scratch = Scratch::new();
    let file = scratch.file("both");
    let flood = |more: &[&str]| run("", &[&["flood", &url, "--connections", "1"], more].concat());
    let wrong = flood(&["--assert", "lost < 5ms"]);
    assert_eq!(wrong.code(), 2);
    assert!(wrong.err[0].contains("'lost < 5ms'") && wrong.err[0].contains("lost has no unit \"ms\""), "{wrong:?}");
    let phase = flood(&["--assert", "nothing9.connect.p99 < 5ms"]);
    assert_eq!(phase.code(), 2);
    assert!(phase.err[0].contains("there is no phase \"nothing9\"; expected "), "{phase:?}");
    let both = flood(&["--csv", text(&file), "--html", text(&file)]);
    let said = format!("--html {}: the same file is named twice; name one for each", file.display());
    assert_refused(&both, &said);
    let nowhere = flood(&["--html", "/nonexistent/report.html"]);
    let said =
        "--html /nonexistent/report.html: No such file or directory (os error 2); name a file that can be written";
    assert_refused(&nowhere, said);
    listener.set_nonblocking(true).expect("an open socket");
    assert!(listener.accept().is_err(), "nobody has connected");
}

#[test]
fn reports_are_merged_and_shown_again() {
    let server = Serve::start(&[]);
    let scratch = Scratch::new();
    let [one, other, both, csv] = ["one.json", "other.json", "both.json", "both.csv"].map(|name| scratch.file(name));
    let parts = [flooded(&server, "30", &one), flooded(&server, "12", &other)];
    let files = ["--json", text(&both), "--csv", text(&csv)];
    let ended = run("", &[&["report", "merge", text(&one), text(&other)], &files[..]].concat());
    assert_eq!(ended.code(), 0, "{ended:?}");
    let merged = report(&both);
    for name in ["planned", "opened", "answered", "held", "closed"] {
        assert_eq!(merged["connections"][name], 42, "{name}");
    }
    let each = |pointer: &str| -> Vec<u64> {
        parts.iter().map(|part| part.pointer(pointer).and_then(Value::as_u64).expect("a count")).collect()
    };
    for pointer in ["/replies", "/connect/samples", "/reply/samples", "/alive/samples", "/workers"] {
        assert_eq!(merged.pointer(pointer).and_then(Value::as_u64), Some(each(pointer).iter().sum()), "{pointer}");
    }
    assert_eq!(merged["connect"]["max_us"].as_u64(), each("/connect/max_us").into_iter().max());
    // In whichever order, the same report; and what is shown again is what was written.
    let again = scratch.file("again.json");
    let ended = run("", &["report", "merge", text(&other), text(&one), "--json", text(&again)]);
    assert_eq!((ended.code(), report(&again)), (0, merged.clone()), "{ended:?}");
    let shown = run("", &["report", "show", text(&both), "--json", text(&again), "--assert", "planned == 42"]);
    assert_eq!(shown.code(), 0, "{shown:?}");
    let mut judged = merged;
    judged["assertions"] = json!([{ "assertion": "planned == 42", "figure": 42.0, "holds": true }]);
    assert_eq!(report(&again), judged);
    let table = shown.out.join("\n");
    for word in ["planned                42", "all opened, answered, held and closed", "holds   planned == 42: 42"] {
        assert!(table.contains(word), "no {word:?} in {table}");
    }
    assert_eq!(run("", &["report", "show", text(&both), "--assert", "lost > 0"]).code(), 3);
    server.stop();
}

/// Changes one member of the report in `from`, and writes it to `to`.
fn changed(from: &Path, to: &Path, pointer: &str, value: Value) {
    let mut document = report(from);
    *document.pointer_mut(pointer).unwrap_or_else(|| panic!("no {pointer}")) = value;
    fs::write(to, document.to_string()).expect("a file");
}

#[test]
fn hostile_reports_are_refused() {
    let server = Serve::start(&[]);
    let scratch = Scratch::new();
    let [good, bad] = ["good.json", "bad.json"].map(|name| scratch.file(name));
    flooded(&server, "3", &good);
    server.stop();
    let phases = report(&good)["phases"].clone();
    let names: Vec<&str> =
        phases.as_array().expect("phases").iter().filter_map(|phase| phase["name"].as_str()).collect();
    let mut first = phases[0].clone();
    first["name"] = names.join(", ").into();
    changed(&good, &bad, "/phases", json!([first]));
    let merged = run("", &["report", "merge", text(&good), text(&bad)]);
    assert_eq!((merged.code(), merged.err.len()), (2, 1), "{merged:?}");
    let said = format!("steadfast: {}: it has another scenario: its phases are \"ramp, reply", bad.display());
    assert!(merged.err[0].starts_with(&said), "{merged:?}");
    // 50 deflated bytes, of which the header says that they are 2^32 - 1.
    let histogram = "HISTkxQAAAAyeJyTaZkszMDAwMgAAQBH5gEHAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    for histogram in [histogram, "", "====", "HISTkw==", "HISTFP////8="] {
        changed(&good, &bad, "/connect/histogram", histogram.into());
        let shown = run("ulimit -v 1000000", &["report", "show", text(&bad)]);
        assert_eq!((shown.code(), shown.err.len()), (2, 1), "{shown:?}");
        assert!(
            shown.err[0].contains(&format!("{}: it is not a complete report: connect: histogram: ", bad.display())),
            "{shown:?}"
        );
    }
    let endless = run("ulimit -v 2000000", &["report", "show", "/dev/zero"]);
    assert_refused(&endless, "/dev/zero: it is longer than 268435456 bytes; name a report that --json wrote");
    let endless = run("ulimit -v 1000000", &["flood", "ws://127.0.0.1:9/", "--scenario", "/dev/zero"]);
    assert_refused(&endless, "--scenario /dev/zero: it is longer than 1048576 bytes");
}

#[test]
fn escape_sequences_of_files_and_arguments_do_not_reach_the_terminal() {
    let server = Serve::start(&[]);
    let scratch = Scratch::new();
    let [good, bad, csv] = ["good.json", "bad.json", "rows.csv"].map(|name| scratch.file(name));
    flooded(&server, "3", &good);
    server.stop();
    let evil = "\u{1b}]0;a\u{7}\u{9b}2J\u{202e}\u{2066}\u{200b}\nb";
    let is_clean = |lines: &[String]| {
        let harmful = |letter: char| letter.is_control() || "\u{202e}\u{2066}\u{200b}".contains(letter);
        assert!(!lines.iter().any(|line| line.contains(harmful)), "{lines:?}");
    };
    for pointer in ["/target", "/reply_check", "/phases/0/name", "/phases/0/kind", "/timeline/0/phase", "/schema"] {
        changed(&good, &bad, pointer, evil.into());
        for more in
            [&["report", "show", text(&bad), "--csv", text(&csv)][..], &["report", "merge", text(&good), text(&bad)]]
        {
            let ended = run("", more);
            assert!(ended.code() < 4, "{ended:?}");
            is_clean(&ended.out);
            is_clean(&ended.err);
        }
        is_clean(&read(&csv).lines().map(str::to_owned).collect::<Vec<_>>());
    }
    for (pointer, value) in [
        ("/shards", json!([evil])),
        ("/lost_by_cause", json!({ evil: 3 })),
        ("/assertions", json!([{ "assertion": evil, "figure": null, "holds": false }])),
        ("/states/open", json!(evil)),
        ("/phases/0/latencies", json!({ evil: 1 })),
    ] {
        changed(&good, &bad, pointer, value);
        for command in ["show", "merge"] {
            let ended = run("", &["report", command, text(&bad)]);
            is_clean(&ended.out);
            is_clean(&ended.err);
            assert!(ended.out.len() + ended.err.len() > 0);
        }
    }
    let scenario = scratch.file("scenario.toml");
    fs::write(&scenario, "[[phase]]\ndo = \"\\u001b[2J\\u202e\"\n").expect("a file");
    for arguments in [
        &["report", "show", evil][..],
        &["report", "show", text(&good), "--assert", evil],
        &["flood", "ws://127.0.0.1:9/", "--scenario", text(&scenario)],
        &["flood", "ws://127.0.0.1:9/", "--phase", evil],
        &["flood", evil],
        &[evil],
    ] {
        let ended = run("", arguments);
        assert_eq!((ended.code(), ended.err.len()), (2, 1), "{ended:?}");
        is_clean(&ended.err);
    }
}

#[test]
fn file_that_is_not_a_report_is_named() {
    let server = Serve::start(&[]);
    let scratch = Scratch::new();
    let [good, bad] = ["good.json", "bad.json"].map(|name| scratch.file(name));
    let mut written = flooded(&server, "3", &good);
    let (named, bad) = (bad.display().to_string(), &bad);
    let shown = |content: &str| {
        fs::write(bad, content).expect("a file");
        run("", &["report", "show", text(bad)])
    };
    let missing = scratch.file("missing.json");
    let said = "No such file or directory (os error 2); name a report that --json wrote";
    assert_refused(&run("", &["report", "show", text(&missing)]), &format!("{}: {said}", missing.display()));
    let said = "it is not a report: it is not JSON: expected value at line 1 column 1";
    assert_refused(&shown("<html>"), &format!("{named}: {said}"));
    let said = "it is not a report: it has no \"schema\"; expected \"steadfast.flood/2\"";
    assert_refused(&shown("{}"), &format!("{named}: {said}"));
    let said = "its schema is \"steadfast.flood/1\"; expected \"steadfast.flood/2\"";
    assert_refused(&shown(r#"{"schema":"steadfast.flood/1"}"#), &format!("{named}: {said}"));
    let said = "it is not a complete report: missing field `program` at line 1 column 30";
    assert_refused(&shown(r#"{"schema":"steadfast.flood/2"}"#), &format!("{named}: {said}"));
    // A histogram that does not say what the figures say was not written by a flood.
    written["connect"]["samples"] = 4.into();
    let said = "it is not a complete report: connect: histogram: its number of samples differs from that of the report";
    let counted = shown(&written.to_string());
    assert!(counted.err[0].starts_with(&format!("steadfast: {named}: {said}")), "{counted:?}");
    assert_eq!((counted.code(), counted.err.len()), (2, 1), "{counted:?}");
    written["connect"]["samples"] = 3.into();
    written["target"] = "ws://elsewhere/".into();
    fs::write(bad, written.to_string()).expect("a file");
    let merged = run("", &["report", "merge", text(&good), text(bad)]);
    let first = report(&good)["target"].to_string();
    let said = format!("{named}: its target is \"ws://elsewhere/\"; that of the first report is {first}");
    assert_refused(&merged, &said);
    written["shards"] = json!(["2/3"]);
    assert_eq!(shown(&written.to_string()).code(), 0);
    assert_refused(&run("", &["report", "merge", text(bad)]), "shard 1/3 is missing");
    server.stop();
}
