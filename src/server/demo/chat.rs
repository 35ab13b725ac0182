//! A chat: rooms by path, names, the members of a room, joins and leaves.

use super::name;
use super::query::query;
use crate::server::{CloseCode, Closed, Handler, Message, Peer, Request};
use serde_json::json;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

/// The most characters of a member's name, and of a room's.
const MAX_NAME_CHARS: usize = 32;
const MAX_ROOM_CHARS: usize = 64;

/// The longest text of a message, in bytes. As JSON it may be six times as long.
const MAX_SAID_BYTES: usize = 16 << 10;

/// The most names in a welcome message.
const MAX_TOLD: usize = 100;

/// The members of all rooms, over all reactors.
#[derive(Debug, Default)]
pub struct Rooms(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    rooms: HashMap<String, BTreeSet<String>>,
    /// The number of joins and leaves. Messages from two reactors may arrive in any order; clients sort them by this
    /// number.
    change: u64,
}

/// The content of a welcome message.
struct Welcome {
    name: String,
    here: Vec<String>,
    count: usize,
    change: u64,
}

impl Rooms {
    /// Adds a member to a room. If the name is taken, it gets a number.
    fn enter(&self, room: &str, wanted: &str) -> Welcome {
        let mut book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Book { rooms, change } = &mut *book;
        let names = rooms.entry(room.to_owned()).or_default();
        *change += 1;
        // If all small numbers are taken, the number of the change is very likely free.
        let mut numbers = (2..10).chain(*change..);
        let mut name = wanted.to_owned();
        while names.contains(&name)
            && let Some(number) = numbers.next()
        {
            name = format!("{wanted}-{number}");
        }
        names.insert(name.clone());
        let here = names.iter().take(MAX_TOLD).cloned().collect();
        Welcome { name, here, count: names.len(), change: *change }
    }

    /// Removes a member from a room. Returns how many are left, and the number of the change.
    fn leave(&self, room: &str, name: &str) -> (usize, u64) {
        let mut book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Book { rooms, change } = &mut *book;
        let Some(names) = rooms.get_mut(room) else { return (0, *change) };
        names.remove(name);
        *change += 1;
        let left = (names.len(), *change);
        if names.is_empty() {
            rooms.remove(room);
        }
        left
    }
}

/// The state of a connection: its name and room.
#[derive(Debug, Default)]
pub struct Guest {
    room: String,
    name: String,
}

/// Sends each message to all members of the room, as JSON with the name of its sender.
#[derive(Debug)]
pub struct Chat {
    rooms: Arc<Rooms>,
}

impl Chat {
    /// Creates a chat with these rooms, which all reactors share.
    pub fn new(rooms: Arc<Rooms>) -> Self {
        Self { rooms }
    }
}

/// Returns the topic of a room.
fn topic(room: &str) -> String {
    format!("chat/{room}")
}

impl Handler<Guest> for Chat {
    fn opened(&mut self, peer: &mut Peer<Guest>, request: &Request) {
        let room = match request.normal_path().strip_prefix("/chat/").unwrap_or_default() {
            "" => Ok("lobby".to_owned()),
            room => name::decode(room, MAX_ROOM_CHARS),
        };
        let name = match query(request, "name") {
            None | Some("") => Ok("guest".to_owned()),
            Some(name) => name::decode(&name.replace('+', " "), MAX_NAME_CHARS),
        };
        let (room, name) = match (room, name) {
            (Ok(room), Ok(name)) => (room, name),
            (Err(bad), _) => return peer.close(CloseCode::POLICY, &format!("the room's name {bad}")),
            (_, Err(bad)) => return peer.close(CloseCode::POLICY, &format!("the name {bad}")),
        };
        let Welcome { name, here, count, change } = self.rooms.enter(&room, &name);
        let welcome = json!({
            "type": "welcome", "room": room, "name": name, "here": here, "count": count, "change": change,
        });
        peer.send(&welcome.to_string());
        let join = json!({ "type": "join", "name": name, "count": count, "change": change });
        // The join is published before the subscription, so that only the others get it.
        peer.publish(&topic(&room), &join.to_string());
        peer.subscribe(&topic(&room));
        *peer.state = Guest { room, name };
    }

    fn message(&mut self, peer: &mut Peer<Guest>, message: Message) {
        let Some(text) = message.text() else {
            return peer.close(CloseCode::UNSUPPORTED_DATA, "only text is said here");
        };
        if text.len() > MAX_SAID_BYTES {
            return peer.close(CloseCode::TOO_BIG, "at most 16 KiB are said at once");
        }
        let said = json!({ "type": "message", "name": peer.state.name, "text": text });
        let topic = topic(&peer.state.room);
        peer.publish(&topic, &said.to_string());
    }

    fn closed(&mut self, peer: &mut Peer<Guest>, _closed: &Closed) {
        let Guest { room, name } = std::mem::take(peer.state);
        if name.is_empty() {
            return; // it never joined
        }
        let (count, change) = self.rooms.leave(&room, &name);
        let leave = json!({ "type": "leave", "name": name, "count": count, "change": change });
        peer.publish(&topic(&room), &leave.to_string());
    }
}
