//! Little memory and small stacks: each command works, or says on one line what it needs and ends with exit code 2.

use crate::host::{Ended, Running, Scratch, Serve, run, steadfast, text};
use crate::wire::Wire;

/// Limits in KiB: from what the program can only just be loaded in to what is ample.
const ADDRESS_SPACES: [u32; 9] = [20_000, 40_000, 60_000, 100_000, 150_000, 200_000, 300_000, 1_000_000, 8_000_000];

/// The same. In less than that no program can be loaded.
const STACKS: [u32; 4] = [16, 24, 32, 64];

const LISTEN: [&str; 3] = ["serve", "--listen", "127.0.0.1:0"];

fn assert_refused(what: &str, ended: &Ended) {
    assert_eq!((ended.code(), ended.out.len(), ended.err.len()), (2, 0, 1), "{what}: {ended:?}");
    assert!(ended.err[0].contains("ulimit -v"), "{what}: {ended:?}");
}

/// Whether a server starts, and then serves; one that does not has said why.
fn serves(setup: &str, more: &[&str]) -> bool {
    let mut running = Running::spawn(steadfast(setup, &[&LISTEN, more].concat()));
    if running.next_line().is_none() {
        assert_refused(setup, &running.ended());
        return false;
    }
    running.signal("TERM");
    let ended = running.ended();
    assert_eq!((ended.code(), ended.err.len()), (0, 0), "{setup} {more:?}: {ended:?}");
    true
}

#[test]
fn server_for_a_million_starts_or_names_the_memory_it_needs() {
    let started = ADDRESS_SPACES.map(|kib| serves(&format!("ulimit -v {kib}"), &["--max-connections", "1000000"]));
    assert!(!started[0] && started[8] && started.is_sorted(), "{started:?}");
    assert!(started[5], "not with 200 MB: {started:?}");
    let data =
        [20_000, 100_000, 1_000_000].map(|kib| serves(&format!("ulimit -d {kib}"), &["--max-connections", "1000000"]));
    assert!(!data[0] && data[2], "{data:?}");
}

#[test]
fn other_commands_run_or_name_the_memory_they_need() {
    let scratch = Scratch::new();
    let report = scratch.file("none.json");
    for kib in ADDRESS_SPACES {
        let setup = format!("ulimit -v {kib}");
        let ended = run(&setup, &["flood", "ws://127.0.0.1:9/", "--connections", "2000"]);
        match ended.code() {
            // Nothing listens there.
            1 => {}
            _ => assert_refused(&setup, &ended),
        }
        let ended = run(&setup, &["doctor", "--connections", "1000"]);
        assert_eq!((ended.code(), ended.err.len()), (0, 0), "{setup}: {ended:?}");
        let ended = run(&setup, &["report", "show", text(&report)]);
        assert_eq!((ended.code(), ended.err.len()), (2, 1), "{setup}: {ended:?}");
    }
}

#[test]
fn a_small_stack_is_enough_for_every_command() {
    for kib in STACKS {
        let setup = format!("ulimit -s {kib}");
        let command = |arguments: &[&str]| {
            // The environment is on the stack too, before the loader: that of a test run is larger than any user's.
            let mut command = steadfast(&setup, arguments);
            command.env_clear();
            command
        };
        let run = |arguments: &[&str]| Running::spawn(command(arguments)).ended();
        let server = Serve::of(command(&[&LISTEN[..], &["--compression"]].concat()));
        let mut wire = Wire::connect(server.address());
        wire.upgrade();
        wire.echo(b"on a small stack");
        let target = format!("ws://{}/echo", server.address());
        let ended = run(&["flood", &target, "--connections", "50", "--messages", "2"]);
        assert_eq!(ended.code(), 0, "{setup}: {ended:?}");
        drop(wire);
        server.stop();
        let ended = run(&["doctor", "--connections", "1000"]);
        assert_eq!((ended.code(), ended.err.len()), (0, 0), "{setup}: {ended:?}");
        let ended = run(&["report", "show", "/dev/null"]);
        assert_eq!((ended.code(), ended.err.len()), (2, 1), "{setup}: {ended:?}");
    }
}
