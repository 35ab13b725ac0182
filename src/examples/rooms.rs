//! A chat with rooms, for users who have a token: `cargo run --release --example rooms [ADDRESS:PORT]`, then
//! `steadfast connect ws://127.0.0.1:8080/rooms/kitchen --header 'Cookie: token=sesame'`.

use std::collections::HashMap;
use std::net::SocketAddr;
use steadfast::server::{Closed, Handler, Message, Peer, Refused, Request, Server, StatusCode};

/// A user in a room: the state of a connection.
#[derive(Default)]
struct Member {
    user: String,
    room: String,
}

/// The users by their tokens.
struct Users(HashMap<&'static str, &'static str>);

impl Users {
    /// Decides about an upgrade: the cookie has to have the token of a user.
    fn admit(&self, request: &Request, address: Option<SocketAddr>) -> Result<Member, Refused> {
        let Some(user) = request.cookie("token").and_then(|token| self.0.get(token)) else {
            eprintln!("{address:?} has no token");
            return Err(
                Refused::new(StatusCode::UNAUTHORIZED, "sign in first\n").with_field("WWW-Authenticate: Cookie")?
            );
        };
        let room = request.param("room").unwrap_or_default();
        Ok(Member { user: (*user).to_owned(), room: room.into_owned() })
    }
}

/// Sends what a member says to all members of the room.
struct Rooms;

impl Handler<Member> for Rooms {
    fn opened(&mut self, peer: &mut Peer<Member>, _request: &Request) {
        let room = peer.state.room.clone();
        peer.subscribe(&room);
        let text = format!("{} has come to {room}", peer.state.user);
        peer.publish(&room, &text);
    }

    fn message(&mut self, peer: &mut Peer<Member>, message: Message) {
        let Member { user, room } = &*peer.state;
        if let Some(text) = message.text() {
            peer.context.publish(room, &format!("{user}: {text}"));
        }
    }

    fn closed(&mut self, peer: &mut Peer<Member>, _closed: &Closed) {
        let Member { user, room } = &*peer.state;
        peer.context.publish(room, &format!("{user} has left"));
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".into());
    let users = Users(HashMap::from([("sesame", "ada"), ("open", "bob")]));
    let admit = move |request: &Request, address| users.admit(request, address);
    let server = Server::new().listen(&address)?.route_hooked("/rooms/{room}", admit, || Rooms).spawn()?;
    println!("listening on {}", server.endpoints()[0]);
    Ok(server.join()?)
}
