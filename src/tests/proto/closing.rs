//! The close handshake, begun by either side, with every class of code.

use super::feed::{Peer, Seen, Start, Transcript};
use super::wire::{self, CLOSE, OPEN_TEXT, PING, TEXT, both_roles, close_body};
use steadfast::proto::close::{self, CloseCode, CloseStatus, Fault, InvalidCloseCode};
use steadfast::proto::frame::Role;
use steadfast::proto::session::{Limits, MessageKind, State};

const VALID: [u16; 18] =
    [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3001, 3999, 4000, 4500, 4999];
const INVALID: [u16; 14] = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1999, 2000, 2999, 5000, 0x8000, u16::MAX];

fn failed(role: Role, name: &str, body: &[u8], fault: Fault, code: u16) {
    Transcript::new(format!("{role:?}, {name}"), Start::Open(role), wire::to(role, CLOSE, body))
        .sees([Seen::Failed(fault)])
        .sends(wire::from(role, CLOSE, close_body(code, fault.reason())))
        .leaves(State::Closed);
}

#[test]
fn a_close_is_answered_with_its_code() {
    for role in both_roles() {
        for code in VALID {
            Transcript::new(
                format!("{role:?}, {code}"),
                Start::Open(role),
                wire::to(role, CLOSE, close_body(code, "why")),
            )
            .sees([Seen::Closed(code, b"why".to_vec())])
            .sends(wire::from(role, CLOSE, close_body(code, "")))
            .leaves(State::Closed);
        }
    }
}

#[test]
fn a_close_with_a_code_that_may_not_be_sent_fails() {
    for role in both_roles() {
        for code in INVALID {
            failed(role, &code.to_string(), &close_body(code, ""), Fault::CloseCodeInvalid, 1002);
        }
    }
}

#[test]
fn every_code_is_valid_or_not_as_the_registry_has_it() {
    for code in 0..=u16::MAX {
        // RFC 6455 section 7.4.2, with 1012 to 1014 as registered since; 1004 to 1006 and 1015 are reserved.
        let valid = (1000..1015).contains(&code) && !(1004..1007).contains(&code) || (3000..5000).contains(&code);
        let expected = if valid { Ok(code) } else { Err(InvalidCloseCode(code)) };
        assert_eq!(CloseCode::try_from(code).map(u16::from), expected);
    }
}

#[test]
fn registered_codes_have_names_and_numbers() {
    for (code, text) in [
        (CloseCode::NORMAL, "1000 (normal)"),
        (CloseCode::GOING_AWAY, "1001 (going away)"),
        (CloseCode::PROTOCOL_ERROR, "1002 (protocol error)"),
        (CloseCode::UNSUPPORTED_DATA, "1003 (unsupported data)"),
        (CloseCode::INVALID_DATA, "1007 (invalid data)"),
        (CloseCode::POLICY, "1008 (policy violation)"),
        (CloseCode::TOO_BIG, "1009 (message too big)"),
        (CloseCode::MANDATORY_EXTENSION, "1010 (missing extension)"),
        (CloseCode::INTERNAL_ERROR, "1011 (internal error)"),
        (CloseCode::SERVICE_RESTART, "1012 (service restart)"),
        (CloseCode::TRY_AGAIN_LATER, "1013 (try again later)"),
        (CloseCode::BAD_GATEWAY, "1014 (bad gateway)"),
        (CloseCode::UNAUTHORIZED, "3000 (unauthorized)"),
        (CloseCode::FORBIDDEN, "3003 (forbidden)"),
        (CloseCode::TIMEOUT, "3008 (timeout)"),
        (CloseCode::of::<3001>(), "3001 (registered use)"),
        (CloseCode::of::<4999>(), "4999 (private use)"),
    ] {
        assert_eq!(code.to_string(), text);
        assert_eq!(CloseCode::try_from(u16::from(code)), Ok(code));
    }
    for (status, text) in [
        (CloseStatus::NO_STATUS, "1005 (no code)"),
        (CloseStatus::ABNORMAL, "1006 (no Close)"),
        (CloseStatus::TLS_HANDSHAKE, "1015 (TLS handshake failed)"),
    ] {
        assert_eq!(status.to_string(), text);
        let error = InvalidCloseCode(status.into());
        assert_eq!(CloseCode::try_from(u16::from(status)), Err(error));
        assert!(error.to_string().contains("may not be sent; expected 1000 to 1003, 1007 to 1014, or 3000"), "{error}");
    }
}

