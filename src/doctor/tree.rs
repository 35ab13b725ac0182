//! The files that tell of a host: those of /proc and /sys, or what a test has made up.

use std::fs;
use std::path::{Path, PathBuf};

/// The root of a file system: `/`, or what a test has made up.
#[derive(Clone, Debug)]
pub struct Tree(PathBuf);

impl Tree {
    /// The files below `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self(root.into())
    }

    /// Where a file lies that is known by its absolute path.
    pub fn place(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.0.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// The text of a file, if there is one and it may be read.
    pub fn text(&self, path: impl AsRef<Path>) -> Option<String> {
        fs::read_to_string(self.place(path)).ok()
    }

    /// A file that is one number; `None` too for `max`.
    pub fn number(&self, path: impl AsRef<Path>) -> Option<u64> {
        self.text(path)?.trim().parse().ok()
    }

    /// The sysctl `name`, such as `fs.nr_open`, as it stands in /proc/sys.
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

/// Where a sysctl is a file.
pub fn sysctl_path(name: &str) -> PathBuf {
    Path::new("/proc/sys").join(name.replace('.', "/"))
}
