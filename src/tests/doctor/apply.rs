//! Sysctls are set, reported, and restored.

use crate::host::{BINARY, run};
use crate::made_up::MadeUp;
use std::process::Command;
use steadfast::doctor::{Applied, apply};
use steadfast::doctor::{Costs, Query, Role, examine};

#[test]
fn apply_raises_low_sysctls() {
    let made_up = MadeUp::host();
    made_up.sysctl("fs/epoll/max_user_watches", "5000");
    made_up.sysctl("net/ipv4/ip_local_port_range", "40000\t40999");
    let query = Query { sources: Some(1), ..Query::new(10_000, Role::Both) };
    let diagnosis = examine(&query, &made_up.read(), &Costs::default());
    assert!(!diagnosis.fits);
    let applied = apply(&diagnosis.rows, &made_up.tree());
    let change = |name, was: &str, is: &str| Applied { name, was: was.into(), is: is.into(), error: None };
    assert_eq!(
        applied,
        [
            change("fs.epoll.max_user_watches", "5000", "20480"),
            change("net.ipv4.ip_local_port_range", "40000 40999", "1024 65535"),
        ]
    );
    assert!(examine(&query, &made_up.read(), &Costs::default()).fits);
    // Nothing is left to do.
    assert_eq!(apply(&examine(&query, &made_up.read(), &Costs::default()).rows, &made_up.tree()), []);
}

#[test]
fn apply_reports_a_sysctl_that_cannot_be_set() {
    let made_up = MadeUp::host();
    made_up.sysctl("fs/epoll/max_user_watches", "5000");
    let diagnosis = examine(&Query::new(10_000, Role::Both), &made_up.read(), &Costs::default());
    made_up.remove("proc/sys/fs/epoll/max_user_watches");
    let applied = apply(&diagnosis.rows, &made_up.tree());
    assert_eq!(applied.len(), 1);
    assert!(applied[0].error.is_some(), "{applied:?}");
}

/// A shell in a network namespace of its own, where the sysctls of net are its own too; `None` where there can be none.
pub(crate) fn in_namespace(script: &str) -> Option<Vec<String>> {
    let mut command = Command::new("unshare");
    command.args(["--net", "sh", "-c"]);
    let may = command.arg("cat /proc/sys/net/core/somaxconn >/proc/sys/net/core/somaxconn").output();
    if !may.is_ok_and(|output| output.status.success()) {
        println!("skipped: network namespaces cannot be made here, or their sysctls not be set");
        return None;
    }
    let output = Command::new("unshare").args(["--net", "sh", "-euc", script, BINARY]).output().expect("unshare(1)");
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    Some(text.lines().map(str::to_owned).collect())
}

#[test]
fn printed_undo_commands_restore_the_sysctls() {
    let script = r#"
        cd /proc/sys/net
        sysctl() { echo "${2#*=}" >"$(echo "${2%%=*}" | sed 's#^net\.##; s#\.#/#g')"; }
        echo 16 >core/somaxconn
        echo 100 >ipv4/tcp_max_tw_buckets
        echo 40000 40099 >ipv4/ip_local_port_range
        said=$("$0" doctor --connections 1000 --sources 1 --no-measure --apply)
        echo "$said" | grep '^set '
        cat core/somaxconn ipv4/tcp_max_tw_buckets ipv4/ip_local_port_range
        eval "$(echo "$said" | sed -n 's/.*undo with: //p')"
        cat core/somaxconn ipv4/tcp_max_tw_buckets ipv4/ip_local_port_range
    "#;
    let Some(lines) = in_namespace(script) else { return };
    let expected = [
        "set net.ipv4.ip_local_port_range: 40000 40099 -> 1024 65535; undo with: \
         sysctl -w net.ipv4.ip_local_port_range='40000 40099'",
        "set net.core.somaxconn: 16 -> 65535; undo with: sysctl -w net.core.somaxconn=16",
        "set net.ipv4.tcp_max_tw_buckets: 100 -> 1024; undo with: sysctl -w net.ipv4.tcp_max_tw_buckets=100",
        "65535",
        "1024",
        "1024\t65535",
        "16",
        "100",
        "40000\t40099",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn script_is_valid_for_sh() {
    let ended = run("", &["doctor", "--connections", "4000000000", "--no-measure", "--script"]);
    assert_eq!((ended.code(), ended.err.len()), (4, 0), "{ended:?}");
    let text = ended.out.join("\n") + "\n";
    let mut shell =
        Command::new("sh").args(["-n", "/dev/stdin"]).stdin(std::process::Stdio::piped()).spawn().expect("sh");
    std::io::Write::write_all(&mut shell.stdin.take().expect("its stdin"), text.as_bytes()).expect("it reads");
    assert!(shell.wait().expect("its status").success(), "{text}");
    for part in ["#!/bin/sh\n", "cat >/etc/sysctl.d/90-steadfast.conf <<'END'\n", "\nsysctl -p /etc/sysctl.d/"] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    // Each sysctl is once in the file, and once in the commands that undo it.
    let set: Vec<&str> = ended.out.iter().filter_map(|line| Some(line.split_once(" = ")?.0)).collect();
    assert!(set.contains(&"fs.epoll.max_user_watches") && set.contains(&"net.ipv4.tcp_max_tw_buckets"), "{set:?}");
    for name in set {
        assert!(text.contains(&format!("#   sysctl -w {name}=")), "{name} in {text}");
    }
}

#[test]
fn script_changes_nothing_if_the_connections_fit() {
    let ended = run("", &["doctor", "--connections", "10", "--no-measure", "--script"]);
    assert_eq!((ended.code(), ended.err.len()), (0, 0), "{ended:?}");
    assert_eq!(ended.out.last().map(String::as_str), Some("# Nothing needs to be changed."));
}
