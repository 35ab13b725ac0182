//! A client of plain HTTP: answers and their bodies.

use super::feed::{Seen, Start, Transcript, output};
use steadfast::proto::http::HeadError;
use steadfast::proto::session::{Session, State};

fn answered(name: &str, input: &str, status: u16, body: &str) {
    let body = (!body.is_empty()).then(|| Seen::Body(body.into()));
    Transcript::new(name, Start::HttpClient, input)
        .sees([Seen::Response(status)])
        .sees(body)
        .sees([Seen::ResponseEnd])
        .leaves(State::Http);
}

#[test]
fn a_request_is_written() {
    let mut out = output();
    Session::http_client().request("h:8080", "/x?y", "", &mut out);
    assert_eq!(out.bytes, b"GET /x?y HTTP/1.1\r\nHost: h:8080\r\n\r\n");
}

#[test]
fn sized_bodies_end_by_their_size() {
    answered("sized", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, "hello");
    answered("empty", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, "");
    answered("leading zeros", "HTTP/1.1 404 Not Found\r\ncontent-length: 0002\r\n\r\nno", 404, "no");
    answered("an empty line before it", "\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", 200, "x");
    answered("no reason phrase", "HTTP/1.1 200\r\nContent-Length: 1\r\n\r\nx", 200, "x");
    let body = "0123456789".repeat(700);
    answered("long", &format!("HTTP/1.1 200 OK\r\nContent-Length: 7000\r\n\r\n{body}"), 200, &body);
}

