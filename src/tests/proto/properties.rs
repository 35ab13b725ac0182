//! Fast paths against their naive twins.

use super::wire;
use proptest::prelude::*;
use steadfast::proto::body::Body;
use steadfast::proto::frame::{self, Expect, Opcode, Role, WholeFrame};
use steadfast::proto::mask::{self, Mask, RandomSource};
use steadfast::proto::utf8::{self, Utf8Stream};
use steadfast::proto::{http, upgrade};

/// Masks `length` bytes that begin `from` bytes into a buffer, and looks at their neighbours too.
fn masks_alike(length: usize, from: usize, mask: Mask) {
    let all: Vec<u8> = (0..from + length + 9).map(|i| (i * 37 + 11) as u8).collect();
    let (mut fast, mut naive) = (all.clone(), all);
    mask::apply(&mut fast[from..from + length], mask);
    mask::apply_naive(&mut naive[from..from + length], mask);
    assert!(fast == naive, "{length} bytes at {from}");
}

#[test]
fn masking_agrees_with_its_twin_at_every_length_and_alignment() {
    for length in 0..600 {
        for from in 0..33 {
            masks_alike(length, from, wire::MASK);
        }
    }
}

#[test]
fn a_payload_masked_in_pieces_is_masked_as_one() {
    for first in 0..40 {
        for second in 0..40 {
            let mut whole = [0x5a; 300];
            let mut pieces = whole;
            mask::apply_naive(&mut whole, wire::MASK);
            let (a, rest) = pieces.split_at_mut(first);
            let (b, c) = rest.split_at_mut(second);
            mask::apply(a, wire::MASK);
            mask::apply(b, mask::advance(wire::MASK, first));
            mask::apply(c, mask::advance(mask::advance(wire::MASK, first), second));
            assert!(whole == pieces, "cut at {first} and {second} further");
        }
    }
}

#[test]
fn random_bytes_are_given_out_once() {
    // Each block counts on from where the source's last one ended, so a byte that came twice would show.
    let mut source = RandomSource::new(|block| {
        for (i, four) in block.chunks_mut(4).enumerate() {
            four.copy_from_slice(&(i as u32).to_be_bytes());
        }
    });
    let words: Vec<u32> = (0..256).map(|_| u32::from_be_bytes(source.take())).collect();
    assert_eq!(words, (0..256).collect::<Vec<u32>>());
    assert_eq!(u32::from_be_bytes(source.take()), 0, "a used block is refilled");
    let key: [u8; 16] = source.take();
    assert_eq!(key[12..], 4_u32.to_be_bytes());
    assert_eq!(format!("{source:?}"), "RandomSource");
}

/// What `frame::encode` wrote is what the other end reads, and nothing less than all of a header is one.
fn round_trip(payload: &[u8], opcode: Opcode, fin: bool, mask: Option<Mask>) {
    let mut out = b"before".to_vec();
    frame::encode(&mut out, fin, opcode, payload, mask);
    let bytes = &out[6..];
    let first = u8::from(fin) << 7 | opcode as u8;
    assert!(bytes == wire::frame(first, mask, payload), "{} bytes, {mask:?}", payload.len());
    let header = frame::parse(bytes).unwrap();
    assert_eq!((header.first, header.mask, header.fin()), (first, mask, fin));
    assert_eq!(header.payload_bytes, payload.len() as u64);
    assert_eq!(header.header_bytes, bytes.len() - payload.len());
    for short in 0..header.header_bytes {
        assert!(frame::parse(&bytes[..short]).is_none());
    }
}

#[test]
fn frames_of_every_form_come_back() {
    let payload: Vec<u8> = (0..65_700).map(|i| (i * 13) as u8).collect();
    for length in (0..400).chain(65_500..65_560).chain([65_700]) {
        for mask in [None, Some(wire::MASK), Some([0; 4])] {
            round_trip(&payload[..length], Opcode::Binary, true, mask);
        }
    }
    for opcode in [Opcode::Continuation, Opcode::Text, Opcode::Close, Opcode::Ping, Opcode::Pong] {
        for fin in [false, true] {
            round_trip(b"payload", opcode, fin, Some(wire::MASK));
        }
    }
}

/// `parse_short` says what `parse` and `check` say, of a whole message in one short frame; and of nothing else.
fn short_frames_alike(role: Role, input: &[u8]) {
    let expect = Expect {
        role,
        in_message: false,
        message_bytes: 0,
        compressed: false,
        max_message_bytes: u64::MAX >> 1,
        extension_bits: 0,
    };
    let judged = frame::parse(input).and_then(|header| {
        let opcode = frame::check(&header, expect).ok()?;
        let whole = header.payload_bytes <= (input.len() - header.header_bytes) as u64;
        let short = header.fin() && !opcode.is_control() && header.payload_bytes <= 125;
        let (header_bytes, payload_bytes) = (header.header_bytes, header.payload_bytes as usize);
        (whole && short).then_some(WholeFrame { opcode, mask: header.mask, header_bytes, payload_bytes })
    });
    assert_eq!(frame::parse_short(input, role), judged, "{role:?}, {input:02x?}");
}

