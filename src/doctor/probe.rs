//! What no file tells: whether a thread may have a table of its own, and how many epoll watches the user has.

use super::host::Host;
use super::tree::Tree;
use crate::net::sys;
use std::collections::HashSet;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long the doctor counts what other processes watch: on a host that already holds a million there are two million
/// lines to read.
const COUNT_FOR: Duration = Duration::from_millis(300);

/// Descriptors of a table that are looked at.
const FIRST_DESCRIPTORS: u32 = 256;

impl Host {
    /// As [`Host::read`], with what has to be tried.
    pub fn probe(tree: &Tree) -> Self {
        Self { own_tables: may_unshare(), ..Self::read(tree) }
    }

    /// Adds what the user's processes watch already, which takes a third of a second at most.
    pub fn count_watches(&mut self) {
        self.watches = watches(Instant::now() + COUNT_FOR).unwrap_or(0);
    }
}

/// Whether a thread may leave the table of its process; it ends at once, and its table with it.
fn may_unshare() -> bool {
    let thread = std::thread::Builder::new().stack_size(64 << 10).spawn(|| sys::unshare_files().is_ok());
    thread.ok().and_then(|thread| thread.join().ok()).unwrap_or(false)
}

/// Entries in the epoll sets of this user's processes, as far as they can be seen until `deadline`; proc_pid_fdinfo(5).
fn watches(deadline: Instant) -> Option<u64> {
    let own = fs::metadata("/proc/self").ok()?.uid();
    let (mut sum, mut sets) = (0, HashSet::new());
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let is_one = process.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit());
        if !is_one || process.metadata().map(|found| found.uid()).ok() != Some(own) {
            continue;
        }
        // Threads with tables of their own have sets that the process's table does not show.
        for thread in fs::read_dir(process.path().join("task")).into_iter().flatten().flatten() {
            sum += watches_of_table(&thread.path(), &mut sets, deadline);
            if Instant::now() > deadline {
                return Some(sum);
            }
        }
    }
    Some(sum)
}

/// Those of the sets in one table. Sets are made early, so they are looked for among the first descriptors.
fn watches_of_table(task: &Path, sets: &mut HashSet<u64>, deadline: Instant) -> u64 {
    let mut sum = 0;
    for fd in 3..FIRST_DESCRIPTORS {
        let is_set =
            fs::read_link(task.join(format!("fd/{fd}"))).is_ok_and(|to| to.ends_with("anon_inode:[eventpoll]"));
        if !is_set || Instant::now() > deadline {
            continue;
        }
        let text = fs::read(task.join(format!("fdinfo/{fd}"))).unwrap_or_default();
        // Threads that share a table show the same set; two sets never watch the same files for the same tokens.
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        if sets.insert(hasher.finish()) {
            sum += text.split(|&byte| byte == b'\n').filter(|line| line.starts_with(b"tfd:")).count() as u64;
        }
    }
    sum
}
