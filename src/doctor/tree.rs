//! The files that describe a host: those of /proc and /sys, or a copy that a test has made.

use std::fs;
use std::path::{Path, PathBuf};

/// The root of a file system: `/`, or a folder that a test has made.
#[derive(Clone, Debug)]
pub struct Tree(PathBuf);

impl Tree {
    /// Uses the files below `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self(root.into())
    }

    /// Returns where the file with this absolute path is below the root.
    pub fn place(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.0.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Reads a file, if it exists and may be read.
    pub fn text(&self, path: impl AsRef<Path>) -> Option<String> {
        fs::read_to_string(self.place(path)).ok()
    }

    /// Reads a file that contains one number; also `None` for `max`.
    pub fn number(&self, path: impl AsRef<Path>) -> Option<u64> {
        self.text(path)?.trim().parse().ok()
    }

    /// Reads the sysctl `name`, such as `fs.nr_open`, from /proc/sys.
    pub fn sysctl(&self, name: &str) -> Option<String> {
        Some(self.text(sysctl_path(name))?.trim().to_owned())
    }

    pub(super) fn sysctl_number(&self, name: &str) -> Option<u64> {
        self.sysctl(name)?.parse().ok()
    }

    pub(super) fn sysctl_numbers(&self, name: &str) -> Vec<u64> {
        let text = self.sysctl(name).unwrap_or_default();
        text.split_ascii_whitespace().filter_map(|number| number.parse().ok()).collect()
    }
}

/// Returns the file of a sysctl.
pub fn sysctl_path(name: &str) -> PathBuf {
    Path::new("/proc/sys").join(name.replace('.', "/"))
}
