//! What fuzzing keeps, without a fuzzer: each file of a corpus goes through the oracle of its target, so that what was
//! found stays found, and the oracles keep up with the library. scripts/fuzz.sh looks for more.

#![allow(unexpected_cfgs, reason = "what a target has for the fuzzer alone stands behind cfg(fuzzing)")]

mod bodies;
#[path = "../proto/feed.rs"]
#[allow(dead_code, reason = "transcripts are for the tests beside it")]
mod feed;
#[path = "../support/inflate.rs"]
#[allow(dead_code, reason = "blocks are written by the tests beside it")]
mod inflate;
mod naive;
mod script;
mod sessions;
#[path = "../proto/wire.rs"]
#[allow(dead_code, reason = "transcripts are for the tests beside it")]
mod wire;

mod targets {
    pub(super) mod client_session;
    pub(super) mod extensions;
    pub(super) mod frames;
    pub(super) mod heads;
    pub(super) mod inflate;
    pub(super) mod pair;
    pub(super) mod server_session;
}

use std::fs;
use std::path::{Path, PathBuf};

type Oracle = fn(&[u8]);

const TARGETS: [(&str, Oracle); 7] = [
    ("client_session", targets::client_session::check),
    ("extensions", targets::extensions::check),
    ("frames", targets::frames::check),
    ("heads", targets::heads::check),
    ("inflate", targets::inflate::check),
    ("pair", targets::pair::check),
    ("server_session", targets::server_session::check),
];

fn entries(of: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tests/fuzz").join(of);
    let entries = fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut entries: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    entries.sort();
    entries
}

#[test]
fn what_was_kept_passes() {
    for (target, check) in TARGETS {
        let kept = entries(&format!("corpus/{target}"));
        assert!(!kept.is_empty(), "{target} has no corpus");
        for path in kept {
            let data = fs::read(&path).expect("a file");
            let passed = std::panic::catch_unwind(|| check(&data));
            assert!(passed.is_ok(), "{} fails, for the reason above", path.display());
        }
    }
}

#[test]
fn every_target_is_replayed() {
    let stem = |path: PathBuf| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let known = TARGETS.map(|(target, _)| target.to_owned());
    assert_eq!(entries("targets").into_iter().map(stem).collect::<Vec<_>>(), known);
    assert_eq!(entries("corpus").into_iter().map(stem).collect::<Vec<_>>(), known);
}
