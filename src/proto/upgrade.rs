//! The opening handshake, RFC 6455 section 4, both roles.

pub use super::authority::Scheme;
pub use super::origin::Origins;

use super::authority::{is_name, is_one_of};
use super::extension::{self, Compression, NegotiatedCompression};
use super::http::{self, Request, Response};
use super::http_write::{BadField, HttpResponse, field_line, has_field, is_token};
use super::quote::{Field, Quoted};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};
use std::fmt;
use std::io::Write;

/// The value of Sec-WebSocket-Accept: 28 characters of base64.
pub type AcceptKey = [u8; 28];

/// The policy of a server for requests for an upgrade.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// The web pages that may connect.
    pub origins: Origins,
    /// The scheme by which browsers reach this server, if it is known: then an origin with another scheme is not this
    /// server's. `None` where a proxy may speak TLS for it.
    pub scheme: Option<Scheme>,
    /// The host names of this server, each with an optional port. A request for any other host is refused with 421, so
    /// that no page of another site reaches the server by a name of its own that resolves to it (DNS rebinding). Empty
    /// for no check.
    pub hosts: Vec<String>,
    /// The subprotocols of this server, the best first. The first one that the client offered is chosen; with none in
    /// common the connection opens without (RFC 6455 section 4.2.2).
    pub subprotocols: Vec<String>,
    /// The bounds for permessage-deflate; `None` declines it.
    pub compression: Option<Compression>,
}

impl Policy {
    /// Returns whether a request is for this server, by [`Policy::hosts`]. A request without a host is: no browser
    /// sends it.
    #[inline]
    pub fn serves(&self, request: &Request<'_>) -> bool {
        self.hosts.is_empty() || self.has_host_of(request)
    }

    #[inline(never)]
    fn has_host_of(&self, request: &Request<'_>) -> bool {
        request.authority().is_none_or(|host| is_one_of(&self.hosts, host))
    }

    /// Returns the first of [`Policy::hosts`] that is not valid.
    pub fn first_wrong_host(&self) -> Option<&str> {
        self.hosts.iter().map(String::as_str).find(|name| !is_name(name))
    }
}

/// The response of a server that accepts an upgrade.
#[derive(Clone, Copy, Debug)]
pub struct ServerHandshake<'p> {
    /// The value of Sec-WebSocket-Accept.
    pub key: AcceptKey,
    /// The chosen subprotocol, one that was offered.
    pub subprotocol: Option<&'p str>,
    /// The chosen compression.
    pub compression: NegotiatedCompression,
}

/// Accepts without a subprotocol and without compression.
impl From<AcceptKey> for ServerHandshake<'_> {
    fn from(key: AcceptKey) -> Self {
        Self { key, subprotocol: None, compression: NegotiatedCompression::default() }
    }
}

/// Why a request for an upgrade is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// Not a GET (405).
    Method,
    /// The request does not ask for an upgrade to WebSocket (426).
    NotUpgrade,
    /// A version other than 13 (426).
    Version,
    /// No key, or one that is not 16 bytes in base64 (400).
    Key,
    /// HTTP/1.0, which has no upgrades (426).
    OldHttp,
    /// No Host, or two of them; or a body (400).
    Malformed,
    /// A page that may not connect (403).
    Origin,
    /// Another host than this server (421).
    Host,
}

impl Refusal {
    /// Returns the response: status, fields, and `Connection: close`.
    pub fn response(self) -> HttpResponse<'static> {
        let (status, more_fields) = match self {
            Self::Method => (405, "Allow: GET\r\n"),
            // RFC 9110 section 15.5.22: a 426 says in Upgrade what is required.
            Self::NotUpgrade | Self::OldHttp => (426, "Upgrade: websocket\r\n"),
            // RFC 6455 section 4.4.
            Self::Version => (426, "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"),
            Self::Key | Self::Malformed => (400, ""),
            Self::Origin => (403, ""),
            Self::Host => (421, ""),
        };
        HttpResponse { more_fields, ..HttpResponse::refusal(status) }
    }
}

