//! Heads of requests and responses: what is accepted can be read in one way only, and a plain reader reads the same;
//! what comes first decides, however it is cut; limits hold.
//!
//! An input is a byte that says whether it is a response (bit 0), under which limits (1 and 2) and how far into the ring
//! it begins (4 to 7); four for the lengths of pieces; and bytes that may be a head.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
include!("../root.rs");

use crate::feed::Start;
use crate::script::{Script, pieces};
use crate::sessions::{cuts_change_nothing, end_heads, head_limits, upgrades};
use steadfast::proto::http::{self, Fields, HeadError, HeadLimits, MAX_FIELDS, Request, Response, TransferEncoding};
use steadfast::proto::session::Limits;

pub(crate) fn check(data: &[u8]) {
    let mut script = Script::new(data);
    let flags = script.byte();
    let lengths = script.bytes();
    let limits = match flags >> 1 & 3 {
        0 => HeadLimits::default(),
        1 => head_limits(30, 120),
        2 => head_limits(64, 64),
        _ => head_limits(520, 600),
    };
    let input = script.rest();
    let start = if flags & 1 == 0 {
        requests(input, limits, lengths);
        Start::Server
    } else {
        responses(input, limits, lengths);
        Start::HttpClient
    };
    let mut ended = input.to_vec();
    end_heads(&mut ended, 0);
    let limits = Limits { head: limits, ..Limits::default() };
    cuts_change_nothing(start, limits, &ended, lengths, (flags >> 4).into(), true);
}

fn requests(input: &[u8], limits: HeadLimits, lengths: [u8; 4]) {
    let parsed = http::parse_request(input, limits);
    let verdict = parsed.map(|parsed| parsed.map(|(_, bytes)| bytes));
    decided_once(input, verdict, lengths, |part| {
        http::parse_request(part, limits).map(|parsed| parsed.map(|(_, bytes)| bytes))
    });
    if let Ok(Some((request, bytes))) = parsed {
        let reading = read(&input[..bytes]).unwrap_or_else(|| panic!("not one way to read {request:?}"));
        let line = request_line(reading.start).expect("a request line of one reading");
        assert_eq!(line, (request.method.as_bytes(), request.target.as_bytes(), request.minor_version));
        assert!(request.target.starts_with(request.path()) && !request.path().contains('?'));
        reading.agrees(&request.fields);
        assert_eq!(upgrades(&request), reading.upgrades(&request));
        within(input, bytes, limits, limits.max_request_line_bytes);
    } else if let Some((head, reading)) = strict(input, limits, limits.max_request_line_bytes) {
        assert!(request_line(reading.start).is_none(), "a good head is refused, {verdict:?}: {head:?}");
    }
}

fn responses(input: &[u8], limits: HeadLimits, lengths: [u8; 4]) {
    let parsed = http::parse_response(input, limits);
    let verdict = parsed.map(|parsed| parsed.map(|(_, bytes)| bytes));
    decided_once(input, verdict, lengths, |part| {
        http::parse_response(part, limits).map(|parsed| parsed.map(|(_, bytes)| bytes))
    });
    if let Ok(Some((response, bytes))) = parsed {
        let reading = read(&input[..bytes]).unwrap_or_else(|| panic!("not one way to read {response:?}"));
        let line = status_line(reading.start).expect("a status line of one reading");
        assert_eq!(line, (response.status, response.minor_version));
        reading.agrees(&response.fields);
        keeps_alive(&response, &reading);
        within(input, bytes, limits, limits.max_head_bytes);
    } else if let Some((head, reading)) = strict(input, limits, limits.max_head_bytes) {
        assert!(status_line(reading.start).is_none(), "a good head is refused, {verdict:?}: {head:?}");
    }
}

fn keeps_alive(response: &Response<'_>, reading: &Reading<'_>) {
    let lists = |token: &str| reading.lists("connection", token);
    let keeps = !lists("close") && (response.minor_version == 1 || lists("keep-alive"));
    assert_eq!(response.keeps_alive(), keeps);
}

type Verdict = Result<Option<usize>, HeadError>;

