//! Sends every message back: `cargo run --release --example echo [ADDRESS:PORT]`, then `steadfast connect ws://127.0.0.1:8080/`.

use steadfast::server::{Handler, Message, Peer, Server};

struct Echo;

impl Handler for Echo {
    fn message(&mut self, peer: &mut Peer, message: Message) {
        peer.send(message);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".into());
    let server = Server::new().listen(&address)?.route("/", || Echo).spawn()?;
    println!("listening on {}", server.endpoints()[0]);
    Ok(server.join()?)
}
