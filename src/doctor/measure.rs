//! Measures what a connection costs on this host: opens, watches and closes a few thousand of them.

use super::groups;
use super::host::Host;
use super::tree::Tree;
use crate::net::fd_table;
use crate::net::pairs::Pairs;
use crate::stats::Memory;
use serde::Serialize;
use std::collections::{HashMap, HashSet};
use std::io;
use std::time::{Duration, Instant};

/// Pairs of sockets to measure, if the host has room for four times as many.
const PAIRS: usize = 4000;
/// With fewer pairs the result is too inexact.
const MIN_PAIRS: usize = 500;
/// The first pairs, which fill free places of the kernel's slabs, are not counted.
const IGNORED: usize = 400;
/// Sockets between two readings of a control group's usage.
const STEP: usize = 4;
/// With at least this many steps in a control group's usage, only the steps are used.
const MIN_STEPS: usize = 4;
/// Sockets of one end between two readings of the slabs.
const WINDOW: usize = 300;
/// Kernel memory of a watched socket on Linux 6.18, x86-64, in bytes.
const USUAL_BYTES: f64 = 4_180.0;
/// How long to go on connecting on a slow host.
const PATIENCE: Duration = Duration::from_millis(500);

/// The costs of one side, in bytes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Side {
    /// What the side's control group is charged for each socket. Memory that is allocated in an interrupt is charged to
    /// no group, and the socket that accept(2) returns was allocated in one.
    pub charged_bytes_per_socket: f64,
    /// User-space memory of each connection.
    pub bytes_per_connection: u64,
    /// User-space memory of each reactor with its thread, without its descriptor table.
    pub bytes_per_reactor: u64,
    /// User-space memory of the process itself.
    pub fixed_bytes: u64,
}

/// The costs of a connection. The default was measured on Linux 6.18, x86-64.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Costs {
    /// Pairs of sockets on which the kernel's costs were measured; 0 if they are the default.
    pub measured_pairs: u64,
    /// Slab memory of each watched socket. As root it is measured per slab cache; otherwise it is the growth of all
    /// slabs, and at least the default.
    pub kernel_bytes_per_socket: f64,
    /// Whether connection tracking has an entry for each connection.
    pub is_tracked: bool,
    /// The costs of a server.
    pub server: Side,
    /// The costs of a client.
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
    /// Returns the default costs. Connections are assumed to be tracked if connection tracking has any entry.
    pub fn assumed(host: &Host) -> Self {
        Self { is_tracked: host.conntrack.is_some_and(|table| table.count > 0), ..Self::default() }
    }
}

/// What was measured at one end while sockets were added to it.
#[derive(Debug)]
struct Seen<'a> {
    host: &'a Host,
    tree: &'a Tree,
    /// The number of sockets and the bytes that the control group used, read several times; one list for each call of
    /// `grow`.
    used: Vec<Vec<(f64, f64)>>,
    /// The kernel objects of one socket, read several times.
    objects: Vec<Objects>,
}

