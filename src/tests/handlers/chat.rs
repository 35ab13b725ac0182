//! The chat of the tour: who is here, who comes, who goes, who says what.

use crate::host::Local;
use crate::rig::{frames_and_close, reset, say, single, text, upgrade_at, websocket_at};
use crate::wire::{BINARY, CLOSE, Wire, close_body, frame};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use steadfast::server::demo::DemoRoutes;
use steadfast::server::{Config, Server};

fn chat(reactors: usize) -> Local {
    let config = Config { reactors: Some(reactors), ..single() };
    Local::serve(DemoRoutes::default().add_to(Server::from(config)))
}

/// What is told next, and the number of the change that it tells of.
fn told_with_change(wire: &mut Wire) -> (Value, u64) {
    let text = text(wire);
    let mut told: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let change = told.as_object_mut().and_then(|object| object.remove("change"));
    assert_eq!(change.is_some(), told["type"] != "message", "who speaks changes nothing: {text}");
    (told, change.map_or(0, |change| change.as_u64().expect("a number")))
}

/// What is told next.
fn told(wire: &mut Wire) -> Value {
    told_with_change(wire).0
}

fn welcome(room: &str, name: &str, here: &[&str]) -> Value {
    json!({ "type": "welcome", "room": room, "name": name, "here": here, "count": here.len() })
}

fn join(name: &str, count: usize) -> Value {
    json!({ "type": "join", "name": name, "count": count })
}

fn leave(name: &str, count: usize) -> Value {
    json!({ "type": "leave", "name": name, "count": count })
}

fn message(name: &str, text: &str) -> Value {
    json!({ "type": "message", "name": name, "text": text })
}

#[test]
fn a_room_hears_who_comes_who_speaks_and_who_goes() {
    let local = chat(1);
    let mut ann = websocket_at(local.address, "/chat/room?name=Ann");
    assert_eq!(told(&mut ann), welcome("room", "Ann", &["Ann"]));
    let mut bob = websocket_at(local.address, "/chat/room?name=Bob");
    assert_eq!(told(&mut bob), welcome("room", "Bob", &["Ann", "Bob"]));
    assert_eq!(told(&mut ann), join("Bob", 2), "and not of herself");
    let mut cid = websocket_at(local.address, "/chat/room?x=1&name=Cid");
    assert_eq!(told(&mut cid), welcome("room", "Cid", &["Ann", "Bob", "Cid"]));
    for wire in [&mut ann, &mut bob] {
        assert_eq!(told(wire), join("Cid", 3));
    }
    for (at, said) in ["hi", "", "\"quoted\" \\ <b>ä</b>", "{\"type\":\"leave\"}"].into_iter().enumerate() {
        let wires = [&mut ann, &mut bob, &mut cid];
        let who = ["Ann", "Bob", "Cid", "Ann"][at];
        for (turn, wire) in wires.into_iter().enumerate() {
            if turn == at % 3 {
                say(wire, said);
            }
        }
        for wire in [&mut ann, &mut bob, &mut cid] {
            assert_eq!(told(wire), message(who, said), "the one who speaks hears it too");
        }
    }
    // One goes in each way there is.
    bob.send(&frame(CLOSE, &close_body(1000, b"")));
    assert_eq!(bob.frame().close_code(), 1000);
    for wire in [&mut ann, &mut cid] {
        assert_eq!(told(wire), leave("Bob", 2));
    }
    reset(cid);
    assert_eq!(told(&mut ann), leave("Cid", 1));
    say(&mut ann, "alone");
    assert_eq!(told(&mut ann), message("Ann", "alone"));
}

#[test]
fn each_change_has_a_number_by_which_it_can_be_put_in_order() {
    let local = chat(1);
    let mut ann = websocket_at(local.address, "/chat/room?name=Ann");
    let mut last = told_with_change(&mut ann).1;
    for _ in 0..3 {
        let mut bob = websocket_at(local.address, "/chat/room?name=Bob");
        let (_, welcomed) = told_with_change(&mut bob);
        assert_eq!(told_with_change(&mut ann), (join("Bob", 2), welcomed), "the same change, told in two ways");
        assert!(welcomed > last, "{welcomed} behind {last}");
        drop(bob);
        let (gone, change) = told_with_change(&mut ann);
        assert!(gone == leave("Bob", 1) && change > welcomed, "{gone} {change} behind {welcomed}");
        last = change;
    }
}

