//! The content of requests, RFC 9112 sections 6 and 7, and what a client expects before it sends it.

use super::feed::{Peer, Seen, Start, Transcript};
use super::heads::refused;
use super::wire::{OK, OK_AND_CLOSE};
use steadfast::proto::http::HeadError;
use steadfast::proto::session::{Limits, State};

const CONTINUE: &str = "HTTP/1.1 100 Continue\r\n\r\n";

fn posted(target: &str, body: &str) -> Seen {
    Seen::request_with_body("POST", target, "h", body.as_bytes())
}

/// A head with these fields beside Host, and what follows it.
fn post(fields: &str, rest: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: h\r\n{fields}\r\n\r\n{rest}")
}

fn taken(name: &str, limits: Limits, input: String, body: &str) {
    Transcript::new(name, Start::Server, input).under(limits).sees([posted("/", body)]).sends(OK).leaves(State::Head);
}

fn malformed(fields: &str, rest: &str) {
    refused(fields, Limits::default(), post(fields, rest), HeadError::Malformed);
}

#[test]
fn requests_with_bodies_follow_one_another() {
    let input = "POST /1 HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello\
        POST /2 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nX: y\r\n\r\n\
        GET /3 HTTP/1.1\r\nHost: h\r\n\r\n\
        POST /4 HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n\r\n\
        POST /5 HTTP/1.1\r\nTransfer-Encoding: chunked\r\nHost: h\r\n\r\n0\r\n\r\n\
        POST /6 HTTP/1.1\r\nHost: h\r\ncontent-length: 19\r\n\r\nPOST / HTTP/1.1\r\n\r\n\
        POST /7 HTTP/1.1\r\nHost: h\r\n\r\n\
        GET /8 HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n\0\0";
    Transcript::new("eight of them", Start::Server, input)
        .sees([posted("/1", "hello"), posted("/2", "abcde"), Seen::request("GET", "/3", "h"), posted("/4", "")])
        .sees([posted("/5", ""), posted("/6", "POST / HTTP/1.1\r\n\r\n"), posted("/7", "")])
        .sees([Seen::request_with_body("GET", "/8", "h", b"\0\0")])
        .sends(OK.repeat(8))
        .leaves(State::Head);
}

#[test]
fn request_is_delivered_when_its_body_is_complete() {
    for (fields, part) in [("Content-Length: 5", "hell"), ("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n")] {
        Transcript::new(fields, Start::Server, post(fields, part)).leaves(State::Head);
        Transcript::new(fields, Start::Server, post(fields, part))
            .then_ends()
            .sees([Seen::End(false)])
            .leaves(State::Closed);
    }
}

/// A length over the limit is refused by the head alone; chunks are counted as they come.
#[test]
fn a_body_over_the_limit_gets_413() {
    let chunked = |rest: &str| post("Transfer-Encoding: chunked", rest);
    for max in [0_usize, 1, 10, 300] {
        let limits = Limits { max_body_bytes: max as u64, ..Limits::default() };
        let body = "b".repeat(max);
        taken("at the limit", limits, post(&format!("Content-Length: {max}"), &body), &body);
        for more in [max as u64 + 1, max as u64 + 1_000, u64::MAX] {
            refused("a head", limits, post(&format!("Content-Length: {more}"), ""), HeadError::BodyTooLarge);
        }
        let bytes: String = body.chars().map(|byte| format!("1\r\n{byte}\r\n")).collect();
        taken("in chunks of a byte", limits, chunked(&format!("{bytes}0\r\n\r\n")), &body);
        refused("a chunk more", limits, chunked(&format!("{bytes}1\r\nx")), HeadError::BodyTooLarge);
        let one = format!("{:x}\r\n{body}x", max + 1);
        refused("one chunk", limits, chunked(&one), HeadError::BodyTooLarge);
    }
    // Beyond every number there is.
    for length in ["18446744073709551616", "99999999999999999999999999999999"] {
        refused(length, Limits::default(), post(&format!("Content-Length: {length}"), ""), HeadError::BodyTooLarge);
    }
    let largest = Limits { max_body_bytes: u64::MAX, ..Limits::default() };
    Transcript::new("no limit", Start::Server, post("Content-Length: 18446744073709551615", "a"))
        .under(largest)
        .leaves(State::Head);
}

