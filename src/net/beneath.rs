//! Opens files of a folder by untrusted paths: no path leads out of the folder, neither by `..` nor by a symbolic link.
//!
//! openat2(2) does that in one call (RESOLVE_BENEATH, Linux 5.6). A seccomp filter may forbid it, such as that of systemd's
//! `RestrictSUIDSGID=` and `DynamicUser=` or of an older container runtime; then each component of a path is opened by itself,
//! with the same result.

use super::sys;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

/// The most symbolic links that one path may follow: as many as for the kernel (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// The deepest that a path may be below the first folder: each level takes a descriptor while the path is resolved.
const MAX_DEPTH: usize = 32;

/// A folder whose files are opened by untrusted paths.
#[derive(Debug)]
pub(crate) struct Beneath {
    folder: OwnedFd,
    /// Whether openat2(2) is forbidden.
    walks: bool,
}

impl Beneath {
    /// Finds out which of the two ways works for `folder`.
    ///
    /// # Errors
    /// As openat(2), where neither can.
    pub(crate) fn new(folder: OwnedFd) -> io::Result<Self> {
        let walks = sys::open_beneath(folder.as_fd(), OsStr::new(".")).is_err();
        if walks {
            walk(folder.as_fd(), OsStr::new("."))?;
        }
        Ok(Self { folder, walks })
    }

    /// Opens a file to be read; a device or a pipe does not block it.
    ///
    /// # Errors
    /// As openat2(2): EXDEV for a path that leads out of the folder.
    pub(crate) fn open(&self, path: &OsStr) -> io::Result<OwnedFd> {
        if self.walks { walk(self.folder.as_fd(), path) } else { sys::open_beneath(self.folder.as_fd(), path) }
    }
}

fn error(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}

/// The folders on the way from the first one to the current one. `..` returns to the previous of them without asking
/// the kernel for a parent, which may be another folder by then if this one has been moved.
struct Walk<'f> {
    first: BorrowedFd<'f>,
    below: Vec<OwnedFd>,
}

impl Walk<'_> {
    fn folder(&self) -> BorrowedFd<'_> {
        self.below.last().map_or(self.first, AsFd::as_fd)
    }

    fn up(&mut self) -> io::Result<()> {
        self.below.pop().map(drop).ok_or_else(|| error(sys::errno::EXDEV))
    }

    fn down(&mut self, name: &OsStr) -> io::Result<()> {
        if self.below.len() == MAX_DEPTH {
            return Err(error(sys::errno::ENAMETOOLONG));
        }
        let below = sys::open_folder_at(self.folder(), name)?;
        self.below.push(below);
        Ok(())
    }
}

/// The components of a path, the last one first.
fn components(path: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    path.split(|&byte| byte == b'/').rev().filter(|part| !part.is_empty() && *part != b".").map(<[u8]>::to_vec)
}

fn walk(folder: BorrowedFd<'_>, path: &OsStr) -> io::Result<OwnedFd> {
    let mut walk = Walk { first: folder, below: Vec::new() };
    let mut links = 0;
    let path = path.as_bytes();
    match path.first() {
        None => return Err(error(sys::errno::ENOENT)),
        Some(b'/') => return Err(error(sys::errno::EXDEV)),
        Some(_) => {}
    }
    // The components that are still to be resolved, the next one last.
    let mut left: Vec<Vec<u8>> = components(path).collect();
    while let Some(name) = left.pop() {
        if name == b".." {
            walk.up()?;
            continue;
        }
        let name = OsStr::from_bytes(&name);
        // None of the calls below follows a link. If a component becomes a link between two calls, the second one
        // fails.
        if let Some(target) = sys::read_link_at(walk.folder(), name)? {
            links += 1;
            if links > MAX_LINKS {
                return Err(error(sys::errno::ELOOP));
            }
            if target.first() == Some(&b'/') {
                return Err(error(sys::errno::EXDEV));
            }
            left.extend(components(&target));
        } else if left.is_empty() {
            return sys::open_file_at(walk.folder(), name);
        } else {
            walk.down(name)?;
        }
    }
    // The path ends with a folder to which it has returned.
    sys::open_file_at(walk.folder(), OsStr::new("."))
}

#[cfg(test)]
#[path = "../tests/net/beneath.rs"]
mod tests;
