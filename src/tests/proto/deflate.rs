//! Compressed messages as they come, RFC 7692 sections 6 and 7.2, both roles.

use super::feed::{Pace, Peer, Record, Seen, Start, Transcript, run};
use super::inflate::{Blocks, fixed};
use super::wire::{self, BINARY, LAST, MORE, OPEN_BINARY, OPEN_TEXT, PING, PONG, TEXT, both_roles};
use proptest::prelude::*;
use steadfast::proto::close::Fault;
use steadfast::proto::frame::Role;
use steadfast::proto::session::{Limits, State};

/// The bit that marks a compressed message, on its first frame.
const RSV1: u8 = 0x40;

/// Which endpoints keep a window: both, none, the client, the server.
const KEEP: &str = "";
const KEEP_NONE: &str = "; server_no_context_takeover; client_no_context_takeover";
const ALL: [&str; 4] = [KEEP, KEEP_NONE, "; server_no_context_takeover", "; client_no_context_takeover"];

const HELLO: [u8; 7] = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
/// The same, by what is left in the window from the last time.
const HELLO_AGAIN: [u8; 5] = [0xf2, 0x00, 0x11, 0x00, 0x00];

fn every_start() -> impl Iterator<Item = (Role, &'static str)> {
    both_roles().into_iter().flat_map(|role| ALL.map(|parameters| (role, parameters)))
}

fn peer_keeps(role: Role, parameters: &str) -> bool {
    !parameters.contains(if role == Role::Server { "client_no" } else { "server_no" })
}

fn frames(role: Role, frames: &[(u8, &[u8])]) -> Vec<u8> {
    frames.iter().flat_map(|(first, payload)| wire::to(role, *first, payload)).collect()
}

