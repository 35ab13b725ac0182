//! HTTP/1.1 heads as they come (RFC 9112): requests and responses. The grammar is httparse's; the limits and the few
//! fields that a WebSocket endpoint looks at are ours.

use std::mem::MaybeUninit;

/// The most header fields that a head may have.
pub const MAX_FIELDS: usize = 100;

/// Why a head was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HeadError {
    /// Not HTTP (400).
    Malformed,
    /// The request line is longer than `max_request_line_bytes` (414).
    TargetTooLong,
    /// The head is longer than `max_head_bytes`, or has more than [`MAX_FIELDS`] fields (431).
    TooLarge,
    /// A version of HTTP other than 1.0 and 1.1 (505).
    Version,
    /// The body is longer than `max_body_bytes` (413).
    BodyTooLarge,
    /// Something is expected that is not 100-continue (417).
    Expectation,
    /// A transfer coding other than chunked (501).
    TransferCoding,
}

impl HeadError {
    /// The status code that answers it.
    pub fn status(self) -> u16 {
        match self {
            Self::Malformed => 400,
            Self::TargetTooLong => 414,
            Self::TooLarge => 431,
            Self::Version => 505,
            Self::BodyTooLarge => 413,
            Self::Expectation => 417,
            Self::TransferCoding => 501,
        }
    }
}

impl From<httparse::Error> for HeadError {
    fn from(error: httparse::Error) -> Self {
        match error {
            httparse::Error::TooManyHeaders => Self::TooLarge,
            httparse::Error::Version => Self::Version,
            _ => Self::Malformed,
        }
    }
}

/// How large a head may be.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// Request line, its end included.
    pub max_request_line_bytes: usize,
    /// Whole head.
    pub max_head_bytes: usize,
}

impl HeadLimits {
    /// The same for a response: its status line has no limit of its own.
    fn of_response(self) -> Self {
        Self { max_request_line_bytes: self.max_head_bytes, ..self }
    }

    /// As much of a head as is judged, and what it is if it does not end there. What lies behind a limit is never
    /// looked at, so that a head comes to the same end however it was cut.
    fn within(self, head: &[u8]) -> (&[u8], Option<HeadError>) {
        let (line, max) = (self.max_request_line_bytes, self.max_head_bytes);
        let judged = &head[..head.len().min(max)];
        if judged.len() > line && memchr::memchr(b'\n', &judged[..line]).is_none() {
            return (&judged[..line], Some(HeadError::TargetTooLong));
        }
        (judged, (head.len() > max).then_some(HeadError::TooLarge))
    }
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self { max_request_line_bytes: 8 << 10, max_head_bytes: 16 << 10 }
    }
}

/// What Transfer-Encoding lists, over all its lines (RFC 9112 section 6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransferEncoding {
    /// Chunked alone.
    Chunked,
    /// Chunked last, behind others.
    Coded,
    /// Others, without chunked.
    Other,
    /// Chunked, and something behind it; or nothing at all.
    Broken,
}

/// What Expect lists (RFC 9110 section 10.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// That the server says when to send the body.
    Continue,
    /// Something else.
    Unknown,
}

/// The header fields of a head: those that decide something here by name, all of them in `raw`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fields<'a> {
    raw: &'a [u8],
    /// Host (RFC 9112 section 3.2).
    pub host: Option<&'a [u8]>,
    /// Server (RFC 9110 section 10.2.4).
    pub server: Option<&'a [u8]>,
    /// Origin (RFC 6454).
    pub origin: Option<&'a [u8]>,
    /// Content-Length, as it stands there.
    pub content_length: Option<&'a [u8]>,
    /// Sec-WebSocket-Key.
    pub websocket_key: Option<&'a [u8]>,
    /// Sec-WebSocket-Version.
    pub websocket_version: Option<&'a [u8]>,
    /// Sec-WebSocket-Accept.
    pub websocket_accept: Option<&'a [u8]>,
    /// The first Sec-WebSocket-Protocol.
    pub websocket_protocol: Option<&'a [u8]>,
    /// A field above stands there more than once, where it must not.
    pub has_duplicate: bool,
    /// Transfer-Encoding.
    pub transfer_encoding: Option<TransferEncoding>,
    /// Expect.
    pub expect: Option<Expectation>,
    /// Connection lists `close`.
    pub connection_close: bool,
    /// Connection lists `keep-alive`.
    pub connection_keep_alive: bool,
    /// Connection lists `upgrade`.
    pub connection_upgrade: bool,
    /// Upgrade lists `websocket`.
    pub upgrade_websocket: bool,
    /// The first Sec-WebSocket-Extensions.
    pub websocket_extensions: Option<&'a [u8]>,
    /// There is another one.
    pub has_more_extensions: bool,
}

