//! The opening handshake, RFC 6455 section 4, both roles.

use super::http::{self, Request, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

/// Sec-WebSocket-Accept: 28 characters of base64.
pub type AcceptKey = [u8; 28];

/// Which pages of the web may open a connection (RFC 6455 section 10.2). A client that is no browser sends no
/// Origin, and is always let in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origins {
    /// Those that this host itself served: the authority of Origin equals Host.
    #[default]
    Same,
    /// All.
    Any,
    /// These, compared without case, as in `https://example.org`.
    Listed(Vec<String>),
}

impl Origins {
    /// Whether a request with these fields may pass.
    pub fn allow(&self, fields: &http::Fields<'_>) -> bool {
        let Some(origin) = fields.origin else { return true };
        match self {
            Self::Any => true,
            Self::Listed(list) => list.iter().any(|one| origin.eq_ignore_ascii_case(one.as_bytes())),
            Self::Same => {
                let scheme = memchr::memmem::find(origin, b"://");
                let authority = scheme.map(|at| &origin[at + 3..]);
                authority.zip(fields.host).is_some_and(|(authority, host)| authority.eq_ignore_ascii_case(host))
            }
        }
    }
}

/// Why a request is not upgraded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// Not a GET (405).
    Method,
    /// No upgrade to WebSocket is asked for (426).
    NotUpgrade,
    /// Another version than 13 (426).
    Version,
    /// No key, or one that is not 16 bytes in base64 (400).
    Key,
    /// No Host, or two; or HTTP/1.0; or a body (400).
    Malformed,
    /// From a page that may not (403).
    Origin,
}

impl Refusal {
    /// The answer to give: status, fields, and `Connection: close`.
    pub fn answer(self) -> http::Answer<'static> {
        let (status, more_fields) = match self {
            Self::Method => (405, "Allow: GET\r\n"),
            // RFC 9110 section 15.5.22: a 426 says in Upgrade what is required.
            Self::NotUpgrade => (426, "Upgrade: websocket\r\n"),
            // RFC 6455 section 4.4.
            Self::Version => (426, "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"),
            Self::Key | Self::Malformed => (400, ""),
            Self::Origin => (403, ""),
        };
        http::Answer { more_fields, ..http::Answer::refusal(status) }
    }
}

/// Judges a request by RFC 6455 section 4.2.1; gives what Sec-WebSocket-Accept has to say.
///
/// # Errors
/// The first rule that it breaks.
pub fn check_request(request: &Request<'_>, origins: &Origins) -> Result<AcceptKey, Refusal> {
    let fields = &request.fields;
    if request.method != "GET" {
        return Err(Refusal::Method);
    }
    if !fields.upgrade_websocket || !fields.connection_upgrade {
        return Err(Refusal::NotUpgrade);
    }
    // 4.2.1: "An HTTP/1.1 or higher GET request"; a body would be read as frames.
    if request.minor_version == 0 || fields.host.is_none() || fields.has_duplicate || request.has_body() {
        return Err(Refusal::Malformed);
    }
    if fields.websocket_version != Some(b"13") {
        return Err(Refusal::Version);
    }
    let key = fields.websocket_key.filter(|key| is_key(key)).ok_or(Refusal::Key)?;
    if !origins.allow(fields) {
        return Err(Refusal::Origin);
    }
    Ok(accept_key(key))
}

/// 4.2.1: "a base64-encoded value that, when decoded, is 16 bytes in length".
fn is_key(key: &[u8]) -> bool {
    // 16 bytes are 22 characters and two signs of padding; a longer value would not fit `raw`.
    let mut raw = [0; 18];
    key.len() == 24 && STANDARD.decode_slice(key, &mut raw) == Ok(16)
}

/// What a server answers to `key` (RFC 6455 section 4.2.2, step 5.4).
///
/// ```
/// let accept = steadfast::proto::upgrade::accept_key(b"dGhlIHNhbXBsZSBub25jZQ==");
/// assert_eq!(&accept, b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="); // the RFC's own example
/// ```
pub fn accept_key(key: &[u8]) -> AcceptKey {
    let mut hash = Sha1::new();
    hash.update(key);
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let mut accept = [0; 28];
    // 20 bytes are 28 characters: the slice is right, and nothing can fail.
    let _ = STANDARD.encode_slice(hash.finalize(), &mut accept);
    accept
}

/// Appends the answer that opens the connection.
pub fn encode_response(out: &mut Vec<u8>, accept: &AcceptKey) {
    const HEAD: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\n\
        Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ";
    out.reserve(HEAD.len() + 28 + 4);
    out.extend_from_slice(HEAD);
    out.extend_from_slice(accept);
    out.extend_from_slice(b"\r\n\r\n");
}

/// A Sec-WebSocket-Key from 16 fresh random bytes (RFC 6455 section 4.1, step 7).
pub fn client_key(random: [u8; 16]) -> [u8; 24] {
    let mut key = [0; 24];
    // 16 bytes are 24 characters: nothing can fail.
    let _ = STANDARD.encode_slice(random, &mut key);
    key
}

/// Appends a client's request for `path` at `host`, which may carry a port.
pub fn encode_request(out: &mut Vec<u8>, host: &str, path: &str, key: &[u8; 24]) {
    for part in [
        b"GET ".as_slice(),
        path.as_bytes(),
        b" HTTP/1.1\r\nHost: ",
        host.as_bytes(),
        b"\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ",
        key,
        b"\r\n\r\n",
    ] {
        out.extend_from_slice(part);
    }
}

/// Why a server's answer does not open the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rejected {
    /// Another status than 101.
    Status(u16),
    /// 101, but `Upgrade: websocket` or `Connection: Upgrade` is missing.
    NotUpgrade,
    /// Sec-WebSocket-Accept is missing or wrong.
    Accept,
    /// An extension or a subprotocol that was not asked for.
    NotOffered,
}

/// Judges a server's answer by RFC 6455 section 4.1.
///
/// # Errors
/// The first rule that it breaks.
pub fn check_response(response: &Response<'_>, key: &[u8; 24]) -> Result<(), Rejected> {
    let fields = &response.fields;
    if response.status != 101 {
        return Err(Rejected::Status(response.status));
    }
    if !fields.upgrade_websocket || !fields.connection_upgrade {
        return Err(Rejected::NotUpgrade);
    }
    // 11.3.3: the field "MUST NOT appear more than once in an HTTP response".
    if fields.has_duplicate || fields.websocket_accept != Some(&accept_key(key)) {
        return Err(Rejected::Accept);
    }
    if fields.has_extensions || fields.websocket_protocol.is_some() {
        return Err(Rejected::NotOffered);
    }
    Ok(())
}
