//! The command, on this host.

use crate::apply::in_namespace;
use crate::host::{Ended, Running, Serve, has_strace, run, steadfast};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use steadfast::server::{Plan, PlanRequest};

/// One measures at a time: each would see the other's connections come and go.
fn alone() -> MutexGuard<'static, ()> {
    static MEASURING: Mutex<()> = Mutex::new(());
    MEASURING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn json(setup: &str, arguments: &[&str]) -> (Ended, Value) {
    let ended = run(setup, &[&["doctor", "--json"], arguments].concat());
    let value = serde_json::from_str(&ended.out.join("\n")).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
    (ended, value)
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

#[test]
fn connections_that_fit_exit_with_0() {
    let _alone = alone();
    let ended = run("", &["doctor", "--connections", "1000"]);
    assert_eq!(ended.code(), 0, "{ended:?}");
    let text = ended.out.join("\n");
    for part in [
        "1,000 need",
        "RLIMIT_NOFILE",
        "fs.nr_open",
        "fs.file-max",
        "fs.epoll.max_user_watches",
        "ip_local_port_range",
        "somaxconn",
        "nf_conntrack_max",
        "tcp_mem",
        "tcp_max_orphans",
        "tcp_max_tw_buckets",
        "memory of the host",
        "memory of the control group",
        "threads",
        "cores",
    ] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    let last = ended.out.last().expect("a sentence");
    assert!(last.starts_with("This host holds ") && last.contains(" as both sides; the first limit is "), "{last}");
    assert!(last.contains("As server alone: ") && last.contains("; as client alone: "), "{last}");
}

#[test]
fn connections_that_do_not_fit_exit_with_4() {
    let ended = run("", &["doctor", "--connections", "4000000000", "--role", "server", "--no-measure"]);
    assert_eq!(ended.code(), 4, "{ended:?}");
    assert!(ended.out.iter().any(|line| line.contains("TOO LOW")), "{ended:?}");
    let last = ended.out.last().expect("a sentence");
    assert!(last.contains(" as server alone; the first limit is ") && last.contains("As client alone: "), "{last}");
}

#[test]
fn json_has_the_documented_members() {
    let _alone = alone();
    let (ended, value) = json("", &["--connections", "1000", "--explain"]);
    assert_eq!(ended.code(), 0, "{ended:?}");
    let members = "schema connections role fits rows forecast costs sentence applied myths";
    assert_eq!(keys(&value), members.split(' ').collect());
    let told = [&value["schema"], &value["connections"], &value["role"], &value["fits"]];
    assert_eq!(told, [&json!("steadfast.doctor/1"), &json!(1000), &json!("both"), &json!(true)]);
    let limits: Vec<&str> =
        value["rows"].as_array().expect("rows").iter().map(|row| row["wall"].as_str().expect("a name")).collect();
    let all = "nofile nr_open file_max epoll_watches ports max_connections threads conntrack host_memory group_memory \
               backlog tcp_mem orphans time_wait cpu";
    assert_eq!(limits, all.split_whitespace().collect::<Vec<_>>());
    for row in value["rows"].as_array().expect("rows") {
        let members = "wall scope have need most verdict fix facts command";
        assert_eq!(keys(row), members.split(' ').collect(), "{row}");
        let verdict = row["verdict"].as_str().expect("a verdict");
        assert!(["holds", "short", "slows", "does_not_bind", "unseen"].contains(&verdict), "{row}");
        assert_eq!(row["fix"].is_null(), row["command"].is_null(), "{row}");
    }
    assert_eq!(keys(&value["forecast"]), ["both", "client", "server"].into());
    for role in ["server", "client", "both"] {
        let most = &value["forecast"][role];
        assert_eq!(keys(most), ["connections", "wall"].into());
        assert!(most["connections"].as_u64().is_some_and(|most| most >= 1000), "{most}");
    }
    let costs = &value["costs"];
    let members = "measured_pairs kernel_bytes_per_socket is_tracked server client";
    assert_eq!(keys(costs), members.split(' ').collect());
    let members = "charged_bytes_per_socket bytes_per_connection bytes_per_reactor fixed_bytes";
    assert_eq!(keys(&costs["server"]), members.split(' ').collect());
    assert_eq!(value["applied"], json!([]));
    assert_eq!(keys(&value["myths"][0]), ["name", "why"].into());
}

#[test]
fn measured_costs_are_plausible() {
    let _alone = alone();
    let (ended, value) = json("ulimit -n 20000 2>/dev/null || true", &["--connections", "1000"]);
    let costs = &value["costs"];
    assert!(costs["measured_pairs"].as_u64().is_some_and(|pairs| pairs >= 500), "{costs}: {ended:?}");
    // A TCP socket with its inode, file and epoll item, on any Linux of the last ten years.
    let bytes = costs["kernel_bytes_per_socket"].as_f64().expect("a number");
    assert!((2_000.0..12_000.0).contains(&bytes), "{costs}");
}

#[test]
fn small_descriptor_limit_needs_more_tables() {
    let (ended, value) = json("ulimit -n 200", &["--connections", "3000", "--role", "server", "--no-measure"]);
    assert_eq!((ended.code(), &value["fits"]), (4, &json!(false)));
    let most = &value["forecast"]["server"];
    assert_eq!(most["wall"], "nofile");
    let cores = std::thread::available_parallelism().expect("cores").get();
    let plan = |connections: u64| {
        let max_connections = Some(connections as usize);
        Plan::find(PlanRequest { max_connections, reactors: None, cores, table: 200, listeners: 1, hashed: true })
    };
    let held = most["connections"].as_u64().expect("a number");
    assert!(plan(held).is_some() && plan(held + 1).is_none(), "{held}");
    let row = &value["rows"][0];
    assert_eq!(
        (&row["scope"], &row["facts"]["hard"], &row["facts"]["soft"]),
        (&json!("process"), &json!(200), &json!(200))
    );
    assert!(row["command"].as_str().is_some_and(|command| command.starts_with("ulimit -n ")), "{row}");
}

#[test]
fn server_starts_with_the_forecast_number_and_no_more() {
    let (_, value) = json("ulimit -n 150", &["--connections", "10", "--no-measure"]);
    let most = value["forecast"]["server"]["connections"].as_u64().expect("a number");
    let max = ["--max-connections", &most.to_string()];
    Serve::start_under("ulimit -n 150", &max).stop();
    let more = (most + 1).to_string();
    let ended = run("ulimit -n 150", &["serve", "--listen", "127.0.0.1:0", "--max-connections", &more]);
    assert_eq!((ended.code(), ended.err.len()), (2, 1), "{ended:?}");
    assert!(ended.err[0].contains("RLIMIT_NOFILE is 150"), "{ended:?}");
}

#[test]
fn forbidden_unshare_is_reported() {
    if !has_strace() {
        return;
    }
    let traced = steadfast("ulimit -n 2000", &["doctor", "--connections", "5000", "--no-measure"]);
    let mut command = Command::new("strace");
    command.args(["-D", "-f", "-qq", "-o", "/dev/null", "-e", "trace=unshare", "-e", "inject=unshare:error=EPERM"]);
    let ended = Running::spawn({
        command.arg("sh").args(traced.get_args());
        command
    })
    .ended();
    assert_eq!(ended.code(), 4, "{ended:?}");
    let row = ended.out.iter().find(|line| line.starts_with("RLIMIT_NOFILE")).expect("its row");
    assert!(row.contains("TOO LOW: unshare(CLONE_FILES) is forbidden, so there is one table only"), "{row}");
}

#[test]
fn ports_of_a_network_namespace_limit_the_forecast() {
    let script = r#"
        echo 40000 40999 >/proc/sys/net/ipv4/ip_local_port_range
        echo 40100-40199 >/proc/sys/net/ipv4/ip_local_reserved_ports
        "$0" doctor --connections 901 --sources 1 --no-measure || echo "exit code $?"
    "#;
    let Some(lines) = in_namespace(script) else { return };
    let text = lines.join("\n");
    assert!(text.contains("of this network namespace, not the host's"), "{text}");
    assert!(text.contains("This host holds 900 connections as both sides"), "{text}");
    assert!(text.contains("the first limit is net.ipv4.ip_local_port_range"), "{text}");
    assert_eq!(lines.last().map(String::as_str), Some("exit code 4"));
}

#[test]
fn measurement_fails_if_loopback_is_down() {
    let Some(lines) = in_namespace(r#""$0" doctor --connections 10 2>&1"#) else { return };
    assert!(lines[0].starts_with("steadfast: cannot measure what a connection costs here: "), "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("in the kernel (default)")), "{lines:?}");
}

#[test]
fn explain_lists_the_myths() {
    let ended = run("", &["doctor", "--connections", "10", "--no-measure", "--explain"]);
    let text = ended.out.join("\n");
    for name in [
        "tcp_tw_recycle",
        "tcp_tw_reuse",
        "tcp_fin_timeout",
        "rmem_max",
        "tcp_keepalive_",
        "netdev_max_backlog",
        "limits.conf",
        "65,535 ports",
    ] {
        assert!(text.contains(name), "no {name} in {text}");
    }
    assert!(!run("", &["doctor", "--connections", "10", "--no-measure"]).out.join("\n").contains("tcp_tw_recycle"));
}

#[test]
fn doctor_refuses_flags_out_of_range() {
    let cases: [(&[&str], &[&str]); 8] = [
        (&["--connections", "0"], &["--connections", "'0'", "1.."]),
        (&["--connections", "5000000000"], &["--connections", "'5000000000'", "4294967295"]),
        (&["--role", "peer"], &["--role", "'peer'", "server", "client", "both"]),
        (&["--sources", "0"], &["--sources", "'0'"]),
        (&["--reactors", "4097"], &["--reactors", "'4097'", "1..=4096"]),
        (&["--max-connections", "0"], &["--max-connections", "'0'"]),
        (&["--script", "--apply"], &["--script", "--apply"]),
        (&["--script", "--json"], &["--script", "--json"]),
    ];
    for (arguments, words) in cases {
        let ended = run("", &[&["doctor"], arguments].concat());
        assert_eq!((ended.code(), ended.out.len(), ended.err.len()), (2, 0, 1), "{arguments:?}: {ended:?}");
        for word in words {
            assert!(ended.err[0].contains(word), "{arguments:?}: no {word:?} in {:?}", ended.err);
        }
    }
}
