//! Parses heads of HTTP/1.1 (RFC 9112). The grammar is that of httparse; the limits and the few evaluated fields are
//! ours.

pub use super::head::{HeadError, HeadLimits};

use super::path;
use std::borrow::Cow;
use std::mem::MaybeUninit;

/// The most header fields that a head may have.
pub const MAX_FIELDS: usize = 100;

impl From<httparse::Error> for HeadError {
    fn from(error: httparse::Error) -> Self {
        match error {
            httparse::Error::TooManyHeaders => Self::TooLarge,
            httparse::Error::Version => Self::Version,
            _ => Self::Malformed,
        }
    }
}

/// What Transfer-Encoding lists, over all its lines (RFC 9112 section 6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransferEncoding {
    /// Chunked alone.
    Chunked,
    /// Chunked, after others.
    Coded,
    /// Others without chunked.
    Other,
    /// Chunked before another coding, or an empty list.
    Broken,
}

/// What Expect lists (RFC 9110 section 10.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// That the server says when to send the content (`100-continue`).
    Continue,
    /// Something else.
    Unknown,
}

/// The header fields of a head: `raw` has all of them, the others are evaluated here.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fields<'a> {
    raw: &'a [u8],
    /// Host (RFC 9112 section 3.2).
    pub host: Option<&'a [u8]>,
    /// Server (RFC 9110 section 10.2.4).
    pub server: Option<&'a [u8]>,
    /// Origin (RFC 6454).
    pub origin: Option<&'a [u8]>,
    /// Content-Length, unparsed.
    pub content_length: Option<&'a [u8]>,
    /// Sec-WebSocket-Key.
    pub websocket_key: Option<&'a [u8]>,
    /// Sec-WebSocket-Version.
    pub websocket_version: Option<&'a [u8]>,
    /// Sec-WebSocket-Accept.
    pub websocket_accept: Option<&'a [u8]>,
    /// The first Sec-WebSocket-Protocol.
    pub websocket_protocol: Option<&'a [u8]>,
    /// Whether a field above that must not be repeated is repeated.
    pub has_duplicate: bool,
    /// Transfer-Encoding.
    pub transfer_encoding: Option<TransferEncoding>,
    /// Expect.
    pub expect: Option<Expectation>,
    /// Whether Connection lists `close`.
    pub connection_close: bool,
    /// Whether Connection lists `keep-alive`.
    pub connection_keep_alive: bool,
    /// Whether Connection lists `upgrade`.
    pub connection_upgrade: bool,
    /// Whether Upgrade lists `websocket`.
    pub upgrade_websocket: bool,
    /// The first Sec-WebSocket-Extensions.
    pub websocket_extensions: Option<&'a [u8]>,
    /// Whether there is another one.
    pub has_more_extensions: bool,
}

