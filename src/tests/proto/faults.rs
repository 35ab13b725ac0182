//! Every fault, made by raw bytes: found at the earliest byte that shows it, and closed with the code of its kind.

use super::feed::{Peer, Seen, Start, Transcript};
use super::wire::{self, BINARY, CLOSE, Form, LAST, MORE, OPEN_BINARY, OPEN_TEXT, PING, PONG, TEXT, both_roles};
use steadfast::proto::close::Fault;
use steadfast::proto::frame::Role;
use steadfast::proto::session::{Limits, State};

fn limits() -> Limits {
    Limits { max_message_bytes: 1_000, max_fragments: 4, max_control_frames_per_s: 3, ..Limits::default() }
}

/// What `role` sees and sends before the fault is left to `before`; the session ends with it.
fn fails(role: Role, name: &str, input: Vec<u8>, before: &[Seen], (fault, code): (Fault, u16)) {
    let pongs = before.iter().filter_map(|seen| match seen {
        Seen::Ping(payload) => Some(wire::from(role, PONG, payload)),
        _ => None,
    });
    let pongs: Vec<u8> = pongs.flatten().collect();
    // What follows the fault is never parsed.
    let input = [input, wire::to(role, TEXT, "behind it")].concat();
    Transcript::new(format!("{role:?}, {fault:?}, {name}"), Start::Open(role), input)
        .under(limits())
        .sees(before.to_vec())
        .sees([Seen::Failed(fault)])
        .sends(pongs)
        .sends(wire::from(role, CLOSE, wire::close_body(code, fault.reason())))
        .leaves(State::Closed);
}

/// A header alone: it is enough, whatever length it announces.
fn head(role: Role, first: u8, length: u64, form: Form) -> Vec<u8> {
    wire::header(first, wire::mask_to(role), length, form)
}

#[test]
fn reserved_bits_and_opcodes() {
    for role in both_roles() {
        for bit in [0x40, 0x20, 0x10, 0x70] {
            for first in [TEXT, BINARY, PING, CLOSE, OPEN_TEXT] {
                let input = wire::to(role, first | bit, "");
                fails(role, &format!("{bit:#x} on {first:#x}"), input, &[], (Fault::ReservedBits, 1002));
            }
        }
        for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
            let input = wire::to(role, 0x80 | opcode, "x");
            fails(role, &format!("opcode {opcode}"), input, &[], (Fault::ReservedOpcode, 1002));
            fails(role, "not final", wire::to(role, opcode, "x"), &[], (Fault::ReservedOpcode, 1002));
        }
    }
}

#[test]
fn masks_of_the_wrong_kind() {
    for first in [TEXT, BINARY, PING, PONG, CLOSE, OPEN_TEXT] {
        let bare = wire::frame(first, None, b"payload");
        fails(Role::Server, &format!("{first:#x}"), bare, &[], (Fault::Unmasked, 1002));
        let masked = wire::frame(first, Some([0; 4]), b"payload");
        fails(Role::Client, &format!("{first:#x}"), masked, &[], (Fault::Masked, 1002));
    }
}

#[test]
fn lengths_out_of_form() {
    for role in both_roles() {
        for (length, form) in
            [(0, Form::Bits16), (125, Form::Bits16), (0, Form::Bits64), (126, Form::Bits64), (65_535, Form::Bits64)]
        {
            let input = head(role, BINARY, length, form);
            fails(role, &format!("{length} in {form:?}"), input, &[], (Fault::LengthNotMinimal, 1002));
        }
        fails(role, "a ping", head(role, PING, 5, Form::Bits16), &[], (Fault::LengthNotMinimal, 1002));
        for length in [1 << 63, u64::MAX] {
            let input = head(role, BINARY, length, Form::Bits64);
            fails(role, &format!("{length:#x}"), input, &[], (Fault::LengthOverflow, 1002));
        }
    }
}

#[test]
fn control_frames_out_of_form() {
    for role in both_roles() {
        for first in [PING, PONG, CLOSE] {
            let input = head(role, first, 126, Form::Bits16);
            fails(role, &format!("{first:#x} of 126"), input, &[], (Fault::ControlTooLong, 1002));
            let input = head(role, first, 1 << 40, Form::Bits64);
            fails(role, &format!("{first:#x} of a terabyte"), input, &[], (Fault::ControlTooLong, 1002));
            let input = wire::to(role, first & 0x0f, "x");
            fails(role, &format!("{first:#x} not final"), input, &[], (Fault::ControlFragmented, 1002));
        }
    }
}

