//! The figures of this host from proc(5), sysctl(8) and cgroups(7), read once.

use super::groups::{self, CpuQuota, MemoryGroup, PidsGroup};
use super::tree::Tree;
use std::fs;

/// Bits of a capability set, capabilities(7).
const CAP_SYS_ADMIN: u32 = 21;
const CAP_SYS_RESOURCE: u32 = 24;

/// AT_PAGESZ of getauxval(3).
const AT_PAGESZ: u64 = 6;

/// Connection tracking of this network namespace; nf_conntrack-sysctl.rst of the kernel's documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conntrack {
    /// The most entries, net.netfilter.nf_conntrack_max.
    pub max: u64,
    /// Current entries, net.netfilter.nf_conntrack_count.
    pub count: u64,
}

/// The memory of the host, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostMemory {
    /// The total, MemTotal of proc_meminfo(5).
    pub total_bytes: u64,
    /// What is available without swapping, MemAvailable.
    pub available_bytes: u64,
    /// What this process uses, which is free again when it has ended: RssAnon and VmPTE of proc_pid_status(5).
    pub own_bytes: u64,
}

/// The figures of a host. A figure that cannot be read is `None` and sets no limit.
#[derive(Clone, Debug)]
pub struct Host {
    /// RLIMIT_NOFILE of this process, soft and hard.
    pub nofile: (u64, u64),
    /// fs.nr_open: the maximum for RLIMIT_NOFILE, and so for a descriptor table.
    pub nr_open: Option<u64>,
    /// fs.file-max: the most open files of the host.
    pub file_max: Option<u64>,
    /// Open files of the host now, the first figure of fs.file-nr.
    pub files: u64,
    /// Whether this process is exempt from fs.file-max: CAP_SYS_ADMIN in the first user namespace.
    pub is_admin: bool,
    /// Whether this process may raise a hard limit: CAP_SYS_RESOURCE.
    pub can_raise: bool,
    /// fs.epoll.max_user_watches, for each user; epoll(7).
    pub max_user_watches: Option<u64>,
    /// Watches that the user's processes have now.
    pub watches: u64,
    /// Ports that connect(2) may choose from: net.ipv4.ip_local_port_range without net.ipv4.ip_local_reserved_ports.
    pub ports: u64,
    /// Reserved ports of the range.
    pub reserved_ports: u64,
    /// The range, as the sysctl writes it.
    pub port_range: String,
    /// net.core.somaxconn, of this network namespace.
    pub somaxconn: Option<u64>,
    /// net.ipv4.tcp_max_syn_backlog; it binds only where net.ipv4.tcp_syncookies is 0.
    pub max_syn_backlog: Option<u64>,
    /// Whether net.ipv4.tcp_syncookies is on.
    pub syncookies: bool,
    /// Connection tracking; `None` if the kernel has none.
    pub conntrack: Option<Conntrack>,
    /// net.ipv4.tcp_mem in bytes: low, pressure, high. Visible only in the first network namespace.
    pub tcp_mem_bytes: Option<[u64; 3]>,
    /// net.ipv4.tcp_max_orphans; visible only in the first network namespace.
    pub max_orphans: Option<u64>,
    /// net.ipv4.tcp_max_tw_buckets, of this network namespace.
    pub max_tw_buckets: Option<u64>,
    /// Whether this network namespace is not the host's first one.
    pub is_contained: bool,
    /// The memory of the host.
    pub memory: HostMemory,
    /// Control groups that limit memory, the innermost first.
    pub memory_groups: Vec<MemoryGroup>,
    /// Control groups that limit the number of threads.
    pub pids_groups: Vec<PidsGroup>,
    /// The tightest limit of CPU time, if there is one.
    pub cpu: Option<CpuQuota>,
    /// The page size.
    pub page_bytes: u64,
    /// Cores that this process may use.
    pub cores: u64,
    /// The smaller one of kernel.threads-max and kernel.pid_max.
    pub threads_max: Option<u64>,
    /// The name of the smaller one.
    pub threads_sysctl: &'static str,
    /// Threads of the host, the last figure of /proc/loadavg before the process id.
    pub threads: u64,
    /// RLIMIT_NPROC if it binds; it does not for root or with CAP_SYS_RESOURCE or CAP_SYS_ADMIN.
    pub nproc: Option<u64>,
    /// Whether a thread may have its own descriptor table; a seccomp filter may forbid it.
    pub own_tables: bool,
}

