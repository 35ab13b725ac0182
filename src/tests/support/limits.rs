//! Limits of the process that runs a test.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit on descriptors to the hard one, for tests that hold both ends of many connections; returns how many
/// descriptors a table may hold.
pub(crate) fn raise_nofile() -> usize {
    let limits = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limits.maximum, ..limits }).expect("the hard limit is allowed");
    limits.maximum.map_or(1 << 30, |hard| hard as usize)
}