#[test]
fn continuations_out_of_order() {
    for role in both_roles() {
        for first in [MORE, LAST] {
            let input = wire::to(role, first, "x");
            fails(role, &format!("{first:#x} at once"), input, &[], (Fault::UnexpectedContinuation, 1002));
            let input = [wire::to(role, TEXT, "whole"), wire::to(role, first, "")].concat();
            let before = [Seen::text("whole")];
            fails(role, "behind a whole message", input, &before, (Fault::UnexpectedContinuation, 1002));
            let parts = [(OPEN_TEXT, "a"), (LAST, "b"), (first, "c")];
            let input = parts.iter().flat_map(|(first, text)| wire::to(role, *first, text)).collect();
            let before = [Seen::text("ab")];
            fails(role, "behind a fragmented one", input, &before, (Fault::UnexpectedContinuation, 1002));
        }
        for first in [TEXT, BINARY, OPEN_TEXT, OPEN_BINARY] {
            let input = [wire::to(role, OPEN_TEXT, ""), wire::to(role, PING, "p"), wire::to(role, first, "x")].concat();
            let before = [Seen::Ping(b"p".to_vec())];
            fails(role, &format!("{first:#x} inside"), input, &before, (Fault::ExpectedContinuation, 1002));
        }
    }
}

/// Bytes that can be part of no text, each with how many of them show it.
const NOT_UTF8: [(&[u8], usize); 9] = [
    (b"\xff", 1),
    (b"\x80", 1),
    (b"\xc0\x80", 1),
    (b"\xc3\x28", 2),
    (b"\xe0\x80\x80", 2),
    (b"\xed\xa0\x80", 2),
    (b"\xf4\x90\x80\x80", 2),
    (b"\xf5\x80", 1),
    (b"\xe2\x82A", 3),
];

#[test]
fn text_that_is_not_utf8_is_found_before_its_frame_ends() {
    for role in both_roles() {
        for (bad, shows) in NOT_UTF8 {
            let text = [b"ok \xc3\xa9 ", bad].concat();
            fails(role, &format!("{bad:02x?}, whole"), wire::to(role, TEXT, &text), &[], (Fault::TextNotUtf8, 1007));
            // Of 900 bytes announced, only those arrive that show it; the frame `fails` adds is not needed.
            let known = text.len() - bad.len() + shows;
            let announced = wire::to(role, TEXT, [&text[..known], &[b'x'; 900]].concat());
            let arrived = announced.len() - 900;
            let mut peer = Peer::new(Start::Open(role), limits(), arrived);
            peer.feed(&announced[..arrived - 1]);
            assert_eq!(peer.seen, [], "{bad:02x?} before its last byte");
            peer.feed(&announced[arrived - 1..arrived]);
            assert_eq!(peer.seen, [Seen::Failed(Fault::TextNotUtf8)], "{bad:02x?}");
            let fragments = [wire::to(role, OPEN_TEXT, &text[..known - 1]), wire::to(role, MORE, &text[known - 1..])];
            fails(role, &format!("{bad:02x?}, over fragments"), fragments.concat(), &[], (Fault::TextNotUtf8, 1007));
        }
    }
}

#[test]
fn text_that_ends_inside_a_character() {
    for role in both_roles() {
        for open in [b"\xc3".as_slice(), b"\xe2\x82", b"\xf0\x9f\x98"] {
            let name = format!("{open:02x?}");
            fails(role, &name, wire::to(role, TEXT, open), &[], (Fault::TextNotUtf8, 1007));
            let fragments = [wire::to(role, OPEN_TEXT, "ok"), wire::to(role, LAST, open)].concat();
            fails(role, &name, fragments, &[], (Fault::TextNotUtf8, 1007));
            let fragments = [wire::to(role, OPEN_TEXT, open), wire::to(role, LAST, "")].concat();
            fails(role, &name, fragments, &[], (Fault::TextNotUtf8, 1007));
            let binary = wire::to(role, BINARY, open);
            Transcript::new("binary is not text", Start::Open(role), binary)
                .sees([Seen::Binary(open.to_vec())])
                .leaves(State::Open);
        }
    }
}

#[test]
fn messages_over_the_limit_are_found_by_their_headers() {
    for role in both_roles() {
        for (length, form) in [(1_001, Form::Bits16), (65_536, Form::Bits64), ((1 << 63) - 1, Form::Bits64)] {
            for first in [TEXT, BINARY, OPEN_BINARY] {
                let input = head(role, first, length, form);
                fails(role, &format!("{first:#x} of {length}"), input, &[], (Fault::MessageTooBig, 1009));
            }
            let input = [wire::to(role, OPEN_BINARY, ""), head(role, LAST, length, form)].concat();
            fails(role, &format!("a continuation of {length}"), input, &[], (Fault::MessageTooBig, 1009));
        }
        let full = wire::to(role, OPEN_BINARY, [0; 1_000]);
        let ping = wire::to(role, PING, "p");
        let input = [full, ping, head(role, MORE, 1, Form::Bits7)].concat();
        let before = [Seen::Ping(b"p".to_vec())];
        fails(role, "the sum of two", input, &before, (Fault::MessageTooBig, 1009));
        let third = wire::to(role, OPEN_TEXT, [b'x'; 400]);
        let input = [third, wire::to(role, MORE, [b'x'; 400]), head(role, LAST, 201, Form::Bits16)].concat();
        fails(role, "the sum of three", input, &[], (Fault::MessageTooBig, 1009));
    }
}

