//! Hooks of routes: they see the request and the address, may refuse, and make the state of the connection.

use crate::host::Local;
use crate::rig::{hear, say, single, text, upgrade_at, websocket_at};
use crate::wire::Wire;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net as unix;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use steadfast::server::{Config, Handler, Hook, Message, Overflow, Peer, Refused, Request, Server, StatusCode};

/// What the hook found out; one that ends tells of it.
#[derive(Default)]
struct User {
    name: String,
    ended: Option<Sender<String>>,
}

impl Drop for User {
    fn drop(&mut self) {
        if let Some(ended) = &self.ended {
            let _ = ended.send(self.name.clone());
        }
    }
}

/// Greets each user, and answers with the name.
struct Greeter;

impl Handler<User> for Greeter {
    fn opened(&mut self, peer: &mut Peer<User>, request: &Request) {
        let greeting = format!("hello, {} at {}", peer.state.name, request.path());
        peer.send(&greeting);
    }

    fn message(&mut self, peer: &mut Peer<User>, _message: Message) {
        let name = peer.state.name.clone();
        peer.send(&name);
    }
}

/// Takes the name from the path, and lets nobody else in than those who have the password.
fn hook(ended: Sender<String>) -> impl Fn(&Request<'_>, Option<SocketAddr>) -> Result<User, Refused> {
    move |request, address| {
        assert!(address.is_some_and(|address| address.ip() == IpAddr::V4(Ipv4Addr::LOCALHOST)), "{address:?}");
        let name = request.param("name").unwrap_or_default().into_owned();
        assert!(name != "panic", "the hook");
        match request.query("password").as_deref() {
            Some("sesame") => Ok(User { name, ended: Some(ended.clone()) }),
            _ => Err(Refused::new(StatusCode::FORBIDDEN, format!("not {name}")).with_field("X-Why: password")?),
        }
    }
}

#[test]
fn hook_of_a_route_makes_the_state_of_its_connections() {
    let (ended, ends) = channel();
    let server = Server::from(single()).route_hooked("/users/{name}", hook(ended), || Greeter);
    let local = Local::serve(server.route("/open", || Greeter));
    let mut wires: Vec<Wire> = Vec::new();
    for name in ["ada", "bob", "eve"] {
        let mut refused = Wire::connect(local.address);
        refused.send(upgrade_at(&format!("/users/{name}?password=no"), "").as_bytes());
        let answer = refused.answer();
        let body = String::from_utf8_lossy(&answer.body);
        assert_eq!((answer.status, &*body, answer.field("X-Why")), (403, &*format!("not {name}"), Some("password")));
        refused.assert_ended();
        let mut wire = websocket_at(local.address, &format!("/users/{name}?password=sesame"));
        assert_eq!(text(&mut wire), format!("hello, {name} at /users/{name}"));
        wires.push(wire);
    }
    // A route without a hook begins with the default.
    let mut open = websocket_at(local.address, "/open");
    assert_eq!(text(&mut open), "hello,  at /open");
    for (wire, name) in wires.iter_mut().zip(["ada", "bob", "eve"]) {
        say(wire, "?");
        assert_eq!(text(wire), name);
    }
    // Each state ends with its connection, once.
    let mut bob = wires.remove(1);
    bob.send(&crate::wire::frame(crate::wire::CLOSE, b"\x03\xe8"));
    bob.frame();
    bob.assert_ended();
    assert_eq!(hear(&ends), "bob");
    drop(wires);
    let mut others = [hear(&ends), hear(&ends)];
    others.sort();
    assert_eq!(others, ["ada", "eve"]);
    drop(open);
    drop(local);
    assert_eq!(ends.try_iter().count(), 0);
}

#[test]
fn hook_of_a_route_that_panics_refuses_with_500_and_is_counted() {
    let (ended, _ends) = channel();
    let server = Server::from(single()).route_hooked("/{name}", hook(ended), || Greeter);
    let mut local = Local::serve(server);
    local.may_panic = true;
    let mut wire = Wire::connect(local.address);
    wire.send(upgrade_at("/panic?password=sesame", "").as_bytes());
    assert_eq!(wire.answer().status, 500);
    wire.assert_ended();
    assert_eq!(local.server.counters().handler_panics, 1);
    // The next one does not get what was not made.
    let mut wire = websocket_at(local.address, "/ada?password=sesame");
    assert_eq!(text(&mut wire), "hello, ada at /ada");
}

/// Counts the connections that it is told of.
struct Counting(Arc<AtomicUsize>);

impl Handler for Counting {
    fn opened(&mut self, _peer: &mut Peer, _request: &Request) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    fn message(&mut self, peer: &mut Peer, message: Message) {
        peer.send(message);
    }
}

#[test]
fn hook_of_the_server_is_asked_before_that_of_the_route() {
    let (tell, told) = channel();
    let told_by = |who: &'static str| {
        let tell = tell.clone();
        move |request: &Request<'_>, _: Option<SocketAddr>| {
            let _ = tell.send(who);
            let refuses = request.query("refuse").is_some_and(|by| by == who);
            if refuses { Err(Refused::new(StatusCode::FORBIDDEN, who)) } else { Ok(()) }
        }
    };
    let (opened, hook) = (Arc::new(AtomicUsize::new(0)), Hook::new(told_by("server")));
    let server = Server::from(Config { hook: Some(hook), ..single() });
    let counting = Arc::clone(&opened);
    let make = move || Counting(Arc::clone(&counting));
    // A state of no bytes comes from a hook as any other.
    let server = server.route_hooked_with(&["/a", "/b/*"], Overflow::DropNewest, told_by("route"), make);
    let local = Local::serve(server);
    let cases: [(&str, u16, &[&str]); 4] = [
        ("/a", 101, &["server", "route"]),
        ("/b/c?refuse=route", 403, &["server", "route"]),
        ("/a?refuse=server", 403, &["server"]),
        ("/b/", 101, &["server", "route"]),
    ];
    for (target, status, asked) in cases {
        let mut wire = Wire::connect(local.address);
        wire.send(upgrade_at(target, "").as_bytes());
        let answer = if status == 101 { wire.answer_without_body() } else { wire.answer() };
        assert_eq!(answer.status, status, "{target}");
        assert_eq!(told.try_iter().collect::<Vec<_>>(), asked, "{target}");
        if status == 101 {
            wire.echo(b"let in");
        }
    }
    assert_eq!(opened.load(Ordering::SeqCst), 2);
}

#[test]
fn peer_of_a_unix_socket_has_no_address() {
    let (tell, told) = channel();
    let name = format!("unix:@steadfast-hooks-{}", std::process::id());
    let hook = move |_: &Request<'_>, address: Option<SocketAddr>| {
        let _ = tell.send(address);
        Ok(())
    };
    let server = Server::from(single()).listen(&name).expect("an endpoint");
    let counting = Arc::new(AtomicUsize::new(0));
    let server = server.route_hooked("/", hook, move || Counting(Arc::clone(&counting))).spawn().expect("a server");
    let address = unix::SocketAddr::from_abstract_name(&name["unix:@".len()..]).expect("a name");
    let mut socket = unix::UnixStream::connect_addr(&address).expect("a connection");
    std::io::Write::write_all(&mut socket, upgrade_at("/", "").as_bytes()).expect("it is sent");
    assert_eq!(hear(&told), None);
    server.stop();
    server.join().expect("it ends");
}