#[test]
fn answers_without_a_body_end_at_once() {
    answered("204", "HTTP/1.1 204 No Content\r\n\r\n", 204, "");
    answered("304 with a length", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 304, "");
    answered("204 said to be chunked", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", 204, "");
}

#[test]
fn chunked_bodies_are_put_together() {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (name, body, expected) in [
        ("plain", "5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n", "hello!"),
        ("empty", "0\r\n\r\n", ""),
        ("sizes in hexadecimal", "00a\r\n0123456789\r\nA\r\nabcdefghij\r\n000\r\n\r\n", "0123456789abcdefghij"),
        ("extensions", "2;a=b\r\nhi\r\n4 ; q=\"x;y\"\r\n you\r\n0;last\r\n\r\n", "hi you"),
        ("a trailer", "2\r\nhi\r\n0\r\nX: y\r\nZ: w\r\n\r\n", "hi"),
        ("data that looks like framing", "7\r\n0\r\n\r\n\r\n\r\n0\r\n\r\n", "0\r\n\r\n\r\n"),
    ] {
        answered(name, &format!("{head}{body}"), 200, expected);
    }
    let codings =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, Chunked\r\nContent-Length: 99\r\n\r\n1\r\nx\r\n0\r\n\r\n";
    answered("the last of two codings, over a length", codings, 200, "x");
}

#[test]
fn answers_follow_one_another() {
    let input = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi\
        HTTP/1.1 204 No Content\r\n\r\n\
        HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n\
        HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 1\r\n\r\n";
    Transcript::new("four answers", Start::HttpClient, input)
        .sees([Seen::Response(200), Seen::Body(b"hi".to_vec()), Seen::ResponseEnd])
        .sees([Seen::Response(204), Seen::ResponseEnd])
        .sees([Seen::Response(200), Seen::Body(b"abc".to_vec()), Seen::ResponseEnd])
        .sees([Seen::Response(503), Seen::ResponseEnd])
        .leaves(State::Http);
}

#[test]
fn a_body_without_a_length_ends_with_the_stream() {
    for (name, head) in [
        ("neither length nor coding", "HTTP/1.1 200 OK\r\n\r\n"),
        ("a coding that is not chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n"),
        ("HTTP/1.0", "HTTP/1.0 200 OK\r\nConnection: close\r\n\r\n"),
    ] {
        Transcript::new(name, Start::HttpClient, format!("{head}all of it"))
            .sees([Seen::Response(200), Seen::Body(b"all of it".to_vec())])
            .leaves(State::Http);
        Transcript::new(name, Start::HttpClient, format!("{head}all of it"))
            .then_ends()
            .sees([Seen::Response(200), Seen::Body(b"all of it".to_vec()), Seen::End(true), Seen::ResponseEnd])
            .leaves(State::Http);
    }
}

#[test]
fn an_answer_cut_short_is_not_proper() {
    Transcript::new("in the head", Start::HttpClient, "HTTP/1.1 200 OK\r\n")
        .then_ends()
        .sees([Seen::End(false)])
        .leaves(State::Closed);
    for rest in ["Content-Length: 5\r\n\r\nhell", "Transfer-Encoding: chunked\r\n\r\n4\r\nhell"] {
        Transcript::new(rest, Start::HttpClient, format!("HTTP/1.1 200 OK\r\n{rest}"))
            .then_ends()
            .sees([Seen::Response(200), Seen::Body(b"hell".to_vec()), Seen::End(false)])
            .leaves(State::Closed);
    }
    Transcript::new("between answers", Start::HttpClient, "HTTP/1.1 204 No Content\r\n\r\n")
        .then_ends()
        .sees([Seen::Response(204), Seen::ResponseEnd, Seen::End(true)])
        .leaves(State::Closed);
}

#[test]
fn malformed_chunks_end_the_connection() {
    for (body, before) in [
        ("x\r\n", ""),
        ("\r\n", ""),
        (";a\r\n", ""),
        ("-1\r\n", ""),
        ("0x5\r\n", ""),
        ("100000000\r\n", ""),
        ("00000000000000001\r\n", ""),
        ("5\nhello\r\n", ""),
        ("0\n\r\n", ""),
        ("1;a\nx", ""),
        ("1;a\rb\r\nx", ""),
        ("1\rx\r\n", ""),
        ("2\r\nhix\r\n", "hi"),
        ("2\r\nhi\n0\r\n\r\n", "hi"),
        ("2\r\nhi\r\r\n0\r\n\r\n", "hi"),
        ("2\r\nhi\r\n\r\n", "hi"),
        ("2\r\nhi\r\n0\r\nX: y\n\r\n", "hi"),
        ("2\r\nhi\r\n0\r\n\n", "hi"),
    ] {
        let input = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        let before = (!before.is_empty()).then(|| Seen::Body(before.into()));
        Transcript::new(format!("{body:?}"), Start::HttpClient, input)
            .sees([Seen::Response(200)])
            .sees(before)
            .sees([Seen::BadHead(HeadError::Malformed)])
            .leaves(State::Closed);
    }
}

#[test]
fn lengths_that_are_not_one_number_end_the_connection() {
    for length in ["x", "", "-1", "+1", "1 1", "1,1", "0x1", "18446744073709551616", "1\r\nContent-Length: 1"] {
        Transcript::new(length, Start::HttpClient, format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"))
            .sees([Seen::BadHead(HeadError::Malformed)])
            .leaves(State::Closed);
    }
}

#[test]
fn answers_that_are_no_heads_end_the_connection() {
    for (name, input, error) in [
        ("garbage", "\0\0\0", HeadError::Malformed),
        ("nearly HTTP", "HTTP-1.1 200 OK\r\n\r\n", HeadError::Malformed),
        ("another version", "HTTP/3.0 200 OK\r\n\r\n", HeadError::Version),
        ("a status of two digits", "HTTP/1.1 20 OK\r\n\r\n", HeadError::Malformed),
        ("bare line feeds", "HTTP/1.1 200 OK\nContent-Length: 0\n\n", HeadError::Malformed),
    ] {
        Transcript::new(name, Start::HttpClient, input).sees([Seen::BadHead(error)]).leaves(State::Closed);
    }
}

/// The limit of a request line is none of a status line's: only the head's own counts, however it is cut.
#[test]
fn a_long_reason_phrase_is_within_the_head() {
    let phrase = "p".repeat(9_000);
    answered("a reason of 9,000", &format!("HTTP/1.1 200 {phrase}\r\nContent-Length: 1\r\n\r\nx"), 200, "x");
}
