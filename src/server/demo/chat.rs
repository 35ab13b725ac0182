//! A chat: rooms by path, names, who is here, who comes and goes.

use super::name;
use super::query::query;
use crate::server::{CloseCode, Closed, Handler, Message, Peer, Request};
use serde_json::json;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

/// The most characters of a name, and of a room's.
const MAX_NAME_CHARS: usize = 32;
const MAX_ROOM_CHARS: usize = 64;

/// The longest text: as JSON it may be six times as long.
const MAX_SAID_BYTES: usize = 16 << 10;

/// The most names that a newcomer is told.
const MAX_TOLD: usize = 100;

/// Who is in which room, over all reactors.
#[derive(Debug, Default)]
pub struct Rooms(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    rooms: HashMap<String, BTreeSet<String>>,
    /// How often somebody came or went. What two reactors tell of that may arrive in any order: by this number a client knows
    /// which came first.
    change: u64,
}

/// What a newcomer is told.
struct Welcome {
    name: String,
    here: Vec<String>,
    count: usize,
    change: u64,
}

impl Rooms {
    /// Adds a name to a room, or one like it where it is taken.
    fn enter(&self, room: &str, wanted: &str) -> Welcome {
        let mut book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Book { rooms, change } = &mut *book;
        let names = rooms.entry(room.to_owned()).or_default();
        *change += 1;
        // Where thousands have the same name, the number of the change is one that nobody has looked for yet.
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

    /// Takes it out again; returns how many are left, and the number of that change.
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

/// Who a connection is, and where.
#[derive(Debug, Default)]
pub struct Guest {
    room: String,
    name: String,
}

/// Sends what one says to all in the room, as JSON with the name.
#[derive(Debug)]
pub struct Chat {
    rooms: Arc<Rooms>,
}

impl Chat {
    /// A chat in these rooms, which all reactors share.
    pub fn new(rooms: Arc<Rooms>) -> Self {
        Self { rooms }
    }
}

/// The topic of a room.
fn topic(room: &str) -> String {
    format!("chat/{room}")
}

impl Handler<Guest> for Chat {
    fn opened(&mut self, peer: &mut Peer<Guest>, request: &Request, _subprotocol: Option<&str>) {
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
        // Who comes is told to those who are here already.
        peer.publish(&topic(&room), &join.to_string());
        peer.subscribe(&topic(&room));
        *peer.state = Guest { room, name };
    }

    fn message(&mut self, peer: &mut Peer<Guest>, message: Message) {
        let Some(text) = message.text() else {
            return peer.close(CloseCode(1003), "only text is said here");
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
            return; // it was never let in
        }
        let (count, change) = self.rooms.leave(&room, &name);
        let leave = json!({ "type": "leave", "name": name, "count": count, "change": change });
        peer.publish(&topic(&room), &leave.to_string());
    }
}
