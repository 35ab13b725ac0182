//! Writes HTTP/1.1: responses (RFC 9110 section 15), requests, and the fields of both.

use super::http::Request;
use std::fmt;
use std::io::Write;

/// What a response depends on in its request.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestInfo {
    /// The method was HEAD: the response has no body (RFC 9110 section 9.3.2).
    pub without_body: bool,
    /// A request of HTTP/1.0 asked to keep the connection, and the response has to confirm that.
    pub says_keep_alive: bool,
    /// The connection closes after the response.
    pub closes: bool,
}

impl From<&Request<'_>> for RequestInfo {
    fn from(request: &Request<'_>) -> Self {
        // Frames may follow the request for an upgrade that is refused: they must not be parsed as a request.
        let closes = !request.keeps_alive() || request.fields.upgrade_websocket;
        Self { without_body: request.method == "HEAD", says_keep_alive: request.minor_version == 0 && !closes, closes }
    }
}

/// The header fields of every response.
#[derive(Clone, Debug, Default)]
pub struct DefaultHeaders {
    /// The date in the form of RFC 9110 section 5.6.7; empty where the clock has none.
    pub date: String,
    /// Further field lines, each with its CRLF; see [`field_line`].
    pub fields: String,
}

/// A response to be written, with a body of known length.
#[derive(Clone, Copy, Debug)]
pub struct HttpResponse<'a> {
    /// The status code.
    pub status: u16,
    /// Content-Type.
    pub content_type: &'a str,
    /// More field lines, each with its CRLF.
    pub more_fields: &'a str,
    /// The body.
    pub body: &'a [u8],
    /// Whether to close the connection after it, whatever the request said.
    pub close: bool,
}

/// For responses that quote the request: browsers must not interpret them as anything but text.
pub const NOSNIFF: &str = "X-Content-Type-Options: nosniff\r\n";

/// Returns the body of a refusal: the phrase of its status, and `why` in one line.
pub fn reason_body(status: u16, why: &str) -> String {
    format!("{}: {why}\n", reason_phrase(status))
}

impl HttpResponse<'_> {
    /// Creates a response whose body is the phrase of its status, and which closes the connection.
    pub fn refusal(status: u16) -> Self {
        HttpResponse {
            status,
            content_type: "text/plain; charset=utf-8",
            more_fields: "",
            body: reason_phrase(status).as_bytes(),
            close: true,
        }
    }

    /// Appends the response to `out`.
    pub fn encode(&self, out: &mut Vec<u8>, asked: RequestInfo, default_headers: &DefaultHeaders) {
        self.encode_head(out, asked, default_headers, self.body.len() as u64);
        self.encode_body(out, asked);
    }

    /// Appends the body, if the response to this request has one.
    pub fn encode_body(&self, out: &mut Vec<u8>, asked: RequestInfo) {
        if self.has_content() && !asked.without_body {
            out.extend_from_slice(self.body);
        }
    }

    /// RFC 9110 sections 8.6 and 15.4.5: these statuses have no content, and no field for its length.
    fn has_content(&self) -> bool {
        !matches!(self.status, 204 | 304)
    }

    /// Appends the response without its body, which has `body_bytes`.
    pub fn encode_head(
        &self,
        out: &mut Vec<u8>,
        asked: RequestInfo,
        default_headers: &DefaultHeaders,
        body_bytes: u64,
    ) {
        let connection = match (self.close || asked.closes, asked.says_keep_alive) {
            // RFC 9110 section 7.8: a response with Upgrade, as a 426 must have, lists it in Connection, too.
            (true, _) if self.status == 426 => "Connection: close, Upgrade\r\n",
            (true, _) => "Connection: close\r\n",
            (false, true) => "Connection: keep-alive\r\n",
            (false, false) => "",
        };
        // Writing to a Vec cannot fail.
        let _ = write!(out, "HTTP/1.1 {} {}\r\n", self.status, reason_phrase(self.status));
        if !default_headers.date.is_empty() {
            let _ = write!(out, "Date: {}\r\n", default_headers.date);
        }
        if self.has_content() {
            let _ = write!(out, "Content-Type: {}\r\nContent-Length: {body_bytes}\r\n", self.content_type);
        }
        for part in [self.more_fields, &default_headers.fields, connection, "\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
    }
}

