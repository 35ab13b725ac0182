//! Control groups of both versions, cgroups(7). A limit of any ancestor binds too.

use super::tree::Tree;
use std::path::{Path, PathBuf};

/// Version 1 writes "no limit" as a number near 2^63.
const NO_LIMIT: u64 = 1 << 60;

/// A control group that limits memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryGroup {
    /// The file that has the limit.
    pub file: PathBuf,
    /// What all processes of the group may use, including their kernel memory.
    pub limit_bytes: u64,
    /// What they use now.
    pub used_bytes: u64,
    /// Page cache in `used_bytes` that is reclaimed on demand; mapped pages are not included.
    pub cached_bytes: u64,
}

impl MemoryGroup {
    /// Returns how many bytes are still available.
    pub fn available_bytes(&self) -> u64 {
        self.limit_bytes.saturating_sub(self.used_bytes.saturating_sub(self.cached_bytes))
    }
}

/// A control group that limits the number of threads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PidsGroup {
    /// The file that has the limit.
    pub file: PathBuf,
    /// Threads that the group may have.
    pub limit: u64,
    /// Threads that the group has now.
    pub used: u64,
}

/// A limit of CPU time.
#[derive(Clone, Debug, PartialEq)]
pub struct CpuQuota {
    /// The file that has the limit.
    pub file: PathBuf,
    /// The limit as a number of cores.
    pub cores: f64,
}

/// Returns the groups of this process that limit memory, as far as they are visible here; the innermost first.
pub(super) fn memory(tree: &Tree) -> Vec<MemoryGroup> {
    let read = |group: Group| {
        let [limit, used, prefix] = match group.version {
            Version::One => ["memory.limit_in_bytes", "memory.usage_in_bytes", "total_"],
            Version::Two => ["memory.max", "memory.current", ""],
        };
        let file = group.path.join(limit);
        let limit_bytes = tree.number(&file).filter(|&limit| limit < NO_LIMIT)?;
        let stat = tree.text(group.path.join("memory.stat")).unwrap_or_default();
        let of = |name: &str| {
            let line = stat.lines().find_map(|line| line.strip_prefix(prefix)?.strip_prefix(name));
            line.and_then(|value| value.trim().parse::<u64>().ok()).unwrap_or(0)
        };
        // Mapped pages are program code in use: if reclaimed, they would be read again at once.
        let mapped = of("mapped_file ") + of("file_mapped ");
        let cached_bytes = (of("inactive_file ") + of("active_file ")).saturating_sub(mapped);
        Some(MemoryGroup { file, limit_bytes, used_bytes: tree.number(group.path.join(used))?, cached_bytes })
    };
    of_process(tree, "memory").into_iter().filter_map(read).collect()
}

/// Returns what the innermost group uses now, in bytes, whether limited or not; `None` if no group counts memory.
pub(super) fn memory_used(tree: &Tree) -> Option<u64> {
    let used = |group: Group| {
        tree.number(group.path.join(match group.version {
            Version::One => "memory.usage_in_bytes",
            Version::Two => "memory.current",
        }))
    };
    of_process(tree, "memory").into_iter().find_map(used)
}

/// Returns the groups that limit the number of threads.
pub(super) fn pids(tree: &Tree) -> Vec<PidsGroup> {
    let read = |group: Group| {
        let file = group.path.join("pids.max");
        Some(PidsGroup { limit: tree.number(&file)?, used: tree.number(group.path.join("pids.current"))?, file })
    };
    of_process(tree, "pids").into_iter().filter_map(read).collect()
}

/// Returns the tightest limit of CPU time.
pub(super) fn cpu(tree: &Tree) -> Option<CpuQuota> {
    let read = |group: Group| {
        let (file, quota, period) = match group.version {
            Version::One => {
                let file = group.path.join("cpu.cfs_quota_us");
                // -1, which does not parse here, means no limit.
                let (quota, period) = (tree.number(&file)?, tree.number(group.path.join("cpu.cfs_period_us"))?);
                (file, quota, period)
            }
            Version::Two => {
                let file = group.path.join("cpu.max");
                let text = tree.text(&file)?;
                let (quota, period) = text.trim().split_once(' ')?;
                (file, quota.parse().ok()?, period.parse().ok()?)
            }
        };
        (period > 0).then(|| CpuQuota { file, cores: quota as f64 / period as f64 })
    };
    of_process(tree, "cpu").into_iter().filter_map(read).min_by(|a, b| a.cores.total_cmp(&b.cores))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

#[derive(Clone, Debug)]
struct Group {
    version: Version,
    path: PathBuf,
}

/// Returns the group of this process for a controller and its ancestors, the innermost first.
fn of_process(tree: &Tree, controller: &str) -> Vec<Group> {
    let memberships = tree.text("/proc/self/cgroup").unwrap_or_default();
    let mounts = tree.text("/proc/self/mountinfo").unwrap_or_default();
    let mut found = Vec::new();
    for line in memberships.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else { continue };
        let version = match controllers {
            "" => Version::Two,
            list if list.split(',').any(|one| one == controller) => Version::One,
            _ => continue,
        };
        let Some((root, mount_point)) = mounts.lines().find_map(|line| mount(line, version, controller)) else {
            continue;
        };
        found.extend(directories(path, &root, &mount_point).map(|path| Group { version, path }));
    }
    found
}

/// Parses a line of proc_pid_mountinfo(5); returns the root within the hierarchy and the mount point, if it mounts the
/// wanted hierarchy.
fn mount(line: &str, version: Version, controller: &str) -> Option<(PathBuf, PathBuf)> {
    let (place, source) = line.split_once(" - ")?;
    let mut place = place.split(' ').skip(3);
    let (root, mount_point) = (place.next()?, place.next()?);
    let mut source = source.split(' ');
    let (kind, options) = (source.next()?, source.nth(1)?);
    let is_it = match version {
        Version::One => kind == "cgroup" && options.split(',').any(|option| option == controller),
        Version::Two => kind == "cgroup2",
    };
    is_it.then(|| (root.into(), mount_point.into()))
}

/// Returns the directories of a group and its ancestors, below a mount that shows the hierarchy from `root` on. Inside
/// a container the path may be outside of what is mounted; then the mount is the container's own group.
fn directories(path: &str, root: &Path, mount_point: &Path) -> impl Iterator<Item = PathBuf> {
    let inside = Path::new(path).strip_prefix(root).unwrap_or(Path::new(""));
    let inside = if path.contains("..") { Path::new("") } else { inside };
    let mount_point = mount_point.to_owned();
    let all: Vec<PathBuf> = inside.ancestors().map(|part| mount_point.join(part)).collect();
    all.into_iter()
}
