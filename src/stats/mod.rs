//! Memory and CPU time of this host and its processes, read from proc(5), with user space and kernel space apart.

use std::fs;

/// With fewer sockets than this, the growth of the slab says nothing about one of them.
const MIN_SOCKETS: u64 = 1_000;

/// Memory at one time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// Anonymous resident memory of a process, RssAnon of proc_pid_status(5): what its connections take in user space.
    pub user_bytes: Option<u64>,
    /// Slab of proc_meminfo(5): what the kernel keeps in small objects, for the whole host.
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

    /// Returns how much user-space memory each of `connections` has added since `before`.
    pub fn user_bytes_per_connection(&self, before: &Self, connections: u64) -> Option<f64> {
        let grown = self.user_bytes?.saturating_sub(before.user_bytes?);
        (connections > 0).then(|| grown as f64 / connections as f64)
    }

    /// Returns how much kernel memory each TCP socket has added since `before`, whichever process of this host owns it.
    ///
    /// The kernel does not tell to which process its slabs belong, so this is the growth of all slabs over the growth
    /// of the number of sockets; on loopback, both ends of a connection take this much. `None` where the growth is too
    /// small to be meaningful.
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

/// Returns the number of established TCP sockets of both families, from /proc/net/sockstat and sockstat6.
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
    /// Returns the sum of both.
    pub fn total_s(&self) -> f64 {
        self.user_s + self.system_s
    }

    /// Returns the time used since `before`.
    pub fn since(&self, before: &Self) -> Self {
        Self { user_s: self.user_s - before.user_s, system_s: self.system_s - before.system_s }
    }

    /// Reads for the process `pid`, as proc_pid_stat(5) has it: in clock ticks of 1/100 s.
    pub fn read(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name, in parentheses, may contain any character, even spaces.
        let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
        let mut ticks = || fields.next()?.parse::<f64>().ok();
        Some(Self { user_s: ticks()? / 100.0, system_s: ticks()? / 100.0 })
    }
}

/// Returns how much memory this process can have: that of the host, or less if a control group (cgroups(7), memory) or
/// a limit of the process (setrlimit(2), RLIMIT_AS and RLIMIT_DATA) says so.
pub(crate) fn memory_limit_bytes() -> u64 {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let host = kib_of(&meminfo, "MemTotal:").unwrap_or(u64::MAX);
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = ["Max address space", "Max data size"].into_iter().filter_map(process_limit);
    groups.lines().filter_map(group_limit).chain(own).fold(host, u64::min)
}

/// Returns RLIMIT_AS of this process, if it is set.
pub(crate) fn address_space_limit_bytes() -> Option<u64> {
    process_limit("Max address space")
}

/// Returns a soft limit of this process, from proc_pid_limits(5); `None` for "unlimited".
fn process_limit(name: &str) -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// Returns the lowest limit of a control group and its ancestors, from its line of /proc/self/cgroup. The path of a
/// group may not exist inside a container; the root that is visible there is then its own.
fn group_limit(line: &str) -> Option<u64> {
    let mut parts = line.splitn(3, ':');
    let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
    let (root, file) = match controllers {
        "" => ("/sys/fs/cgroup", "memory.max"),
        list if list.split(',').any(|one| one == "memory") => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
        _ => return None,
    };
    let groups = std::path::Path::new(path.trim_start_matches('/')).ancestors();
    // "max" is not a number, and not a limit.
    let limit = |group: &std::path::Path| {
        fs::read_to_string(std::path::Path::new(root).join(group).join(file)).ok()?.trim().parse::<u64>().ok()
    };
    groups.filter_map(limit).min()
}