#[test]
fn short_frames_are_recognised_as_such() {
    let mut input = [0x55; 140];
    for first in 0..=u8::MAX {
        for second in 0..=u8::MAX {
            (input[0], input[1]) = (first, second);
            let payload = usize::from(second & 0x7f);
            for length in [0, 1, 2, 5, 6, payload + 1, payload + 2, payload + 5, payload + 6, payload + 7] {
                short_frames_alike(Role::Server, &input[..length]);
                short_frames_alike(Role::Client, &input[..length]);
            }
        }
    }
}

/// The state of a text: it may be valid, or no more bytes can make it so.
fn can_be_text(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).map_or_else(|error| error.error_len().is_none(), |_| true)
}

/// Pushes the pieces, and expects the first error at the first piece that spoils the text.
fn streams_alike(bytes: &[u8], cuts: &[usize]) {
    assert_eq!(utf8::is_valid(bytes), std::str::from_utf8(bytes).is_ok());
    let mut stream = Utf8Stream::default();
    let mut from = 0;
    for to in cuts.iter().copied().chain([bytes.len()]) {
        let pushed = stream.push(&bytes[from..to]);
        assert_eq!(pushed.is_ok(), can_be_text(&bytes[..to]), "{bytes:02x?} up to {to}, cut at {cuts:?}");
        if pushed.is_err() {
            return;
        }
        from = to;
    }
    assert_eq!(stream.finish().is_ok(), std::str::from_utf8(bytes).is_ok(), "{bytes:02x?}, cut at {cuts:?}");
}

#[test]
fn every_beginning_of_a_character_is_judged_as_std_does() {
    // One value of each class of the table of RFC 3629 section 4, and its neighbours.
    let edges =
        [0, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xee, 0xef];
    let leads = [0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff];
    let all: Vec<u8> = edges.into_iter().chain(leads).collect();
    for &a in &all {
        for &b in &all {
            for &c in &all {
                for &d in &[0x40, 0x7f, 0x80, 0xbf, 0xc0] {
                    streams_alike(&[a, b, c, d], &[1, 2, 3]);
                    streams_alike(&[a, b, c, d], &[2]);
                }
            }
        }
    }
}

/// The twin of `http::end_of_head`: the first prefix that ends with an empty line.
fn end_of_head_naive(input: &[u8]) -> Option<usize> {
    (0..=input.len()).find(|&end| input[..end].ends_with(b"\n\n") || input[..end].ends_with(b"\n\r\n"))
}

/// The twin of a chunked `Body`, line by line over all of it: the data, whether it is complete, and the bytes used.
/// `Err` has the data before the fault.
fn chunks_naive(input: &[u8]) -> Result<(Vec<u8>, bool, usize), Vec<u8>> {
    let mut data = Vec::new();
    let mut rest = input;
    loop {
        let digits = rest.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let zeros = rest.iter().take_while(|&&byte| byte == b'0').count();
        if digits > 16 || digits - zeros > 8 {
            return Err(data);
        }
        let Some(end) = line_end(&rest[digits..]).map_err(|()| data.clone())? else {
            let bad = !rest[digits..].is_empty() && (digits == 0 || !after_size(&rest[digits..]));
            return if bad { Err(data) } else { Ok((data, false, input.len())) };
        };
        if digits == 0 || !after_size(&rest[digits..digits + end - 2]) {
            return Err(data);
        }
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..digits]).unwrap(), 16).unwrap();
        rest = &rest[digits + end..];
        if size == 0 {
            break;
        }
        data.extend(&rest[..size.min(rest.len())]);
        rest = &rest[size.min(rest.len())..];
        match rest {
            [] | [b'\r'] => return Ok((data, false, input.len())),
            [b'\r', b'\n', more @ ..] => rest = more,
            _ => return Err(data),
        }
    }
    loop {
        let line = line_end(rest).map_err(|()| data.clone())?;
        if !rest[..line.map_or(rest.len(), |end| end - 2)].iter().all(is_text) {
            return Err(data);
        }
        let Some(end) = line else { return Ok((data, false, input.len())) };
        rest = &rest[end..];
        if end == 2 {
            return Ok((data, true, input.len() - rest.len()));
        }
    }
}

/// What a line may contain, and perhaps the CR at the end of what has arrived.
fn is_text(byte: &u8) -> bool {
    matches!(byte, b'\t' | b'\r' | b' '..=0x7e | 0x80..)
}

/// What may follow a chunk's size: white space, then an extension or nothing.
fn after_size(text: &[u8]) -> bool {
    let rest = text.iter().skip_while(|byte| b" \t".contains(byte)).collect::<Vec<_>>();
    rest.first().is_none_or(|first| b";\r".contains(first)) && text.iter().all(is_text)
}

/// Where the line ends, including CRLF; `Err` if one of the two is alone first.
fn line_end(rest: &[u8]) -> Result<Option<usize>, ()> {
    match rest.iter().position(|byte| b"\r\n".contains(byte)) {
        None => Ok(None),
        Some(at) => match rest[at..] {
            [b'\r', b'\n', ..] => Ok(Some(at + 2)),
            [b'\r'] => Ok(None),
            _ => Err(()),
        },
    }
}

