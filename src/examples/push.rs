//! Pushes the seconds since its start to a million connections, if so many come:
//! `cargo run --release --example push [ADDRESS:PORT]`.

use std::time::{Duration, Instant};
use steadfast::server::{Handler, Message, Overflow, Peer, ReactorContext, Request, Server};

struct Push {
    started: Instant,
}

impl Handler for Push {
    fn opened(&mut self, peer: &mut Peer, _request: &Request) {
        peer.subscribe("seconds");
    }

    fn message(&mut self, _peer: &mut Peer, _message: Message) {}

    fn tick(&mut self, context: &mut ReactorContext) {
        // Each reactor has a handler of its own; one of them tells the others.
        if context.reactor() == 0 {
            context.publish("seconds", &self.started.elapsed().as_secs().to_string());
            context.wake_after(Duration::from_secs(1));
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".into());
    let started = Instant::now();
    // Who does not keep up gets the newest when there is room again.
    let server = Server::new().listen(&address)?.max_connections(1_000_000);
    let server = server.route_with(&["/"], Overflow::KeepLatest, move || Push { started }).spawn()?;
    println!("listening on {}", server.endpoints()[0]);
    Ok(server.join()?)
}
