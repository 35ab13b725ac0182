//! Messages, fragments, pings and pongs, received by both roles.

use super::feed::{Seen, Start, Transcript};
use super::wire::{self, BINARY, LAST, MORE, OPEN_BINARY, OPEN_TEXT, PING, PONG, TEXT, both_roles};
use steadfast::proto::frame::Role;
use steadfast::proto::session::{Limits, State};

/// Each frame as `role` should receive it.
fn frames(role: Role, frames: &[(u8, &[u8])]) -> Vec<u8> {
    frames.iter().flat_map(|(first, payload)| wire::to(role, *first, payload)).collect()
}

#[test]
fn the_examples_of_rfc_6455_section_5_7() {
    let server = |input: &[u8]| Transcript::new(format!("{input:02x?}"), Start::Open(Role::Server), input);
    let client = |input: &[u8]| Transcript::new(format!("{input:02x?}"), Start::Open(Role::Client), input);
    client(b"\x81\x05\x48\x65\x6c\x6c\x6f").sees([Seen::text("Hello")]).leaves(State::Open);
    server(b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58").sees([Seen::text("Hello")]).leaves(State::Open);
    client(b"\x01\x03\x48\x65\x6c\x80\x02\x6c\x6f").sees([Seen::text("Hello")]).leaves(State::Open);
    client(b"\x89\x05\x48\x65\x6c\x6c\x6f")
        .sees([Seen::Ping(b"Hello".to_vec())])
        .sends(b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58")
        .leaves(State::Open);
    server(b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58").sees([Seen::Pong(b"Hello".to_vec())]).leaves(State::Open);
    server(b"\x89\x80\x37\xfa\x21\x3d").sees([Seen::Ping(vec![])]).sends(b"\x8a\x00").leaves(State::Open);
}

#[test]
fn every_form_of_length() {
    for role in both_roles() {
        for length in [0, 1, 2, 3, 4, 5, 124, 125, 126, 127, 128, 129, 255, 256, 65_535, 65_536] {
            let bytes: Vec<u8> = (0..length).map(|i: usize| (i * 7 + i / 251) as u8).collect();
            let text = "é".repeat(length / 2) + if length % 2 == 1 { "x" } else { "" };
            let input = frames(role, &[(BINARY, &bytes), (TEXT, text.as_bytes()), (BINARY, b"behind it")]);
            Transcript::new(format!("{role:?}, {length} bytes"), Start::Open(role), input)
                .sees([Seen::Binary(bytes), Seen::text(&text), Seen::Binary(b"behind it".to_vec())])
                .leaves(State::Open);
        }
    }
}

#[test]
fn fragments_make_one_message() {
    for role in both_roles() {
        for (name, input, seen) in [
            ("two", frames(role, &[(OPEN_TEXT, b"ab"), (LAST, b"cd")]), Seen::text("abcd")),
            (
                "three",
                frames(role, &[(OPEN_BINARY, b"a"), (MORE, b"b"), (LAST, b"\xff")]),
                Seen::Binary(b"ab\xff".into()),
            ),
            ("all empty", frames(role, &[(OPEN_TEXT, b""), (MORE, b""), (LAST, b"")]), Seen::text("")),
            ("empty ends", frames(role, &[(OPEN_BINARY, b""), (MORE, b"x"), (LAST, b"")]), Seen::Binary(b"x".into())),
            (
                "cut in a character",
                frames(role, &[(OPEN_TEXT, b"\xf0\x9f"), (MORE, b"\x98"), (LAST, b"\x80!")]),
                Seen::text("😀!"),
            ),
        ] {
            Transcript::new(format!("{role:?}, {name}"), Start::Open(role), input).sees([seen]).leaves(State::Open);
        }
    }
}

#[test]
fn control_frames_between_fragments_come_first() {
    for role in both_roles() {
        let euro = "€".as_bytes();
        let input = frames(
            role,
            &[
                (OPEN_TEXT, &euro[..1]),
                (PING, b"one"),
                (MORE, &euro[1..2]),
                (PONG, b"two"),
                (PING, b""),
                (LAST, &euro[2..]),
                (PING, b"after"),
                (BINARY, b"next"),
            ],
        );
        Transcript::new(format!("{role:?}"), Start::Open(role), input)
            .sees([Seen::Ping(b"one".to_vec()), Seen::Pong(b"two".to_vec()), Seen::Ping(vec![]), Seen::text("€")])
            .sees([Seen::Ping(b"after".to_vec()), Seen::Binary(b"next".to_vec())])
            .sends(wire::from(role, PONG, "one"))
            .sends(wire::from(role, PONG, ""))
            .sends(wire::from(role, PONG, "after"))
            .leaves(State::Open);
    }
}

#[test]
fn pings_are_answered_with_what_they_said() {
    for role in both_roles() {
        for length in [0, 1, 4, 124, 125] {
            let payload = vec![0xf7; length];
            Transcript::new(format!("{role:?}, a ping of {length}"), Start::Open(role), wire::to(role, PING, &payload))
                .sees([Seen::Ping(payload.clone())])
                .sends(wire::from(role, PONG, &payload))
                .leaves(State::Open);
            Transcript::new(format!("{role:?}, a pong of {length}"), Start::Open(role), wire::to(role, PONG, &payload))
                .sees([Seen::Pong(payload)])
                .leaves(State::Open);
        }
    }
}

#[test]
fn text_of_every_length_of_character_may_be_cut_anywhere() {
    let text = "\0 az \u{7f}\u{80}\u{7ff}\u{800}\u{d7ff}\u{e000}\u{feff}\u{ffff}\u{10000}\u{10ffff}";
    for role in both_roles() {
        Transcript::new(format!("{role:?}, one frame"), Start::Open(role), wire::to(role, TEXT, text))
            .sees([Seen::text(text)])
            .leaves(State::Open);
        let bytes = text.as_bytes();
        for at in 0..=bytes.len() {
            let input = frames(role, &[(OPEN_TEXT, &bytes[..at]), (LAST, &bytes[at..])]);
            Transcript::new(format!("{role:?}, fragments cut at {at}"), Start::Open(role), input)
                .sees([Seen::text(text)])
                .leaves(State::Open);
        }
    }
}

#[test]
fn messages_up_to_the_limit_are_taken() {
    let limits = Limits { max_message_bytes: 200, max_fragments: 3, ..Limits::default() };
    for role in both_roles() {
        let half = [b'h'; 100];
        for (name, input) in [
            ("one frame", frames(role, &[(BINARY, &[b'h'; 200])])),
            ("two halves", frames(role, &[(OPEN_BINARY, &half), (LAST, &half)])),
            ("as many fragments as may be", frames(role, &[(OPEN_BINARY, &half), (MORE, b""), (LAST, &half)])),
            ("with pings between", frames(role, &[(OPEN_BINARY, &half), (PONG, &half), (PONG, &half), (LAST, &half)])),
        ] {
            let pongs = if name == "with pings between" { 2 } else { 0 };
            Transcript::new(format!("{role:?}, {name}, twice"), Start::Open(role), [&*input, &*input].concat())
                .under(limits)
                .sees(vec![Seen::Pong(half.to_vec()); pongs])
                .sees([Seen::Binary(vec![b'h'; 200])])
                .sees(vec![Seen::Pong(half.to_vec()); pongs])
                .sees([Seen::Binary(vec![b'h'; 200])])
                .leaves(State::Open);
        }
    }
}

#[test]
fn the_end_without_a_close_is_not_proper() {
    for role in both_roles() {
        for input in [vec![], wire::to(role, TEXT, "hi")[..3].to_vec()] {
            Transcript::new(format!("{role:?}, {} bytes", input.len()), Start::Open(role), input)
                .then_ends()
                .sees([Seen::End(false)])
                .leaves(State::Closed);
        }
    }
}