/// Once some of the bytes have decided, those after them change nothing; and what is not decided has not ended yet.
fn decided_once(input: &[u8], whole: Verdict, lengths: [u8; 4], parse: impl Fn(&[u8]) -> Verdict) {
    let mut end = 0;
    // Each of them is parsed from its beginning: no more than some, so that the work stays small.
    for piece in pieces(input, lengths).into_iter().take(40) {
        end += piece.len();
        match (parse(&input[..end]), whole) {
            (Ok(None), Ok(Some(bytes))) => assert!(bytes > end, "a head of {bytes} bytes is not there in {end}"),
            (Ok(None), _) => {}
            (part, whole) => assert_eq!(part, whole, "{end} bytes, and all {}", input.len()),
        }
    }
}

/// A head that is taken is within its limits. Empty lines in front of it are a session's to leave out.
fn within(input: &[u8], bytes: usize, limits: HeadLimits, max_line_bytes: usize) {
    assert!(bytes <= limits.max_head_bytes, "{bytes} bytes, and {limits:?}");
    if !input.starts_with(b"\r\n") {
        let line = 1 + input.iter().position(|&byte| byte == b'\n').expect("a line");
        assert!(line <= max_line_bytes, "a first line of {line} bytes, and {limits:?}");
        assert_eq!(http::end_of_head(input, 0), Some(bytes));
    }
}

/// A head by the strictest reading.
struct Reading<'a> {
    start: &'a [u8],
    /// Names and values.
    fields: Vec<(&'a [u8], &'a [u8])>,
}

/// Reads a head, all of it; `None` if it has another reading, or none: a CR or LF that is not half of a line's end, any
/// other control character, a folded line, a name that is no token.
fn read(head: &[u8]) -> Option<Reading<'_>> {
    let mut rest = head;
    while let Some(more) = rest.strip_prefix(b"\r\n") {
        rest = more;
    }
    let mut lines = Vec::new();
    while !rest.is_empty() {
        let end = rest.windows(2).position(|two| two == b"\r\n")?;
        lines.push(&rest[..end]);
        rest = &rest[end + 2..];
    }
    let is_text = |line: &&[u8]| line.iter().all(|&byte| byte == b'\t' || byte >= b' ' && byte != 0x7f);
    let (last, lines) = lines.split_last()?;
    let (start, fields) = lines.split_first()?;
    if !last.is_empty() || !lines.iter().all(is_text) {
        return None;
    }
    Some(Reading { start, fields: fields.iter().map(|line| field(line)).collect::<Option<_>>()? })
}

fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|&byte| byte == b':')?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    let blank = |byte: &u8| b" \t".contains(byte);
    let from = value.iter().position(|byte| !blank(byte)).unwrap_or(value.len());
    let to = value.iter().rposition(|byte| !blank(byte)).map_or(from, |last| last + 1);
    is_token(name).then_some((name, &value[from..to]))
}