/// The frames come, each of `before` is seen, and then the session fails.
fn fails((role, parameters): (Role, &'static str), name: &str, input: &[(u8, &[u8])], before: &[Seen], fault: Fault) {
    fails_under(Limits::default(), (role, parameters), name, input, before, fault);
}

fn fails_under(
    limits: Limits,
    (role, parameters): (Role, &'static str),
    name: &str,
    input: &[(u8, &[u8])],
    before: &[Seen],
    fault: Fault,
) {
    let code = match fault {
        Fault::MessageTooBig => 1009,
        Fault::DeflateInvalid | Fault::TextNotUtf8 => 1007,
        _ => 1002,
    };
    // What follows the fault is never parsed.
    let input = [frames(role, input), wire::to(role, TEXT, "behind it")].concat();
    Transcript::new(format!("{role:?}{parameters}, {fault:?}, {name}"), Start::Deflated(role, parameters), input)
        .under(limits)
        .sees(before.to_vec())
        .sees([Seen::Failed(fault)])
        .sends(wire::from(role, wire::CLOSE, wire::close_body(code, fault.reason())))
        .leaves(State::Closed);
}

fn sees((role, parameters): (Role, &'static str), name: &str, input: &[(u8, &[u8])], seen: &[Seen]) {
    Transcript::new(format!("{role:?}{parameters}, {name}"), Start::Deflated(role, parameters), frames(role, input))
        .sees(seen.to_vec())
        .leaves(State::Open);
}

#[test]
fn the_examples_of_the_rfc_are_read() {
    let stored: &[u8] = b"\x00\x05\x00\xfa\xffHello\x00";
    let last = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
    let two_blocks = [0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00];
    let hello = Seen::text("Hello");
    for start in every_start() {
        // 7.2.3.1 to 7.2.3.5, one after the other.
        let all: [&[u8]; 4] = [&HELLO, stored, &last, &two_blocks];
        let input = all.map(|payload| (TEXT | RSV1, payload));
        sees(start, "all of them", &input, &[hello.clone(), hello.clone(), hello.clone(), hello.clone()]);
        let fragments = [(OPEN_TEXT | RSV1, &HELLO[..3]), (LAST, &HELLO[3..])];
        sees(start, "in fragments", &fragments, std::slice::from_ref(&hello));
        let bytes: Vec<(u8, &[u8])> = (0..two_blocks.len()).map(|at| (MORE, &two_blocks[at..=at])).collect();
        let bytes = [&[(OPEN_BINARY | RSV1, &b""[..])], &*bytes, &[(LAST, &b""[..])]].concat();
        sees(start, "in fragments of a byte", &bytes, &[Seen::Binary(b"Hello".to_vec())]);
        // A sender may leave out what 7.2.3.4 appends to a last block that ends with its byte.
        sees(start, "a last block alone", &[(TEXT | RSV1, &last[..7]); 2], &[hello.clone(), hello.clone()]);
    }
}

/// 7.2.3.2: a second message by what is left of the first, if it may be left.
#[test]
fn a_window_is_kept_where_that_was_agreed() {
    let hello = Seen::text("Hello");
    for start in every_start() {
        let input = [(TEXT | RSV1, &HELLO[..]), (TEXT | RSV1, &HELLO_AGAIN[..])];
        if peer_keeps(start.0, start.1) {
            let between = [input[0], (BINARY, b"plain".as_slice()), (TEXT | RSV1, &HELLO_AGAIN), input[1]];
            let plain = Seen::Binary(b"plain".to_vec());
            sees(start, "over a plain one", &between, &[hello.clone(), plain, hello.clone(), hello.clone()]);
            let pieces = [input[0], (OPEN_TEXT | RSV1, &HELLO_AGAIN[..1]), (LAST, &HELLO_AGAIN[1..])];
            sees(start, "in fragments", &pieces, &[hello.clone(), hello.clone()]);
        } else {
            fails(start, "no window", &input, std::slice::from_ref(&hello), Fault::DeflateInvalid);
        }
        fails(start, "nothing before", &input[1..], &[], Fault::DeflateInvalid);
    }
}

#[test]
fn control_frames_may_stand_between_fragments() {
    for (role, parameters) in every_start() {
        let input = frames(
            role,
            &[
                (OPEN_TEXT | RSV1, &HELLO[..2]),
                (PING, b"one"),
                (MORE, b""),
                (PONG, b""),
                (MORE, &HELLO[2..5]),
                (PING, &[b'p'; 125]),
                (LAST, &HELLO[5..]),
                (TEXT | RSV1, &HELLO),
            ],
        );
        Transcript::new(format!("{role:?}{parameters}"), Start::Deflated(role, parameters), input)
            .sees([Seen::Ping(b"one".to_vec()), Seen::Pong(vec![]), Seen::Ping(vec![b'p'; 125])])
            .sees([Seen::text("Hello"), Seen::text("Hello")])
            .sends(wire::from(role, PONG, "one"))
            .sends(wire::from(role, PONG, [b'p'; 125]))
            .leaves(State::Open);
    }
}

/// RFC 7692 section 6: RSV1 is set on the first frame of a message and on no other; RSV2 and RSV3 have no meaning.
#[test]
fn reserved_bits_where_they_must_not_be() {
    for start in every_start() {
        let fault = Fault::ReservedBits;
        for first in [MORE | RSV1, LAST | RSV1] {
            for open in [OPEN_TEXT, OPEN_TEXT | RSV1] {
                let input = [(open, &b""[..]), (first, &HELLO[..])];
                fails(start, &format!("{first:#x} behind {open:#x}"), &input, &[], fault);
            }
        }
        for control in [PING, PONG, wire::CLOSE] {
            fails(start, &format!("{control:#x}"), &[(control | RSV1, b"\x03\xe8")], &[], fault);
            let inside = [(OPEN_TEXT | RSV1, &HELLO[..3]), (control | RSV1, b"")];
            fails(start, &format!("{control:#x} between fragments"), &inside, &[], fault);
        }
        for bits in [0x20, 0x10, 0x30, 0x60, 0x50, 0x70] {
            for first in [TEXT, OPEN_BINARY, PING] {
                fails(start, &format!("{bits:#x} on {first:#x}"), &[(first | bits, b"\x00")], &[], fault);
            }
        }
        fails(start, "a continuation of nothing", &[(LAST, &HELLO)], &[], Fault::UnexpectedContinuation);
        let inside = [(OPEN_TEXT | RSV1, &HELLO[..3]), (TEXT | RSV1, &HELLO)];
        fails(start, "another message inside", &inside, &[], Fault::ExpectedContinuation);
    }
}

#[test]
fn plain_and_compressed_messages_alternate() {
    for start in every_start() {
        let (hello, plain) = (Seen::text("Hello"), Seen::text("plain"));
        let input = [
            (TEXT, &b"plain"[..]),
            (TEXT | RSV1, &HELLO),
            (OPEN_TEXT, b"pl"),
            (LAST, b"ain"),
            (OPEN_TEXT | RSV1, &HELLO[..4]),
            (LAST, &HELLO[4..]),
            (TEXT, b"plain"),
            (BINARY | RSV1, &HELLO),
        ];
        let hello_binary = Seen::Binary(b"Hello".to_vec());
        sees(start, "mixed", &input, &[plain.clone(), hello.clone(), plain.clone(), hello, plain, hello_binary]);
    }
}

/// What was last understood is what an echo goes by.
#[test]
fn the_form_of_the_last_message_is_told() {
    for (role, parameters) in every_start() {
        let mut peer = Peer::new(Start::Deflated(role, parameters), Limits::default(), 512);
        let mut told = |frames: &[(u8, &[u8])]| {
            for (first, payload) in frames {
                peer.feed(&wire::to(role, *first, payload));
            }
            peer.session.compression().came_compressed()
        };
        assert!(!told(&[]));
        assert!(told(&[(TEXT | RSV1, &HELLO)]));
        assert!(told(&[(PING, b"says nothing of it")]));
        assert!(!told(&[(TEXT, b"plain")]));
        assert!(told(&[(OPEN_TEXT | RSV1, &HELLO[..3]), (PING, b""), (LAST, &HELLO[3..])]));
        assert!(!told(&[(OPEN_BINARY, b"plain"), (LAST, b"")]));
        assert!(!told(&[(OPEN_BINARY | RSV1, &HELLO[..3])]), "it is not all there");
        assert!(told(&[(LAST, &HELLO[3..])]));
        assert!(!told(&[(BINARY, &[7; 200])]));
        assert_eq!(peer.seen.len(), 8);
    }
}

/// 7.2.3.6: an empty message is one byte.
#[test]
fn an_empty_message_is_read() {
    let empty = Seen::text("");
    for start in every_start() {
        sees(start, "text", &[(TEXT | RSV1, &[0][..]); 3], &[empty.clone(), empty.clone(), empty.clone()]);
        let fragments = [(OPEN_TEXT | RSV1, &b""[..]), (LAST, &[0]), (OPEN_TEXT | RSV1, &[0]), (LAST, b"")];
        sees(start, "in fragments", &fragments, &[empty.clone(), empty.clone()]);
        let blocks = Blocks::default().fixed(false).end().stored("").fixed(false).end().message();
        sees(start, "in empty blocks", &[(BINARY | RSV1, &blocks)], &[Seen::Binary(vec![])]);
    }
}

/// RSV1 without a payload breaks 7.2.3.6, and other implementations read it. The messages after it are as they were.
#[test]
fn compressed_message_without_bytes_is_empty() {
    let (empty, hello) = (Seen::text(""), Seen::text("Hello"));
    for start in every_start() {
        for nothing in [&[(TEXT | RSV1, &b""[..])][..], &[(OPEN_TEXT | RSV1, b""), (MORE, b""), (LAST, b"")]] {
            sees(start, "alone", nothing, std::slice::from_ref(&empty));
            let one = [(TEXT | RSV1, &HELLO[..])];
            let between = [&one[..], nothing, nothing, &one].concat();
            sees(start, "between others", &between, &[hello.clone(), empty.clone(), empty.clone(), hello.clone()]);
        }
    }
}

/// A sender that does not cut off what 7.2.1 has it cut off is read as other implementations read it.
#[test]
fn compressed_message_with_its_tail_is_read() {
    let (tail, hello) = ([0, 0, 0xff, 0xff], Seen::text("Hello"));
    let with_tail = |payload: &[u8]| [payload, &tail].concat();
    for start in every_start() {
        for payload in [&HELLO[..], b"\x00\x05\x00\xfa\xffHello\x00", &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00]]
        {
            let whole = with_tail(payload);
            let input = [(TEXT | RSV1, &*whole), (TEXT | RSV1, &HELLO), (TEXT | RSV1, &whole)];
            sees(start, "whole", &input, &[hello.clone(), hello.clone(), hello.clone()]);
            for cut in 0..=whole.len() {
                let pieces = [(OPEN_TEXT | RSV1, &whole[..cut]), (LAST, &whole[cut..]), (TEXT | RSV1, &HELLO)];
                sees(start, &format!("cut at {cut}"), &pieces, &[hello.clone(), hello.clone()]);
            }
        }
        let empty = with_tail(&[0]);
        sees(start, "an empty message", &[(TEXT | RSV1, &*empty); 2], &[Seen::text(""), Seen::text("")]);
        if peer_keeps(start.0, start.1) {
            let (first, second) = (with_tail(&HELLO), with_tail(&HELLO_AGAIN));
            let input = [(TEXT | RSV1, &*first), (TEXT | RSV1, &second)];
            sees(start, "a window", &input, &[hello.clone(), hello.clone()]);
        } else {
            let open = Blocks::default().fixed(false).literals("Hello").into_unended();
            let open = with_tail(&open);
            fails(start, "in the middle of a block", &[(TEXT | RSV1, &open)], &[], Fault::DeflateInvalid);
        }
    }
}

/// It fails with the byte that spoils it, while the message is open and its frame may be.
#[test]
fn text_that_is_not_utf8_is_found_as_it_is_inflated() {
    let fault = Fault::TextNotUtf8;
    for start in every_start() {
        for bad in [&b"\xff"[..], b"\xc3\x28", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82A"] {
            let text = [b"ok \xc3\xa9 ", bad, b" and more"].concat();
            let whole = fixed(&text);
            fails(start, &format!("{bad:02x?}"), &[(TEXT | RSV1, &whole)], &[], fault);
            // Neither the message nor its fragment has an end, and the block has none.
            let open = Blocks::default().fixed(false).literals(&text).into_unended();
            fails(start, &format!("{bad:02x?}, never ended"), &[(OPEN_TEXT | RSV1, &open)], &[], fault);
            let mut begun =
                frames(start.0, &[(OPEN_TEXT | RSV1, &open[..2]), (MORE, &[&open[2..], &[0; 900]].concat())]);
            begun.truncate(begun.len() - 800);
            let mut peer = Peer::new(Start::Deflated(start.0, start.1), Limits::default(), begun.len());
            peer.feed(&begun);
            assert_eq!(peer.seen, [Seen::Failed(fault)], "{bad:02x?} in a frame of which more is to come");
        }
        let cut = fixed(&"€".as_bytes()[..2]);
        fails(start, "cut at the end", &[(TEXT | RSV1, &cut)], &[], fault);
        fails(start, "cut at the end of fragments", &[(OPEN_TEXT | RSV1, &cut), (LAST, b"")], &[], fault);
        sees(start, "binary may be cut", &[(BINARY | RSV1, &cut)], &[Seen::Binary(b"\xe2\x82".to_vec())]);
        // A character may be cut by a fragment, and by a block.
        let euro = "€".as_bytes();
        let blocks = Blocks::default().fixed(false).literals(&euro[..1]).end().stored(&euro[1..2]);
        let blocks = blocks.fixed(false).literals(&euro[2..]).end().message();
        sees(start, "cut by blocks", &[(TEXT | RSV1, &blocks)], &[Seen::text("€")]);
    }
}

#[test]
fn damaged_streams_fail() {
    let open = || Blocks::default().fixed(false).literals("Hello");
    let damaged = [
        ("a block of the third kind", vec![0x07]),
        ("a stored block with two lengths", b"\x00\x05\x00\xfa\xfeHello\x00".to_vec()),
        ("a match far before it", open().length_and_distance(257, 29).number(0, 13).end().message()),
        ("a length that is none", open().length_and_distance(286, 0).end().message()),
        ("a distance that is none", open().length_and_distance(257, 30).end().message()),
        (
            "too many lengths",
            Blocks::default().number(2 << 1, 3).number(31, 5).number(0, 5).number(0, 4).into_unended(),
        ),
        ("no end of a block", Blocks::default().number(2 << 1, 3).number(0, 60).stored([0; 60]).into_unended()),
        ("rubbish behind the end", [fixed("Hello"), vec![0xff; 9]].concat()),
        ("a last block, and rubbish", [&[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00][..], &[0xff; 9]].concat()),
    ];
    let fine = open().length_and_distance(257, 4).number(0, 1).end().message();
    for start in every_start() {
        sees(start, "a match of five bytes", &[(BINARY | RSV1, &fine)], &[Seen::Binary(b"HelloHel".to_vec())]);
        for (name, payload) in &damaged {
            fails(start, name, &[(BINARY | RSV1, payload)], &[], Fault::DeflateInvalid);
            // It is found before the message ends.
            fails(start, name, &[(OPEN_BINARY | RSV1, payload)], &[], Fault::DeflateInvalid);
        }
    }
}

#[test]
fn truncated_streams_fail_where_no_window_is_kept() {
    let text = "Once there was a message, and it was cut, and cut, and cut again.";
    let mut naive = super::inflate::Naive::default();
    let whole = fixed(text);
    assert_eq!(naive.message(&whole).unwrap(), text.as_bytes());
    for (role, parameters) in every_start().filter(|(role, parameters)| !peer_keeps(*role, parameters)) {
        for length in 1..whole.len() {
            let short = &whole[..length];
            for input in [&[(TEXT | RSV1, short)][..], &[(OPEN_TEXT | RSV1, short), (LAST, b"")]] {
                let pieces = frames(role, input);
                let place = (0, Pace::AtOnce);
                let start = Start::Deflated(role, parameters);
                let record = run(start, Limits::default(), [&*pieces], false, place);
                assert_eq!(record.seen, [Seen::Failed(Fault::DeflateInvalid)], "{length} of {}", whole.len());
            }
        }
        let pieces = [(TEXT | RSV1, &HELLO[..]), (TEXT | RSV1, &HELLO[..4])];
        fails((role, parameters), "the second one", &pieces, &[Seen::text("Hello")], Fault::DeflateInvalid);
    }
}

fn tiny() -> Limits {
    Limits { max_message_bytes: 3_000, ..Limits::default() }
}

/// A message of exactly `bytes` bytes, compressed to a few dozen.
fn bomb(bytes: usize) -> Vec<u8> {
    let repeats = (bytes - 1) / 258;
    let rest = bytes - 258 * repeats;
    Blocks::default().fixed(false).literals("z".repeat(rest)).repeats(repeats).end().message()
}

#[test]
fn bombs_fail_at_the_limit() {
    for start in every_start() {
        for bytes in [3_001, 3_257, 30_000, 300_000] {
            let name = format!("{bytes} bytes");
            let bomb = bomb(bytes);
            let fault = Fault::MessageTooBig;
            // A compressed message beyond the limit is refused by its header.
            fails_under(tiny(), start, &name, &[(BINARY | RSV1, &bomb)], &[], fault);
            let (left, right) = bomb.split_at(bomb.len() / 2);
            let fragments = [(OPEN_TEXT | RSV1, left), (MORE, right), (LAST, b"")];
            fails_under(tiny(), start, &name, &fragments, &[], fault);
        }
    }
}

#[test]
fn a_message_at_the_limit_is_taken() {
    for start in every_start() {
        for bytes in [2_999, 3_000] {
            let bomb = bomb(bytes);
            let seen = Seen::Text("z".repeat(bytes).into());
            for at in [1, bomb.len() / 2, bomb.len() - 1, bomb.len()] {
                // The last byte of it may hold nothing, and still has to be let in.
                let (left, right) = bomb.split_at(at);
                let input = frames(start.0, &[(OPEN_TEXT | RSV1, left), (LAST, right), (TEXT | RSV1, &bomb)]);
                Transcript::new(format!("{start:?}: {bytes} at {at}"), Start::Deflated(start.0, start.1), input)
                    .under(tiny())
                    .sees([seen.clone(), seen.clone()])
                    .leaves(State::Open);
            }
        }
        // What cannot be compressed grows by a few bytes, which are none of the message's own.
        let bytes: Vec<u8> = (0..3_000_u32).map(|at| (at.wrapping_mul(0x9e37_79b1) >> 24) as u8).collect();
        let stored = Blocks::default().stored(&bytes[..1_500]).stored(&bytes[1_500..]).message();
        Transcript::new(
            format!("{start:?}: stored"),
            Start::Deflated(start.0, start.1),
            wire::to(start.0, BINARY | RSV1, stored),
        )
        .under(tiny())
        .sees([Seen::Binary(bytes)])
        .leaves(State::Open);
    }
}

/// However fast it grows, there is never more than the limit allows: not in the session, nor in the buffer of a thread.
#[test]
fn a_bomb_takes_no_memory_beyond_the_limit() {
    let bomb = bomb(4 << 20);
    for (role, parameters) in every_start() {
        for max in [1_000, 10_000, 100_000, 1 << 20] {
            let limits = Limits { max_message_bytes: max, ..Limits::default() };
            for step in [1, 7, 100, bomb.len()] {
                let frame = wire::to(role, OPEN_BINARY | RSV1, &bomb);
                let mut peer = Peer::new(Start::Deflated(role, parameters), limits, frame.len());
                for piece in frame.chunks(step) {
                    peer.feed(piece);
                    let kept = peer.session.partial_bytes();
                    assert!(kept as u64 <= max + 64, "{kept} with {max}, {role:?}{parameters}");
                }
                assert_eq!(peer.seen, [Seen::Failed(Fault::MessageTooBig)]);
            }
            let mut out = super::feed::output();
            let mut message = Vec::new();
            let mut frame = wire::to(role, BINARY | RSV1, &bomb);
            let mut session = Peer::new(Start::Deflated(role, parameters), limits, 0).session;
            session.receive(&mut frame, &mut message, &limits, &mut out);
            assert_eq!(session.state(), State::Closed);
            assert!(message.capacity() as u64 <= max, "{} with {max}", message.capacity());
        }
    }
}

/// Two ways of cutting the same bytes.
fn alike(start: Start, limits: Limits, input: &[u8], cuts: &[usize]) -> (Record, Record) {
    let whole = run(start, limits, [input], false, (0, Pace::AtOnce));
    let mut pieces = Vec::new();
    let mut from = 0;
    for &to in cuts.iter().chain([&input.len()]) {
        pieces.push(&input[from..to]);
        from = to;
    }
    let pieces = if cuts.is_empty() { input.chunks(1).collect() } else { pieces };
    (whole, run(start, limits, pieces, false, (0, Pace::AtOnce)))
}

/// Blocks of all kinds, one after the other, most of which are valid text.
fn blocks() -> impl Strategy<Value = Vec<u8>> {
    let text =
        prop_oneof![4 => "[a-zé€]{0,12}".prop_map(String::into_bytes), 1 => prop::collection::vec(any::<u8>(), 0..4)];
    let block = (0..4_usize, text, 0..6_usize);
    prop::collection::vec(block, 0..5).prop_map(|all| {
        let write = |this: Blocks, (kind, text, repeats): (usize, Vec<u8>, usize)| match kind {
            0 => this.stored(text),
            1 => this.fixed(false).literals("a").repeats(repeats).end(),
            _ => this.fixed(false).literals(text).end(),
        };
        all.into_iter().fold(Blocks::default(), write).message()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damage_is_found_in_the_same_way_however_it_is_cut(
        messages in prop::collection::vec((blocks(), any::<bool>(), any::<prop::sample::Index>()), 1..4),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        start in (0..2_usize, 0..4_usize),
        max in prop_oneof![Just(20_u64), Just(1_000), Just(1 << 20)],
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let (role, parameters) = (both_roles()[start.0], ALL[start.1]);
        let mut input = Vec::new();
        for (mut payload, text, split) in messages {
            for (at, byte) in &damage {
                let at = at.index(payload.len());
                payload[at] = *byte;
            }
            let first = if text { OPEN_TEXT } else { OPEN_BINARY } | RSV1;
            let at = split.index(payload.len());
            if at == 0 {
                input.extend(wire::to(role, first | 0x80, &payload));
            } else {
                input.extend(frames(role, &[(first, &payload[..at]), (LAST, &payload[at..])]));
            }
        }
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(input.len())).collect();
        cuts.sort_unstable();
        let limits = Limits { max_message_bytes: max, ..Limits::default() };
        let (whole, cut) = alike(Start::Deflated(role, parameters), limits, &input, &cuts);
        prop_assert_eq!(whole, cut, "{:?}{}, cut at {:?}", role, parameters, cuts);
    }
}
