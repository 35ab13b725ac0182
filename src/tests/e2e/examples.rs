//! The examples, as they are: each is run and talked to, and is as short as was promised.

use crate::host::Running;
use crate::wire::{Frame, TEXT, UPGRADE, Wire, close_body, frame};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Once;

/// Where cargo puts the examples: beside the folder of the tests. It builds them before it runs all tests, and not before it
/// runs some.
fn program(name: &str) -> PathBuf {
    static BUILT: Once = Once::new();
    BUILT.call_once(|| {
        let build = Command::new(env!("CARGO")).args(["build", "--quiet", "--examples"]).status();
        assert!(build.expect("cargo").success(), "the examples do not build");
    });
    let tests = std::env::current_exe().expect("this program");
    tests.ancestors().nth(2).expect("the folder above").join("examples").join(name)
}

fn start(name: &str) -> (Running, SocketAddr) {
    let mut command = Command::new(program(name));
    command.arg("127.0.0.1:0").stdin(Stdio::null());
    let mut running = Running::spawn(command);
    let line = running.next_line().expect("a line");
    let address = line.strip_prefix("listening on ").and_then(|address| address.parse().ok());
    (running, address.unwrap_or_else(|| panic!("no address: {line}")))
}

fn open(address: SocketAddr, path: &str) -> Wire {
    let mut wire = Wire::connect(address);
    wire.send(UPGRADE.replace("/echo", path).as_bytes());
    wire.assert_upgraded();
    wire
}

fn text(payload: &str) -> Frame {
    Frame { first: TEXT, payload: payload.into() }
}

#[test]
fn echo() {
    let (_running, address) = start("echo");
    let mut wire = open(address, "/");
    wire.echo(b"again");
}

#[test]
fn push() {
    let (_running, address) = start("push");
    let mut wires: Vec<Wire> = (0..5).map(|_| open(address, "/")).collect();
    for wire in &mut wires {
        let seconds = |frame: Frame| String::from_utf8(frame.payload).expect("text").parse::<u64>().expect("seconds");
        let (first, second) = (seconds(wire.frame()), seconds(wire.frame()));
        assert!(second >= first, "{first}, then {second}");
    }
}

#[test]
fn chat() {
    let (_running, address) = start("chat");
    let mut ada = open(address, "/rooms/kitchen");
    let mut stranger = open(address, "/rooms/cellar");
    let mut bob = open(address, "/rooms/kitchen");
    assert_eq!(ada.frame(), text("somebody comes"));
    bob.send(&frame(TEXT, b"hello"));
    assert_eq!(ada.frame(), text("hello"));
    // That somebody came, before him, may have been on its way to his reactor still when he did.
    let heard = std::iter::repeat_with(|| bob.frame()).find(|heard| *heard != text("somebody comes"));
    assert_eq!(heard, Some(text("hello")));
    drop(bob);
    assert_eq!(ada.frame(), text("somebody leaves"));
    stranger.assert_silent();
}

#[test]
fn authorized() {
    let (_running, address) = start("authorized");
    let upgrade = UPGRADE.replace("/echo", "/");
    let mut wire = Wire::connect(address);
    wire.send(upgrade.as_bytes());
    let refused = wire.answer();
    assert_eq!((refused.status, refused.field("WWW-Authenticate")), (401, Some("Bearer")));
    let mut wire = Wire::connect(address);
    wire.send(upgrade.replace("\r\n\r\n", "\r\nAuthorization: Bearer sesame\r\n\r\n").as_bytes());
    wire.assert_upgraded();
    assert_eq!(wire.frame(), text("welcome"));
    wire.echo(b"inside");
}

#[test]
fn state() {
    let (_running, address) = start("state");
    let (mut one, mut other) = (open(address, "/"), open(address, "/"));
    one.send(&frame(TEXT, b"40"));
    other.send(&frame(TEXT, b"-1"));
    assert_eq!((one.frame(), other.frame()), (text("40 in 1 entries"), text("-1 in 1 entries")));
    one.send(&frame(TEXT, b"2"));
    assert_eq!(one.frame(), text("42 in 2 entries"));
    other.send(&frame(TEXT, b"many"));
    assert_eq!(other.frame().payload, close_body(1007, b"that is no number"));
}

#[test]
fn examples_are_short() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/examples");
    let files: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("examples").map(|entry| entry.expect("one").path()).collect();
    assert_eq!(files.len(), 5);
    for file in files {
        let lines = std::fs::read_to_string(&file).expect("a text").lines().count();
        assert!(lines < 40, "{}: {lines} lines", file.display());
    }
}