impl Refusal {
    /// Returns which rule a request broke, and by which value, for people who debug it.
    #[cold]
    pub fn reason(self, request: &Request<'_>, policy: &Policy) -> String {
        let fields = &request.fields;
        let value = |name: &'static str| Field(name, fields.values(name).next());
        match self {
            Self::Method => format!("the method is {}: expected GET", Quoted(request.method.as_bytes())),
            Self::NotUpgrade => format!(
                "this is a WebSocket: expected Upgrade: websocket and Connection: Upgrade, but {} and {}",
                value("Upgrade"),
                value("Connection")
            ),
            Self::OldHttp => {
                "a WebSocket needs HTTP/1.1, and this request is HTTP/1.0; a proxy may have made it so (nginx: \
                              proxy_http_version 1.1)"
                    .to_owned()
            }
            Self::Version => format!("{}: expected 13", value("Sec-WebSocket-Version")),
            Self::Key => format!("{}: expected 16 bytes in base64", value("Sec-WebSocket-Key")),
            Self::Malformed if fields.has_duplicate => "a field is there more than once".to_owned(),
            Self::Malformed if fields.host.is_none() => "the field Host is missing".to_owned(),
            Self::Malformed => "an upgrade has no content, but this one has".to_owned(),
            Self::Origin if !Origins::is_origin(fields.origin.unwrap_or_default()) => {
                format!("{}: expected an origin such as https://example.org", value("Origin"))
            }
            Self::Origin if policy.origins == Origins::Same => {
                let host = Field("host", request.authority());
                format!("{}, and pages of other hosts may not connect: the {host}", value("Origin"))
            }
            Self::Origin => format!("{}, which is not in the list of those that may connect", value("Origin")),
            Self::Host => {
                let host = Quoted(request.authority().unwrap_or_default());
                format!("{host} is no name of this server")
            }
        }
    }
}

/// Checks a request by RFC 6455 section 4.2.1 and the policy; returns the response.
///
/// # Errors
/// The first rule that it breaks.
pub fn check_request<'p>(request: &Request<'_>, policy: &'p Policy) -> Result<ServerHandshake<'p>, Refusal> {
    let fields = &request.fields;
    if request.method != "GET" {
        return Err(Refusal::Method);
    }
    // 4.2.1: "An HTTP/1.1 or higher GET request".
    if request.minor_version == 0 {
        return Err(Refusal::OldHttp);
    }
    if !fields.upgrade_websocket || !fields.connection_upgrade {
        return Err(Refusal::NotUpgrade);
    }
    // A request with content is not upgraded: the content would be parsed as frames.
    let has_length = fields.content_length.is_some_and(|length| length != b"0");
    let has_body = has_length || fields.transfer_encoding.is_some();
    if fields.host.is_none() || fields.has_duplicate || has_body {
        return Err(Refusal::Malformed);
    }
    if fields.websocket_version != Some(b"13") {
        return Err(Refusal::Version);
    }
    let key = fields.websocket_key.filter(|key| is_key(key)).ok_or(Refusal::Key)?;
    if !policy.serves(request) {
        return Err(Refusal::Host);
    }
    if !policy.origins.allow(request, policy.scheme) {
        return Err(Refusal::Origin);
    }
    let compression = match &policy.compression {
        Some(ours) if fields.websocket_extensions.is_some() => {
            extension::choose(fields.extensions(), ours).unwrap_or_default()
        }
        _ => NegotiatedCompression::default(),
    };
    Ok(ServerHandshake { key: accept_key(key), subprotocol: subprotocol(fields, policy), compression })
}

/// Names are compared case-sensitively (RFC 6455 section 11.5).
fn subprotocol<'p>(fields: &http::Fields<'_>, policy: &'p Policy) -> Option<&'p str> {
    fields.websocket_protocol?;
    let offered = |ours: &&String| {
        fields.values("sec-websocket-protocol").flat_map(http::tokens).any(|theirs| theirs == ours.as_bytes())
    };
    policy.subprotocols.iter().find(offered).map(String::as_str)
}

/// 4.2.1: "a base64-encoded value that, when decoded, is 16 bytes in length".
fn is_key(key: &[u8]) -> bool {
    // 16 bytes are 22 characters and two of padding. The bytes themselves are not needed, and decoding them would be on
    // the path of every handshake. Four bits of the last character have no meaning. RFC 4648 section 3.5 lets a decoder
    // ignore them, and there are clients that choose all 22 characters at random.
    let Some((text, b"==")) = key.split_first_chunk::<22>() else { return false };
    text.iter().all(|&byte| BASE64[usize::from(byte)])
}

/// The alphabet of RFC 4648 section 4.
const BASE64: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        table[byte] = (byte as u8).is_ascii_alphanumeric() || byte as u8 == b'+' || byte as u8 == b'/';
        byte += 1;
    }
    table
};