#[test]
fn a_name_that_is_taken_gets_a_number() {
    let local = chat(3);
    let names = ["Ann", "Ann-2", "Ann-3"];
    let mut wires: Vec<Wire> = Vec::new();
    for (at, name) in names.into_iter().enumerate() {
        let mut wire = websocket_at(local.address, "/chat/taken?name=Ann");
        assert_eq!(told(&mut wire), welcome("taken", name, &names[..=at]));
        wires.push(wire);
    }
    // Who asks for the name with the number, gets it with another; in another room it is free.
    let mut other = websocket_at(local.address, "/chat/taken?name=Ann-2");
    assert_eq!(told(&mut other)["name"], "Ann-2-2");
    let mut elsewhere = websocket_at(local.address, "/chat/free?name=Ann");
    assert_eq!(told(&mut elsewhere), welcome("free", "Ann", &["Ann"]));
    // A name is free again when who had it has gone.
    let gone = wires.remove(1);
    drop(gone);
    while told(&mut wires[0]) != leave("Ann-2", 3) {}
    let mut again = websocket_at(local.address, "/chat/taken?name=Ann");
    assert_eq!(told(&mut again)["name"], "Ann-2");
    // Without a name there is one all the same, and a lobby without a room.
    for (at, target) in ["/chat", "/chat?name=", "/chat/", "/chat/?x=y"].into_iter().enumerate() {
        let mut guest = websocket_at(local.address, target);
        let first = told(&mut guest);
        let name = if at == 0 { "guest".to_owned() } else { format!("guest-{}", at + 1) };
        assert_eq!((&first["room"], &first["name"]), (&json!("lobby"), &json!(name)), "{target}");
        wires.push(guest);
    }
}

#[test]
fn two_rooms_do_not_hear_each_other() {
    let local = chat(2);
    // Names that begin alike, and one that looks like a path.
    let rooms = ["one", "one/two", "on", "One"];
    let mut wires = rooms.map(|room| websocket_at(local.address, &format!("/chat/{room}?name=me")));
    for (wire, room) in wires.iter_mut().zip(rooms) {
        assert_eq!(told(wire), welcome(room, "me", &["me"]));
    }
    for (wire, room) in wires.iter_mut().zip(rooms) {
        say(wire, room);
        drop(websocket_at(local.address, &format!("/chat/{room}?name=guest")));
    }
    for (wire, room) in wires.iter_mut().zip(rooms) {
        let heard = [told(wire), told(wire), told(wire)];
        for expected in [message("me", room), join("guest", 2), leave("guest", 1)] {
            assert!(heard.contains(&expected), "{heard:?} in {room}");
        }
        say(wire, "the end");
        assert_eq!(told(wire), message("me", "the end"));
    }
}

#[test]
fn rooms_and_names_may_be_of_any_language() {
    let local = chat(1);
    let mut wire = websocket_at(local.address, "/chat/caf%C3%A9%20%2F%3F?name=J%C3%BCrgen+%E2%9C%93%26%3D");
    assert_eq!(told(&mut wire), welcome("café /?", "Jürgen ✓&=", &["Jürgen ✓&="]));
    // The same room, written in another way.
    let mut other = websocket_at(local.address, "/chat/%63af%c3%a9%20%2f%3f?name=%20trimmed%09+");
    assert_eq!(told(&mut other)["name"], "trimmed");
    assert_eq!(told(&mut wire), join("trimmed", 2));
    let longest = "%C3%A4".repeat(32);
    let mut third = websocket_at(local.address, &format!("/chat/{}?name={longest}", "%C3%B6".repeat(64)));
    assert_eq!(told(&mut third), welcome(&"ö".repeat(64), &"ä".repeat(32), &[&"ä".repeat(32)]));
}

/// Who is refused, and with which code.
fn refused(address: SocketAddr, target: &str) -> u16 {
    let mut wire = websocket_at(address, target);
    let (frames, close) = frames_and_close(&mut wire);
    assert_eq!(frames, [], "nothing is told to {target}");
    close.close_code()
}

#[test]
fn who_has_no_proper_name_is_not_let_in_and_nobody_hears_of_it() {
    let local = chat(1);
    let mut wire = websocket_at(local.address, "/chat/room?name=me");
    assert_eq!(told(&mut wire), welcome("room", "me", &["me"]));
    let (name, room) = ("a".repeat(33), "r".repeat(65));
    let targets = [
        format!("/chat/room?name={name}"),
        format!("/chat/room?name={}", "%C3%A4".repeat(33)),
        format!("/chat/{room}?name=you"),
        "/chat/room?name=%20".into(),
        "/chat/room?name=+".into(),
        "/chat/room?name=a%0Ab".into(),
        "/chat/room?name=a%00".into(),
        "/chat/room?name=%7f".into(),
        "/chat/room?name=%C2%85".into(),
        "/chat/room?name=%FF".into(),
        "/chat/room?name=%C3".into(),
        "/chat/%20?name=you".into(),
        "/chat/%1b%5B2J?name=you".into(),
        "/chat/%FF".into(),
    ];
    for target in &targets {
        assert_eq!(refused(local.address, target), 1008, "{target}");
    }
    // What is said before the refusal has come is heard by nobody.
    let mut rude = Wire::connect(local.address);
    let request = upgrade_at("/chat/room?name=%00", "");
    rude.send(&[request.as_bytes(), &frame(0x81, b"let me in")].concat());
    rude.assert_upgraded();
    assert_eq!(frames_and_close(&mut rude).1.close_code(), 1008);
    say(&mut wire, "still alone");
    assert_eq!(told(&mut wire), message("me", "still alone"));
}