/// Opens up to four thousand loopback connections, at most a quarter of what fits, closes them, and returns what they
/// cost. Takes about half a second, and raises the soft limit of RLIMIT_NOFILE to the hard one.
///
/// # Errors
/// If there is no room for a few hundred connections, or loopback is down.
pub fn measure(host: &Host, tree: &Tree) -> io::Result<Costs> {
    fd_table::raise_limit()?;
    let most = room(host);
    if most < MIN_PAIRS {
        return Err(io::Error::other("there is no room for a few hundred connections to measure"));
    }
    let tracked = || Host::conntrack_count(tree).unwrap_or(0);
    let (tracked_before, began) = (tracked(), Instant::now());
    // The ends are measured in turns, over as many connections as may wait for accept(2).
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
    // A socket that waits for accept(2) exists already, so the growth at one end is not exactly one socket; the mean of
    // both ends is.
    let by_cache = median_bytes(&connected.objects).zip(median_bytes(&accepted.objects));
    // The growth of all slabs is too small if they had free places, e.g. from earlier connections.
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

    /// Calls `make` for each of `count` sockets and reads the kernel's figures in between. Stops early after `patience`
    /// if enough sockets were made. Returns the number of sockets made.
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

/// Returns how many pairs may be opened: at most a quarter of each resource that is free.
fn room(host: &Host) -> usize {
    let of_memory = |bytes: u64| bytes / 4 / 8_400;
    // Fewer of the entries, which remain for some seconds after a connection has ended.
    let conntrack = host.conntrack.map(|table| table.max.saturating_sub(table.count) / 16);
    let watches = host.max_user_watches.map(|max| max.saturating_sub(host.watches) / 8);
    let files = host.file_max.filter(|_| !host.is_admin).map(|max| max.saturating_sub(host.files) / 8);
    let groups = host.memory_groups.iter().map(|group| of_memory(group.available_bytes()));
    let least = [conntrack, watches, files, Some(of_memory(host.memory.available_bytes))].into_iter().flatten();
    let least = least.chain(groups).chain([host.table().saturating_sub(64) / 2]).min().unwrap_or(0);
    usize::try_from(least).unwrap_or(usize::MAX).min(PAIRS)
}

/// Reads the memory after the kernel has summed its per-core counters. That needs root; without it the figures are less
/// exact.
fn settled(tree: &Tree) -> Memory {
    let _ = tree.text("/proc/sys/vm/stat_refresh");
    Memory::read(None)
}

/// Returns the median slope between points that are at least half a run apart (as the Theil-Sen estimator does for any
/// two), so that other processes of the group affect it little. `None` without points.
fn median_slope(runs: &[Vec<(f64, f64)>]) -> Option<f64> {
    let mut slopes = Vec::new();
    for run in runs {
        // A core charges 64 pages in advance to a group, so its usage grows in steps; a step begins when all before are
        // used up.
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

// Reads the kernel's slab caches, slabinfo(5); readable by root only.

/// Objects in use and their sizes in bytes, by cache.
#[derive(Debug, Default)]
pub(super) struct Slabs(HashMap<String, (f64, f64)>);

impl Slabs {
    /// Reads the caches; empty if they may not be read.
    pub(super) fn read(tree: &Tree, page_bytes: u64) -> Self {
        let text = tree.text("/proc/slabinfo").unwrap_or_default();
        // name, objects in use, objects, bytes of one, objects and pages of a slab
        let cache = |line: &str| {
            let mut fields = line.split_ascii_whitespace();
            let name = fields.next()?.to_owned();
            let mut number = || fields.next()?.parse::<f64>().ok();
            let (used, _, _, of_slab, pages) = (number()?, number()?, number()?, number()?, number()?);
            Some((name, (used, pages * page_bytes as f64 / of_slab.max(1.0))))
        };
        Self(text.lines().filter_map(cache).collect())
    }

    /// Returns how many objects of each cache each of `sockets` has taken since `before`, and the bytes of one,
    /// including its share of the slab's unusable space.
    ///
    /// The count is rounded to a whole number, which removes the host's other activity. It is negative where accept(2)
    /// frees an object, such as the connection request. Free objects in slabs do not matter; the growth of all slabs is
    /// smaller on a host that has held many connections before.
    pub(super) fn objects_since(&self, before: &Self, sockets: usize) -> Objects {
        let taken = self.0.iter().filter_map(|(name, &(used, bytes))| {
            let objects = ((used - before.0.get(name)?.0) / sockets as f64).round();
            (objects != 0.0).then(|| (name.clone(), (objects, bytes)))
        });
        taken.collect()
    }
}

/// The objects of one socket by cache: their number, and the bytes of each.
pub(super) type Objects = HashMap<String, (f64, f64)>;

/// Returns the bytes of a socket: of each cache the median over several readings, since other processes may open or
/// close as many sockets once, but hardly each time. `None` without readings.
pub(super) fn median_bytes(seen: &[Objects]) -> Option<f64> {
    let names: HashSet<&String> = seen.iter().flat_map(HashMap::keys).collect();
    let of_cache = |name| {
        let of_one = |one: &Objects| one.get(name).map_or(0.0, |(objects, bytes)| objects * bytes);
        let mut bytes: Vec<f64> = seen.iter().map(of_one).collect();
        bytes.sort_by(f64::total_cmp);
        bytes[bytes.len() / 2]
    };
    Some(names.into_iter().map(of_cache).sum()).filter(|&sum: &f64| sum > 0.0)
}
