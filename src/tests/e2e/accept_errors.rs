//! accept4(2) fails for lack of descriptors or memory: no connection is lost, and nothing spins.
//!
//! A plan never lets it come to that, so strace(1) makes the failures.

use crate::host::{BINARY, Serve, has_strace};
use crate::wire::{UPGRADE, Wire};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const FAILURES: u32 = 8;

/// A tick of the reactor, at which it tries again.
const TICK: Duration = Duration::from_millis(250);

/// A server whose calls of accept4 fail with `error`: those that `which` counts.
fn failing(error: &str, which: &str) -> Serve {
    let mut command = Command::new("strace");
    // -D keeps the server our child, to be signalled and waited for.
    command.args(["-D", "-f", "-qq", "-o", "/dev/null", "-e", "trace=accept4", "-e"]);
    command.arg(format!("inject=accept4:error={error}:when={which}"));
    command.args([BINARY, "serve", "--listen", "127.0.0.1:0", "--reactors", "1"]).stdin(Stdio::null());
    Serve::of(command)
}

/// Connections that come while accepting fails are all served; returns how long that took.
fn assert_served(server: &Serve) -> Duration {
    let since = Instant::now();
    let mut wires: Vec<Wire> = (0..20).map(|_| Wire::connect(server.address())).collect();
    for wire in &mut wires {
        wire.send(UPGRADE.as_bytes());
    }
    for wire in &mut wires {
        wire.assert_upgraded();
    }
    let took = since.elapsed();
    for wire in &mut wires {
        wire.echo(b"served after all");
    }
    took
}

fn assert_survives(error: &str) {
    if !has_strace() {
        return;
    }
    let server = failing(error, &format!("1..{FAILURES}"));
    let took = assert_served(&server);
    // One try a tick: the edge is not lost, and the failures are not used up in a spin.
    assert!(took >= TICK * (FAILURES - 1), "{FAILURES} failures within {took:?}");
    let mut stats = Wire::connect(server.address());
    assert_eq!(stats.counter("accept_paused_error"), u64::from(FAILURES));
    assert_eq!(stats.counter("accept_paused_full"), 0);
    drop(stats);
    server.stop();
}

#[test]
fn accept_resumes_after_emfile() {
    assert_survives("EMFILE");
}

#[test]
fn accept_resumes_after_enfile() {
    assert_survives("ENFILE");
}

#[test]
fn accept_resumes_after_enobufs() {
    assert_survives("ENOBUFS");
}

#[test]
fn accept_resumes_after_enomem() {
    assert_survives("ENOMEM");
}

#[test]
fn connection_aborted_before_accept_is_skipped() {
    if !has_strace() {
        return;
    }
    let server = failing("ECONNABORTED", &format!("1..{FAILURES}"));
    assert_served(&server);
    assert_eq!(Wire::connect(server.address()).counter("accept_paused_error"), 0);
    server.stop();
}

#[test]
fn persistent_accept_error_does_not_occupy_the_reactor() {
    if !has_strace() {
        return;
    }
    // A security module or a filter that forbids it says so each time, and takes nothing out of the queue.
    let server = failing("EPERM", "2+");
    let mut wire = Wire::connect(server.address());
    wire.upgrade();
    let mut refused = Wire::connect(server.address());
    refused.send(UPGRADE.as_bytes());
    for _ in 0..10 {
        wire.echo(b"not disturbed");
    }
    drop((wire, refused));
    server.stop();
}
