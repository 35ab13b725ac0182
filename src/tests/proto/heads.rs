//! A server's HTTP: heads that are refused, each with its status.

use super::feed::{Seen, Start, Transcript};
use super::wire::OK;
use steadfast::proto::http::{HeadError, HeadLimits, MAX_FIELDS};
use steadfast::proto::session::{Limits, State};

pub(super) fn refused(name: &str, limits: Limits, input: impl Into<Vec<u8>>, error: HeadError) {
    let (status, phrase) = match error {
        HeadError::Malformed => (400, "Bad Request"),
        HeadError::TargetTooLong => (414, "URI Too Long"),
        HeadError::TooLarge => (431, "Request Header Fields Too Large"),
        HeadError::Version => (505, "HTTP Version Not Supported"),
        HeadError::BodyTooLarge => (413, "Content Too Large"),
        HeadError::Expectation => (417, "Expectation Failed"),
        HeadError::TransferCoding => (501, "Not Implemented"),
    };
    let input = input.into();
    // RFC 9110 section 9.3.2.
    let has_body = !input.starts_with(b"HEAD ");
    Transcript::new(name, Start::Server, input)
        .under(limits)
        .sees([Seen::BadHead(error)])
        .refuses(status, phrase, has_body)
        .leaves(State::Closed);
}

fn taken(name: &str, limits: Limits, input: String, target: &str) {
    Transcript::new(name, Start::Server, input)
        .under(limits)
        .sees([Seen::request("GET", target, "h")])
        .sends(OK)
        .leaves(State::Head);
}

