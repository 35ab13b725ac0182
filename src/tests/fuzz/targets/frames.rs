//! Frame headers and masks: read, judged and written as RFC 6455 has it, told by its plain twin.
//!
//! An input is a byte for role (bit 0), open message (1) and extension bits (4 to 6); one for the limit of a message; one
//! for how much of that an open one has left; and bytes that may be a frame. With bit 3 the frame is drawn from three of
//! them: its first byte, the form of its length, and which of the lengths where a rule begins or ends.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
include!("../root.rs");

use crate::naive::{Header as Naive, Place, broken_rules, read_close, read_header, unmasked};
use crate::script::Script;
use crate::sessions::expect;
use crate::wire::{Form, MASK, header, shortest};
use steadfast::proto::close::{self, CloseStatus};
use steadfast::proto::frame::{self, Header, Opcode, Role};
use steadfast::proto::mask;

pub(crate) fn check(data: &[u8]) {
    let mut script = Script::new(data);
    let flags = script.byte();
    let max_message_bytes = script.pick(&[1 << 20, 0, 1, 125, 126, 65_535, 65_536, u64::MAX >> 1, u64::MAX]);
    let left = u64::from(script.byte());
    let place = Place {
        role: if flags & 1 == 0 { Role::Server } else { Role::Client },
        open_message: (flags & 2 != 0).then(|| max_message_bytes.saturating_sub(left)),
        max_message_bytes,
        extension_bits: flags & 0x70,
    };
    let drawn = if flags & 8 != 0 { drawn(place.role, &mut script) } else { Vec::new() };
    let input = &*[&*drawn, script.rest()].concat();
    short_frames_alike(place.role, input);
    masks_alike(input);
    closes_alike(input);
    let Some(header) = headers_alike(input) else { return };
    if let Some(opcode) = judged_alike(&header, place, input) {
        comes_back(&header, opcode, input);
    }
}

const LENGTHS: [u64; 15] =
    [0, 1, 2, 124, 125, 126, 127, 128, 65_534, 65_535, 65_536, 65_537, (1 << 63) - 1, 1 << 63, u64::MAX];

fn drawn(role: Role, script: &mut Script<'_>) -> Vec<u8> {
    let (first, form, length) = (script.byte(), script.byte(), script.pick(&LENGTHS));
    let mask = ((role == Role::Server) != (form >= 0xf0)).then_some(MASK);
    let form = [shortest(length), Form::Bits7, Form::Bits16, Form::Bits64][usize::from(form & 3)];
    header(first, mask, length, form)
}

/// Parsing agrees with its naive twin, needs all of the header, and nothing after it.
fn headers_alike(input: &[u8]) -> Option<Header> {
    let header = frame::parse(input);
    let naive = read_header(input);
    let fields = |header: &Header| (header.fin(), header.first, header.mask, header.payload_bytes, header.header_bytes);
    let of_naive = |header: &Naive| (header.fin, input[0], header.mask, header.payload_bytes, header.header_bytes);
    assert_eq!(header.as_ref().map(fields), naive.as_ref().map(of_naive));
    let header = header?;
    for short in 0..header.header_bytes {
        assert!(frame::parse(&input[..short]).is_none(), "a header from {short} bytes of it");
    }
    let alone = frame::parse(&input[..header.header_bytes]);
    assert_eq!(alone.as_ref().map(fields), Some(fields(&header)));
    Some(header)
}

/// A header is taken exactly if it breaks no rule, and refused for one that it breaks.
fn judged_alike(header: &Header, place: Place, input: &[u8]) -> Option<Opcode> {
    let naive = read_header(input).expect("it was read before");
    let broken = broken_rules(&naive, place);
    // RFC 7692 section 6.1 wants the bit of a compressed message on its first frame only: whose rule that is, the
    // header's or the extension's, is not for this target to say.
    let left_open = naive.opcode == 0 && naive.reserved_bits & place.extension_bits != 0;
    match frame::check(header, expect(place)) {
        Ok(opcode) => {
            assert!(broken.is_empty(), "taken, though it breaks {broken:?}: {header:02x?}, {place:?}");
            assert_eq!(opcode as u8, naive.opcode);
            assert_eq!(opcode.is_control(), naive.is_control());
            Some(opcode)
        }
        Err(fault) => {
            assert!(broken.contains(&fault) || left_open, "{fault:?} is none of {broken:?}: {header:02x?}, {place:?}");
            None
        }
    }
}