impl<'a> Fields<'a> {
    /// Returns the values of the field `name`, in order; names are compared without case (RFC 9110 section 5.1).
    pub fn values<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.raw.split(|&byte| byte == b'\n').filter_map(move |line| {
            let (field, value) = line.split_at_checked(memchr::memchr(b':', line)?)?;
            field.eq_ignore_ascii_case(name.as_bytes()).then(|| value[1..].trim_ascii())
        })
    }

    /// Returns the values of all Sec-WebSocket-Extensions fields.
    pub(super) fn extensions(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        // Nearly all heads have one, and need no search.
        let (first, all) = match self.has_more_extensions {
            false => (self.websocket_extensions, None),
            true => (None, Some(self.values("sec-websocket-extensions"))),
        };
        first.into_iter().chain(all.into_iter().flatten())
    }

    /// Returns the whole head.
    pub(super) fn raw(&self) -> &'a [u8] {
        self.raw
    }

    fn of(raw: &'a [u8]) -> Self {
        Self { raw, ..Self::default() }
    }

    fn note_all(&mut self, headers: &[httparse::Header<'a>]) {
        for header in headers {
            self.note(header.name, header.value);
        }
    }

    /// Evaluates one field. The length of the name is compared first: most of the dozen fields that a browser sends
    /// differ there from every name that is evaluated.
    fn note(&mut self, name: &str, value: &'a [u8]) {
        let is = |wanted: &str| name.eq_ignore_ascii_case(wanted);
        let slot = match name.len() {
            4 if is("host") => &mut self.host,
            6 if is("origin") => &mut self.origin,
            6 if is("server") => {
                self.server = Some(value);
                return;
            }
            6 if is("expect") => {
                let known = value.eq_ignore_ascii_case(b"100-continue") && self.expect != Some(Expectation::Unknown);
                self.expect = Some(if known { Expectation::Continue } else { Expectation::Unknown });
                return;
            }
            7 if is("upgrade") => {
                self.upgrade_websocket |= has_token(value, "websocket");
                return;
            }
            10 if is("connection") => {
                for token in tokens(value) {
                    self.connection_upgrade |= token.eq_ignore_ascii_case(b"upgrade");
                    self.connection_close |= token.eq_ignore_ascii_case(b"close");
                    self.connection_keep_alive |= token.eq_ignore_ascii_case(b"keep-alive");
                }
                return;
            }
            14 if is("content-length") => &mut self.content_length,
            17 if is("sec-websocket-key") => &mut self.websocket_key,
            17 if is("transfer-encoding") => {
                self.transfer_encoding = Some(codings(self.transfer_encoding, value));
                return;
            }
            20 if is("sec-websocket-accept") => &mut self.websocket_accept,
            21 if is("sec-websocket-version") => &mut self.websocket_version,
            22 if is("sec-websocket-protocol") => {
                self.websocket_protocol = self.websocket_protocol.or(Some(value));
                return;
            }
            24 if is("sec-websocket-extensions") => {
                self.has_more_extensions = self.websocket_extensions.is_some();
                self.websocket_extensions = self.websocket_extensions.or(Some(value));
                return;
            }
            _ => return,
        };
        self.has_duplicate |= slot.is_some();
        *slot = Some(value);
    }
}

/// Combines a line of Transfer-Encoding with the lines before it.
fn codings(before: Option<TransferEncoding>, value: &[u8]) -> TransferEncoding {
    use TransferEncoding::{Broken, Chunked, Coded, Other};
    let all = tokens(value).fold(before, |so_far, coding| {
        Some(match (so_far, coding.eq_ignore_ascii_case(b"chunked")) {
            (None, true) => Chunked,
            (None | Some(Other), false) => Other,
            (Some(Other), true) => Coded,
            (Some(Chunked | Coded | Broken), _) => Broken,
        })
    });
    all.unwrap_or(Broken)
}

/// Returns the elements of a comma-separated list (RFC 9110 section 5.6.1) that are not empty.
pub fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|token| !token.is_empty())
}

/// Returns whether the list has `token`, in any case of letters.
pub fn has_token(value: &[u8], token: &str) -> bool {
    tokens(value).any(|one| one.eq_ignore_ascii_case(token.as_bytes()))
}

/// The result of parsing a head: the head and its length in bytes, `None` while it is incomplete, or the error.
pub type Parsed<T> = Result<Option<(T, usize)>, HeadError>;

/// A request's head.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The method, which is case-sensitive.
    pub method: &'a str,
    /// The request target.
    pub target: &'a str,
    /// 0 for HTTP/1.0, and 1 for HTTP/1.1 and later.
    pub minor_version: u8,
    /// Its header fields.
    pub fields: Fields<'a>,
    /// Its content; empty while only the head has arrived.
    pub body: &'a [u8],
}

