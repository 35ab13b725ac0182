//! The walk opens what openat2(2) opens, and refuses what that refuses.

use super::walk;
use crate::net::sys;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::PathBuf;

struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// `served` with files, folders and links in it, and a file beside it.
fn scratch() -> Scratch {
    let all = std::env::temp_dir().join(format!("steadfast-beneath-{}", std::process::id()));
    let served = all.join("served");
    fs::create_dir_all(served.join("a/b/c")).expect("folders");
    fs::write(all.join("secret"), "secret").expect("a file");
    for name in ["page", "a/page", "a/b/page", "a/b/c/page"] {
        fs::write(served.join(name), name).expect("a file");
    }
    for (name, target) in [
        ("in", "page"),
        ("a/up", "../page"),
        ("a/b/up", "../../a/up"),
        ("way", "a/b"),
        ("back", "a/b/.."),
        ("here", "."),
        ("slash", "a/"),
        ("out", "../secret"),
        ("a/out", "../../secret"),
        ("absolute", "/etc/passwd"),
        ("root", "/"),
        ("proc", "/proc/self/root"),
        ("parent", ".."),
        ("out-and-in", "../served/page"),
        ("loop", "loop"),
        ("tic", "tac"),
        ("tac", "tic"),
        ("dangling", "nothing"),
        ("through-file", "page/x"),
    ] {
        symlink(target, served.join(name)).expect("a link");
    }
    for number in 0..45 {
        let target = if number == 0 { "page".to_owned() } else { format!("chain{}", number - 1) };
        symlink(target, served.join(format!("chain{number}"))).expect("a link");
    }
    Scratch(all)
}

/// Which file it is and what is in it, or the error.
fn opened(result: std::io::Result<OwnedFd>) -> Result<(u64, String), i32> {
    let mut file = File::from(result.map_err(|error| error.raw_os_error().expect("an error of the kernel"))?);
    let mut text = String::new();
    let about = file.metadata().expect("what it is");
    if about.is_file() {
        file.read_to_string(&mut text).expect("its content");
    }
    Ok((about.ino(), text))
}

#[test]
fn a_walk_opens_what_openat2_opens_and_refuses_what_it_refuses() {
    let scratch = scratch();
    let folder = OwnedFd::from(File::open(scratch.0.join("served")).expect("a folder"));
    let parts =
        ["page", "a", "b", "..", ".", "", "in", "up", "way", "back", "here", "out", "parent", "root", "loop", "slash"];
    let mut paths: Vec<String> = parts.iter().map(|part| (*part).to_owned()).collect();
    for first in parts {
        for second in parts {
            paths.push(format!("{first}/{second}"));
            paths.extend(parts.iter().map(|third| format!("{first}/{second}/{third}")));
        }
    }
    paths.extend((0..45).map(|number| format!("chain{number}")));
    paths.extend(
        ["absolute", "proc/etc/passwd", "out-and-in", "tic", "dangling", "through-file", "a/b/c/page"]
            .map(str::to_owned),
    );
    paths.push("x".repeat(300));
    let (mut found, mut out) = (0, 0);
    for path in &paths {
        let path = OsStr::new(path);
        let right = opened(sys::open_beneath(folder.as_fd(), path));
        let walked = opened(walk(folder.as_fd(), path));
        match (&right, &walked) {
            // `file/.` and `file/` do not name a file for the kernel; the walk does not distinguish them from `file`.
            (Err(libc::ENOTDIR), Ok((_, text))) => assert!(!text.contains("secret"), "{path:?}"),
            (Ok(_), _) => assert_eq!(walked, right, "{path:?}"),
            (Err(_), _) => assert!(walked.is_err(), "{path:?}: {right:?} {walked:?}"),
        }
        found += usize::from(right.is_ok());
        out += usize::from(right == Err(sys::errno::EXDEV) && walked == right);
    }
    assert!(found > 200 && out > 1000, "{found} of {} are found, {out} lead out", paths.len());
}

#[test]
fn a_walk_holds_a_bounded_number_of_descriptors() {
    let scratch = std::env::temp_dir().join(format!("steadfast-deep-{}", std::process::id()));
    let deep: PathBuf = std::iter::once(scratch.clone()).chain((0..100).map(|_| PathBuf::from("d"))).collect();
    fs::create_dir_all(&deep).expect("folders");
    let scratch = Scratch(scratch);
    let folder = OwnedFd::from(File::open(&scratch.0).expect("a folder"));
    let depth = |folders: usize| opened(walk(folder.as_fd(), OsStr::new(&"d/".repeat(folders))));
    assert!(depth(33).is_ok());
    assert_eq!(depth(34), Err(sys::errno::ENAMETOOLONG));
    assert!(opened(walk(folder.as_fd(), OsStr::new(&"d/../".repeat(700)))).is_ok());
}