/// Chunk extensions and trailers are ignored; their length is bounded over all of a body.
#[test]
fn chunk_extensions_and_trailers_are_bounded() {
    let chunked = |rest: &str| post("Transfer-Encoding: chunked", rest);
    let (fits, over) = ("e".repeat(16_000), "e".repeat(16_385));
    let limits = Limits::default();
    taken("an extension", limits, chunked(&format!("1;{fits}\r\nx\r\n0\r\n\r\n")), "x");
    taken("a trailer", limits, chunked(&format!("1\r\nx\r\n0\r\nX: {fits}\r\n\r\n")), "x");
    for rest in [
        format!("1;{over}"),
        format!("0\r\nX: {over}"),
        format!("1;{}\r\nx\r\n0\r\nX: {}", &over[..9_000], &over[..9_000]),
        "1;eeee\r\nx\r\n".repeat(4_000),
        format!("0\r\n{}", "X: y\r\n".repeat(4_000)),
    ] {
        refused("too much", limits, chunked(&rest), HeadError::Malformed);
    }
}

#[test]
fn malformed_chunks_get_400() {
    for rest in [
        "x\r\n",
        "\r\n",
        ";a\r\n",
        "-1\r\n",
        "+1\r\n",
        "0x5\r\n",
        " 5\r\n",
        "100000000\r\n",
        "00000000000000001\r\n",
        "ffffffffffffffff1\r\n",
        "5\nhello",
        "0\n",
        "1;a\nx",
        "1\rx",
        "2\r\nhix",
        "2\r\nhi\n",
        "2\r\nhi\r0",
        "2\r\nhi\r\n\r\n",
        "0\r\nX: y\n",
        "0\r\n\n",
        "0\r\nX: \ry",
        // What one reader takes for five bytes, another may take for 83.
        "5 3\r\nhello",
        "5\t\n",
        "5 a\r\n",
        "5;\0\r\n",
        "0\r\nX: \0\r\n",
    ] {
        let input = post("Transfer-Encoding: chunked", rest);
        refused(&format!("{rest:?}"), Limits::default(), input, HeadError::Malformed);
    }
}

#[test]
fn a_length_that_is_not_one_number_gets_400() {
    for length in
        ["x", "", " ", "-5", "+5", "5 5", "5,5", "5, 5", "5,", "0x5", "5.0", "5;", "5e0", "\u{665}", "\"5\"", "5\t5"]
    {
        malformed(&format!("Content-Length: {length}"), "hello");
    }
    // Beyond every number there is, and then none after all.
    malformed("Content-Length: 18446744073709551616x", "hello");
    for (first, second) in [("5", "5"), ("5", "6"), ("0", "0"), ("5", "")] {
        malformed(&format!("Content-Length: {first}\r\ncontent-length: {second}"), "hello");
        malformed(&format!("Content-Length: {first}\r\nX: y\r\nCONTENT-LENGTH: {second}"), "hello");
    }
    for length in ["5", "05", "\t 5 \t", "00000000000000000000000000000000005"] {
        taken(length, Limits::default(), post(&format!("Content-Length:{length}"), "hello"), "hello");
    }
}

/// RFC 9112 sections 6.1 and 6.3: whatever two readers could take in two ways.
#[test]
fn two_ways_of_framing_get_400() {
    for (fields, rest) in [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", "0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5", "0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 0", "0\r\n\r\n"),
        ("Transfer-Encoding: gzip, chunked\r\nContent-Length: 5", "hello"),
        ("Transfer-Encoding: identity\r\nContent-Length: 5", "hello"),
        ("Transfer-Encoding:\r\nContent-Length: 5", "hello"),
        ("Transfer-Encoding : chunked\r\nContent-Length: 5", "hello"),
        ("Transfer-Encoding\t: chunked\r\nContent-Length: 5", "hello"),
        (" Transfer-Encoding: chunked\r\nContent-Length: 5", "hello"),
        ("X: y\r\n Transfer-Encoding: chunked\r\nContent-Length: 5", "hello"),
        ("X: y\rTransfer-Encoding: chunked\r\nContent-Length: 5", "hello"),
        ("Content-Length: 5\r\n\tX: y", "hello"),
        ("Content-Length: 5\n", "hello"),
        ("Content-Length: 5\r", "hello"),
    ] {
        malformed(fields, rest);
    }
    for coding in ["chunked", "gzip, chunked", "identity"] {
        let input = format!("POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: {coding}\r\n\r\n0\r\n\r\n");
        refused(coding, Limits::default(), input, HeadError::Malformed);
    }
}

