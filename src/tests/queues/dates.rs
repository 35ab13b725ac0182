//! Files whose time of modification has no date, or one that is yet to come.

use crate::folder::ask;
use crate::host::{Local, Scratch};
use crate::probe::tight;
use crate::wire::{Answer, Wire};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use steadfast::server::{QueueLimits, Server};

const YEAR_S: u64 = 31_556_952;
const YEAR_10000_S: u64 = 253_402_300_800;

/// A folder in the memory of the host, whose file system keeps times that others cut off; gone when the test is over.
struct Shm(PathBuf);

impl Shm {
    fn new() -> Self {
        let path = PathBuf::from(format!("/dev/shm/steadfast-dates-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory in /dev/shm");
        Self(path)
    }
}

impl Drop for Shm {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A file of that time; `None` where the file system keeps another.
fn file(folder: &Path, name: &str, modified: SystemTime) -> Option<()> {
    let path = folder.join(name);
    std::fs::write(&path, name).expect("a file");
    let file = File::options().write(true).open(&path).expect("the file");
    file.set_modified(modified).expect("a time");
    let kept = file.metadata().and_then(|about| about.modified()).expect("a time");
    (kept == modified).then_some(())
}

fn serve(folder: &Path) -> Local {
    let server = Server::from(tight(QueueLimits::default()));
    Local::serve(server.files("/f/*", folder).expect("a folder"))
}

/// The answers to a GET and to a HEAD, which say the same; the connection goes on.
fn answers(wire: &mut Wire, name: &str, more: &str) -> Answer {
    let target = format!("/f/{name}");
    let answer = ask(wire, "GET", &target, more);
    let head = ask(wire, "HEAD", &target, more);
    assert_eq!((head.status, head.closes(), answer.closes()), (answer.status, false, false), "{answer:?} {head:?}");
    assert_eq!(head.field("Last-Modified").is_some(), answer.field("Last-Modified").is_some(), "{head:?}");
    if answer.status == 200 {
        assert_eq!(answer.body, name.as_bytes());
    }
    answer
}

#[test]
fn a_file_from_before_1970_has_no_date() {
    let scratch = Scratch::new();
    let folder = scratch.file("");
    let times = [(1, "second"), (86_400, "day"), (50 * YEAR_S, "1920")];
    for (before_s, name) in times {
        file(&folder, name, UNIX_EPOCH - Duration::from_secs(before_s)).expect("a time before 1970");
    }
    file(&folder, "nanosecond", UNIX_EPOCH - Duration::from_nanos(1)).expect("a time before 1970");
    let local = serve(&folder);
    let mut wire = Wire::connect(local.address);
    for name in ["second", "day", "1920", "nanosecond"] {
        // RFC 9110 sections 13.1.3 and 13.1.4: without a date a condition on it does not count.
        for more in [
            "",
            "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT\r\n",
            "If-Unmodified-Since: Thu, 01 Jan 1970 00:00:00 GMT\r\n",
        ] {
            let answer = answers(&mut wire, name, more);
            assert_eq!((answer.status, answer.field("Last-Modified")), (200, None), "{name} {more:?}: {answer:?}");
        }
    }
}

#[test]
fn a_file_from_the_future_has_the_date_of_the_answer() {
    let shm = Shm::new();
    let now = SystemTime::now();
    let times = [
        ("hour", now + Duration::from_secs(3600)),
        ("year", now + Duration::from_secs(YEAR_S)),
        ("9999", UNIX_EPOCH + Duration::from_secs(YEAR_10000_S - 1)),
        ("10000", UNIX_EPOCH + Duration::from_secs(YEAR_10000_S)),
        ("34865", UNIX_EPOCH + Duration::from_secs(1 << 40)),
        ("last", UNIX_EPOCH + Duration::from_secs(i64::MAX as u64)),
    ];
    let kept: Vec<&str> =
        times.into_iter().filter_map(|(name, time)| file(&shm.0, name, time).map(|()| name)).collect();
    assert!(kept.len() >= 4, "this file system keeps only {kept:?}");
    let local = serve(&shm.0);
    let mut wire = Wire::connect(local.address);
    for name in kept {
        for more in ["", "If-Modified-Since: Sun, 09 Sep 2001 01:46:40 GMT\r\n"] {
            let answer = answers(&mut wire, name, more);
            let date = answer.field("Date").expect("a date").to_owned();
            assert_eq!((answer.status, answer.field("Last-Modified")), (200, Some(&*date)), "{name}: {answer:?}");
        }
        let more = "If-Unmodified-Since: Sun, 09 Sep 2001 01:46:40 GMT\r\n";
        assert_eq!(answers(&mut wire, name, more).status, 412, "{name}");
    }
}