/// RFC 9110 section 5.6.2.
fn is_token(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

/// A later minor version is taken for 1 (RFC 9110 section 2.5).
fn version(version: &[u8]) -> Option<u8> {
    match version.strip_prefix(b"HTTP/1.") {
        Some([digit @ b'0'..=b'9']) => Some(u8::from(*digit > b'0')),
        _ => None,
    }
}

/// Method, target and minor version (RFC 9112 section 3).
fn request_line(line: &[u8]) -> Option<(&[u8], &[u8], u8)> {
    let [method, target, minor] = line.split(|&byte| byte == b' ').collect::<Vec<_>>()[..] else { return None };
    let right =
        is_token(method) && !target.is_empty() && !target.contains(&b'\t') && std::str::from_utf8(target).is_ok();
    right.then_some((method, target, version(minor)?))
}

/// Status and minor version (RFC 9112 section 4).
fn status_line(line: &[u8]) -> Option<(u16, u8)> {
    let mut parts = line.splitn(3, |&byte| byte == b' ');
    let minor = version(parts.next()?)?;
    let status = parts.next().filter(|digits| digits.len() == 3 && digits.iter().all(u8::is_ascii_digit))?;
    Some((status.iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0')), minor))
}

/// The head in front of `input`, if it is one by the strictest reading, and within limits.
fn strict(input: &[u8], limits: HeadLimits, max_line_bytes: usize) -> Option<(&[u8], Reading<'_>)> {
    let end = 4 + input.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = &input[..end];
    let line = 2 + head.windows(2).position(|two| two == b"\r\n")?;
    let fits = end <= limits.max_head_bytes && line > 2 && line <= max_line_bytes;
    let reading = read(head).filter(|reading| fits && reading.fields.len() <= MAX_FIELDS)?;
    Some((head, reading))
}

impl<'a> Reading<'a> {
    fn values(&self, name: &str) -> Vec<&'a [u8]> {
        let fields = self.fields.iter().filter(|(one, _)| one.eq_ignore_ascii_case(name.as_bytes()));
        fields.map(|(_, value)| *value).collect()
    }

    fn lists(&self, name: &str, token: &str) -> bool {
        let values = self.values(name).join(&b","[..]);
        values.split(|&byte| byte == b',').any(|one| one.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
    }

    /// What the library found in the fields is what is there.
    fn agrees(&self, fields: &Fields<'_>) {
        for (name, _) in &self.fields {
            let name = std::str::from_utf8(name).expect("tokens are ASCII");
            assert_eq!(fields.values(name).collect::<Vec<_>>(), self.values(name), "{name}");
        }
        let mut repeated = false;
        for (name, noted) in [
            ("host", fields.host),
            ("origin", fields.origin),
            ("content-length", fields.content_length),
            ("sec-websocket-key", fields.websocket_key),
            ("sec-websocket-version", fields.websocket_version),
            ("sec-websocket-accept", fields.websocket_accept),
        ] {
            let values = self.values(name);
            assert_eq!(noted, values.last().copied(), "{name}");
            repeated |= values.len() > 1;
        }
        assert_eq!(fields.has_duplicate, repeated);
        assert_eq!(fields.websocket_protocol, self.values("sec-websocket-protocol").first().copied());
        let codings = self.values("transfer-encoding");
        let all = codings.join(&b","[..]).to_ascii_lowercase();
        let all: Vec<&[u8]> =
            all.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|coding| !coding.is_empty()).collect();
        let coding = match all.iter().position(|coding| *coding == b"chunked") {
            _ if codings.is_empty() => None,
            Some(0) if all.len() == 1 => Some(TransferEncoding::Chunked),
            Some(at) if at + 1 == all.len() => Some(TransferEncoding::Coded),
            None if !all.is_empty() => Some(TransferEncoding::Other),
            _ => Some(TransferEncoding::Broken),
        };
        assert_eq!(fields.transfer_encoding, coding);
        assert_eq!(fields.connection_close, self.lists("connection", "close"));
        assert_eq!(fields.connection_keep_alive, self.lists("connection", "keep-alive"));
        assert_eq!(fields.connection_upgrade, self.lists("connection", "upgrade"));
        assert_eq!(fields.upgrade_websocket, self.lists("upgrade", "websocket"));
    }

    /// RFC 6455 section 4.2.1, all of it but for extensions and subprotocols, which may say anything.
    fn upgrades(&self, request: &Request<'_>) -> bool {
        let one = |name: &str| self.values(name).len() == 1;
        let none = |name: &str| self.values(name).is_empty();
        let key = self.values("sec-websocket-key").first().copied().unwrap_or_default();
        let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/".contains(byte);
        let is_key = key.len() == 24 && key[..22].iter().all(is_base64) && key.ends_with(b"==");
        let body = !none("transfer-encoding") || self.values("content-length").iter().any(|length| *length != b"0");
        request.method == "GET"
            && request.minor_version == 1
            && one("host")
            && self.lists("upgrade", "websocket")
            && self.lists("connection", "upgrade")
            && self.values("sec-websocket-version") == [b"13"]
            && one("sec-websocket-key")
            && is_key
            && !body
            && [self.values("origin"), self.values("content-length"), self.values("sec-websocket-accept")]
                .iter()
                .all(|values| values.len() <= 1)
    }
}