impl<'a> Fields<'a> {
    /// The values of the field `name`, in order; names are compared without case (RFC 9110 section 5.1).
    pub fn values<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.raw.split(|&byte| byte == b'\n').filter_map(move |line| {
            let (field, value) = line.split_at_checked(memchr::memchr(b':', line)?)?;
            field.eq_ignore_ascii_case(name.as_bytes()).then(|| value[1..].trim_ascii())
        })
    }

    /// Every Sec-WebSocket-Extensions.
    pub(super) fn extensions(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        // Nearly all have one, and need no search.
        let (first, all) = match self.has_more_extensions {
            false => (self.websocket_extensions, None),
            true => (None, Some(self.values("sec-websocket-extensions"))),
        };
        first.into_iter().chain(all.into_iter().flatten())
    }

    /// The head that they stand in, whole.
    pub(super) fn raw(&self) -> &'a [u8] {
        self.raw
    }

    fn collect(headers: &[httparse::Header<'a>], raw: &'a [u8]) -> Self {
        let mut fields = Self { raw, ..Self::default() };
        for header in headers {
            fields.note(header.name, header.value);
        }
        fields
    }

    /// Length first: of the dozen fields that a browser sends, most differ there from every name we look for.
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

/// One more line of Transfer-Encoding, behind what the lines before it came to.
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

/// The elements of a comma-separated list (RFC 9110 section 5.6.1), empty ones left out.
pub fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|token| !token.is_empty())
}

/// Whether the list has `token`, in any case of letters.
pub fn has_token(value: &[u8], token: &str) -> bool {
    tokens(value).any(|one| one.eq_ignore_ascii_case(token.as_bytes()))
}

/// What parsing a head gives: the head and its length in bytes, `None` while it is not all there, or why not.
pub type Parsed<T> = Result<Option<(T, usize)>, HeadError>;

/// A request's head.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The method, as it stands there.
    pub method: &'a str,
    /// The request target.
    pub target: &'a str,
    /// 0 or 1, for HTTP/1.0 and HTTP/1.1.
    pub minor_version: u8,
    /// Its header fields.
    pub fields: Fields<'a>,
    /// Its content, whole; empty while only the head has come.
    pub body: &'a [u8],
}

impl<'a> Request<'a> {
    /// The path, without the query; of a target in absolute form too (RFC 9112 section 3.2.2).
    pub fn path(&self) -> &'a str {
        let (_, target) = self.split_target();
        memchr::memchr(b'?', target.as_bytes()).map_or(target, |at| &target[..at])
    }

    /// The host, and the port if there is one, that is asked for: of a target in absolute form, else of the field Host.
    pub fn authority(&self) -> Option<&'a [u8]> {
        self.split_target().0.map(str::as_bytes).or(self.fields.host)
    }

    fn split_target(&self) -> (Option<&'a str>, &'a str) {
        if self.target.starts_with('/') {
            return (None, self.target); // nearly all are, and need no search
        }
        let Some((_, rest)) = self.target.split_once("://") else { return (None, self.target) };
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let path = if rest[end..].starts_with('/') { &rest[end..] } else { "/" };
        (Some(&rest[..end]), path)
    }

    /// How long its head is, with the empty line at its end.
    pub fn head_bytes(&self) -> usize {
        self.fields.raw().len()
    }

    /// Whether it says how long its content is, if only 0, as a client should where the method has content (RFC 9110
    /// section 8.6). A server that needs content answers 411 if not.
    pub fn has_length(&self) -> bool {
        self.fields.content_length.is_some() || self.fields.transfer_encoding.is_some()
    }

    /// Whether the connection stays open behind the answer (RFC 9112 section 9.3).
    pub fn keeps_alive(&self) -> bool {
        !self.fields.connection_close && (self.minor_version == 1 || self.fields.connection_keep_alive)
    }
}

/// A response's head.
#[derive(Clone, Copy, Debug)]
pub struct Response<'a> {
    /// The status code.
    pub status: u16,
    /// 0 or 1, for HTTP/1.0 and HTTP/1.1.
    pub minor_version: u8,
    /// Its header fields.
    pub fields: Fields<'a>,
}

impl Response<'_> {
    /// Whether the connection stays open behind the body (RFC 9112 section 9.3).
    pub fn keeps_alive(&self) -> bool {
        !self.fields.connection_close && (self.minor_version == 1 || self.fields.connection_keep_alive)
    }
}

