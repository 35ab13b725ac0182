//! Bytes as a peer puts them on the wire, made without the code under test.

use steadfast::proto::frame::Role;

/// Every mask that a client of these tests uses, and every four bytes of its random source.
pub(super) const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// First bytes of frames: FIN and opcode.
pub(super) const TEXT: u8 = 0x81;
pub(super) const BINARY: u8 = 0x82;
pub(super) const OPEN_TEXT: u8 = 0x01;
pub(super) const OPEN_BINARY: u8 = 0x02;
pub(super) const MORE: u8 = 0x00;
pub(super) const LAST: u8 = 0x80;
pub(super) const CLOSE: u8 = 0x88;
pub(super) const PING: u8 = 0x89;
pub(super) const PONG: u8 = 0x8a;

/// The key that a client makes of [`MASK`] four times over, and the answer that fits it, from an independent tool.
pub(super) const CLIENT_KEY: &str = "N/ohPTf6IT03+iE9N/ohPQ==";
pub(super) const CLIENT_ACCEPT: &str = "7Ubo2JRe6fIuZAdGHq7kDA4XEQ0=";

pub(super) fn both_roles() -> [Role; 2] {
    [Role::Server, Role::Client]
}

/// In how many bytes a header writes the length: 7 bits of its second byte, or 2 or 8 bytes more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Bits7,
    Bits16,
    Bits64,
}

pub(super) fn shortest(length: u64) -> Form {
    match length {
        0..=125 => Form::Bits7,
        126..=65_535 => Form::Bits16,
        _ => Form::Bits64,
    }
}

/// A header that need not follow any rule.
pub(super) fn header(first: u8, mask: Option<[u8; 4]>, length: u64, form: Form) -> Vec<u8> {
    let masked = if mask.is_some() { 0x80 } else { 0 };
    let mut bytes = vec![first];
    match form {
        Form::Bits7 => bytes.push(masked | length as u8),
        Form::Bits16 => {
            bytes.push(masked | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        Form::Bits64 => {
            bytes.push(masked | 127);
            bytes.extend(length.to_be_bytes());
        }
    }
    bytes.extend(mask.iter().flatten());
    bytes
}

/// A frame, masked or not as it should be or not.
pub(super) fn frame(first: u8, mask: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
    let length = payload.len() as u64;
    let mut bytes = header(first, mask, length, shortest(length));
    let key = mask.unwrap_or_default();
    bytes.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

/// The mask of frames that `role` receives.
pub(super) fn mask_to(role: Role) -> Option<[u8; 4]> {
    (role == Role::Server).then_some(MASK)
}

/// A frame as `role` should receive it.
pub(super) fn to(role: Role, first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(first, mask_to(role), payload.as_ref())
}

/// A frame as `role` should send it.
pub(super) fn from(role: Role, first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(first, (role == Role::Client).then_some(MASK), payload.as_ref())
}

pub(super) fn close_body(code: u16, reason: impl AsRef<[u8]>) -> Vec<u8> {
    [&code.to_be_bytes(), reason.as_ref()].concat()
}

/// The answer of the tests' server to a request, and to a HEAD.
pub(super) const OK: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi";
pub(super) const OK_TO_HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n";
pub(super) const OK_AND_CLOSE: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi";

/// An answer that refuses and closes.
pub(super) fn refusal(status: u16, phrase: &str, more_fields: &str) -> String {
    let connection = if status == 426 { "close, Upgrade" } else { "close" };
    format!(
        "HTTP/1.1 {status} {phrase}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\
         {more_fields}Connection: {connection}\r\n\r\n{phrase}",
        phrase.len()
    )
}

/// The request of RFC 6455 section 1.3, and the answer to it.
pub(super) const UPGRADE: &str = "GET /echo HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: http://example.com\r\n\
    Sec-WebSocket-Version: 13\r\n\r\n";
pub(super) const UPGRADED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// What a server answers to the client of these tests.
pub(super) fn accepted() -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {CLIENT_ACCEPT}\r\n\r\n"
    )
}
