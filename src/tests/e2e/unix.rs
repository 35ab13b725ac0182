//! Unix sockets: the same server at a path.

use crate::host::{Running, Scratch, Serve, run, steadfast, text};
use crate::wire::{CLOSE, UPGRADE, Wire, close_body, frame};
use socket2::{Domain, SockAddr, Socket, Type};
use std::io::ErrorKind;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
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
fn unix_socket_holds_exactly_the_planned_number() {
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

/// A listener at that path whose queue has no room left.
fn full(path: &Path) -> (Socket, Vec<Socket>) {
    let address = SockAddr::unix(path).expect("an address");
    let listener = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
    listener.bind(&address).expect("a path");
    listener.listen(0).expect("a listener");
    let mut waiting = Vec::new();
    loop {
        let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None).expect("a socket");
        match socket.connect(&address) {
            Ok(()) => waiting.push(socket),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return (listener, waiting),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_full_socket_of_another_program_does_not_hold_up_the_start() {
    let scratch = Scratch::new();
    let path = scratch.file("socket");
    let kept = full(&path);
    assert_refused(&path);
    assert!(path.exists(), "the socket of another program is gone");
    drop(kept);
}

#[test]
fn socket_of_another_kind_is_refused() {
    let scratch = Scratch::new();
    let path = scratch.file("socket");
    let other = UnixDatagram::bind(&path).expect("a socket");
    assert_refused(&path);
    assert!(path.exists(), "the socket of another program is gone");
    drop(other);
}

#[test]
fn replaced_socket_file_stays_when_the_server_stops() {
    let scratch = Scratch::new();
    let path = scratch.file("socket");
    let server = serve(&path, &[]);
    // A successor binds a name of its own, and moves that to the path.
    let next = scratch.file("next");
    let successor = UnixListener::bind(&next).expect("a listener");
    std::fs::rename(&next, &path).expect("another socket at the path");
    server.stop();
    drop(UnixStream::connect(&path).expect("the successor is still there"));
    drop(successor);
    // The same for one that comes to a path that is free.
    std::fs::remove_file(&path).expect("a free path");
    let server = serve(&path, &[]);
    std::fs::remove_file(&path).expect("the socket of the server");
    let successor = UnixListener::bind(&path).expect("a listener");
    server.stop();
    drop(UnixStream::connect(&path).expect("the successor is still there"));
    drop(successor);
}

#[test]
fn name_with_at_sign_is_an_abstract_socket() {
    let name = format!("steadfast-{}", std::process::id());
    let listen = format!("unix:@{name}");
    let start = || Serve::of(steadfast("", &["serve", "--listen", &listen, "--reactors", "3"]));
    let server = start();
    assert!(server.said[0].starts_with(&format!("listening on {listen} ")), "{server:?}");
    assert!(!Path::new(&format!("@{name}")).exists(), "there is a file");
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).expect("a name");
    let mut wires: Vec<_> =
        (0..10).map(|_| Wire::over(UnixStream::connect_addr(&address).expect("a connection"))).collect();
    for wire in &mut wires {
        wire.upgrade();
        wire.echo(b"without a file");
    }
    let ended = run("", &["serve", "--listen", &listen]);
    assert_eq!((ended.code(), ended.err.len()), (2, 1), "{ended:?}");
    assert!(ended.err[0].contains(&listen) && ended.err[0].contains("in use"), "{ended:?}");
    drop(wires);
    server.stop();
    start().stop();
}

#[test]
fn file_that_is_not_a_socket_is_not_touched() {
    let scratch = Scratch::new();
    let path = scratch.file("notes");
    std::fs::write(&path, "dear diary").expect("a file");
    assert_refused(&path);
    assert_eq!(std::fs::read(&path).expect("the file"), b"dear diary");
}

#[test]
fn flood_refuses_unix_socket_targets() {
    let ended = Running::spawn(steadfast("", &["flood", "unix:/run/socket"])).ended();
    assert_eq!((ended.code(), ended.err.len()), (2, 1), "{ended:?}");
}
