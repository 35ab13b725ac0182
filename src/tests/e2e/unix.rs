//! Unix sockets: the same server behind a path.

use crate::host::{Running, Scratch, Serve, run, steadfast, text};
use crate::wire::{CLOSE, UPGRADE, Wire, close_body, frame};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

fn listen(path: &Path) -> String {
    format!("unix:{}", text(path))
}

fn serve(path: &Path, more: &[&str]) -> Serve {
    Serve::of(steadfast("", &[&["serve", "--listen", &listen(path)], more].concat()))
}

fn connect(path: &Path) -> Wire<UnixStream> {
    Wire::over(UnixStream::connect(path).expect("a connection"))
}

fn assert_refused(path: &Path) {
    let ended = run("", &["serve", "--listen", &listen(path)]);
    assert_eq!((ended.code(), ended.err.len()), (2, 1), "{ended:?}");
    assert!(ended.err[0].contains(&listen(path)) && ended.err[0].contains("in use"), "{ended:?}");
}

#[test]
fn requests_and_messages_come_through_a_path() {
    let scratch = Scratch::new();
    let path = scratch.file("socket");
    let server = serve(&path, &["--reactors", "4", "--listen", "127.0.0.1:0"]);
    assert!(server.said[0].starts_with(&format!("listening on {} 127.0.0.1:", listen(&path))), "{server:?}");
    let mut stats = connect(&path);
    let mut wires: Vec<_> = (0..50).map(|_| connect(&path)).collect();
    for wire in &mut wires {
        wire.upgrade();
    }
    for (number, wire) in wires.iter_mut().enumerate() {
        wire.echo(format!("number {number}").as_bytes());
        wire.echo(&vec![7; 100_000]);
    }
    assert_eq!(stats.stats()["connections"]["now"], 51);
    let mut leaving = wires.pop().expect("the last of fifty");
    leaving.send(&frame(CLOSE, &close_body(1000, b"")));
    assert_eq!(leaving.frame().close_code(), 1000);
    leaving.assert_ended();
    drop((stats, wires, leaving));
    server.stop();
    assert!(!path.exists(), "the path is left behind");
}

#[test]
fn a_path_holds_exactly_what_was_planned() {
    let scratch = Scratch::new();
    let path = scratch.file("socket");
    let server = serve(&path, &["--reactors", "3", "--max-connections", "20"]);
    let mut open: Vec<_> = (0..20).map(|_| connect(&path)).collect();
    for wire in &mut open {
        wire.upgrade();
    }
    let mut next = connect(&path);
    next.send(UPGRADE.as_bytes());
    next.assert_silent();
    drop(open.pop());
    next.assert_upgraded();
    drop((open, next));
    server.stop();
}

#[test]
fn the_socket_of_a_dead_server_is_replaced() {
    let scratch = Scratch::new();
    let path = scratch.file("socket");
    let dead = serve(&path, &[]);
    dead.running.signal("KILL");
    let Serve { running, .. } = dead;
    assert_eq!(running.ended().status.code(), None);
    assert!(path.exists(), "a server that is killed cleans nothing up");
    let server = serve(&path, &[]);
    let mut wire = connect(&path);
    wire.upgrade();
    wire.echo(b"back again");
    drop(wire);
    server.stop();
}

#[test]
fn the_socket_of_a_live_server_is_refused() {
    let scratch = Scratch::new();
    let path = scratch.file("socket");
    let server = serve(&path, &[]);
    let mut wire = connect(&path);
    wire.upgrade();
    assert_refused(&path);
    wire.echo(b"not disturbed");
    let mut another = connect(&path);
    another.upgrade();
    drop((wire, another));
    server.stop();
    // One that does not accept is alive as well.
    let other = UnixListener::bind(&path).expect("a listener");
    assert_refused(&path);
    drop(other);
}

#[test]
fn a_file_that_is_no_socket_is_not_touched() {
    let scratch = Scratch::new();
    let path = scratch.file("notes");
    std::fs::write(&path, "dear diary").expect("a file");
    assert_refused(&path);
    assert_eq!(std::fs::read(&path).expect("the file"), b"dear diary");
}

#[test]
fn a_flood_does_not_speak_to_paths() {
    let ended = Running::spawn(steadfast("", &["flood", "unix:/run/socket"])).ended();
    assert_eq!((ended.code(), ended.err.len()), (2, 1), "{ended:?}");
}
