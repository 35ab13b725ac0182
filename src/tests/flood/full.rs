//! A server that the flood fills still answers `/stats`, and the flood does not wait for what it cannot answer.

use crate::host::Serve;
use crate::rig::{assert_agrees, assert_sums, assert_whole, counts, flood, number, phases};
use serde_json::{Value, json};

/// Runs a flood of 40 or more connections at a server with `places` places.
fn filled(places: &str, connections: &str) -> (crate::host::Ended, Value) {
    let server = Serve::start(&["--max-connections", places, "--reactors", "1"]);
    let url = format!("ws://{}/echo", server.address());
    let scenario = phases(&["ramp", "reply", "hold for_s=1.5", "check"]);
    let limits = ["--connections", connections, "--connect-timeout-s", "2"];
    let said = flood(&[&[url.as_str()], &limits[..], &scenario].concat());
    server.stop();
    said
}

#[test]
fn full_server_answers_stats_on_the_kept_connection() {
    let (ended, report) = filled("41", "40");
    assert_whole(&ended, &report, 40);
    assert_agrees(&report);
    assert!(report["memory"]["server"]["user_bytes_per_connection"].is_number(), "{}", report["memory"]);
    assert!(report["cpu"]["server"].is_object(), "{}", report["cpu"]);
    assert_eq!(report["warnings"], json!([]));
}

#[test]
fn server_with_too_few_places_still_answers_stats() {
    let (ended, report) = filled("40", "60");
    assert_sums(&ended, &report, 60);
    // One place is taken by the questions.
    assert_eq!(counts(&report, ["opened", "closed", "lost"]), [39, 39, 21], "{report}");
    assert!(report["memory"]["server"]["user_bytes_per_connection"].is_number(), "{}", report["memory"]);
    assert!(report["cpu"]["server"].is_object(), "{}", report["cpu"]);
    let rows = report["timeline"].as_array().expect("rows");
    assert!(rows.iter().any(|row| row["server_user_bytes"].is_number()), "{report}");
}

#[test]
fn stats_request_takes_no_place_of_a_connection() {
    let (ended, report) = filled("40", "40");
    assert_whole(&ended, &report, 40);
    assert_agrees(&report);
    assert_eq!(report["memory"]["server"]["user_bytes_per_connection"], Value::Null);
    let warning = report["warnings"][0].as_str().unwrap_or_default();
    for word in ["40 places", "/stats", "41 places", "--server-pid"] {
        assert!(warning.contains(word), "no {word:?} in {warning:?}");
    }
}

#[test]
fn phases_that_have_ended_keep_little_memory() {
    const PHASES: usize = 300;
    let server = Serve::start(&[]);
    let url = format!("ws://{}/echo", server.address());
    // The first row of the timeline is from the hold.
    let list: Vec<&str> = ["ramp", "hold for_s=1.5"].into_iter().chain(std::iter::repeat_n("reply", PHASES)).collect();
    let (ended, report) = flood(&[&[url.as_str(), "--connections", "10"], &phases(&list)[..]].concat());
    assert_whole(&ended, &report, 10);
    let rows = report["timeline"].as_array().expect("a timeline");
    let memory = |row: &Value| number(row, "client_user_bytes");
    let (first, last) = (memory(&rows[0]), memory(rows.last().expect("rows")));
    // An unpacked histogram has at least 16 KiB; a packed one of ten samples has less than one.
    assert!(last < first + PHASES as u64 * (4 << 10), "{first} {last}");
}
