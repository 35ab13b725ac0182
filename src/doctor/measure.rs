//! What a connection costs this host: opened, watched, and closed again, a few thousand of them.

use super::groups;
use super::host::Host;
use super::slabs::{Objects, Slabs, median_bytes};
use super::tree::Tree;
use crate::net::fd_table;
use crate::net::pairs::Pairs;
use crate::stats::Memory;
use serde::Serialize;
use std::io;
use std::time::{Duration, Instant};

/// Pairs that are measured, if the host has room for four times as many.
const PAIRS: usize = 4000;
/// Fewer than this say nothing.
const MIN_PAIRS: usize = 500;
/// The first fill what the kernel's slabs have left from before, and do not count.
const IGNORED: usize = 400;
/// Sockets between two readings of what a group uses.
const STEP: usize = 4;
/// Steps of a group's use that say more than all readings.
const MIN_STEPS: usize = 4;
/// Sockets of one end over which objects are counted.
const WINDOW: usize = 300;
/// Kernel memory of a watched socket on Linux 6.18, x86-64.
const USUAL_BYTES: f64 = 4_180.0;
/// For how long clients are connected, however slow the host is.
const PATIENCE: Duration = Duration::from_millis(500);

/// What one side costs, in bytes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Side {
    /// What its control group is charged for each socket by the kernel. What an interrupt makes is charged to nobody, and
    /// the socket that accept(2) hands out was made by one.
    pub charged_bytes_per_socket: f64,
    /// User space, for each connection that is held.
    pub bytes_per_connection: u64,
    /// For each reactor, its thread included, and without its descriptor table.
    pub bytes_per_reactor: u64,
    /// For the process.
    pub fixed_bytes: u64,
}

/// What a connection costs. The default was measured on Linux 6.18, x86-64.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Costs {
    /// Pairs of sockets on which the kernel's part was measured here; 0 where it is the default.
    pub measured_pairs: u64,
    /// What the slabs hold of each socket that is watched. For root it is known by cache; for others it is the growth of all
    /// slabs together, and no less than the default.
    pub kernel_bytes_per_socket: f64,
    /// Whether connection tracking has an entry for each connection.
    pub is_tracked: bool,
    /// A server's.
    pub server: Side,
    /// A client's.
    pub client: Side,
}

impl Default for Costs {
    fn default() -> Self {
        Self {
            measured_pairs: 0,
            kernel_bytes_per_socket: USUAL_BYTES,
            is_tracked: false,
            server: Side {
                charged_bytes_per_socket: 1_500.0,
                bytes_per_connection: 51,
                bytes_per_reactor: 140_000,
                fixed_bytes: 500_000,
            },
            client: Side {
                charged_bytes_per_socket: 4_090.0,
                bytes_per_connection: 68,
                bytes_per_reactor: 440_000,
                fixed_bytes: 520_000,
            },
        }
    }
}

impl Costs {
    /// Without measuring. Connections are taken to be tracked where something else is.
    pub fn assumed(host: &Host) -> Self {
        Self { is_tracked: host.conntrack.is_some_and(|table| table.count > 0), ..Self::default() }
    }
}

/// What was seen of one end while it grew.
#[derive(Debug)]
struct Seen<'a> {
    host: &'a Host,
    tree: &'a Tree,
    /// How many sockets there were, and what the control group used, at several moments; a list for each time that the end
    /// had its turn.
    used: Vec<Vec<(f64, f64)>>,
    /// What each socket took, several times.
    objects: Vec<Objects>,
}