/// The interim response that asks for the content (RFC 9110 section 15.2.1).
pub(super) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Appends a GET for `path` at `host`, on a connection that stays open, with further field lines, each with its CRLF.
pub fn encode_get(out: &mut Vec<u8>, host: &str, path: &str, fields: &str) {
    for part in ["GET ", path, " HTTP/1.1\r\nHost: ", host, "\r\n", fields, "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
}

/// Why a text cannot be a header field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadField {
    /// It has no colon.
    NoColon,
    /// The name is no token (RFC 9110 section 5.6.2).
    Name,
    /// The value has CR, LF, NUL or another control character (RFC 9110 section 5.5).
    Value,
    /// The program writes this field itself.
    Reserved,
}

impl fmt::Display for BadField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoColon => "there is no colon",
            Self::Name => "the name is empty, or has a character that no name may have",
            Self::Value => "the value has a control character, such as CR, LF or NUL",
            Self::Reserved => "that field is written by the program itself",
        })?;
        f.write_str("; expected one such as 'X-Served-By: steadfast'")
    }
}

impl std::error::Error for BadField {}

/// The fields that decide how a message is parsed, or that belong to the handshake.
const RESERVED: [&str; 9] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "host",
    "keep-alive",
    "transfer-encoding",
    "upgrade",
];

/// Returns a field line with its CRLF, from `Name: value`.
///
/// # Errors
/// [`BadField`]. In particular, a field with a line break could end the head and begin another message.
///
/// ```
/// use steadfast::proto::http_write::{BadField, field_line};
/// assert_eq!(field_line("X-Served-By:  a").as_deref(), Ok("X-Served-By: a\r\n"));
/// assert_eq!(field_line("X-A: b\r\nSet-Cookie: c"), Err(BadField::Value));
/// ```
pub fn field_line(text: &str) -> Result<String, BadField> {
    let (name, value) = text.split_once(':').ok_or(BadField::NoColon)?;
    let value = value.trim_matches([' ', '\t']);
    if name.is_empty() || !name.bytes().all(is_token_byte) {
        return Err(BadField::Name);
    }
    if value.bytes().any(|byte| byte != b'\t' && (byte < b' ' || byte == 0x7f)) {
        return Err(BadField::Value);
    }
    let lower = name.to_ascii_lowercase();
    // What a program may set of the handshake, such as a subprotocol, has a setting of its own.
    if RESERVED.contains(&&*lower) || lower.starts_with("sec-websocket-") {
        return Err(BadField::Reserved);
    }
    Ok(format!("{name}: {value}\r\n"))
}

/// Returns whether field `lines`, as [`field_line`] returns them, have a field `name`; names are compared without case (RFC 9110
/// section 5.1).
///
/// ```
/// use steadfast::proto::http_write::has_field;
/// assert!(has_field("X-A: b\r\nserver: c\r\n", "Server"));
/// assert!(!has_field("X-Server: c\r\n", "Server"));
/// ```
pub fn has_field(lines: &str, name: &str) -> bool {
    lines.lines().filter_map(|line| line.split(':').next()).any(|known| known.eq_ignore_ascii_case(name))
}

/// RFC 9110 section 5.6.2.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Returns whether `text` is a token (RFC 9110 section 5.6.2), as the name of a subprotocol has to be.
pub fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

/// Returns the reason phrase of a status code (RFC 9110 section 15).
pub fn reason_phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        300..=399 => "Redirection",
        _ => "Error",
    }
}
