//! Figures that no file has: whether a thread may have its own descriptor table, and how many epoll watches the user
//! has.

use super::host::Host;
use super::tree::Tree;
use crate::net::sys;
use std::collections::HashSet;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long to count the epoll watches of other processes. On a host that already holds a million connections there are
/// two million lines to read.
const COUNT_FOR: Duration = Duration::from_millis(300);

/// How many descriptors of each table are inspected.
const FIRST_DESCRIPTORS: u32 = 256;

impl Host {
    /// As [`Host::read`], and also tries whether a thread may have its own descriptor table.
    pub fn probe(tree: &Tree) -> Self {
        Self { own_tables: may_unshare(), ..Self::read(tree) }
    }

    /// Counts the epoll watches of the user's processes, which takes at most a third of a second.
    pub fn count_watches(&mut self) {
        self.watches = watches(Instant::now() + COUNT_FOR).unwrap_or(0);
    }
}

/// Returns whether a thread may have its own descriptor table; the thread that tries it ends at once.
fn may_unshare() -> bool {
    let thread = std::thread::Builder::new().stack_size(64 << 10).spawn(|| sys::unshare_files().is_ok());
    thread.ok().and_then(|thread| thread.join().ok()).unwrap_or(false)
}

/// Counts the entries in the epoll sets of this user's processes, as far as they are readable before `deadline`;
/// proc_pid_fdinfo(5).
fn watches(deadline: Instant) -> Option<u64> {
    let own = fs::metadata("/proc/self").ok()?.uid();
    let (mut sum, mut sets) = (0, HashSet::new());
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let is_one = process.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit());
        if !is_one || process.metadata().map(|found| found.uid()).ok() != Some(own) {
            continue;
        }
        // Threads with their own table have sets that the process's table does not show.
        for thread in fs::read_dir(process.path().join("task")).into_iter().flatten().flatten() {
            sum += watches_of_table(&thread.path(), &mut sets, deadline);
            if Instant::now() > deadline {
                return Some(sum);
            }
        }
    }
    Some(sum)
}

/// Counts the entries of the sets in one table. Sets are created early, so only the first descriptors are inspected.
fn watches_of_table(task: &Path, sets: &mut HashSet<u64>, deadline: Instant) -> u64 {
    let mut sum = 0;
    for fd in 3..FIRST_DESCRIPTORS {
        let is_set =
            fs::read_link(task.join(format!("fd/{fd}"))).is_ok_and(|to| to.ends_with("anon_inode:[eventpoll]"));
        if !is_set || Instant::now() > deadline {
            continue;
        }
        let text = fs::read(task.join(format!("fdinfo/{fd}"))).unwrap_or_default();
        // Threads that share a table show the same set. Two different sets never watch the same files with the same
        // tokens.
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        if sets.insert(hasher.finish()) {
            sum += text.split(|&byte| byte == b'\n').filter(|line| line.starts_with(b"tfd:")).count() as u64;
        }
    }
    sum
}
