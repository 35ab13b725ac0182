//! Compressed messages: however they are cut the same comes of them, and it is what an inflater says that is as naive as
//! can be.
//!
//! An input is a byte for role (bit 0), takeover (1), text (2), sketches of frames in place of one message (3) and into
//! how many fragments that is cut (4 to 7); then as `sessions` has it: one byte for the limits, four for the lengths of
//! pieces; then frames, or the payload of the message.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
include!("../root.rs");

use crate::feed::{Seen, Start};
use crate::inflate::Naive;
use crate::script::Script;
use crate::sessions::{cuts_change_nothing, drawn, limits};
use crate::wire::to;
use steadfast::proto::close::Fault;
use steadfast::proto::frame::Role;

/// A frame's first byte: compressed.
const RSV1: u8 = 0x40;

pub(crate) fn check(data: &[u8]) {
    let mut script = Script::new(data);
    let flags = script.byte();
    let role = if flags & 1 == 0 { Role::Server } else { Role::Client };
    let parameters = match flags & 2 {
        0 => "; server_no_context_takeover; client_no_context_takeover",
        _ => "",
    };
    let (start, limits, lengths) = (Start::Deflated(role, parameters), limits(script.byte()), script.bytes());
    if flags & 8 != 0 {
        cuts_change_nothing(start, limits, &drawn(role, script), lengths, 0, false);
        return;
    }
    let (payload, text) = (script.rest(), flags & 4 != 0);
    let input = message(role, payload, text, usize::from(flags >> 4) + 1);
    let record = cuts_change_nothing(start, limits, &input, lengths, 0, false);
    let mut naive = Naive::default();
    let inflated = naive.message(payload);
    let fits = |message: &Vec<u8>| message.len() as u64 <= limits.max_message_bytes;
    match (&record.seen[..], inflated) {
        ([Seen::Text(found)], Ok(message)) if text => assert_eq!(*found, message),
        ([Seen::Binary(found)], Ok(message)) if !text => assert_eq!(*found, message),
        // Where a stream ends with the message, the tail is no part of it; the naive reader takes it for half a block.
        // And where a window is kept, that a block is not whole shows in the next message, if at all.
        ([Seen::Text(_) | Seen::Binary(_)], Err(_)) => assert!(naive.saw_last || flags & 2 != 0, "{record:?}"),
        // A limit that the frames break, before anything is inflated.
        ([Seen::Failed(Fault::MessageTooBig | Fault::TooManyFragments)], _) => {}
        // With the end of a stream its window goes, and what is text is judged before what is damaged.
        ([Seen::Failed(Fault::DeflateInvalid)], Ok(_)) => assert!(naive.saw_last, "{record:?}"),
        ([Seen::Failed(Fault::TextNotUtf8)], Ok(message)) => {
            assert!(text && (std::str::from_utf8(&message).is_err() || !fits(&message)));
        }
        ([Seen::Failed(Fault::DeflateInvalid)], Err(_)) => {}
        ([Seen::Failed(Fault::TextNotUtf8)], Err(_)) => assert!(text),
        (seen, inflated) => panic!("{seen:?}, and {inflated:?} by hand"),
    }
}

/// One compressed message in this many fragments, or as many as it has bytes.
fn message(role: Role, payload: &[u8], text: bool, fragments: usize) -> Vec<u8> {
    let first = if text { 1 } else { 2 };
    let length = payload.len().div_ceil(fragments).max(1);
    let mut pieces: Vec<&[u8]> = payload.chunks(length).collect();
    if pieces.is_empty() {
        pieces.push(b"");
    }
    let last = pieces.len() - 1;
    let frame = |(at, piece): (usize, &&[u8])| {
        let opcode = if at == 0 { RSV1 | first } else { 0 };
        to(role, if at == last { 0x80 } else { 0 } | opcode, piece)
    };
    pieces.iter().enumerate().flat_map(frame).collect()
}
