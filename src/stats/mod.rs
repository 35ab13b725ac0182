//! What this host can tell of memory and time: read from proc(5), user space and kernel space apart.

use std::fs;

/// Fewer sockets than this, and the growth of the slab says nothing about one of them.
const MIN_SOCKETS: u64 = 1_000;

/// One reading.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// Anonymous resident memory of a process, RssAnon of proc_pid_status(5): what its connections own in user space.
    pub user_bytes: Option<u64>,
    /// Slab of proc_meminfo(5): what the kernel keeps in small objects, of the whole host.
    pub slab_bytes: Option<u64>,
    /// TCP sockets of this network namespace, of all its processes.
    pub sockets: Option<u64>,
}

impl Memory {
    /// Reads for the process `pid`, or for this one.
    pub fn read(pid: Option<u32>) -> Self {
        let who = pid.map_or_else(|| "self".to_owned(), |pid| pid.to_string());
        let status = fs::read_to_string(format!("/proc/{who}/status")).unwrap_or_default();
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        Self { user_bytes: kib_of(&status, "RssAnon:"), slab_bytes: kib_of(&meminfo, "Slab:"), sockets: tcp_sockets() }
    }

    /// How much user-space memory each of `connections` has added since `before`.
    pub fn user_bytes_per_connection(&self, before: &Self, connections: u64) -> Option<f64> {
        let grown = self.user_bytes?.saturating_sub(before.user_bytes?);
        (connections > 0).then(|| grown as f64 / connections as f64)
    }

    /// How much kernel memory each TCP socket has added since `before`, wherever on this host its owner runs.
    ///
    /// The kernel does not say whose its slabs are; so it is the growth of all over the growth of the number of
    /// sockets, and on loopback both ends of a connection have this much. `None` where the growth is too small to
    /// tell.
    pub fn kernel_bytes_per_socket(&self, before: &Self) -> Option<f64> {
        let sockets = self.sockets?.saturating_sub(before.sockets?);
        let grown = self.slab_bytes?.saturating_sub(before.slab_bytes?);
        (sockets >= MIN_SOCKETS).then(|| grown as f64 / sockets as f64)
    }
}

fn kib_of(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
}

/// Established TCP sockets of both families, /proc/net/sockstat and sockstat6.
fn tcp_sockets() -> Option<u64> {
    let in_use = |path: &str, name: &str| {
        let text = fs::read_to_string(path).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned))?;
        line.split_ascii_whitespace().nth(1)?.parse::<u64>().ok()
    };
    let four = in_use("/proc/net/sockstat", "TCP:")?;
    Some(four + in_use("/proc/net/sockstat6", "TCP6:").unwrap_or(0))
}

/// CPU time of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "flood", derive(serde::Serialize, serde::Deserialize))]
pub struct Cpu {
    /// In user space.
    pub user_s: f64,
    /// In the kernel.
    pub system_s: f64,
}

impl Cpu {
    /// Both together.
    pub fn total_s(&self) -> f64 {
        self.user_s + self.system_s
    }

    /// What has been used since `before`.
    pub fn since(&self, before: &Self) -> Self {
        Self { user_s: self.user_s - before.user_s, system_s: self.system_s - before.system_s }
    }

    /// Reads for the process `pid`, as proc_pid_stat(5) has it: in clock ticks of 1/100 s.
    pub fn read(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name, in parentheses, may hold anything, spaces too.
        let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
        let mut ticks = || fields.next()?.parse::<f64>().ok();
        Some(Self { user_s: ticks()? / 100.0, system_s: ticks()? / 100.0 })
    }
}

/// How much memory this process can have: that of the host, or less if a control group (cgroups(7), memory) or a limit of
/// the process (setrlimit(2), RLIMIT_AS and RLIMIT_DATA) says so.
pub(crate) fn memory_limit_bytes() -> u64 {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let host = kib_of(&meminfo, "MemTotal:").unwrap_or(u64::MAX);
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = ["Max address space", "Max data size"].into_iter().filter_map(process_limit);
    groups.lines().filter_map(group_limit).chain(own).fold(host, u64::min)
}

/// RLIMIT_AS of this process, if there is one.
pub(crate) fn address_space_limit_bytes() -> Option<u64> {
    process_limit("Max address space")
}

/// A soft limit of this process, from proc_pid_limits(5); `None` for "unlimited".
fn process_limit(name: &str) -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// The least limit of a control group and those it is in, from its line of /proc/self/cgroup. A group that is seen from
/// inside a container may have no such path; then the root that is seen there is its own.
fn group_limit(line: &str) -> Option<u64> {
    let mut parts = line.splitn(3, ':');
    let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
    let (root, file) = match controllers {
        "" => ("/sys/fs/cgroup", "memory.max"),
        list if list.split(',').any(|one| one == "memory") => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
        _ => return None,
    };
    let groups = std::path::Path::new(path.trim_start_matches('/')).ancestors();
    // "max" is no number, and no limit.
    let limit = |group: &std::path::Path| {
        fs::read_to_string(std::path::Path::new(root).join(group).join(file)).ok()?.trim().parse::<u64>().ok()
    };
    groups.filter_map(limit).min()
}