/// Reads a request head from the front of `input`: with its length in bytes, or `None` while it is not all there.
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
    let (input, over) = limits.within(input);
    let mut headers = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut head = httparse::Request::new(&mut []);
    let parsed = head.parse_with_uninit_headers(input, &mut headers).or_else(|error| match error {
        httparse::Error::Version => {
            judge_version(input.splitn(3, |&byte| byte == b' ').nth(2).unwrap_or_default(), b"HTTP/0.0\r\n")
        }
        error => Err(error.into()),
    })?;
    let Some(bytes) = complete(parsed, input, over)? else { return Ok(None) };
    let (Some(method), Some(target), Some(minor_version)) = (head.method, head.path, head.version) else {
        return Err(HeadError::Malformed);
    };
    let fields = Fields::collect(head.headers, &input[..bytes]);
    Ok(Some((Request { method, target, minor_version, fields, body: b"" }, bytes)))
}

/// Whether a version that is none of ours has the form of RFC 9112 section 2.3, where a 0 stands for a digit: then it
/// is another one, else it is no HTTP; and while it is not all there, it may be either.
fn judge_version(version: &[u8], form: &[u8]) -> Result<httparse::Status<usize>, HeadError> {
    let fits = |(&byte, &form): (&u8, &u8)| if form == b'0' { byte.is_ascii_digit() } else { byte == form };
    if !version.iter().zip(form).all(fits) {
        return Err(HeadError::Malformed);
    }
    if version.len() < form.len() { Ok(httparse::Status::Partial) } else { Err(HeadError::Version) }
}

/// A kind of head that may arrive in pieces.
pub(super) trait Head<'a>: Sized {
    /// The limits that this kind has.
    fn limits(limits: HeadLimits) -> HeadLimits;

    /// Reads a head from the front of `input`.
    fn parse(input: &'a [u8], limits: HeadLimits) -> Parsed<Self>;

    /// What can be said of one that has not ended.
    fn judge(head: &[u8], limits: HeadLimits) -> Result<(), HeadError>;
}

impl<'a> Head<'a> for Request<'a> {
    fn limits(limits: HeadLimits) -> HeadLimits {
        limits
    }

    fn parse(input: &'a [u8], limits: HeadLimits) -> Parsed<Self> {
        parse_request(input, limits)
    }

    fn judge(head: &[u8], limits: HeadLimits) -> Result<(), HeadError> {
        parse_request(head, limits).map(|_| ())
    }
}

impl<'a> Head<'a> for Response<'a> {
    fn limits(limits: HeadLimits) -> HeadLimits {
        limits.of_response()
    }

    fn parse(input: &'a [u8], limits: HeadLimits) -> Parsed<Self> {
        parse_response(input, limits)
    }

    fn judge(head: &[u8], limits: HeadLimits) -> Result<(), HeadError> {
        parse_response(head, limits).map(|_| ())
    }
}

/// Reads a response head from the front of `input`, as [`parse_request`] does a request's.
///
/// # Errors
/// [`HeadError`], as soon as what is there shows it.
pub fn parse_response(input: &[u8], limits: HeadLimits) -> Parsed<Response<'_>> {
    let (input, over) = limits.of_response().within(input);
    let mut headers = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut head = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let parsed = config.parse_response_with_uninit_headers(&mut head, input, &mut headers);
    let parsed = parsed.or_else(|error| match error {
        httparse::Error::Version => judge_version(input, b"HTTP/0.0 "),
        error => Err(error.into()),
    })?;
    let Some(bytes) = complete(parsed, input, over)? else { return Ok(None) };
    let (Some(status), Some(minor_version)) = (head.code, head.version) else { return Err(HeadError::Malformed) };
    let fields = Fields::collect(head.headers, &input[..bytes]);
    Ok(Some((Response { status, minor_version, fields }, bytes)))
}

fn complete(
    parsed: httparse::Status<usize>,
    input: &[u8],
    over: Option<HeadError>,
) -> Result<Option<usize>, HeadError> {
    let httparse::Status::Complete(bytes) = parsed else { return over.map_or(Ok(None), Err) };
    // RFC 9112 section 2.2 lets a server take a bare LF as a line's end; proxies that differ on it are how requests
    // get smuggled, so it is refused.
    let head = &input[..bytes];
    // Without a branch in it, so that it is done for many bytes at a time.
    let is_bare = |bare: bool, (before, byte): (&u8, &u8)| bare | (*byte == b'\n') & (*before != b'\r');
    if head.first() == Some(&b'\n') || head.iter().zip(&head[1..]).fold(false, is_bare) {
        return Err(HeadError::Malformed);
    }
    Ok(Some(bytes))
}

/// Where the head ends, looking no further back than `from`: behind its first empty line, however lines end.
///
/// For a head that arrives in pieces: each byte is looked at once, and parsing waits for the end.
pub fn end_of_head(input: &[u8], from: usize) -> Option<usize> {
    let start = from.saturating_sub(3);
    memchr::memchr_iter(b'\n', &input[start..]).map(|at| start + at).find_map(|at| {
        let empty = input[..at].ends_with(b"\n") || input[..at].ends_with(b"\n\r");
        empty.then_some(at + 1)
    })
}
