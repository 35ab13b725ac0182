//! A client and a server wired to one another: what one sends the other receives, and nothing else.
//!
//! An input is a byte that is odd where they begin with a handshake, and then steps: a byte for what is done (bits 1 to
//! 3) and by whom (bit 0, the server if it is set), and one for how much.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
include!("../root.rs");

use crate::feed::{Seen, Start};
use crate::naive::{Place, broken_rules, read_header};
use crate::script::Script;
use crate::sessions::End;
use crate::wire::{CLIENT_KEY, MASK, UPGRADE};
use steadfast::proto::frame::Role;

/// A reason that does not fit into a Close: the 123 bytes that do end between two characters, not in one.
const REASON: &str = "€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€";

/// More steps than that take time, and find nothing new.
const MANY: usize = 100;

pub(crate) fn check(data: &[u8]) {
    let mut script = Script::new(data);
    let handshake = script.byte() & 1 != 0;
    let mut ends = if handshake {
        let mut client = End::new(Start::Handshake);
        client.sends_first(UPGRADE.replace("dGhlIHNhbXBsZSBub25jZQ==", CLIENT_KEY).as_bytes());
        [client, End::new(Start::Server)]
    } else {
        [End::new(Start::Open(Role::Client)), End::new(Start::Open(Role::Server))]
    };
    for [what, how_much] in std::iter::from_fn(|| (!script.is_empty()).then(|| script.bytes())).take(MANY) {
        step(&mut ends, what, how_much);
    }
    // What is under way arrives, and somebody has the last word.
    settle(&mut ends);
    ends[data.len() & 1].close(1000, "");
    settle(&mut ends);
    let [client, server] = &ends;
    judge(client, server, Role::Client, handshake);
    judge(server, client, Role::Server, handshake);
}

fn step(ends: &mut [End; 2], what: u8, how_much: u8) {
    let [client, server] = ends;
    let (this, other) = if what & 1 == 0 { (client, server) } else { (server, client) };
    let length = match how_much {
        short @ 0..=199 => usize::from(short),
        long @ 200..=254 => usize::from(long - 200) * 50,
        u8::MAX => 66_000,
    };
    let salt = usize::from(what >> 4);
    match what >> 1 & 7 {
        0 | 1 => this.send(Seen::Text(text(length, salt))),
        2 => this.send(Seen::Binary(binary(length, salt))),
        3 => this.ping(binary(length, salt)),
        4 => this.close(
            [1000, 1001, 1014, 1003, 1013, 3000, 4999, 1012][usize::from(how_much) % 8],
            &REASON[salt / 3 * 3..],
        ),
        5 => drop(this.deliver(1 + length % 4, other)),
        _ => drop(this.deliver(1 + length, other)),
    }
}

/// Text of nearly this length, with characters of every length that there is.
fn text(length: usize, salt: usize) -> Vec<u8> {
    let some = ["aé€😀\0z", "z😀", "€", "\u{feff}", "abcdefg"][salt % 5];
    let mut text = some.repeat(1 + length / some.len());
    text.truncate(text.floor_char_boundary(length));
    text.into()
}

fn binary(length: usize, salt: usize) -> Vec<u8> {
    let mut bytes = [0, 0xff, 0x80, salt as u8, 7].repeat(1 + length / 5);
    bytes.truncate(length);
    bytes
}

fn settle(ends: &mut [End; 2]) {
    let [client, server] = ends;
    while client.deliver(usize::MAX, server) | server.deliver(usize::MAX, client) {}
}

/// What `this` has seen is what `other` did, up to the end that one of them began.
fn judge(this: &End, other: &End, role: Role, handshake: bool) {
    assert!(this.is_closed() && this.kept_bytes() == 0, "{role:?}: not over");
    let (mut messages, mut pings, mut pongs, mut closed) = (Vec::new(), Vec::new(), Vec::new(), None);
    for seen in this.seen() {
        assert!(closed.is_none(), "{role:?}: {seen:?} behind a close");
        match seen {
            Seen::Text(_) | Seen::Binary(_) => messages.push(seen.clone()),
            Seen::Ping(payload) => pings.push(payload.clone()),
            Seen::Pong(payload) => pongs.push(payload.clone()),
            Seen::Closed(code, _) => closed = Some(*code),
            Seen::Opened | Seen::Request { .. } if handshake => {}
            other => panic!("{role:?}: {other:?}"),
        }
    }
    // An endpoint that began to close may have missed messages on the way; no other one misses anything.
    assert!(other.messages.starts_with(&messages), "{role:?}: {messages:?} of {:?}", other.messages);
    assert!(this.began.is_some() || other.messages == messages, "{role:?}: {messages:?} of {:?}", other.messages);
    assert!(other.pings.starts_with(&pings) && this.pings.starts_with(&pongs), "{role:?}: pings or pongs");
    assert!(this.began.is_some() || other.pings == pings, "{role:?}: {pings:?} of {:?}", other.pings);
    // Where both began, each has the other's code.
    let code = other.began.or(this.began);
    assert!(code.is_some() && closed == code, "{role:?}: {closed:?} is not {code:?}");
    is_well_formed(this, role, handshake);
}

/// What an endpoint sent after its head are frames that break no rule, and the last of them, and no other, is a Close.
fn is_well_formed(this: &End, role: Role, handshake: bool) {
    let mut rest = this.sent();
    if handshake {
        let head = rest.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
        rest = &rest[head + 4..];
    }
    let to = if role == Role::Client { Role::Server } else { Role::Client };
    let place = Place { role: to, open_message: None, max_message_bytes: 1 << 20, extension_bits: 0 };
    let mut closes = 0;
    while !rest.is_empty() {
        assert_eq!(closes, 0, "{role:?}: frames behind a Close");
        let header = read_header(rest).expect("a header");
        assert_eq!(broken_rules(&header, place), [], "{role:?}: {header:?}");
        assert!(header.fin && header.mask.is_none_or(|mask| mask == MASK));
        rest = &rest[header.header_bytes + header.payload_bytes as usize..];
        closes += usize::from(header.opcode == 8);
    }
    assert_eq!(closes, 1, "{role:?}: each end sends one Close");
}
