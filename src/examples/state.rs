//! Adds up the numbers that each connection sends: `cargo run --release --example state [ADDRESS:PORT]`.

use steadfast::server::{CloseCode, Handler, Message, Peer, Server};

#[derive(Default)]
struct Account {
    sum: i64,
    entries: u32,
}

struct Adder;

impl Handler<Account> for Adder {
    fn message(&mut self, peer: &mut Peer<Account>, message: Message) {
        let Some(number) = message.text().and_then(|text| text.trim().parse::<i64>().ok()) else {
            return peer.close(CloseCode::INVALID_DATA, "that is no number");
        };
        peer.state.sum = peer.state.sum.saturating_add(number);
        peer.state.entries += 1;
        let text = format!("{} in {} entries", peer.state.sum, peer.state.entries);
        peer.send(&text);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".into());
    let server = Server::new().listen(&address)?.route("/", || Adder).spawn()?;
    println!("listening on {}", server.endpoints()[0]);
    Ok(server.join()?)
}
