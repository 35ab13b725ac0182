//! The figures read from a host: limits, sysctls, capabilities, namespaces.

use crate::made_up::MadeUp;
use steadfast::doctor::host::Conntrack;
use steadfast::doctor::{Costs, Limit, Query, Role, examine};

#[test]
fn host_figures_are_read() {
    let host = MadeUp::host().read();
    assert_eq!(host.nofile, (1024, 1_048_576));
    assert_eq!((host.nr_open, host.table()), (Some(1_048_576), 1_048_576));
    assert_eq!((host.file_max, host.files), (Some(i64::MAX as u64), 2000));
    assert_eq!(host.max_user_watches, Some(3_600_000));
    assert_eq!((host.ports, host.reserved_ports), (28_232, 0));
    assert_eq!((host.somaxconn, host.max_syn_backlog, host.syncookies), (Some(4096), Some(1024), true));
    assert_eq!(host.conntrack, None);
    assert_eq!(host.tcp_mem_bytes, Some([188_000, 251_000, 376_000].map(|pages: u64| pages * 4096)));
    assert_eq!((host.max_orphans, host.max_tw_buckets), (Some(65_536), Some(65_536)));
    assert_eq!((host.memory.total_bytes, host.memory.available_bytes), (16_000_000 << 10, 12_000_000 << 10));
    assert_eq!((host.threads_max, host.threads, host.threads_sysctl), (Some(127_000), 400, "kernel.threads-max"));
    assert_eq!((host.nproc, host.is_admin, host.can_raise, host.is_contained), (Some(63_000), false, false, false));
    assert!(host.memory_groups.is_empty() && host.pids_groups.is_empty() && host.cpu.is_none());
}

#[test]
fn unreadable_host_has_only_documented_defaults() {
    let host = MadeUp::empty().read();
    assert_eq!((host.nofile, host.ports), ((1024, 4096), 28_232));
    assert_eq!((host.nr_open, host.file_max, host.max_user_watches, host.somaxconn), (None, None, None, None));
    assert!(host.is_contained, "what only the first namespace shows is not there");
    let forecast = examine(&Query::new(1000, Role::Both), &host, &Costs::default()).forecast;
    let first = [forecast.server, forecast.client, forecast.both].map(|most| (most.connections > 1000, most.limit));
    assert_eq!(first, [(true, Some(Limit::Nofile)); 3]);
}

#[test]
fn reserved_ports_outside_the_range_do_not_count() {
    for (range, reserved, ports, within) in [
        ("32768\t60999", "8080,32768,40000-40099", 28_131, 101),
        ("32768\t60999", "1-40000,60990-65535", 20_989, 7243),
        ("40000\t40009", "30000-50000", 0, 10),
        ("40000\t40009", "", 10, 0),
        ("1024\t65535", "22", 64_512, 0),
    ] {
        let made_up = MadeUp::host();
        made_up.sysctl("net/ipv4/ip_local_port_range", range);
        made_up.sysctl("net/ipv4/ip_local_reserved_ports", reserved);
        let host = made_up.read();
        assert_eq!((host.ports, host.reserved_ports), (ports, within), "{range} without {reserved:?}");
    }
}

#[test]
fn capabilities_exempt_from_limits() {
    let status = |uid: u32, set: &str| format!("Uid:\t{uid}\t{uid}\t{uid}\t{uid}\nCapEff:\t{set}\n");
    let first = "0 0 4294967295";
    // CAP_SYS_ADMIN is bit 21, CAP_SYS_RESOURCE bit 24.
    for (uid, set, map, is_admin, can_raise, nproc) in [
        (0, "000001ffffffffff", first, true, true, None),
        (0, "000001fffeffffff", first, true, false, None),
        (0, "0000000000000000", first, false, false, None),
        (1000, "0000000000200000", first, true, false, None),
        (1000, "0000000001000000", first, false, true, None),
        (1000, "0000000000000000", first, false, false, Some(63_000)),
        // Root of a user namespace has no privilege outside of it.
        (0, "000001ffffffffff", "0 1000 1", false, false, Some(63_000)),
    ] {
        let made_up = MadeUp::host();
        made_up.file("proc/self/status", &status(uid, set));
        made_up.file("proc/self/uid_map", map);
        let host = made_up.read();
        assert_eq!((host.is_admin, host.can_raise, host.nproc), (is_admin, can_raise, nproc), "{uid} {set} {map}");
    }
}

#[test]
fn smaller_of_threads_max_and_pid_max_binds() {
    let made_up = MadeUp::host();
    made_up.sysctl("kernel/pid_max", "32768");
    let host = made_up.read();
    assert_eq!((host.threads_max, host.threads_sysctl), (Some(32_768), "kernel.pid_max"));
}

#[test]
fn sysctls_of_the_host_are_unseen_in_a_container() {
    let made_up = MadeUp::host();
    for name in ["net/core/netdev_max_backlog", "net/ipv4/tcp_mem", "net/ipv4/tcp_max_orphans"] {
        made_up.remove(&format!("proc/sys/{name}"));
    }
    let host = made_up.read();
    assert!(host.is_contained);
    assert_eq!((host.tcp_mem_bytes, host.max_orphans), (None, None));
}

#[test]
fn conntrack_max_of_0_is_no_limit() {
    let made_up = MadeUp::host();
    made_up.sysctl("net/netfilter/nf_conntrack_max", "262144");
    made_up.sysctl("net/netfilter/nf_conntrack_count", "17");
    assert_eq!(made_up.read().conntrack, Some(Conntrack { max: 262_144, count: 17 }));
    made_up.sysctl("net/netfilter/nf_conntrack_max", "0");
    assert_eq!(made_up.read().conntrack, Some(Conntrack { max: u64::MAX, count: 17 }));
}

#[test]
fn descriptor_limit_is_capped_by_nr_open() {
    let made_up = MadeUp::host();
    made_up.file("proc/self/limits", "Max open files            unlimited            unlimited            files\n");
    made_up.sysctl("fs/nr_open", "5000");
    assert_eq!(made_up.read().table(), 5000);
    made_up.remove("proc/sys/fs/nr_open");
    assert_eq!(made_up.read().table(), 1 << 30);
}

#[test]
fn figures_of_this_host_are_plausible() {
    let host = steadfast::doctor::Host::probe(&steadfast::doctor::Tree::new("/"));
    let nofile = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    assert_eq!(host.nofile, (nofile.current.unwrap_or(u64::MAX), nofile.maximum.unwrap_or(u64::MAX)));
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").expect("the range");
    let range: Vec<u64> = text.split_ascii_whitespace().map(|port| port.parse().expect("a port")).collect();
    assert_eq!(host.ports + host.reserved_ports, range[1] - range[0] + 1);
    assert!(host.memory.available_bytes > 0 && host.memory.available_bytes <= host.memory.total_bytes);
    assert!(host.page_bytes.is_power_of_two() && host.page_bytes >= 4096);
    assert!(host.threads > 0 && host.cores > 0);
}
