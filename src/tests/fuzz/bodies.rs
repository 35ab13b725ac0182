//! RFC 9112 once more, as plainly as it can be put: where the bodies of answers end, told from all of the input at once.
//! Heads are the library's: another target looks after them.

use crate::feed::Seen;
use crate::naive::Expected;
use steadfast::proto::http::{HeadError, HeadLimits, Response, TransferEncoding, parse_response};
use steadfast::proto::session::State;

/// What there is of a body.
struct Body {
    data: Vec<u8>,
    end: End,
}

enum End {
    /// This many bytes from its beginning.
    At(usize),
    /// Somewhere after what has arrived.
    Open,
    /// Where the stream ends.
    OfStream,
    /// Nowhere: the framing is wrong.
    Malformed,
}

/// What a client of plain HTTP must make of `input`.
pub(crate) fn read_responses(input: &[u8], limits: HeadLimits) -> Expected {
    let mut expected =
        Expected { seen: Vec::new(), sent: Vec::new(), state: State::Http, faults: Vec::new(), at_end: None };
    let mut rest = input;
    loop {
        while let [b'\r', b'\n', more @ ..] = rest {
            rest = more;
        }
        if rest.starts_with(b"\n") {
            return failed(expected, HeadError::Malformed);
        }
        // Half of an empty line is the beginning of something.
        let between = rest.is_empty();
        let (response, bytes) = match parse_response(rest, limits) {
            Ok(Some(parsed)) => parsed,
            Ok(None) => {
                expected.at_end = Some((vec![Seen::End(between)], State::Closed));
                return expected;
            }
            Err(error) => return failed(expected, error),
        };
        // RFC 9110 section 15.2: an interim response, and the final one after it.
        if (100..200).contains(&response.status) && response.status != 101 {
            rest = &rest[bytes..];
            continue;
        }
        let Some(body) = body(&response, &rest[bytes..]) else { return failed(expected, HeadError::Malformed) };
        expected.seen.push(Seen::Response(response.status));
        if !body.data.is_empty() {
            expected.seen.push(Seen::Body(body.data));
        }
        match body.end {
            End::At(end) => rest = &rest[bytes + end..],
            End::Malformed => return failed(expected, HeadError::Malformed),
            End::Open => {
                expected.at_end = Some((vec![Seen::End(false)], State::Closed));
                return expected;
            }
            End::OfStream => {
                expected.at_end = Some((vec![Seen::End(true), Seen::ResponseEnd], State::Http));
                return expected;
            }
        }
        expected.seen.push(Seen::ResponseEnd);
    }
}

fn failed(mut expected: Expected, error: HeadError) -> Expected {
    expected.seen.push(Seen::BadHead(error));
    expected.state = State::Closed;
    expected
}

/// Section 6.3, for an answer to a GET; `None` if its length is none.
fn body(response: &Response<'_>, rest: &[u8]) -> Option<Body> {
    let fields = &response.fields;
    if matches!(response.status, 100..=199 | 204 | 304) {
        return Some(sized(0, rest));
    }
    match (fields.transfer_encoding, fields.content_length) {
        (Some(TransferEncoding::Chunked | TransferEncoding::Coded), _) => Some(chunked(rest)),
        (Some(_), _) | (None, None) => Some(Body { data: rest.to_vec(), end: End::OfStream }),
        (None, Some(length)) => {
            let digits = !length.is_empty() && length.iter().all(u8::is_ascii_digit) && !fields.has_duplicate;
            let length = std::str::from_utf8(length).ok().filter(|_| digits)?.parse::<u64>().ok()?;
            Some(sized(length, rest))
        }
    }
}

fn sized(length: u64, rest: &[u8]) -> Body {
    let here = usize::try_from(length).unwrap_or(usize::MAX).min(rest.len());
    let end = if here as u64 == length { End::At(here) } else { End::Open };
    Body { data: rest[..here].to_vec(), end }
}

/// The line at the front of `rest`, and whether its CRLF is there too; `None` if one of the two is alone.
fn line(rest: &[u8]) -> Option<(&[u8], bool)> {
    let end = rest.iter().position(|byte| b"\r\n".contains(byte)).unwrap_or(rest.len());
    match rest[end..] {
        [] | [b'\r'] => Some((&rest[..end], false)),
        [b'\r', b'\n', ..] => Some((&rest[..end], true)),
        _ => None,
    }
}

/// Section 7.1.
fn chunked(body: &[u8]) -> Body {
    let (mut data, mut rest) = (Vec::new(), body);
    let mut trailer = false;
    let end = loop {
        let Some((line, whole)) = line(rest) else { break End::Malformed };
        if !line.iter().all(|byte| matches!(byte, b'\t' | b' '..=0x7e | 0x80..)) {
            break End::Malformed;
        }
        if !trailer {
            let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
            let zeros = line.iter().take_while(|&&byte| byte == b'0').count();
            let right = (1..=16).contains(&digits)
                && digits - zeros <= 8
                && line[digits..].trim_ascii_start().first().is_none_or(|byte| *byte == b';');
            if !rest.is_empty() && !right {
                break End::Malformed;
            }
            if whole {
                let size = std::str::from_utf8(&line[..digits]).expect("digits");
                let size = usize::from_str_radix(size, 16).expect("at most sixteen of them");
                rest = &rest[line.len() + 2..];
                trailer = size == 0;
                data.extend(&rest[..size.min(rest.len())]);
                rest = &rest[size.min(rest.len())..];
                match rest {
                    _ if trailer => {}
                    [b'\r', b'\n', more @ ..] => rest = more,
                    [] | [b'\r'] => break End::Open,
                    _ => break End::Malformed,
                }
            }
        } else if whole {
            rest = &rest[line.len() + 2..];
            if line.is_empty() {
                break End::At(body.len() - rest.len());
            }
        }
        if !whole {
            break End::Open;
        }
    };
    Body { data, end }
}