#[test]
fn an_empty_close_is_answered_with_an_empty_one() {
    for role in both_roles() {
        Transcript::new(format!("{role:?}"), Start::Open(role), wire::to(role, CLOSE, ""))
            .sees([Seen::Closed(1005, vec![])])
            .sends(wire::from(role, CLOSE, ""))
            .leaves(State::Closed);
    }
}

#[test]
fn close_bodies_that_break_a_rule_fail() {
    for role in both_roles() {
        failed(role, "one byte", b"\x03", Fault::CloseBodyTooShort, 1002);
        failed(role, "bad reason", &close_body(1000, b"caf\xe9"), Fault::CloseReasonNotUtf8, 1007);
        failed(role, "cut reason", &close_body(1000, &"€".as_bytes()[..2]), Fault::CloseReasonNotUtf8, 1007);
        failed(role, "a surrogate", &close_body(1000, b"\xed\xa0\x80"), Fault::CloseReasonNotUtf8, 1007);
        failed(role, "bad code and reason", &close_body(999, b"\xff"), Fault::CloseCodeInvalid, 1002);
    }
}

#[test]
fn the_longest_reason_is_taken() {
    let reason = "r".repeat(123);
    for role in both_roles() {
        Transcript::new(format!("{role:?}"), Start::Open(role), wire::to(role, CLOSE, close_body(4000, &reason)))
            .sees([Seen::Closed(4000, reason.clone().into())])
            .sends(wire::from(role, CLOSE, close_body(4000, "")))
            .leaves(State::Closed);
    }
}

#[test]
fn bytes_after_a_close_are_not_read() {
    for role in both_roles() {
        let mut input = wire::to(role, TEXT, "read");
        input.extend(wire::to(role, OPEN_TEXT, "an open message ends here"));
        input.extend(wire::to(role, CLOSE, close_body(1001, "")));
        input.extend(wire::to(role, TEXT, "not read"));
        input.extend(wire::to(role, PING, "nor this"));
        input.extend(b"GET / HTTP/1.1\r\n\r\n");
        Transcript::new(format!("{role:?}"), Start::Open(role), input)
            .then_ends()
            .sees([Seen::text("read"), Seen::Closed(1001, vec![]), Seen::End(true)])
            .sends(wire::from(role, CLOSE, close_body(1001, "")))
            .leaves(State::Closed);
    }
}

#[test]
fn the_answer_to_our_close_ends_it() {
    for role in both_roles() {
        for (body, seen) in [
            (close_body(1000, ""), Seen::Closed(1000, vec![])),
            (close_body(3000, "mine"), Seen::Closed(3000, b"mine".to_vec())),
            (vec![], Seen::Closed(1005, vec![])),
            (close_body(1006, ""), Seen::Failed(Fault::CloseCodeInvalid)),
            (vec![3], Seen::Failed(Fault::CloseBodyTooShort)),
        ] {
            Transcript::new(format!("{role:?}, {body:?}"), Start::Closing(role), wire::to(role, CLOSE, &body))
                .sees([seen])
                .leaves(State::Closed);
        }
    }
}

#[test]
fn what_comes_while_we_close_is_read_but_not_answered() {
    for role in both_roles() {
        let mut input = wire::to(role, TEXT, "too late");
        input.extend(wire::to(role, PING, "ping"));
        input.extend(wire::to(role, OPEN_TEXT, "never ended"));
        input.extend(wire::to(role, CLOSE, close_body(1000, "")));
        Transcript::new(format!("{role:?}"), Start::Closing(role), input)
            .sees([Seen::Ping(b"ping".to_vec()), Seen::Closed(1000, vec![])])
            .leaves(State::Closed);
    }
}