/// What a chunked `Body` makes of the pieces, in the terms of its twin.
fn chunks(input: &[u8], cuts: &[usize]) -> Result<(Vec<u8>, bool, usize), Vec<u8>> {
    let mut body = Body::CHUNKED;
    let mut data = Vec::new();
    let mut at = 0;
    for to in cuts.iter().copied().chain([input.len()]) {
        while at < to {
            let Ok(piece) = body.take(&input[at..to]) else { return Err(data) };
            assert!(piece.consumed > 0 && piece.data_from <= piece.consumed && piece.consumed <= to - at);
            data.extend(&input[at + piece.data_from..at + piece.consumed]);
            at += piece.consumed;
            if piece.done {
                return Ok((data, true, at));
            }
        }
    }
    Ok((data, false, at))
}

fn cuts(length: usize) -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(0..=length, 0..6).prop_map(|mut cuts| {
        cuts.sort_unstable();
        cuts
    })
}

fn with_cuts(bytes: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = (Vec<u8>, Vec<usize>)> {
    bytes.prop_flat_map(|bytes| (cuts(bytes.len()), Just(bytes)).prop_map(|(cuts, bytes)| (bytes, cuts)))
}

/// Text that is right, but for what a few random bytes do to it.
fn spoiled_text() -> impl Strategy<Value = Vec<u8>> {
    let spoil = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3);
    (".{0,40}", spoil).prop_map(|(text, spoil)| {
        let mut bytes = text.into_bytes();
        for (at, byte) in spoil {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        bytes
    })
}

/// The tokens of chunked framing, in an order that is right, or in any.
fn chunked_body() -> impl Strategy<Value = Vec<u8>> {
    let tokens = ["0", "1", "2", "a", "00000001", "\r\n", "\r\n", "\r\n", "\n", "\r", ";x", " ", "X: y", "d", "hi"];
    let anything = prop::collection::vec(prop::sample::select(tokens.to_vec()), 0..14).prop_map(|all| all.concat());
    let chunk = ("[a-z\r\n]{1,20}", prop_oneof![4 => Just(""), 1 => Just(";x=y"), 1 => Just(" \t")]);
    let chunk = chunk.prop_map(|(data, more)| format!("{:x}{more}\r\n{data}\r\n", data.len()));
    let trailer = prop_oneof![2 => Just(""), 1 => Just("X: y\r\n"), 1 => Just("X: y\r\nZ: w\r\n")];
    let right = (prop::collection::vec(chunk, 0..4), trailer)
        .prop_map(|(chunks, trailer)| format!("{}0\r\n{trailer}\r\nnext", chunks.concat()));
    prop_oneof![anything.boxed(), right.boxed()].prop_map(String::into_bytes)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn masking_agrees_with_its_twin(length in 0..5_000_usize, from in 0..64_usize, mask: Mask) {
        masks_alike(length, from, mask);
    }

    #[test]
    fn frames_come_back(payload in prop::collection::vec(any::<u8>(), 0..2_000), fin: bool, mask: Option<Mask>) {
        round_trip(&payload, Opcode::Text, fin, mask);
    }

    #[test]
    fn random_bytes_are_judged_as_std_does((bytes, cuts) in with_cuts(prop::collection::vec(any::<u8>(), 0..12))) {
        streams_alike(&bytes, &cuts);
    }

    #[test]
    fn spoiled_text_is_judged_as_std_does((bytes, cuts) in with_cuts(spoiled_text())) {
        streams_alike(&bytes, &cuts);
    }

    #[test]
    fn the_end_of_a_head_is_found_wherever_it_is_cut(
        (bytes, cuts) in with_cuts(prop::collection::vec(prop::sample::select(b"\r\n\r\nab:".to_vec()), 0..30)),
    ) {
        let mut searched = 0;
        for to in cuts.into_iter().chain([bytes.len()]) {
            let found = http::end_of_head(&bytes[..to], searched);
            prop_assert_eq!(found, end_of_head_naive(&bytes[..to]));
            if found.is_some() {
                break;
            }
            searched = to;
        }
    }

    #[test]
    fn chunks_are_decoded_as_their_twin_does((bytes, cuts) in with_cuts(chunked_body())) {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        prop_assert_eq!(chunks(&bytes, &cuts), chunks_naive(&bytes), "{:?}", text);
    }

    #[test]
    fn a_key_is_what_a_server_takes(random: [u8; 16]) {
        let mut request = Vec::new();
        let key = upgrade::client_key(random);
        let opening = upgrade::ClientHandshake { host: "h", path: "/", ..Default::default() };
        upgrade::encode_request(&mut request, &opening, &key);
        let (request, _) = http::parse_request(&request, http::HeadLimits::default()).unwrap().unwrap();
        let policy = upgrade::Policy::default();
        let accept = upgrade::check_request(&request, &policy);
        prop_assert_eq!(accept.map(|accept| accept.key), Ok(upgrade::accept_key(&key)));
    }
}
