//! Explains why a head was refused, in words for the response. The text is made from the bytes that decided it, so it
//! does not depend on how the head was cut into pieces.

use super::head::{HeadError, HeadLimits};
use super::http::{self, MAX_FIELDS};
use super::quote::Quoted;

/// The most bytes of a line in which a fault is searched for.
const MAX_LINE_BYTES: usize = 4096;

/// A head that is refused: the error, and the reason in words.
#[derive(Debug)]
pub(super) struct BadHead {
    pub(super) error: HeadError,
    pub(super) why: String,
    /// Whether the method is HEAD, as far as that is known.
    pub(super) is_head: bool,
}

impl BadHead {
    /// Creates the refusal of a response, to which nothing is sent.
    pub(super) fn unanswered(error: HeadError) -> Self {
        Self { error, why: String::new(), is_head: false }
    }

    /// Creates the refusal of a request, of which `head` has arrived.
    #[cold]
    pub(super) fn of_request(error: HeadError, head: &[u8], limits: HeadLimits) -> Self {
        let why = match error {
            HeadError::TargetTooLong => {
                let line = &head[..head.len().min(limits.max_request_line_bytes)];
                format!("the request line is longer than {} bytes: {}", limits.max_request_line_bytes, Quoted(line))
            }
            HeadError::TooLarge if has_too_many_fields(head, limits) => {
                format!("the head has more than {MAX_FIELDS} fields")
            }
            HeadError::TooLarge => format!("the head is longer than {} bytes", limits.max_head_bytes),
            HeadError::Version => {
                let version = head.splitn(3, |&byte| byte == b' ').nth(2).unwrap_or_default();
                format!("the version is {}: expected HTTP/1.1", Quoted(&version[..version.len().min(8)]))
            }
            _ => malformed(head),
        };
        Self { error, why, is_head: head.starts_with(b"HEAD ") }
    }
}

fn has_too_many_fields(head: &[u8], limits: HeadLimits) -> bool {
    let mut headers = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let fields =
        memchr::memchr(b'\n', head).map_or(&[][..], |end| &head[end + 1..head.len().min(limits.max_head_bytes)]);
    matches!(httparse::parse_headers(fields, &mut headers), Err(httparse::Error::TooManyHeaders))
}

/// Finds the first line that is malformed, and quotes it up to the byte that shows it.
fn malformed(head: &[u8]) -> String {
    let all = HeadLimits { max_request_line_bytes: MAX_LINE_BYTES, max_head_bytes: MAX_LINE_BYTES };
    let is_bad_start = |line: &[u8]| matches!(http::parse_request(line, all), Err(HeadError::Malformed));
    let is_bad_field = |line: &[u8]| httparse::parse_headers(line, &mut [httparse::EMPTY_HEADER; 2]).is_err();
    let mut lines = head.split_inclusive(|&byte| byte == b'\n');
    let start = lines.next().unwrap_or_default();
    if let Some(bytes) = first_bad(start, is_bad_start) {
        return format!("the request line is not \"METHOD TARGET HTTP/1.1\": {}", Quoted(ending(&start[..bytes])));
    }
    for line in lines {
        if let Some(bytes) = first_bad(line, is_bad_field) {
            return format!("a field is not \"Name: value\": {}", Quoted(ending(&line[..bytes])));
        }
    }
    let is_bare = |line: &&[u8]| line.ends_with(b"\n") && !line.ends_with(b"\r\n");
    match head.split_inclusive(|&byte| byte == b'\n').find(is_bare) {
        Some(line) => format!("a line ends with LF alone, and not with CR LF: {}", Quoted(line)),
        None => "the head is not one of HTTP/1.1".to_owned(),
    }
}

/// Returns how many bytes of a line show that it is malformed, if it is.
fn first_bad(line: &[u8], is_bad: impl Fn(&[u8]) -> bool) -> Option<usize> {
    let line = &line[..line.len().min(MAX_LINE_BYTES)];
    if !is_bad(line) {
        return None;
    }
    // A malformed line stays malformed when more bytes follow.
    let (mut good, mut bad) = (0, line.len());
    while bad - good > 1 {
        let middle = good + (bad - good) / 2;
        if is_bad(&line[..middle]) { bad = middle } else { good = middle }
    }
    Some(bad)
}

/// Returns the part of the end of a line that is quoted.
fn ending(line: &[u8]) -> &[u8] {
    &line[line.len().saturating_sub(150)..]
}