impl Host {
    /// Reads the figures that files have. [`Host::own_tables`] is set to `true` and [`Host::watches`] to 0; see
    /// [`Host::probe`] and [`Host::count_watches`].
    pub fn read(tree: &Tree) -> Self {
        let status = tree.text("/proc/self/status").unwrap_or_default();
        let effective = field(&status, "CapEff:").and_then(|set| u64::from_str_radix(set, 16).ok()).unwrap_or(0);
        let is_first_user_namespace =
            tree.text("/proc/self/uid_map").is_none_or(|map| map.split_ascii_whitespace().eq(["0", "0", "4294967295"]));
        let can = |bit: u32| is_first_user_namespace && effective >> bit & 1 == 1;
        let is_root = is_first_user_namespace && field(&status, "Uid:") == Some("0");
        let limits = tree.text("/proc/self/limits").unwrap_or_default();
        let exempt = is_root || can(CAP_SYS_RESOURCE) || can(CAP_SYS_ADMIN);
        let (ports, reserved_ports) = ports(tree);
        let page_bytes = page_bytes(tree);
        let tcp_mem = <[u64; 3]>::try_from(tree.sysctl_numbers("net.ipv4.tcp_mem")).ok();
        let threads_max = ["kernel.threads-max", "kernel.pid_max"].map(|name| Some((tree.sysctl_number(name)?, name)));
        let threads_max = threads_max.into_iter().flatten().min();
        Self {
            nofile: limit(&limits, "Max open files").unwrap_or((1024, 4096)),
            nr_open: tree.sysctl_number("fs.nr_open"),
            file_max: tree.sysctl_number("fs.file-max"),
            files: tree.sysctl_numbers("fs.file-nr").first().copied().unwrap_or(0),
            is_admin: can(CAP_SYS_ADMIN),
            can_raise: can(CAP_SYS_RESOURCE),
            max_user_watches: tree.sysctl_number("fs.epoll.max_user_watches"),
            watches: 0,
            ports: ports - reserved_ports,
            reserved_ports,
            port_range: tree.sysctl("net.ipv4.ip_local_port_range").unwrap_or_default(),
            somaxconn: tree.sysctl_number("net.core.somaxconn"),
            max_syn_backlog: tree.sysctl_number("net.ipv4.tcp_max_syn_backlog"),
            syncookies: tree.sysctl_number("net.ipv4.tcp_syncookies").is_none_or(|on| on > 0),
            conntrack: conntrack(tree),
            tcp_mem_bytes: tcp_mem.map(|pages| pages.map(|pages| pages.saturating_mul(page_bytes))),
            max_orphans: tree.sysctl_number("net.ipv4.tcp_max_orphans"),
            max_tw_buckets: tree.sysctl_number("net.ipv4.tcp_max_tw_buckets"),
            // The kernel registers this sysctl only in the first network namespace.
            is_contained: tree.sysctl("net.core.netdev_max_backlog").is_none(),
            memory: memory(tree, &status),
            memory_groups: groups::memory(tree),
            pids_groups: groups::pids(tree),
            cpu: groups::cpu(tree),
            page_bytes,
            cores: std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64),
            threads_max: threads_max.map(|(max, _)| max),
            threads_sysctl: threads_max.map_or("kernel.threads-max", |(_, name)| name),
            threads: threads(tree).unwrap_or(0),
            nproc: limit(&limits, "Max processes").map(|(soft, _)| soft).filter(|_| !exempt),
            own_tables: true,
        }
    }

    /// Reads the current number of connection tracking entries.
    pub(super) fn conntrack_count(tree: &Tree) -> Option<u64> {
        tree.sysctl_number("net.netfilter.nf_conntrack_count")
    }

    /// Returns the size of a descriptor table after the soft limit is raised to the hard one.
    pub fn table(&self) -> u64 {
        self.nofile.1.min(self.nr_open.unwrap_or(u64::MAX)).min(1 << 30)
    }
}

/// Returns the first word after `name` at the beginning of a line.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_ascii_whitespace().next()
}

fn kib(text: &str, name: &str) -> u64 {
    field(text, name).and_then(|kib| kib.parse::<u64>().ok()).map_or(0, |kib| kib << 10)
}

/// Parses a line of /proc/self/limits; returns the soft and the hard limit.
fn limit(text: &str, name: &str) -> Option<(u64, u64)> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    let mut values = rest
        .split_ascii_whitespace()
        .map(|value| if value == "unlimited" { Some(u64::MAX) } else { value.parse().ok() });
    Some((values.next()??, values.next()??))
}

fn memory(tree: &Tree, status: &str) -> HostMemory {
    let meminfo = tree.text("/proc/meminfo").unwrap_or_default();
    HostMemory {
        total_bytes: kib(&meminfo, "MemTotal:"),
        available_bytes: kib(&meminfo, "MemAvailable:"),
        own_bytes: kib(status, "RssAnon:") + kib(status, "VmPTE:"),
    }
}

fn conntrack(tree: &Tree) -> Option<Conntrack> {
    let max = tree.sysctl_number("net.netfilter.nf_conntrack_max")?;
    // 0 means no limit.
    Some(Conntrack { max: if max == 0 { u64::MAX } else { max }, count: Host::conntrack_count(tree)? })
}

/// Returns the number of ports in ip_local_port_range, and how many of them are reserved, ip(7); the documented default
/// if it cannot be read.
fn ports(tree: &Tree) -> (u64, u64) {
    let (first, last) = match tree.sysctl_numbers("net.ipv4.ip_local_port_range")[..] {
        [first, last] if first <= last => (first, last),
        _ => (32_768, 60_999),
    };
    let text = tree.sysctl("net.ipv4.ip_local_reserved_ports").unwrap_or_default();
    // The kernel writes them in order and without overlaps: 8080,9000-9099.
    let within = |part: &str| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let (from, to): (u64, u64) = (from.parse().ok()?, to.parse().ok()?);
        Some((to.min(last) + 1).saturating_sub(from.max(first)))
    };
    (last - first + 1, text.split(',').filter_map(within).sum())
}

fn threads(tree: &Tree) -> Option<u64> {
    let text = tree.text("/proc/loadavg")?;
    text.split_ascii_whitespace().nth(3)?.split_once('/')?.1.parse().ok()
}

/// Reads the page size from the auxiliary vector that the kernel passed to this process.
fn page_bytes(tree: &Tree) -> u64 {
    let vector = fs::read(tree.place("/proc/self/auxv")).unwrap_or_default();
    let word = |bytes: &[u8]| bytes.try_into().map(u64::from_ne_bytes).unwrap_or(0);
    let found = vector.chunks_exact(16).find(|entry| word(&entry[..8]) == AT_PAGESZ);
    found.map_or(4096, |entry| word(&entry[8..]))
}
