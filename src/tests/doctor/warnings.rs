//! The line with which `serve` and `flood` say that what was asked cannot fit.

use crate::host::{Running, run, steadfast};
use serde_json::Value;
use std::net::TcpListener;

/// A tenth more than fits within the limits that no command refuses.
fn too_many(role: &str) -> u64 {
    let ended = run("", &["doctor", "--json", "--no-measure", "--role", role]);
    let value: Value = serde_json::from_str(&ended.out.join("\n")).expect("JSON");
    let rows = value["rows"].as_array().expect("rows").iter();
    let refused = ["nofile", "threads", "ports", "max_connections"];
    let limits = rows.filter(|row| !refused.contains(&row["wall"].as_str().expect("a name")));
    let most = limits.filter_map(|row| row["most"].as_u64()).min().expect("memory is a wall everywhere");
    most + most / 10 + 1000
}

/// Runs until the first line on stderr, which is the warning, or the refusal if no descriptor tables hold the
/// connections.
fn assert_warns(arguments: &[&str], connections: u64, role: &str) {
    let mut running = Running::spawn(steadfast("", arguments));
    let line = running.error_line("steadfast: ");
    if line.contains("RLIMIT_NOFILE is") {
        let ended = running.ended();
        assert_eq!((ended.code(), ended.err.len()), (2, 0), "{ended:?}");
        return;
    }
    let advice = format!("see steadfast doctor --connections {connections} --role {role}");
    assert!(line.starts_with("steadfast: warning: ") && line.ends_with(&advice), "{line}");
    assert!(line.contains(" connections do not fit here: ") && line.contains(" has room for about "), "{line}");
}

#[test]
fn serve_warns_if_connections_do_not_fit() {
    let connections = too_many("server");
    let number = connections.to_string();
    assert_warns(&["serve", "--listen", "127.0.0.1:0", "--max-connections", &number], connections, "server");
}

#[test]
fn flood_warns_if_connections_do_not_fit() {
    let connections = too_many("both");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("tcp://{}", listener.local_addr().expect("its address"));
    // A rate at which nothing comes of it before the line is read.
    assert_warns(
        &["flood", &url, "--connections", &connections.to_string(), "--connect-rate", "1"],
        connections,
        "both",
    );
}