#[test]
fn codings_are_judged_by_the_last_one() {
    let rest = "5\r\nhello\r\n0\r\n\r\n";
    for fields in [
        "Transfer-Encoding: chunked",
        "transfer-encoding:CHUNKED",
        "TRANSFER-ENCODING: \t Chunked \t",
        "Transfer-Encoding: , chunked ,,",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding:",
    ] {
        taken(fields, Limits::default(), post(fields, rest), "hello");
    }
    for fields in [
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: gzip, deflate\r\ntransfer-encoding: chunked",
        "Transfer-Encoding: identity, chunked",
    ] {
        refused(fields, Limits::default(), post(fields, rest), HeadError::TransferCoding);
    }
    for fields in [
        "Transfer-Encoding: chunked, gzip",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: gzip, chunked, gzip",
        "Transfer-Encoding: gzip, chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunkedx",
        "Transfer-Encoding: chunked;q=1",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: gzip",
        "Transfer-Encoding: chunk ed",
        "Transfer-Encoding:",
        "Transfer-Encoding: ,",
        "Transfer-Encoding: \x0bchunked",
        "Transfer-Encoding: chunked\0",
        "Transfer-Encoding: ch\u{fc}nked",
        "Transfer-Encoding: \u{a0}chunked",
        "Transfer-Encoding: chunked\u{85}",
    ] {
        malformed(fields, rest);
    }
}

fn expects(fields: &str) -> String {
    format!("POST /e HTTP/1.1\r\nHost: h\r\n{fields}\r\n\r\n")
}

#[test]
fn a_client_that_asks_first_is_told_to_go_on() {
    let hello = "5\r\nhello\r\n0\r\n\r\n";
    for (fields, body) in [
        ("Expect: 100-continue\r\nContent-Length: 5", "hello"),
        ("expect: 100-CONTINUE\r\nContent-Length: 5", "hello"),
        ("Content-Length: 5\r\nExpect:\t100-continue ", "hello"),
        ("Expect: 100-continue\r\nExpect: 100-continue\r\nContent-Length: 5", "hello"),
        ("Expect: 100-continue\r\nTransfer-Encoding: chunked", hello),
    ] {
        // Whether the body waits for the answer or not, and what follows it.
        let input = format!("{}{body}GET / HTTP/1.1\r\nHost: h\r\n\r\n", expects(fields));
        Transcript::new(fields, Start::Server, input)
            .sees([Seen::Expects("/e".into()), posted("/e", "hello"), Seen::request("GET", "/", "h")])
            .sends(CONTINUE)
            .sends(OK.repeat(2))
            .leaves(State::Head);
    }
}

#[test]
fn nothing_is_asked_where_nothing_follows() {
    for fields in ["Expect: 100-continue", "Expect: 100-continue\r\nContent-Length: 0"] {
        Transcript::new(fields, Start::Server, expects(fields)).sees([posted("/e", "")]).sends(OK).leaves(State::Head);
    }
    // RFC 9110 section 10.1.1: in HTTP/1.0 it is ignored, whatever it is.
    for value in ["100-continue", "something"] {
        let fields = format!("Expect: {value}\r\nContent-Length: 5");
        let input = format!("{}hello", expects(&fields).replace("HTTP/1.1", "HTTP/1.0"));
        Transcript::new(&*fields, Start::Server, input)
            .sees([posted("/e", "hello")])
            .sends(OK_AND_CLOSE)
            .leaves(State::Closed);
    }
}

/// A client that was not told to go on may send the body or not: what follows could be either.
#[test]
fn an_answer_in_place_of_100_closes() {
    for (fields, body) in [("Content-Length: 5", "hello"), ("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n")] {
        for behind in ["", body, "GET / HTTP/1.1\r\nHost: h\r\n\r\n"] {
            let head = expects(&format!("Expect: 100-continue\r\n{fields}")).replace("/e", "/refused");
            Transcript::new(fields, Start::Server, head + behind)
                .sees([Seen::Expects("/refused".into())])
                .sends(OK_AND_CLOSE)
                .leaves(State::Closed);
        }
    }
}

