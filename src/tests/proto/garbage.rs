//! Random input: no session panics or stops making progress (the feeding checks both), and cutting the input changes
//! nothing.

use super::feed::{Pace, Record, Start, run};
use super::wire::{self, Form, both_roles};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use steadfast::proto::frame::Role;
use steadfast::proto::session::Limits;

fn starts() -> impl Strategy<Value = Start> {
    let open = both_roles().into_iter().flat_map(|role| [Start::Open(role), Start::Closing(role)]);
    let others = [Start::Raw, Start::Server, Start::Handshake, Start::HttpClient];
    select(open.chain(others).collect::<Vec<_>>())
}

/// Feeds the input whole, in single bytes and in random pieces; returns the result, which is the same for all of them.
fn however_cut(start: Start, limits: Limits, input: &[u8], cuts: &[Index]) -> Result<Record, TestCaseError> {
    let whole = run(start, limits, [input], true, (0, Pace::AtOnce));
    let bytewise = run(start, limits, input.chunks(1), true, (3, Pace::AtOnce));
    prop_assert_eq!(&whole, &bytewise, "whole, and in single bytes: {:?}", String::from_utf8_lossy(input));
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
    at.extend([0, input.len()]);
    at.sort_unstable();
    let pieces = at.windows(2).map(|two| &input[two[0]..two[1]]);
    for (offset, pace) in [(0, Pace::AtOnce), (1, Pace::Lagging)] {
        let cut = run(start, limits, pieces.clone(), true, (offset, pace));
        prop_assert_eq!(&whole, &cut, "whole, and cut at {:?}: {:?}", at, String::from_utf8_lossy(input));
    }
    Ok(whole)
}

/// Parts of heads, most of them such as a right one has.
fn head(parts: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let part = select(parts).prop_map(|part| part.as_bytes().to_vec());
    let noise = prop::collection::vec(any::<u8>(), 0..4);
    prop::collection::vec(prop_oneof![30 => part, 1 => noise], 0..16).prop_map(|parts| parts.concat())
}

const OF_REQUESTS: &[&str] = &[
    "GET / HTTP/1.1\r\n",
    "GET /echo HTTP/1.1\r\n",
    "HEAD /x HTTP/1.0\r\n",
    "GET / HTTP/2.0\r\n",
    "GET ",
    "/ ",
    "HTTP/1.1",
    "HTTP/",
    "Host: example.com\r\n",
    "Host: example.com\r\n",
    "Connection: Upgrade\r\n",
    "Connection: close\r\n",
    "Upgrade: websocket\r\n",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    "Sec-WebSocket-Version: 13\r\n",
    "Content-Length: 3\r\n",
    "POST /p HTTP/1.1\r\nHost: h\r\n",
    "POST /refused HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n",
    "POST /p HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Content-Length: 12\r\n\r\n",
    "Expect: 100-continue\r\n",
    "3\r\nabc\r\n",
    "2;x\r\n\r\n\r\n",
    "0\r\n\r\n",
    "abc",
    "\r\n",
    "\r\n",
    "\n",
    "\r",
    " ",
    ":",
];

const OF_RESPONSES: &[&str] = &[
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.1 101 Switching Protocols\r\n",
    "HTTP/1.1 204\r\n",
    "HTTP/1.1 103 Early Hints\r\n",
    "HTTP/1.1 100 Continue\r\n\r\n",
    "HTTP/2 200\r\n",
    "HTTP",
    "/1.1 ",
    "Upgrade: websocket\r\n",
    "Connection: Upgrade\r\n",
    "Sec-WebSocket-Accept: 7Ubo2JRe6fIuZAdGHq7kDA4XEQ0=\r\n",
    "Content-Length: 4\r\n",
    "Transfer-Encoding: chunked\r\n",
    "\r\n",
    "\r\n\r\n",
    "2\r\nhi\r\n",
    "0\r\n\r\n",
    "5;x\r\n",
    "\n",
    "\r",
    "12345",
];

#[derive(Clone, Debug)]
struct Sketch {
    first: u8,
    wrong_mask: bool,
    /// `None` for the shortest form.
    form: Option<Form>,
    length_off_by: u64,
    payload: Vec<u8>,
}

/// Compressed messages that are right, one of which looks back into what came before, and one that is nearly right.
const DEFLATED: [&[u8]; 5] = [
    b"\xf2\x48\xcd\xc9\xc9\x07\x00",
    b"\xf2\x00\x11\x00\x00",
    b"\x00\x05\x00\xfa\xffHel\xfflo\x00",
    b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00",
    b"\x00",
];

