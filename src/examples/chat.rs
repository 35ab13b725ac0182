//! What one says, all in the room hear: `cargo run --release --example chat [ADDRESS:PORT]`, then two of
//! `steadfast connect ws://127.0.0.1:8080/rooms/kitchen`.

use steadfast::server::{Closed, Handler, Message, Peer, Request, Server};

struct Chat;

/// What is kept for each connection: its room.
type Room = String;

impl Handler<Room> for Chat {
    fn opened(&mut self, peer: &mut Peer<Room>, request: &Request) {
        *peer.state = request.path().to_owned();
        peer.context.publish(peer.state, "somebody comes");
        peer.subscribe(request.path());
    }

    fn message(&mut self, peer: &mut Peer<Room>, message: Message) {
        peer.context.publish(peer.state, message);
    }

    fn closed(&mut self, peer: &mut Peer<Room>, _closed: &Closed) {
        peer.context.publish(peer.state, "somebody leaves");
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".into());
    let server = Server::new().listen(&address)?.route("/rooms/*", || Chat).spawn()?;
    println!("listening on {}", server.endpoints()[0]);
    Ok(server.join()?)
}
