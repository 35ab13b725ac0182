//! Upgrades only those who say the password: `cargo run --release --example authorized [ADDRESS:PORT]`, then
//! `steadfast connect ws://127.0.0.1:8080/ --header 'Authorization: Bearer sesame'`.

use std::net::SocketAddr;
use steadfast::server::{Handler, Hook, Message, Peer, Refused, Request, Server, StatusCode};

struct Greeter;

impl Handler for Greeter {
    fn opened(&mut self, peer: &mut Peer, _request: &Request) {
        peer.send("welcome");
    }

    fn message(&mut self, peer: &mut Peer, message: Message) {
        peer.send(message);
    }
}

fn judge(request: &Request, _address: Option<SocketAddr>) -> Result<(), Refused> {
    match request.header("authorization") {
        Some("Bearer sesame") => Ok(()),
        _ => Err(Refused::new(StatusCode::UNAUTHORIZED, "who are you?\n").with_field("WWW-Authenticate: Bearer")?),
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".into());
    let server = Server::new().listen(&address)?.hook(Hook::new(judge)).route("/", || Greeter).spawn()?;
    println!("listening on {}", server.endpoints()[0]);
    Ok(server.join()?)
}