/// A frame of a connection that compresses: most messages are compressed, and most of those can be inflated.
fn deflated_sketch() -> impl Strategy<Value = Sketch> {
    let payload = prop_oneof![
        10 => select(DEFLATED.to_vec()).prop_map(<[u8]>::to_vec),
        3 => (select(DEFLATED.to_vec()), any::<Index>()).prop_map(|(all, cut)| all[..cut.index(all.len())].to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..8),
    ];
    (sketch(), payload, prop::bool::weighted(0.8)).prop_map(|(sketch, payload, compressed)| match sketch.first {
        first if compressed && matches!(first & 0x0f, 1 | 2) => Sketch { first: first | 0x40, payload, ..sketch },
        0x00 | 0x80 if compressed => Sketch { payload, ..sketch },
        _ => sketch,
    })
}

/// A frame that breaks a rule now and then.
fn sketch() -> impl Strategy<Value = Sketch> {
    let first = prop_oneof![
        40 => select(vec![wire::TEXT, wire::BINARY, wire::OPEN_TEXT, wire::OPEN_BINARY, wire::MORE, wire::LAST]),
        20 => select(vec![wire::PING, wire::PONG]),
        3 => Just(wire::CLOSE),
        1 => any::<u8>(),
    ];
    let form = prop_oneof![30 => Just(None), 1 => Just(Some(Form::Bits16)), 1 => Just(Some(Form::Bits64))];
    let off = prop_oneof![40 => Just(0_u64), 1 => 0..4_u64, 1 => any::<u64>()];
    let payload = prop_oneof![
        6 => "[a-z€😀]{0,12}".prop_map(String::into_bytes),
        2 => prop::collection::vec(any::<u8>(), 0..8),
        1 => prop::collection::vec(0x20..0x7f_u8, 120..140),
        1 => (999..1017_u16).prop_map(|code| wire::close_body(code, "why")),
    ];
    (first, prop::bool::weighted(0.02), form, off, payload).prop_map(
        |(first, wrong_mask, form, length_off_by, payload)| Sketch { first, wrong_mask, form, length_off_by, payload },
    )
}

fn draw(role: Role, sketch: &Sketch) -> Vec<u8> {
    let masked = (role == Role::Server) != sketch.wrong_mask;
    let mask = masked.then_some(wire::MASK);
    let length = (sketch.payload.len() as u64).wrapping_add(sketch.length_off_by);
    let form = sketch.form.unwrap_or(wire::shortest(length));
    let mut bytes = wire::header(sketch.first, mask, length, form);
    let key = mask.unwrap_or_default();
    bytes.extend(sketch.payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

/// Limits that short input can break.
fn tight() -> Limits {
    let limits = Limits { max_message_bytes: 200, max_fragments: 5, ..Limits::default() };
    Limits { max_control_frames_per_s: 8, max_body_bytes: 10, ..limits }
}

fn random_cuts() -> impl Strategy<Value = Vec<Index>> {
    prop::collection::vec(any::<Index>(), 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn noise(start in starts(), input in prop::collection::vec(any::<u8>(), 0..300), cuts in random_cuts()) {
        however_cut(start, tight(), &input, &cuts)?;
    }

    #[test]
    fn requests(input in head(OF_REQUESTS), cuts in random_cuts()) {
        however_cut(Start::Server, tight(), &input, &cuts)?;
    }

    #[test]
    fn responses(upgrade: bool, input in head(OF_RESPONSES), cuts in random_cuts()) {
        let start = if upgrade { Start::Handshake } else { Start::HttpClient };
        however_cut(start, tight(), &input, &cuts)?;
    }

    #[test]
    fn frames(
        role in select(both_roles().to_vec()),
        closing in prop::bool::weighted(0.2),
        sketches in prop::collection::vec(sketch(), 0..12),
        cuts in random_cuts(),
    ) {
        let start = if closing { Start::Closing(role) } else { Start::Open(role) };
        let input: Vec<u8> = sketches.iter().flat_map(|sketch| draw(role, sketch)).collect();
        however_cut(start, tight(), &input, &cuts)?;
    }

    #[test]
    fn compressed_frames(
        role in select(both_roles().to_vec()),
        parameters in select(vec!["", "; server_no_context_takeover; client_no_context_takeover"]),
        max_message_bytes in select(vec![4_u64, 9, 200]),
        sketches in prop::collection::vec(deflated_sketch(), 0..12),
        cuts in random_cuts(),
    ) {
        let limits = Limits { max_message_bytes, ..tight() };
        let input: Vec<u8> = sketches.iter().flat_map(|sketch| draw(role, sketch)).collect();
        however_cut(Start::Deflated(role, parameters), limits, &input, &cuts)?;
    }

    #[test]
    fn an_upgrade_and_frames_in_one_stream(
        sketches in prop::collection::vec(sketch(), 0..6),
        spoil in prop::option::weighted(0.3, (any::<Index>(), any::<u8>())),
        cuts in random_cuts(),
    ) {
        let mut input = wire::UPGRADE.as_bytes().to_vec();
        input.extend(sketches.iter().flat_map(|sketch| draw(Role::Server, sketch)));
        if let Some((at, byte)) = spoil {
            let at = at.index(input.len());
            input[at] = byte;
        }
        however_cut(Start::Server, tight(), &input, &cuts)?;
    }
}