impl<'a> Request<'a> {
    /// Returns the path as it was received, percent-encoded, without the query; also of a target in absolute form (RFC
    /// 9112 3.2.2).
    pub fn path(&self) -> &'a str {
        let (_, target) = self.split_target();
        memchr::memchr(b'?', target.as_bytes()).map_or(target, |at| &target[..at])
    }

    /// Returns the path in the form in which routes are matched: percent-encoded characters that need no encoding are
    /// decoded, and the digits of other encodings are upper case (RFC 3986 sections 6.2.2.1 and 6.2.2.2). So `/p%6fll`
    /// is `/poll`, while `/a%2fb` is `/a%2Fb`: the slash is not a separator. Dot segments are not resolved, and double
    /// slashes stay.
    pub fn normal_path(&self) -> Cow<'a, str> {
        let (_, target) = self.split_target();
        // Nearly all paths are in this form, and one search shows it.
        match memchr::memchr2(b'?', b'%', target.as_bytes()) {
            None => Cow::Borrowed(target),
            Some(end) if target[end..].starts_with('?') => Cow::Borrowed(&target[..end]),
            Some(_) => path::normal(self.path()),
        }
    }

    /// Returns whether the request asks for an upgrade. RFC 9110 section 7.8: "A server MUST ignore an Upgrade header
    /// field that is received in an HTTP/1.0 request."
    pub fn asks_for_upgrade(&self) -> bool {
        self.fields.upgrade_websocket && self.minor_version > 0
    }

    /// Returns the requested host and optional port: of a target in absolute form, else of the Host field.
    pub fn authority(&self) -> Option<&'a [u8]> {
        self.split_target().0.map(str::as_bytes).or(self.fields.host)
    }

    fn split_target(&self) -> (Option<&'a str>, &'a str) {
        if self.target.starts_with('/') {
            return (None, self.target); // nearly all targets are such, and need no search
        }
        let Some((_, rest)) = self.target.split_once("://") else { return (None, self.target) };
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let path = if rest[end..].starts_with('/') { &rest[end..] } else { "/" };
        (Some(&rest[..end]), path)
    }

    /// Returns the length of the head in bytes, including the empty line.
    pub fn head_bytes(&self) -> usize {
        self.fields.raw().len()
    }

    /// Returns whether the length of the content is given, even as 0, as a client should do where the method has
    /// content (RFC 9110 section 8.6). A server that needs content responds with 411 if not.
    pub fn has_length(&self) -> bool {
        self.fields.content_length.is_some() || self.fields.transfer_encoding.is_some()
    }

    /// Returns whether the connection stays open after the response (RFC 9112 section 9.3).
    pub fn keeps_alive(&self) -> bool {
        !self.fields.connection_close && (self.minor_version == 1 || self.fields.connection_keep_alive)
    }
}

/// A response's head.
#[derive(Clone, Copy, Debug)]
pub struct Response<'a> {
    /// The status code.
    pub status: u16,
    /// 0 for HTTP/1.0, and 1 for HTTP/1.1 and later.
    pub minor_version: u8,
    /// Its header fields.
    pub fields: Fields<'a>,
}

impl Response<'_> {
    /// Returns whether the connection stays open after the body (RFC 9112 section 9.3).
    pub fn keeps_alive(&self) -> bool {
        !self.fields.connection_close && (self.minor_version == 1 || self.fields.connection_keep_alive)
    }
}

/// Parses a request head at the front of `input`; returns it with its length, or `None` while it is incomplete.
///
/// # Errors
/// [`HeadError`], as soon as what is there shows it.
///
/// ```
/// use steadfast::proto::http::{HeadLimits, parse_request};
/// let head = b"GET /chat?room=1 HTTP/1.1\r\nHost: a\r\n\r\n";
/// let (request, bytes) = parse_request(head, HeadLimits::default()).unwrap().unwrap();
/// assert_eq!((request.path(), bytes), ("/chat", head.len()));
/// assert!(parse_request(&head[..20], HeadLimits::default()).unwrap().is_none());
/// ```
pub fn parse_request(input: &[u8], limits: HeadLimits) -> Parsed<Request<'_>> {
    boxed_request(input, limits).map(unbox)
}

fn unbox<T>(boxed: Option<(Box<T>, usize)>) -> Option<(T, usize)> {
    boxed.map(|(head, bytes)| (*head, bytes))
}

/// Parses a request head into a box: a head is large, and each move would copy it.
fn boxed_request(input: &[u8], limits: HeadLimits) -> Parsed<Box<Request<'_>>> {
    let (input, over) = limits.within(input);
    let mut headers = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut head = httparse::Request::new(&mut []);
    let parsed = match head.parse_with_uninit_headers(input, &mut headers) {
        Err(httparse::Error::Version) => return parse_later_request(input, over),
        parsed => parsed?,
    };
    let Some(bytes) = complete(parsed, input, over)? else { return Ok(None) };
    let (Some(method), Some(target), Some(minor_version)) = (head.method, head.path, head.version) else {
        return Err(HeadError::Malformed);
    };
    let fields = Fields::of(&input[..bytes]);
    let mut request = Box::new(Request { method, target, minor_version, fields, body: b"" });
    request.fields.note_all(head.headers);
    Ok(Some((request, bytes)))
}