#[test]
fn what_cannot_be_expected_gets_417() {
    for value in ["100", "100-continued", "continue", "200-ok", "", "100-continue, 200-ok", "100-continue;x"] {
        for more in ["", "\r\nContent-Length: 5", "\r\nExpect: 100-continue"] {
            let fields = format!("Expect: {value}{more}");
            refused(&fields, Limits::default(), expects(&fields), HeadError::Expectation);
        }
        let fields = format!("Expect: 100-continue\r\nExpect: {value}");
        refused(&fields, Limits::default(), expects(&fields), HeadError::Expectation);
    }
    // An invalid length counts first: the client is not told to go on.
    for (fields, error) in [
        ("Content-Length: 1048577", HeadError::BodyTooLarge),
        ("Content-Length: x", HeadError::Malformed),
        ("Transfer-Encoding: gzip, chunked", HeadError::TransferCoding),
    ] {
        let fields = format!("Expect: 100-continue\r\n{fields}");
        refused(&fields, Limits::default(), expects(&fields), error);
    }
}

/// It owns what has arrived, and not what was announced.
#[test]
fn a_body_takes_as_much_as_has_come() {
    let limits = Limits { max_body_bytes: 1 << 40, ..Limits::default() };
    for fields in ["Content-Length: 1000000000000", "Transfer-Encoding: chunked"] {
        let head = post(fields, "");
        let mut peer = Peer::new(Start::Server, limits, 4_096);
        peer.feed(head.as_bytes());
        if fields.starts_with('T') {
            peer.feed(b"fffffff\r\n");
        }
        for arrived in 0..300 {
            assert_eq!(peer.session.request_bytes(), Some(head.len() + 1_000 * arrived));
            let kept = peer.session.partial_bytes();
            assert!(kept <= 64 + 2 * (head.len() + 1_000 * arrived), "{kept} with {arrived},000");
            peer.feed(&[b'x'; 1_000]);
        }
        assert!(peer.seen.is_empty() && peer.session.has_partial());
    }
    // What is nearly there takes no more than it announced.
    let mut peer = Peer::new(Start::Server, limits, 4_096);
    let head = post("Content-Length: 1000", "");
    peer.feed(head.as_bytes());
    for _ in 0..999 {
        peer.feed(b"x");
        assert!(peer.session.partial_bytes() <= 64 + head.len() + 1_000);
    }
    peer.feed(b"x");
    assert_eq!((peer.session.partial_bytes(), peer.session.request_bytes()), (0, None));
    // Neither do chunk extensions, of which nothing is kept.
    let mut peer = Peer::new(Start::Server, limits, 20_000);
    peer.feed(post("Transfer-Encoding: chunked", "1;").as_bytes());
    let before = peer.session.partial_bytes();
    peer.feed(&[b'e'; 16_000]);
    assert_eq!(peer.session.partial_bytes(), before);
}

/// A head at its limits has a body like any other.
#[test]
fn body_after_the_largest_head_is_accepted() {
    let max = Limits::default().head.max_head_bytes;
    let frame = post("Content-Length: 5\r\nX: ", "").len();
    let fields = format!("Content-Length: 5\r\nX: {}", "x".repeat(max - frame));
    taken("a head at its limit", Limits::default(), post(&fields, "hello"), "hello");
    let line = Limits::default().head.max_request_line_bytes;
    let target = format!("/{}", "t".repeat(line - "POST / HTTP/1.1\r\n".len()));
    Transcript::new("a line at its limit", Start::Server, post("Content-Length: 5", "hello").replacen('/', &target, 1))
        .sees([posted(&target, "hello")])
        .sends(OK)
        .leaves(State::Head);
    let input = post(&format!("{fields}x"), "hello");
    Transcript::new("one over it", Start::Server, input)
        .sees([Seen::BadHead(HeadError::TooLarge)])
        .refuses(431, "Request Header Fields Too Large", true)
        .leaves(State::Closed);
}
