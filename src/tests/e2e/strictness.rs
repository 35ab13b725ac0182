//! Requests that other servers take or refuse in a useful way, as raw bytes over a socket: for each the status, and what
//! its answer says.

use crate::host::{Local, quick};
use crate::wire::{UPGRADE, Wire};

/// A request, the status of its answer, and what the answer's head or body has to contain.
struct Case {
    request: String,
    status: u16,
    contains: &'static [&'static str],
}

fn case(request: impl Into<String>, status: u16, contains: &'static [&'static str]) -> Case {
    Case { request: request.into(), status, contains }
}

fn assert_answers(local: &Local, cases: Vec<Case>) {
    for Case { request, status, contains } in cases {
        let mut wire = Wire::connect(local.address);
        wire.send(request.as_bytes());
        let answer = if request.starts_with("HEAD ") { wire.answer_without_body() } else { wire.answer() };
        let text = format!("{}{}", answer.head, String::from_utf8_lossy(&answer.body));
        assert_eq!(answer.status, status, "{request:?}: {text}");
        for part in contains {
            assert!(text.contains(part), "{request:?}: no {part:?} in {text}");
        }
    }
}

/// RFC 4648 section 3.5: a decoder need not look at the bits of the last character that stand for nothing.
#[test]
fn key_of_16_bytes_with_any_padding_bits_is_accepted() {
    let local = Local::start(quick());
    let upgrade = |key: &str| UPGRADE.replace("dGhlIHNhbXBsZSBub25jZQ==", key);
    // The answers are those of another implementation.
    assert_answers(
        &local,
        vec![
            case(upgrade("dGhlIHNhbXBsZSBub25jZQ=="), 101, &["Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"]),
            case(upgrade("dGhlIHNhbXBsZSBub25jZR=="), 101, &["Sec-WebSocket-Accept: Zgw8jYXtqX5qJr7MJ1Q/MqzeSRI=\r\n"]),
            case(upgrade("abcdefghijklmnopqrstuv=="), 101, &["Sec-WebSocket-Accept: bgAIe1Uyl8RkKSUGzScol17gp1Y=\r\n"]),
            case(upgrade("dGhlIHNhbXBsZSBub25jZ=="), 400, &[]),
            case(upgrade("dGhlIHNhbXBsZSBub25jZQA="), 400, &[]),
            case(upgrade("dGhlIHNhbXBsZSBub25jZQ=A"), 400, &[]),
            case(upgrade("dGhlIHNhbXBsZSBub25jZ-=="), 400, &[]),
        ],
    );
}
