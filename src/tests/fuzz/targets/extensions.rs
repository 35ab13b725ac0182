//! permessage-deflate as it is negotiated, told by a reader that takes one character after the other.
//!
//! An input is a byte for takeover (bit 0) and window bits (1 to 3) of this end, and the same for another one (4 to 7);
//! then the values of the fields, with NUL between them.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
include!("../root.rs");

use crate::script::Script;
use steadfast::proto::extension::{Compression, NegotiatedCompression, choose, confirm, offer};

const NAME: &str = "permessage-deflate";

pub(crate) fn check(data: &[u8]) {
    let mut script = Script::new(data);
    let flags = script.byte();
    let (ours, theirs) = (settings(flags), settings(flags >> 4));
    let values: Vec<&[u8]> = script.rest().split(|&byte| byte == 0).collect();
    let offers: Vec<Option<Vec<Parameter>>> = values.iter().flat_map(|value| elements(value)).map(offered).collect();
    let first = offers.iter().flatten().next();
    let chosen = choose(values.iter().copied(), &ours);
    assert_eq!(chosen.is_some(), first.is_some(), "{first:?}");
    if let (Some(agreed), Some(offer)) = (chosen, first) {
        answers(&agreed, offer, &ours);
    }
    if let Some(agreed) = confirm(values.iter().copied(), &ours) {
        let kept = agreed.peer_takeover();
        assert!(!kept || ours.context_takeover && agreed.peer_window_bits() <= ours.max_window_bits, "{agreed:?}");
        assert!((8..=ours.max_window_bits).contains(&agreed.own_window_bits()), "{agreed:?}");
        assert!(ours.context_takeover || !agreed.own_takeover(), "{agreed:?}");
    }
    both_ends_agree(&ours, &theirs);
}

fn settings(flags: u8) -> Compression {
    let max_window_bits = 8 + (flags >> 1 & 7);
    Compression { context_takeover: flags & 1 != 0, max_window_bits, ..Compression::default() }
}

/// A parameter with the bits of its window, if it has a value.
type Parameter = (String, Option<u8>);

/// What is between commas, outside of quoted strings.
fn elements(value: &[u8]) -> Vec<Vec<u8>> {
    let (mut all, mut quoted, mut escaped) = (vec![Vec::new()], false, false);
    for &byte in value {
        let closes = byte == b'"' && !escaped;
        let separates = byte == b',' && !quoted;
        escaped = quoted && byte == b'\\' && !escaped;
        quoted ^= closes;
        if separates {
            all.push(Vec::new());
        } else if let Some(last) = all.last_mut() {
            last.push(byte);
        }
    }
    all
}

/// The parameters of an offer that can be met: all known, each once, each value as RFC 7692 section 7.1 has it.
fn offered(element: Vec<u8>) -> Option<Vec<Parameter>> {
    let text = String::from_utf8(element).ok()?;
    let trim = |text: &str| text.trim_matches([' ', '\t', '\n', '\r', '\x0c']).to_owned();
    let mut parts = text.split(';').map(trim);
    if !parts.next()?.eq_ignore_ascii_case(NAME) {
        return None;
    }
    let mut found: Vec<Parameter> = Vec::new();
    for part in parts {
        let (name, value) = match part.split_once('=') {
            Some((name, value)) => (trim(name), Some(trim(value))),
            None => (part, None),
        };
        let bits = match (name.as_str(), value) {
            ("server_no_context_takeover" | "client_no_context_takeover" | "client_max_window_bits", None) => None,
            ("server_max_window_bits" | "client_max_window_bits", Some(value)) => {
                let bare = value.strip_prefix('"').map_or(Some(&*value), |quoted| quoted.strip_suffix('"'))?;
                Some((8..=15).find(|bits: &u8| bits.to_string() == bare)?)
            }
            _ => return None,
        };
        if found.iter().any(|(known, _)| *known == name) {
            return None;
        }
        found.push((name, bits));
    }
    Some(found)
}

/// What the server answers keeps within the offer and its own bounds.
fn answers(agreed: &NegotiatedCompression, offer: &[Parameter], ours: &Compression) {
    let answer = offered(agreed.to_string().into_bytes()).expect("what we answer can be read");
    let of = |list: &[Parameter], name: &str| list.iter().find(|(one, _)| one == name).map(|(_, bits)| *bits);
    for side in ["server", "client"] {
        let no_takeover = format!("{side}_no_context_takeover");
        let must = of(offer, &no_takeover).is_some() || !ours.context_takeover;
        assert!(of(&answer, &no_takeover).is_some() || !must, "{agreed} to {offer:?}");
        let window = format!("{side}_max_window_bits");
        if let Some(bits) = of(&answer, &window) {
            let asked = of(offer, &window).expect("only what was offered is limited");
            let bits = bits.expect("an answer has a value");
            assert!(bits <= asked.unwrap_or(15) && bits <= ours.max_window_bits, "{agreed} to {offer:?}");
        }
    }
    let own_bits = of(offer, "server_max_window_bits");
    assert_eq!(of(&answer, "server_max_window_bits").is_some(), own_bits.is_some());
    let kept = of(&answer, "client_no_context_takeover").is_none();
    let bits = of(&answer, "client_max_window_bits").flatten().unwrap_or(15);
    assert!(!kept || bits <= ours.max_window_bits, "a window of {bits} bits is kept: {agreed}");
}

/// What one end of ours offers, another one can meet, and both then mean the same.
fn both_ends_agree(client: &Compression, server: &Compression) {
    let offer = offer(client);
    let by_server = choose([offer.as_bytes()], server).expect("ours can be met");
    let by_client = confirm([by_server.to_string().as_bytes()], client).expect("the answer keeps to the offer");
    assert_eq!(by_server.own_takeover(), by_client.peer_takeover(), "{by_server:?} and {by_client:?}");
    assert!(by_client.own_takeover() <= by_server.peer_takeover(), "{by_server:?} and {by_client:?}");
    if by_client.own_takeover() {
        assert!(by_client.own_window_bits() <= by_server.peer_window_bits(), "{by_server:?} and {by_client:?}");
    }
}