/// Parses the version of a head that httparse does not know; returns what follows it, or `None` while it is incomplete.
/// In `form`, which is that of RFC 9112 section 2.3, a 0 means any digit.
///
/// RFC 9110 section 2.5: "A recipient that receives a message with a major version number that it implements and a minor
/// version number higher than what it implements SHOULD process the message as if it was in the highest minor version".
fn later_version<'a>(version: &'a [u8], form: &[u8]) -> Result<Option<&'a [u8]>, HeadError> {
    let fits = |(&byte, &form): (&u8, &u8)| if form == b'0' { byte.is_ascii_digit() } else { byte == form };
    if !version.iter().zip(form).all(fits) {
        return Err(HeadError::Malformed);
    }
    match version.get(form.len()..) {
        None => Ok(None),
        Some(rest) if version.starts_with(b"HTTP/1.") => Ok(Some(rest)),
        Some(_) => Err(HeadError::Version),
    }
}

/// Returns `input` without empty lines at its front.
fn skip_empty_lines(input: &[u8]) -> &[u8] {
    let empty = input.iter().take_while(|byte| b"\r\n".contains(byte)).count();
    &input[empty..]
}

/// Parses the fields, in `rest`, of a head that httparse has read only to its version.
fn later_fields<'a>(input: &'a [u8], rest: &'a [u8], over: Option<HeadError>) -> Parsed<Fields<'a>> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let (parsed, headers) = match httparse::parse_headers(rest, &mut headers)? {
        httparse::Status::Complete((bytes, headers)) => {
            (httparse::Status::Complete(input.len() - rest.len() + bytes), headers)
        }
        httparse::Status::Partial => (httparse::Status::Partial, &[][..]),
    };
    let bytes = complete(parsed, input, over)?;
    let Some(bytes) = bytes else { return Ok(None) };
    let mut fields = Fields::of(&input[..bytes]);
    fields.note_all(headers);
    Ok(Some((fields, bytes)))
}

/// Parses a request of HTTP/1.2 or later, whose method and target httparse has checked.
#[cold]
#[inline(never)]
fn parse_later_request(input: &[u8], over: Option<HeadError>) -> Parsed<Box<Request<'_>>> {
    let mut parts = skip_empty_lines(input).splitn(3, |&byte| byte == b' ');
    let mut part = || parts.next().unwrap_or_default();
    let (method, target, version) = (part(), part(), part());
    let Some(rest) = later_version(version, b"HTTP/0.0\r\n")? else { return over.map_or(Ok(None), Err) };
    let (Ok(method), Ok(target)) = (std::str::from_utf8(method), std::str::from_utf8(target)) else {
        return Err(HeadError::Malformed);
    };
    let fields = later_fields(input, rest, over)?;
    let request = |fields| Box::new(Request { method, target, minor_version: 1, fields, body: b"" });
    Ok(fields.map(|(fields, bytes)| (request(fields), bytes)))
}

/// Parses a response of HTTP/1.2 or later.
#[cold]
#[inline(never)]
fn parse_later_response(input: &[u8], over: Option<HeadError>) -> Parsed<Box<Response<'_>>> {
    let line = later_version(skip_empty_lines(input), b"HTTP/0.0 ")?;
    let Some((line, rest)) = line.and_then(|line| line.split_at_checked(memchr::memchr(b'\n', line)? + 1)) else {
        return over.map_or(Ok(None), Err);
    };
    let known = [b"HTTP/1.1 ", line, b"\r\n"].concat();
    let mut head = httparse::Response::new(&mut []);
    head.parse(&known)?;
    let status = head.code.ok_or(HeadError::Malformed)?;
    let fields = later_fields(input, rest, over)?;
    Ok(fields.map(|(fields, bytes)| (Box::new(Response { status, minor_version: 1, fields }), bytes)))
}