#[test]
fn who_says_what_is_no_text_is_closed_and_the_others_hear_that_one_left() {
    let local = chat(1);
    let mut wire = websocket_at(local.address, "/chat?name=me");
    let mut other = websocket_at(local.address, "/chat?name=other");
    assert_eq!(told(&mut other)["count"], 2);
    other.send(&[frame(BINARY, b"\x00"), frame(0x81, b"behind")].concat());
    assert_eq!(frames_and_close(&mut other).1.close_code(), 1003);
    let heard = [told(&mut wire), told(&mut wire), told(&mut wire)];
    assert_eq!(heard, [welcome("lobby", "me", &["me"]), join("other", 2), leave("other", 1)]);
    say(&mut wire, "alone");
    assert_eq!(told(&mut wire), message("me", "alone"));
}

#[test]
fn a_crowd_of_all_reactors_agrees_on_who_is_here() {
    let local = chat(3);
    let mut wires: Vec<Wire> = Vec::new();
    for number in 0..120 {
        let mut wire = websocket_at(local.address, &format!("/chat/crowd?name=n{number:03}"));
        let first = told(&mut wire);
        let here = first["here"].as_array().expect("names").len();
        assert_eq!((&first["count"], here), (&json!(number + 1), 100.min(number + 1)), "at most 100 are told");
        wires.push(wire);
    }
    let mut first = wires.remove(0);
    for (at, wire) in wires.into_iter().enumerate() {
        if at % 2 == 0 { drop(wire) } else { reset(wire) }
    }
    // Of each that it is here and that it has gone, in whatever order the reactors told of different ones.
    let mut changes = BTreeMap::new();
    while changes.len() < 2 * 119 {
        let (told, change) = told_with_change(&mut first);
        assert_eq!(changes.insert(change, told), None, "a number that was given twice");
    }
    let (mut here, mut count) = (BTreeSet::new(), 1);
    for (_, told) in changes {
        let name = told["name"].as_str().expect("a name").to_owned();
        let (was_news, expected) = match told["type"].as_str() {
            Some("join") => (here.insert(name.clone()), join(&name, count + 1)),
            Some("leave") => (here.remove(&name), leave(&name, count - 1)),
            _ => panic!("nobody spoke: {told}"),
        };
        assert!(was_news && told == expected, "{told} instead of {expected}");
        count = here.len() + 1;
    }
    assert_eq!(count, 1);
    say(&mut first, "alone");
    assert_eq!(told(&mut first), message("n000", "alone"));
}

/// Two names that look alike are two persons, and a name may turn around the text beside it.
#[test]
fn join_with_invisible_characters_in_a_name_is_rejected_and_says_which() {
    let local = chat(1);
    let reason = |target: &str| {
        let close = frames_and_close(&mut websocket_at(local.address, target)).1;
        assert_eq!(close.close_code(), 1008, "{target}");
        String::from_utf8(close.payload[2..].to_vec()).expect("a reason")
    };
    for code in [
        0x7, 0x7f, 0x85, 0xad, 0x34f, 0x61c, 0x115f, 0x180e, 0x200b, 0x200c, 0x200d, 0x200e, 0x200f, 0x2028, 0x2029,
        0x202a, 0x202e, 0x2060, 0x2066, 0x2069, 0x206f, 0x3164, 0xfe0f, 0xfeff, 0xffa0, 0xfff9, 0x1d173, 0xe0001,
        0xe0041, 0xe01ef,
    ] {
        let char = char::from_u32(code).expect("a character").to_string();
        let encoded: String = char.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let expected = format!("contains U+{code:04X}, a control or invisible character");
        assert_eq!(reason(&format!("/chat/room?name=a{encoded}b")), format!("the name {expected}"));
        assert_eq!(reason(&format!("/chat/a{encoded}b?name=you")), format!("the room's name {expected}"));
    }
    for (target, expected) in [
        ("/chat?name=%20+", "the name is blank"),
        ("/chat?name=%E3%80%80%C2%A0", "the name is blank"),
        ("/chat?name=%E2%A0%80", "the name is blank"),
        ("/chat?name=%FF", "the name is not UTF-8"),
        ("/chat/%E2%80%83", "the room's name is blank"),
    ] {
        assert_eq!(reason(target), expected, "{target}");
    }
    assert_eq!(reason(&format!("/chat?name={}", "n".repeat(33))), "the name has more than 32 characters");
    // Names in any script, and spaces within them.
    for (target, name) in [("%D7%A9%D7%9C%D7%95%D7%9D", "שלום"), ("J.+R.+%C3%84", "J. R. Ä"), ("%F0%9F%A6%80", "🦀")]
    {
        let mut wire = websocket_at(local.address, &format!("/%63hat/script?name={target}"));
        let welcome = told(&mut wire);
        assert_eq!((&welcome["name"], &welcome["room"]), (&json!(name), &json!("script")));
    }
}