/// Opens up to four thousand loopback connections, a quarter of what there is room for at most, closes them, and tells
/// what they cost. Takes about half a second, and raises the soft limit of RLIMIT_NOFILE to the hard one.
///
/// # Errors
/// When there is no room for the few that it takes, or loopback is down.
pub fn measure(host: &Host, tree: &Tree) -> io::Result<Costs> {
    fd_table::raise_limit()?;
    let most = room(host);
    if most < MIN_PAIRS {
        return Err(io::Error::other("there is no room for a few hundred connections to measure"));
    }
    let tracked = || Host::conntrack_count(tree).unwrap_or(0);
    let (tracked_before, began) = (tracked(), Instant::now());
    // Each end is measured over as many as may wait to be accepted.
    let run = (host.somaxconn.unwrap_or(128) as usize).min((most - IGNORED) / 2);
    let mut pairs = Pairs::new(most, run)?;
    let (mut connected, mut accepted) = (Seen::new(host, tree), Seen::new(host, tree));
    let ignored = IGNORED.min(run);
    (0..ignored).try_for_each(|_| pairs.connect())?;
    (0..ignored).try_for_each(|_| pairs.accept())?;
    let before = settled(tree);
    while connected.used.is_empty() || (pairs.len() + run <= most && began.elapsed() < 2 * PATIENCE) {
        let count = connected.grow(run, PATIENCE, || pairs.connect())?;
        accepted.grow(count, Duration::MAX, || pairs.accept())?;
    }
    // A socket that waits to be accepted is there already, so each end alone is not what a socket takes.
    let by_cache = median_bytes(&connected.objects).zip(median_bytes(&accepted.objects));
    // The growth of all is too little where slabs had free places, as behind many connections of before.
    let of_all = || settled(tree).kernel_bytes_per_socket(&before).map(|bytes| bytes.max(USUAL_BYTES));
    let kernel_bytes_per_socket = by_cache.map(|(client, server)| (client + server) / 2.0).or_else(of_all);
    let (count, grown) = (pairs.len() as u64, tracked().saturating_sub(tracked_before));
    drop(pairs);
    let default = Costs::default();
    // A kernel that does not charge kernel memory (cgroup.memory=nokmem) shows no growth here.
    let client = median_slope(&connected.used).unwrap_or(default.client.charged_bytes_per_socket);
    let server = median_slope(&accepted.used).unwrap_or(default.server.charged_bytes_per_socket);
    Ok(Costs {
        measured_pairs: count,
        kernel_bytes_per_socket: kernel_bytes_per_socket.unwrap_or(default.kernel_bytes_per_socket),
        is_tracked: grown >= count / 2,
        server: Side { charged_bytes_per_socket: server.max(0.0), ..default.server },
        client: Side { charged_bytes_per_socket: client.max(0.0), ..default.client },
    })
}

impl<'a> Seen<'a> {
    fn new(host: &'a Host, tree: &'a Tree) -> Self {
        Self { host, tree, used: Vec::new(), objects: Vec::new() }
    }

    /// Makes so many sockets, or as many as `patience` allows and are enough, and looks now and then. Returns how many they were.
    fn grow(
        &mut self,
        count: usize,
        patience: Duration,
        mut make: impl FnMut() -> io::Result<()>,
    ) -> io::Result<usize> {
        let (began, mut made, mut used) = (Instant::now(), 0, Vec::new());
        let mut slabs = Slabs::read(self.tree, self.host.page_bytes);
        while made < count && (made < MIN_PAIRS || began.elapsed() < patience) {
            make()?;
            made += 1;
            if made % STEP == 0 {
                used.extend(groups::memory_used(self.tree).map(|bytes| (made as f64, bytes as f64)));
            }
            if made % WINDOW == 0 {
                let now = Slabs::read(self.tree, self.host.page_bytes);
                self.objects.push(now.objects_since(&slabs, WINDOW));
                slabs = now;
            }
        }
        self.used.push(used);
        Ok(made)
    }
}

/// How many pairs may be opened: no more than a quarter of what anybody here has left.
fn room(host: &Host) -> usize {
    let of_memory = |bytes: u64| bytes / 4 / 8_400;
    // Less of the entries, which stay for some seconds behind a connection's end.
    let conntrack = host.conntrack.map(|table| table.max.saturating_sub(table.count) / 16);
    let watches = host.max_user_watches.map(|max| max.saturating_sub(host.watches) / 8);
    let files = host.file_max.filter(|_| !host.is_admin).map(|max| max.saturating_sub(host.files) / 8);
    let groups = host.memory_groups.iter().map(|group| of_memory(group.available_bytes()));
    let least = [conntrack, watches, files, Some(of_memory(host.memory.available_bytes))].into_iter().flatten();
    let least = least.chain(groups).chain([host.table().saturating_sub(64) / 2]).min().unwrap_or(0);
    usize::try_from(least).unwrap_or(usize::MAX).min(PAIRS)
}

/// Memory, when the kernel has added up what each core has counted for itself: for root alone, and no harm where it fails.
fn settled(tree: &Tree) -> Memory {
    let _ = tree.text("/proc/sys/vm/stat_refresh");
    Memory::read(None)
}

/// The median of the slopes between two points of a run that lie at least half of it apart (as Theil and Sen have it for any
/// two), so that what other processes of the group do now and then moves it little. `None` without any.
fn median_slope(runs: &[Vec<(f64, f64)>]) -> Option<f64> {
    let mut slopes = Vec::new();
    for run in runs {
        // A core takes 64 pages in advance from a group, so its use grows by steps; where one begins all before it was used up.
        let steps: Vec<_> = run.windows(2).filter(|pair| pair[1].1 > pair[0].1).map(|pair| pair[1]).collect();
        let run = if steps.len() < MIN_STEPS { run } else { &steps };
        for (at, &(x, y)) in run.iter().enumerate() {
            let far = run.get(at + run.len().div_ceil(2)..).unwrap_or_default();
            slopes.extend(far.iter().map(|&(far_x, far_y)| (far_y - y) / (far_x - x)));
        }
    }
    slopes.sort_by(f64::total_cmp);
    slopes.get(slopes.len() / 2).copied()
}
