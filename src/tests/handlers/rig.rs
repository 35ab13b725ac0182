//! What most of these tests need: a client that reads to the end.

use crate::host::{Local, quick};
use crate::wire::{CLOSE, Frame, PATIENCE, TEXT, UPGRADE, Wire, frame};
use std::net::SocketAddr;
use std::sync::mpsc::Receiver;
use std::time::Duration;
use steadfast::server::Config;

/// One reactor: what is said to one connection before another can be awaited there.
pub(crate) fn single() -> Config {
    Config { reactors: Some(1), ..quick() }
}

/// What is told next.
pub(crate) fn hear<T>(told: &Receiver<T>) -> T {
    told.recv_timeout(PATIENCE).expect("a handler that tells something")
}

/// All that was told until the server had ended.
pub(crate) fn all_told<T>(local: Local, told: &Receiver<T>) -> Vec<T> {
    // It stops, and waits for the end of all reactors: one that panicked would fail here.
    drop(local);
    told.try_iter().collect()
}

/// The request for an upgrade at `target`, with more field lines.
pub(crate) fn upgrade_at(target: &str, fields: &str) -> String {
    UPGRADE.replace("/echo", target).replace("Upgrade: websocket", &format!("{fields}Upgrade: websocket"))
}

/// A WebSocket at `target`.
pub(crate) fn websocket_at(address: SocketAddr, target: &str) -> Wire {
    let mut wire = Wire::connect(address);
    wire.send(upgrade_at(target, "").as_bytes());
    wire.assert_upgraded();
    wire
}

pub(crate) fn say(wire: &mut Wire, text: &str) {
    wire.send(&frame(TEXT, text.as_bytes()));
}

/// The text that comes next.
pub(crate) fn text(wire: &mut Wire) -> String {
    let Frame { first, payload } = wire.frame();
    assert_eq!(first, TEXT, "no text: {payload:?}");
    String::from_utf8(payload).expect("text")
}

/// All frames before the Close, and the Close; it is answered, and nothing stands behind it.
pub(crate) fn frames_and_close(wire: &mut Wire) -> (Vec<Frame>, Frame) {
    let mut frames = Vec::new();
    loop {
        let next = wire.frame();
        if next.first == CLOSE {
            wire.send_if_taken(&frame(CLOSE, &next.payload));
            wire.assert_ended();
            return (frames, next);
        }
        frames.push(next);
    }
}

/// The frames of a stream that has ended.
pub(crate) fn frames_of(mut bytes: &[u8]) -> Vec<Frame> {
    let mut frames = Vec::new();
    while let [first, second, rest @ ..] = bytes {
        let (length, rest) = match second {
            126 => (usize::from(u16::from_be_bytes([rest[0], rest[1]])), &rest[2..]),
            127 => (u64::from_be_bytes(rest[..8].try_into().expect("eight bytes")) as usize, &rest[8..]),
            short => (usize::from(*short), rest),
        };
        frames.push(Frame { first: *first, payload: rest[..length].to_vec() });
        bytes = &rest[length..];
    }
    assert!(bytes.is_empty(), "half a frame: {bytes:?}");
    frames
}

/// Ends a connection with a reset, and without a word.
pub(crate) fn reset(wire: Wire) {
    socket2::SockRef::from(&wire.socket).set_linger(Some(Duration::ZERO)).expect("SO_LINGER");
}
