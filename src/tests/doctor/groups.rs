//! Control groups: both versions, every group that a process is in, containers that see a part of them.

use crate::made_up::{MIB, MadeUp};
use steadfast::doctor::Host;

/// Version 1 on a host, as Docker makes it without a namespace for groups, and as it is seen from inside.
const V1_MEMORY: &str = "32 31 0:29 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n";
const V2: &str = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";

fn v2_memory(made_up: &MadeUp, group: &str, limit: &str, used: u64, stat: &str) {
    made_up.file(&format!("sys/fs/cgroup/{group}memory.max"), limit);
    made_up.file(&format!("sys/fs/cgroup/{group}memory.current"), &used.to_string());
    made_up.file(&format!("sys/fs/cgroup/{group}memory.stat"), stat);
}

fn v1_memory(made_up: &MadeUp, group: &str, limit: u64, used: u64, stat: &str) {
    made_up.file(&format!("sys/fs/cgroup/memory/{group}memory.limit_in_bytes"), &limit.to_string());
    made_up.file(&format!("sys/fs/cgroup/memory/{group}memory.usage_in_bytes"), &used.to_string());
    made_up.file(&format!("sys/fs/cgroup/memory/{group}memory.stat"), stat);
}

fn within(memberships: &str, mounts: &str) -> MadeUp {
    let made_up = MadeUp::host();
    made_up.file("proc/self/cgroup", memberships);
    made_up.file("proc/self/mountinfo", mounts);
    made_up
}

/// The files of the limits, and what is left under each, in MiB.
fn left(host: &Host) -> Vec<(String, u64)> {
    let one = |group: &steadfast::doctor::groups::MemoryGroup| {
        (group.file.display().to_string(), group.available_bytes() / MIB)
    };
    host.memory_groups.iter().map(one).collect()
}

#[test]
fn limit_of_a_parent_group_is_found_in_version_2() {
    let made_up = within("0::/system.slice/steadfast.service\n", V2);
    v2_memory(&made_up, "system.slice/steadfast.service/", "max", 10 * MIB, "");
    v2_memory(&made_up, "system.slice/", "1073741824", 200 * MIB, "");
    let expected = vec![("/sys/fs/cgroup/system.slice/memory.max".to_owned(), 824)];
    assert_eq!(left(&made_up.read()), expected);
    // One of its own as well.
    v2_memory(&made_up, "system.slice/steadfast.service/", "536870912", 12 * MIB, "");
    let own = ("/sys/fs/cgroup/system.slice/steadfast.service/memory.max".to_owned(), 500);
    assert_eq!(left(&made_up.read()), [vec![own], expected].concat());
}

#[test]
fn page_cache_is_available_and_mapped_pages_are_not() {
    let stat = format!(
        "anon 1000\nfile {}\nfile_mapped {}\ninactive_file {}\nactive_file {}\n",
        70 * MIB,
        10 * MIB,
        30 * MIB,
        40 * MIB
    );
    let made_up = within("0::/one\n", V2);
    v2_memory(&made_up, "one/", &(256 * MIB).to_string(), 100 * MIB, &stat);
    // 100 used, 60 of them given up.
    assert_eq!(left(&made_up.read()), [("/sys/fs/cgroup/one/memory.max".to_owned(), 216)]);

    let made_up = within("4:memory:/one\n", V1_MEMORY);
    let sums = stat.replace("file_mapped", "mapped_file");
    let sums: String = sums.lines().map(|line| format!("total_{line}\n")).collect();
    // What the group has itself is a part of what it and those within it have.
    v1_memory(&made_up, "one/", 256 * MIB, 100 * MIB, &format!("inactive_file 1\nactive_file 2\n{sums}"));
    assert_eq!(left(&made_up.read()), [("/sys/fs/cgroup/memory/one/memory.limit_in_bytes".to_owned(), 216)]);
}