#[test]
fn a_fault_while_we_close_sends_no_second_close() {
    for role in both_roles() {
        for (input, fault) in
            [(wire::to(role, 0x83, ""), Fault::ReservedOpcode), (wire::to(role, TEXT, b"\xff"), Fault::TextNotUtf8)]
        {
            Transcript::new(format!("{role:?}, {fault:?}"), Start::Closing(role), input)
                .sees([Seen::Failed(fault)])
                .leaves(State::Closed);
        }
    }
}

#[test]
fn our_close_carries_its_code_and_as_much_reason_as_fits() {
    let long = "€".repeat(50);
    for role in both_roles() {
        for (code, reason, body) in [
            (CloseCode::NORMAL, "bye", close_body(1000, "bye")),
            (CloseCode::of::<4999>(), "", close_body(4999, "")),
            // 41 characters of three bytes are the 123 that fit.
            (CloseCode::GOING_AWAY, &long, close_body(1001, &long[..123])),
            (CloseCode::GOING_AWAY, &format!("x{long}"), close_body(1001, format!("x{}", &long[..120]))),
        ] {
            let mut peer = Peer::new(Start::Open(role), Limits::default(), 0);
            peer.session.close(code, reason, &mut peer.out);
            assert_eq!(peer.out.bytes, wire::from(role, CLOSE, body));
            assert_eq!(peer.session.state(), State::Closing);
        }
    }
}

#[test]
fn nothing_is_sent_after_our_close() {
    for role in both_roles() {
        let mut peer = Peer::new(Start::Closing(role), Limits::default(), 64);
        for state in [State::Closing, State::Closed] {
            assert!(!peer.session.send(MessageKind::Text, b"late", &mut peer.out));
            assert!(!peer.session.ping(b"late", &mut peer.out));
            peer.session.close(CloseCode::NORMAL, "again", &mut peer.out);
            assert_eq!(peer.session.state(), state);
            peer.feed(&wire::to(role, CLOSE, close_body(1000, "")));
        }
        assert_eq!(peer.out.bytes, b"");
        assert_eq!(peer.session.state(), State::Closed);
    }
}

#[test]
fn what_was_sent_while_open_is_framed() {
    for role in both_roles() {
        let mut peer = Peer::new(Start::Open(role), Limits::default(), 0);
        assert!(peer.session.send(MessageKind::Text, b"text", &mut peer.out));
        assert!(peer.session.send(MessageKind::Binary, &[7; 300], &mut peer.out));
        assert!(peer.session.ping(&[1; 125], &mut peer.out));
        assert!(!peer.session.ping(&[1; 126], &mut peer.out), "no control frame is longer than 125 bytes");
        let expected =
            [wire::from(role, TEXT, "text"), wire::from(role, 0x82, [7; 300]), wire::from(role, PING, [1; 125])];
        assert_eq!(peer.out.bytes, expected.concat());
        assert_eq!(peer.session.role(), role);
    }
}

#[test]
fn what_is_not_open_is_simply_closed() {
    for (start, part) in [
        (Start::Raw, "anything"),
        (Start::Server, "GET / HT"),
        (Start::Handshake, "HTTP/1.1 101 "),
        (Start::HttpClient, "HTTP/1.1 20"),
        (Start::HttpClient, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe"),
    ] {
        let mut peer = Peer::new(start, Limits::default(), 64);
        peer.feed(part.as_bytes());
        peer.session.close(CloseCode::NORMAL, "bye", &mut peer.out);
        assert_eq!((peer.session.state(), peer.out.bytes.len()), (State::Closed, 0), "{start:?}");
        assert_eq!(peer.session.partial_bytes(), 0, "{start:?} keeps what it will never use");
    }
}

#[test]
fn a_body_is_encoded_and_parsed_back() {
    let mut body = [0; 125];
    for code in VALID {
        let status = CloseStatus::from(CloseCode::try_from(code).expect("a valid code"));
        assert_eq!(close::parse(close::encode(&mut body, status, "why")), Ok((status, &b"why"[..])));
    }
    for status in [CloseStatus::NO_STATUS, CloseStatus::ABNORMAL, CloseStatus::TLS_HANDSHAKE] {
        assert_eq!(close::encode(&mut body, status, "why"), b"", "{status} is never sent");
        assert!(CloseCode::try_from(u16::from(status)).is_err());
    }
}