#[test]
fn malformed_heads_get_400() {
    for (name, input) in [
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".as_slice()),
        ("NUL", b"\0\0\0\0"),
        ("another protocol's greeting", b"EHLO example.com\r\n"),
        ("HTTP/0.9", b"GET /\r\n"),
        ("an empty target", b"GET  HTTP/1.1\r\n"),
        ("two spaces", b"GET  / HTTP/1.1\r\n"),
        ("a method that is no token", b"G(T / HTTP/1.1\r\n"),
        ("a target that is not UTF-8", b"GET /\xff HTTP/1.1\r\n"),
        ("words behind the version", b"GET / HTTP/1.1 x\r\n"),
        ("no version", b"GET / FTP\r\nHost: h\r\n\r\n"),
        ("a version of two digits", b"GET / HTTP/10.0\r\nHost: h\r\n\r\n"),
        ("a version in small letters", b"GET / http/1.1\r\nHost: h\r\n\r\n"),
        ("a response", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        ("a space before the colon", b"GET / HTTP/1.1\r\nHost : h\r\n\r\n"),
        ("no colon", b"GET / HTTP/1.1\r\nHost\r\n\r\n"),
        ("a folded field", b"GET / HTTP/1.1\r\nHost: h\r\n more\r\n\r\n"),
        ("a control character", b"GET / HTTP/1.1\r\nHost: h\x01\r\n\r\n"),
        ("NUL in a field", b"GET / HTTP/1.1\r\nHost: h\0\r\n\r\n"),
        ("a bare CR in a field", b"GET / HTTP/1.1\r\nX: a\rb\r\nHost: h\r\n\r\n"),
        ("a bare CR in front", b"\rGET / HTTP/1.1\r\nHost: h\r\n\r\n"),
        ("a bare LF in front", b"\nGET / HTTP/1.1\r\nHost: h\r\n\r\n"),
        ("empty lines of every kind", b"\r\n\r\r\n\n\rGET / HTTP/1.1\r\nHost: h\r\n\r\n"),
        ("no name", b"GET / HTTP/1.1\r\n: h\r\n\r\n"),
        ("bad, with a request behind it", b"GET / HTTP/1.1\r\nHost : h\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n"),
    ] {
        refused(name, Limits::default(), input, HeadError::Malformed);
    }
}

#[test]
fn bare_line_feeds_get_400() {
    for (name, input) in [
        ("all lines", "GET / HTTP/1.1\nHost: h\n\n"),
        ("the request line", "GET / HTTP/1.1\nHost: h\r\n\r\n"),
        ("a field", "GET / HTTP/1.1\r\nHost: h\nX: y\r\n\r\n"),
        ("the empty line", "GET / HTTP/1.1\r\nHost: h\r\n\n"),
        ("the field before the empty line", "GET / HTTP/1.1\r\nHost: h\n\r\n"),
    ] {
        refused(name, Limits::default(), input, HeadError::Malformed);
    }
}

#[test]
fn other_versions_get_505() {
    for (name, input) in [
        ("HTTP/2.0", "GET / HTTP/2.0\r\nHost: h\r\n\r\n"),
        ("HTTP/0.9", "GET / HTTP/0.9\r\nHost: h\r\n\r\n"),
        ("HTTP/2.0, line only", "GET / HTTP/2.0\r\n"),
        ("the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ] {
        refused(name, Limits::default(), input, HeadError::Version);
    }
}

/// RFC 9110 section 2.5: a minor version that is higher than ours is processed as ours.
#[test]
fn later_minor_versions_are_taken_for_http_1_1() {
    for minor in 2..=9 {
        taken(&format!("HTTP/1.{minor}"), Limits::default(), format!("GET /x HTTP/1.{minor}\r\nHost: h\r\n\r\n"), "/x");
    }
    for (name, input) in [
        ("no Host", "GET / HTTP/1.2\r\n\r\n"),
        ("two digits", "GET / HTTP/1.10\r\nHost: h\r\n\r\n"),
        ("a letter", "GET / HTTP/1.x\r\nHost: h\r\n\r\n"),
        ("a space behind it", "GET / HTTP/1.2 \r\nHost: h\r\n\r\n"),
        ("a bare LF behind it", "GET / HTTP/1.2\nHost: h\r\n\r\n"),
        ("a field that is none", "GET / HTTP/1.2\r\nHost: h\r\nX\r\n\r\n"),
        ("NUL in a field", "GET / HTTP/1.2\r\nHost: h\r\nX: \0\r\n\r\n"),
    ] {
        refused(name, Limits::default(), input, HeadError::Malformed);
    }
    let fields = "X: y\r\n".repeat(MAX_FIELDS);
    let input = format!("GET / HTTP/1.3\r\nHost: h\r\n{fields}\r\n");
    refused("too many fields", Limits::default(), input, HeadError::TooLarge);
    for answer in ["HTTP/1.2 200 OK\r\nContent-Length: 2\r\n\r\nhi", "HTTP/1.9 200\r\nContent-Length: 2\r\n\r\nhi"] {
        Transcript::new(answer, Start::HttpClient, answer)
            .sees([Seen::Response(200), Seen::Body(b"hi".to_vec()), Seen::ResponseEnd])
            .leaves(State::Http);
    }
    for answer in ["HTTP/1.2 20 OK\r\n\r\n", "HTTP/1.2 200 a\x01\r\n\r\n", "HTTP/1.2 200 OK\nX: y\r\n\r\n"] {
        Transcript::new(answer, Start::HttpClient, answer)
            .sees([Seen::BadHead(HeadError::Malformed)])
            .leaves(State::Closed);
    }
}

/// A request whose line has `bytes` bytes, including CRLF.
fn request_with_line(bytes: usize) -> (String, String) {
    let target = format!("/{}", "t".repeat(bytes - "GET / HTTP/1.1\r\n".len()));
    (format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n"), target)
}

#[test]
fn a_request_line_over_its_limit_gets_414() {
    for line in [64, HeadLimits::default().max_request_line_bytes] {
        let head = HeadLimits { max_request_line_bytes: line, ..HeadLimits::default() };
        let limits = Limits { head, ..Limits::default() };
        let (input, target) = request_with_line(line);
        taken(&format!("a line of {line}"), limits, input, &target);
        let (input, _) = request_with_line(line + 1);
        refused(&format!("a line of {line} and one"), limits, input, HeadError::TargetTooLong);
        let endless = format!("GET /{}", "t".repeat(line + 100));
        refused(&format!("a line over {line} without end"), limits, endless, HeadError::TargetTooLong);
    }
}

/// A request whose head has `bytes` bytes.
fn request_of(bytes: usize) -> String {
    let frame = "GET / HTTP/1.1\r\nHost: h\r\nX: \r\n\r\n".len();
    format!("GET / HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n", "x".repeat(bytes - frame))
}

#[test]
fn a_head_over_its_limit_gets_431() {
    for max in [100, HeadLimits::default().max_head_bytes] {
        let head = HeadLimits { max_head_bytes: max, ..HeadLimits::default() };
        let limits = Limits { head, ..Limits::default() };
        taken(&format!("a head of {max}"), limits, request_of(max), "/");
        refused(&format!("a head of {max} and one"), limits, request_of(max + 1), HeadError::TooLarge);
        refused(&format!("a head far over {max}"), limits, request_of(max + 2_000), HeadError::TooLarge);
        let endless = &request_of(max + 500)[..max + 400];
        refused(&format!("a head over {max} without end"), limits, endless, HeadError::TooLarge);
    }
}

#[test]
fn a_head_at_its_limit_does_not_count_what_follows() {
    let max = HeadLimits::default().max_head_bytes;
    Transcript::new("two heads at the limit", Start::Server, request_of(max) + &request_of(max))
        .sees([Seen::request("GET", "/", "h"), Seen::request("GET", "/", "h")])
        .sends(OK)
        .sends(OK)
        .leaves(State::Head);
}

#[test]
fn more_fields_than_the_limit_get_431() {
    let with_fields = |fields: usize| format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "X: y\r\n".repeat(fields - 1));
    taken("as many fields as may be", Limits::default(), with_fields(MAX_FIELDS), "/");
    refused("a field more", Limits::default(), with_fields(MAX_FIELDS + 1), HeadError::TooLarge);
    refused("many more", Limits::default(), with_fields(1_000), HeadError::TooLarge);
}

/// The first fault in the order of the bytes decides, not how many of them came at once.
#[test]
fn the_first_fault_decides_the_status() {
    let max = HeadLimits::default().max_head_bytes;
    let line = HeadLimits::default().max_request_line_bytes;
    let behind_the_limit = format!("{}\0\r\n\r\n", &request_of(max + 500)[..max + 400]);
    refused("NUL behind the head's limit", Limits::default(), behind_the_limit, HeadError::TooLarge);
    let within = format!("GET / HTTP/1.1\r\nHost: h\r\nX: {}\0{}", "x".repeat(1_000), "y".repeat(max));
    refused("NUL in a head that grows too large", Limits::default(), within, HeadError::Malformed);
    // Far into a head that has no end yet, it shows with that.
    let waits = format!("GET / HTTP/1.1\r\nHost: h\r\nX: {}\0", "x".repeat(1_000));
    Transcript::new("NUL in a head that has not ended", Start::Server, &*waits).leaves(State::Head);
    refused("NUL in a head that has", Limits::default(), format!("{waits}\r\n\r\n"), HeadError::Malformed);
    let target = format!("GET /{}\0{}", "t".repeat(1_000), "t".repeat(line));
    refused("NUL in a target that grows too long", Limits::default(), target, HeadError::Malformed);
    let target = format!("GET /{}\0", "t".repeat(line));
    refused("NUL behind the line's limit", Limits::default(), target, HeadError::TargetTooLong);
}