#[test]
fn version_1_writes_no_limit_as_a_large_number() {
    let made_up = within("4:memory:/a/b\n0::/\n", V1_MEMORY);
    v1_memory(&made_up, "a/b/", 9_223_372_036_854_771_712, MIB, "");
    v1_memory(&made_up, "", 9_223_372_036_854_771_712, MIB, "");
    assert!(made_up.read().memory_groups.is_empty());
    v1_memory(&made_up, "a/", 64 * MIB, MIB, "");
    assert_eq!(left(&made_up.read()), [("/sys/fs/cgroup/memory/a/memory.limit_in_bytes".to_owned(), 63)]);
}

#[test]
fn group_of_a_container_is_found_at_the_root() {
    // Without a namespace for groups the path is the host's, and the mount shows it from there on.
    let mount = "32 31 0:29 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
    let made_up = within("4:memory:/docker/abc\n", mount);
    v1_memory(&made_up, "", 128 * MIB, 28 * MIB, "");
    let expected = [("/sys/fs/cgroup/memory/memory.limit_in_bytes".to_owned(), 100)];
    assert_eq!(left(&made_up.read()), expected);
    // A path outside of what is mounted.
    made_up.file("proc/self/cgroup", "4:memory:/docker/other\n");
    assert_eq!(left(&made_up.read()), expected);
    // With one, in version 2.
    for path in ["/", "/../abc"] {
        let made_up = within(&format!("0::{path}\n"), V2);
        v2_memory(&made_up, "", "134217728", 28 * MIB, "");
        assert_eq!(left(&made_up.read()), [("/sys/fs/cgroup/memory.max".to_owned(), 100)], "{path}");
    }
}

#[test]
fn memory_group_of_a_hybrid_host_is_found_in_version_1() {
    let mounts = format!("{V1_MEMORY}41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
    let made_up = within("5:cpu,cpuacct:/\n4:memory:/one\n1:name=systemd:/\n0::/two\n", &mounts);
    v1_memory(&made_up, "one/", 64 * MIB, 4 * MIB, "");
    assert_eq!(left(&made_up.read()), [("/sys/fs/cgroup/memory/one/memory.limit_in_bytes".to_owned(), 60)]);
}

#[test]
fn pids_limits_are_read() {
    let made_up = within("0::/one/two\n", V2);
    made_up.file("sys/fs/cgroup/one/two/pids.max", "max\n");
    made_up.file("sys/fs/cgroup/one/pids.max", "100\n");
    made_up.file("sys/fs/cgroup/one/pids.current", "7\n");
    let groups = made_up.read().pids_groups;
    assert_eq!(groups.len(), 1);
    assert_eq!((groups[0].limit, groups[0].used), (100, 7));
}

#[test]
fn cpu_quota_is_read() {
    let made_up = within("0::/one\n", V2);
    assert_eq!(made_up.read().cpu, None);
    made_up.file("sys/fs/cgroup/one/cpu.max", "max 100000\n");
    assert_eq!(made_up.read().cpu, None);
    made_up.file("sys/fs/cgroup/one/cpu.max", "150000 100000\n");
    made_up.file("sys/fs/cgroup/cpu.max", "400000 100000\n");
    let quota = made_up.read().cpu.expect("a quota");
    assert_eq!((quota.cores, quota.file.to_str()), (1.5, Some("/sys/fs/cgroup/one/cpu.max")));

    let made_up = within("3:cpu,cpuacct:/one\n", "33 31 0:30 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n");
    made_up.file("sys/fs/cgroup/cpu/one/cpu.cfs_period_us", "100000\n");
    made_up.file("sys/fs/cgroup/cpu/one/cpu.cfs_quota_us", "-1\n");
    assert_eq!(made_up.read().cpu, None);
    made_up.file("sys/fs/cgroup/cpu/one/cpu.cfs_quota_us", "50000\n");
    assert_eq!(made_up.read().cpu.expect("a quota").cores, 0.5);
}