/// A kind of head that may arrive in pieces.
pub(super) trait Head<'a>: Sized {
    /// Whether it is a request, which gets a response.
    const IS_REQUEST: bool;

    /// Returns the limits for this kind.
    fn limits(limits: HeadLimits) -> HeadLimits;

    /// Parses a head at the front of `input`.
    fn parse(input: &'a [u8], limits: HeadLimits) -> Parsed<Box<Self>>;

    /// Checks a head that is incomplete.
    fn judge(head: &[u8], limits: HeadLimits) -> Result<(), HeadError>;
}

impl<'a> Head<'a> for Request<'a> {
    const IS_REQUEST: bool = true;

    fn limits(limits: HeadLimits) -> HeadLimits {
        limits
    }

    fn parse(input: &'a [u8], limits: HeadLimits) -> Parsed<Box<Self>> {
        boxed_request(input, limits)
    }

    fn judge(head: &[u8], limits: HeadLimits) -> Result<(), HeadError> {
        boxed_request(head, limits).map(|_| ())
    }
}

impl<'a> Head<'a> for Response<'a> {
    const IS_REQUEST: bool = false;

    fn limits(limits: HeadLimits) -> HeadLimits {
        limits.of_response()
    }

    fn parse(input: &'a [u8], limits: HeadLimits) -> Parsed<Box<Self>> {
        boxed_response(input, limits)
    }

    fn judge(head: &[u8], limits: HeadLimits) -> Result<(), HeadError> {
        boxed_response(head, limits).map(|_| ())
    }
}

/// Parses a response head at the front of `input`, as [`parse_request`] does for a request.
///
/// # Errors
/// [`HeadError`], as soon as what is there shows it.
pub fn parse_response(input: &[u8], limits: HeadLimits) -> Parsed<Response<'_>> {
    boxed_response(input, limits).map(unbox)
}

fn boxed_response(input: &[u8], limits: HeadLimits) -> Parsed<Box<Response<'_>>> {
    let (input, over) = limits.of_response().within(input);
    let mut headers = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut head = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let parsed = config.parse_response_with_uninit_headers(&mut head, input, &mut headers);
    let parsed = match parsed {
        Err(httparse::Error::Version) => return parse_later_response(input, over),
        parsed => parsed?,
    };
    let Some(bytes) = complete(parsed, input, over)? else { return Ok(None) };
    let (Some(status), Some(minor_version)) = (head.code, head.version) else { return Err(HeadError::Malformed) };
    let mut response = Box::new(Response { status, minor_version, fields: Fields::of(&input[..bytes]) });
    response.fields.note_all(head.headers);
    Ok(Some((response, bytes)))
}

fn complete(
    parsed: httparse::Status<usize>,
    input: &[u8],
    over: Option<HeadError>,
) -> Result<Option<usize>, HeadError> {
    let httparse::Status::Complete(bytes) = parsed else { return over.map_or(Ok(None), Err) };
    // RFC 9112 section 2.2 lets a server accept a bare LF as the end of a line. Proxies differ on that, which permits
    // request smuggling, so it is refused.
    let head = &input[..bytes];
    // There is no branch in it, so that it is done for many bytes at a time.
    let is_bare = |bare: bool, (before, byte): (&u8, &u8)| bare | (*byte == b'\n') & (*before != b'\r');
    if head.first() == Some(&b'\n') || head.iter().zip(&head[1..]).fold(false, is_bare) {
        return Err(HeadError::Malformed);
    }
    Ok(Some(bytes))
}

/// Returns where the head ends, after its first empty line, looking no further back than `from`; lines may end with LF
/// or CRLF.
///
/// For a head that arrives in pieces: each byte is looked at once, and parsing waits for the end.
pub fn end_of_head(input: &[u8], from: usize) -> Option<usize> {
    let start = from.saturating_sub(3);
    memchr::memchr_iter(b'\n', &input[start..]).map(|at| start + at).find_map(|at| {
        let empty = input[..at].ends_with(b"\n") || input[..at].ends_with(b"\n\r");
        empty.then_some(at + 1)
    })
}