/// Returns the value of Sec-WebSocket-Accept for `key` (RFC 6455 section 4.2.2, step 5.4).
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
    // 20 bytes are 28 characters, so it cannot fail.
    let _ = STANDARD.encode_slice(hash.finalize(), &mut accept);
    accept
}

/// Appends the response that opens the connection; `fields` are further lines, each with its CRLF.
pub fn encode_response(out: &mut Vec<u8>, handshake: &ServerHandshake<'_>, fields: &str) {
    const HEAD: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\n\
        Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ";
    out.reserve(HEAD.len() + 28 + 4);
    out.extend_from_slice(HEAD);
    out.extend_from_slice(&handshake.key);
    if let Some(subprotocol) = handshake.subprotocol {
        out.extend_from_slice(b"\r\nSec-WebSocket-Protocol: ");
        out.extend_from_slice(subprotocol.as_bytes());
    }
    if handshake.compression.is_on() {
        out.extend_from_slice(b"\r\nSec-WebSocket-Extensions: ");
        handshake.compression.encode(out);
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(fields.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// The request of a client for an upgrade.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClientHandshake<'a> {
    /// The value of Host: a name or an address, and the port unless it is 80.
    pub host: &'a str,
    /// The path and the query.
    pub path: &'a str,
    /// The offered subprotocols, the best first; each a token, see [`super::http_write::is_token`].
    pub subprotocols: &'a [String],
    /// The bounds for permessage-deflate; `None` does not offer it.
    pub compression: Option<&'a Compression>,
    /// Further field lines, each with its CRLF; see [`super::http_write::field_line`].
    pub fields: &'a str,
}

/// Returns a Sec-WebSocket-Key from 16 fresh random bytes (RFC 6455 section 4.1, step 7).
pub fn client_key(random: [u8; 16]) -> [u8; 24] {
    let mut key = [0; 24];
    // 16 bytes are 24 characters, so it cannot fail.
    let _ = STANDARD.encode_slice(random, &mut key);
    key
}

/// Appends the request.
pub fn encode_request(out: &mut Vec<u8>, handshake: &ClientHandshake<'_>, key: &[u8; 24]) {
    for part in [
        b"GET ".as_slice(),
        handshake.path.as_bytes(),
        b" HTTP/1.1\r\nHost: ",
        handshake.host.as_bytes(),
        b"\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ",
        key,
        b"\r\n",
    ] {
        out.extend_from_slice(part);
    }
    // Writing to a Vec cannot fail.
    if !handshake.subprotocols.is_empty() {
        let _ = write!(out, "Sec-WebSocket-Protocol: {}\r\n", handshake.subprotocols.join(", "));
    }
    if let Some(ours) = handshake.compression {
        let _ = write!(out, "Sec-WebSocket-Extensions: {}\r\n", extension::offer(ours));
    }
    out.extend_from_slice(handshake.fields.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Returns what a client keeps of its request to check the response, in one piece: the key, one byte for the
/// compression, and the subprotocols.
pub(super) fn keep(handshake: &ClientHandshake<'_>, key: &[u8; 24]) -> Vec<u8> {
    let mut kept = key.to_vec();
    if handshake.compression.is_none() && handshake.subprotocols.is_empty() {
        return kept;
    }
    let compression =
        handshake.compression.map_or(0, |ours| u8::from(ours.context_takeover) << 4 | ours.max_window_bits);
    kept.push(compression);
    kept.extend_from_slice(handshake.subprotocols.join(",").as_bytes());
    kept
}

/// Why the response of a server does not open the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rejected {
    /// A status other than 101.
    Status(u16),
    /// 101, but `Upgrade: websocket` or `Connection: Upgrade` is missing.
    NotUpgrade,
    /// Sec-WebSocket-Accept is missing or wrong.
    Accept,
    /// An extension or a subprotocol that was not offered, or parameters that cannot be met.
    NotOffered,
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "the status is {status}"),
            Self::NotUpgrade => f.write_str("Upgrade or Connection is missing"),
            Self::Accept => f.write_str("Sec-WebSocket-Accept is missing or wrong"),
            Self::NotOffered => f.write_str("a subprotocol or an extension was not offered"),
        }
    }
}

impl std::error::Error for Rejected {}