/// A parsed frame has one form on the wire: writing it again returns the same bytes.
fn comes_back(header: &Header, opcode: Opcode, input: &[u8]) {
    let (bytes, payload) = input.split_at(header.header_bytes);
    let length = usize::try_from(header.payload_bytes).expect("64 bits");
    let (written, written_bytes) = frame::encode_header(header.first, bytes[1] & 0x80, length);
    let mask = header.mask.unwrap_or_default();
    assert_eq!(&written[..written_bytes], &bytes[..written_bytes]);
    assert_eq!(written_bytes + if header.mask.is_some() { 4 } else { 0 }, bytes.len());
    if length > payload.len() || header.first & 0x70 != 0 {
        return;
    }
    let payload = unmasked(&payload[..length], Some(mask));
    let mut out = b"before".to_vec();
    frame::encode(&mut out, header.fin(), opcode, &payload, header.mask);
    assert_eq!(&out[6..], &input[..header.header_bytes + length]);
}

/// The short way says what reading and judging say, of a whole message in one short frame; and of nothing else.
fn short_frames_alike(role: Role, input: &[u8]) {
    let place = Place { role, open_message: None, max_message_bytes: u64::MAX, extension_bits: 0 };
    let naive = read_header(input).filter(|header| {
        let whole = header.payload_bytes <= (input.len() - header.header_bytes) as u64;
        let short = header.fin && !header.is_control() && header.payload_bytes <= 125;
        whole && short && broken_rules(header, place).is_empty()
    });
    let naive = naive.map(|header| (header.opcode, header.mask, header.header_bytes, header.payload_bytes as usize));
    let short = frame::parse_short(input, role)
        .map(|frame| (frame.opcode as u8, frame.mask, frame.header_bytes, frame.payload_bytes));
    assert_eq!(short, naive, "{role:?}");
}

/// Masking agrees with its naive twin at every address, and in two pieces.
fn masks_alike(input: &[u8]) {
    let Some((&key, bytes)) = input.split_first_chunk::<4>() else { return };
    // Past the length from which wide registers do it, and from every place in a line of the cache.
    let mut fast = bytes.repeat(1 + 256 / bytes.len().max(1));
    let (from, cut) = (usize::from(key[0] % 64).min(fast.len()), usize::from(key[1]));
    let expected = unmasked(&fast[from..], Some(key));
    let mut pieces = fast.clone();
    mask::apply(&mut fast[from..], key);
    assert_eq!(&fast[from..], expected);
    let (first, second) = pieces[from..].split_at_mut(cut.min(expected.len()));
    mask::apply(first, key);
    mask::apply(second, mask::advance(key, first.len()));
    assert_eq!(&pieces[from..], expected);
}

/// The body of a Close is read as its twin does it, and comes back if its code may be sent.
fn closes_alike(input: &[u8]) {
    let body = &input[..input.len().min(125)];
    let naive = read_close(body);
    match close::parse(body) {
        Ok((status, reason)) => {
            assert_eq!(Ok((status.into(), reason.to_vec())), naive);
            let mut written = [0; 125];
            let reason = std::str::from_utf8(reason).expect("it was checked");
            assert_eq!(close::encode(&mut written, status, reason), body);
            assert_eq!(status == CloseStatus::NO_STATUS, body.is_empty());
        }
        Err(fault) => assert!(naive.as_ref().is_err_and(|faults| faults.contains(&fault)), "{fault:?}: {naive:?}"),
    }
}