/// Short frames are recognised by a path of their own, which has to know of limits as short.
#[test]
fn short_messages_over_a_short_limit() {
    for role in both_roles() {
        for max in [0, 1, 10, 124] {
            let short = Limits { max_message_bytes: max as u64, ..Limits::default() };
            for (first, seen) in [(TEXT, Seen::Text(vec![b'x'; max])), (BINARY, Seen::Binary(vec![b'x'; max]))] {
                let input =
                    [wire::to(role, first, vec![b'x'; max]), wire::to(role, first, vec![b'x'; max + 1])].concat();
                let fault = Fault::MessageTooBig;
                Transcript::new(format!("{role:?}, {first:#x}, a limit of {max}"), Start::Open(role), input)
                    .under(short)
                    .sees([seen, Seen::Failed(fault)])
                    .sends(wire::from(role, CLOSE, wire::close_body(1009, fault.reason())))
                    .leaves(State::Closed);
            }
        }
    }
}

#[test]
fn fragments_over_the_limit() {
    for role in both_roles() {
        for (name, payload) in [("of one byte", "x"), ("empty", "")] {
            for fifth in [MORE, LAST] {
                let mut input = wire::to(role, OPEN_TEXT, payload);
                for first in [MORE, MORE, MORE, fifth] {
                    input.extend(wire::to(role, first, payload));
                }
                fails(role, name, input, &[], (Fault::TooManyFragments, 1008));
            }
        }
    }
}

#[test]
fn control_frames_over_the_limit_of_one_second() {
    let pings = |n| vec![Seen::Ping(b"p".to_vec()); n];
    for role in both_roles() {
        let ping = wire::to(role, PING, "p");
        fails(role, "pings", ping.repeat(4), &pings(3), (Fault::TooManyControlFrames, 1008));
        let pong = wire::to(role, PONG, "");
        let pongs = vec![Seen::Pong(vec![]); 3];
        fails(role, "pongs", pong.repeat(4), &pongs, (Fault::TooManyControlFrames, 1008));
        let close = wire::to(role, CLOSE, "");
        let input = [ping.repeat(3), close].concat();
        fails(role, "a close", input, &pings(3), (Fault::TooManyControlFrames, 1008));
        let between = [wire::to(role, OPEN_TEXT, "a"), ping.repeat(4)].concat();
        fails(role, "between fragments", between, &pings(3), (Fault::TooManyControlFrames, 1008));
    }
}

#[test]
fn control_frames_are_counted_anew_each_second() {
    for role in both_roles() {
        let ping = wire::to(role, PING, "");
        let mut peer = Peer::new(Start::Open(role), limits(), 64);
        // The clock may start anywhere, and its low half may run over.
        for now_s in [0, 1, 2, 65_535, 65_536, 65_537, u32::MAX] {
            peer.out.now_s = now_s;
            peer.feed(&ping.repeat(3));
            assert_eq!(peer.session.state(), State::Open, "in second {now_s}");
        }
        peer.feed(&ping);
        assert_eq!(peer.seen.last(), Some(&Seen::Failed(Fault::TooManyControlFrames)));
    }
}

#[test]
fn every_fault_has_the_code_of_its_kind_and_words_that_fit() {
    for (fault, code) in [
        (Fault::ReservedBits, 1002),
        (Fault::ReservedOpcode, 1002),
        (Fault::Unmasked, 1002),
        (Fault::Masked, 1002),
        (Fault::LengthNotMinimal, 1002),
        (Fault::LengthOverflow, 1002),
        (Fault::ControlTooLong, 1002),
        (Fault::ControlFragmented, 1002),
        (Fault::UnexpectedContinuation, 1002),
        (Fault::ExpectedContinuation, 1002),
        (Fault::CloseBodyTooShort, 1002),
        (Fault::CloseCodeInvalid, 1002),
        (Fault::CloseReasonNotUtf8, 1007),
        (Fault::TextNotUtf8, 1007),
        (Fault::MessageTooBig, 1009),
        (Fault::TooManyFragments, 1008),
        (Fault::TooManyControlFrames, 1008),
    ] {
        assert_eq!(u16::from(fault.code()), code, "{fault:?}");
        assert!(!fault.reason().is_empty() && fault.reason().len() <= 123, "{fault:?}");
    }
}