/// Checks a server's response by RFC 6455 section 4.1, with what [`keep`] returned; returns the compression.
///
/// # Errors
/// The first rule that it breaks.
pub(super) fn check_response(response: &Response<'_>, kept: &[u8]) -> Result<NegotiatedCompression, Rejected> {
    let fields = &response.fields;
    if response.status != 101 {
        return Err(Rejected::Status(response.status));
    }
    if !fields.upgrade_websocket || !fields.connection_upgrade {
        return Err(Rejected::NotUpgrade);
    }
    let (key, offered) = kept.split_first_chunk::<24>().ok_or(Rejected::Accept)?;
    // 11.3.3: the field "MUST NOT appear more than once in an HTTP response".
    if fields.has_duplicate || fields.websocket_accept != Some(&accept_key(key)) {
        return Err(Rejected::Accept);
    }
    let (compression, subprotocols) = offered.split_first().unwrap_or((&0, b""));
    // 4.1, step 6: a subprotocol "that was not present in the client's handshake"; there is at most one (section
    // 11.3.4).
    let mut chosen = fields.values("sec-websocket-protocol");
    let fits = |one: &[u8]| subprotocols.split(|&byte| byte == b',').any(|ours| ours == one && !ours.is_empty());
    if fields.websocket_protocol.is_some() && (chosen.next().is_none_or(|one| !fits(one)) || chosen.next().is_some()) {
        return Err(Rejected::NotOffered);
    }
    if fields.websocket_extensions.is_none() {
        return Ok(NegotiatedCompression::default());
    }
    let ours = match compression {
        0 => return Err(Rejected::NotOffered),
        bits => Compression { context_takeover: bits & 16 != 0, max_window_bits: bits & 15, ..Compression::default() },
    };
    extension::confirm(fields.extensions(), &ours).ok_or(Rejected::NotOffered)
}

/// A setting that cannot be sent as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadSetting {
    /// A field that cannot be one of the request.
    Field(String, BadField),
    /// An origin that is neither `null` nor has a scheme and a host.
    Origin(String),
    /// Origin is set twice, as a setting and among the fields.
    TwoOrigins,
    /// A subprotocol that is not a token (RFC 6455 section 4.1).
    Subprotocol(String),
    /// A subprotocol that is given twice (RFC 6455 section 4.1).
    RepeatedSubprotocol(String),
}

impl fmt::Display for BadSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(field, bad) => write!(f, "header {field:?}: {bad}"),
            Self::Origin(origin) => {
                write!(f, "origin {origin:?} is none; expected one such as https://example.org, or null")
            }
            Self::TwoOrigins => f.write_str("the origin is set twice, once among the headers; expected once"),
            Self::Subprotocol(name) => write!(
                f,
                "subprotocol {name:?} is not a token of RFC 9110; expected one such as chat or v2.example.org"
            ),
            Self::RepeatedSubprotocol(name) => write!(f, "subprotocol {name:?} is given twice; expected once"),
        }
    }
}

impl std::error::Error for BadSetting {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Field(_, bad) => Some(bad),
            Self::Origin(_) | Self::TwoOrigins | Self::Subprotocol(_) | Self::RepeatedSubprotocol(_) => None,
        }
    }
}

/// Returns the field lines of a request that are not the handshake's own, each with its CRLF: the `origin` if there is
/// one, and `fields`, each as `Name: value`. Also checks the `subprotocols`, which the handshake writes.
///
/// # Errors
/// [`BadSetting`], the first of them.
///
/// ```
/// use steadfast::proto::upgrade::request_lines;
/// let lines = request_lines(Some("https://example.org"), &[], &["X-From: load".to_owned()]);
/// assert_eq!(lines.as_deref(), Ok("X-From: load\r\nOrigin: https://example.org\r\n"));
/// ```
pub fn request_lines(origin: Option<&str>, subprotocols: &[String], fields: &[String]) -> Result<String, BadSetting> {
    for (at, name) in subprotocols.iter().enumerate() {
        if !is_token(name) {
            return Err(BadSetting::Subprotocol(name.clone()));
        }
        if subprotocols[..at].contains(name) {
            return Err(BadSetting::RepeatedSubprotocol(name.clone()));
        }
    }
    let mut lines = String::new();
    for field in fields {
        let line = field_line(field).map_err(|bad| BadSetting::Field(field.clone(), bad))?;
        if origin.is_some() && has_field(&line, "origin") {
            return Err(BadSetting::TwoOrigins);
        }
        lines += &line;
    }
    if let Some(origin) = origin {
        let graphic = origin.bytes().all(|byte| byte.is_ascii_graphic());
        if !graphic || (origin != "null" && !origin.contains("://")) {
            return Err(BadSetting::Origin(origin.to_owned()));
        }
        lines += &format!("Origin: {origin}\r\n");
    }
    Ok(lines)
}
