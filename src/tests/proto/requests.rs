//! A server's HTTP: requests that can be taken.

use super::feed::{Seen, Start, Transcript};
use super::wire::{self, OK, OK_AND_CLOSE, OK_TO_HEAD, UPGRADE, UPGRADED};
use steadfast::proto::frame::Role;
use steadfast::proto::http::{self, HeadLimits};
use steadfast::proto::session::State;

#[test]
fn a_get_is_answered() {
    Transcript::new("GET", Start::Server, "GET /a?b=c HTTP/1.1\r\nHost: h\r\n\r\n")
        .sees([Seen::request("GET", "/a?b=c", "h")])
        .sends(OK)
        .leaves(State::Head);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let input = "GET /1 HTTP/1.1\r\nHost: h\r\n\r\n\
        HEAD /2 HTTP/1.1\r\nhOST:h\r\nX: \r\n\r\n\
        GET /3 HTTP/1.1\r\nHost:  h \r\n\r\n";
    Transcript::new("pipeline", Start::Server, input)
        .sees([Seen::request("GET", "/1", "h"), Seen::request("HEAD", "/2", "h"), Seen::request("GET", "/3", "h")])
        .sends(OK)
        .sends(OK_TO_HEAD)
        .sends(OK)
        .leaves(State::Head);
}

#[test]
fn unfinished_request_after_a_complete_one_waits() {
    Transcript::new("one and a half", Start::Server, "GET /1 HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHo")
        .sees([Seen::request("GET", "/1", "h")])
        .sends(OK)
        .leaves(State::Head);
}

#[test]
fn empty_lines_in_front_of_a_request_are_skipped() {
    Transcript::new(
        "empty lines",
        Start::Server,
        "\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
    )
    .sees([Seen::request("GET", "/", "h"), Seen::request("GET", "/", "h")])
    .sends(OK)
    .sends(OK)
    .leaves(State::Head);
}

#[test]
fn what_follows_a_last_request_is_never_read() {
    for close in ["Connection: close", "connection: keep-alive, CLOSE", "Connection: x\r\nConnection: close"] {
        let input = format!("GET /1 HTTP/1.1\r\nHost: h\r\n{close}\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\n");
        Transcript::new(close, Start::Server, input)
            .sees([Seen::request("GET", "/1", "h")])
            .sends(OK_AND_CLOSE)
            .leaves(State::Closed);
    }
    Transcript::new(
        "a body",
        Start::Server,
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 18\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    )
    .sees([Seen::request_with_body("POST", "/", "h", b"GET / HTTP/1.1\r\n\r\n")])
    .sends(OK)
    .leaves(State::Head);
}

#[test]
fn http_1_0_closes_unless_it_asks_not_to() {
    Transcript::new("HTTP/1.0", Start::Server, "GET / HTTP/1.0\r\n\r\n")
        .sees([Seen::old_request("/")])
        .sends(OK_AND_CLOSE)
        .leaves(State::Closed);
    Transcript::new(
        "HTTP/1.0 keep-alive",
        Start::Server,
        "GET / HTTP/1.0\r\nHost: h\r\nConnection: Keep-Alive\r\n\r\n",
    )
    .sees([Seen::request("GET", "/", "h")])
    .sends(OK.replace("\r\n\r\n", "\r\nConnection: keep-alive\r\n\r\n"))
    .leaves(State::Head);
}

#[test]
fn an_upgrade_may_follow_pages() {
    let mut input = format!("GET / HTTP/1.1\r\nHost: h\r\n\r\n{UPGRADE}").into_bytes();
    input.extend(wire::to(Role::Server, wire::TEXT, "hello"));
    Transcript::new("page, then upgrade", Start::Server, input)
        .sees([Seen::request("GET", "/", "h"), Seen::request("GET", "/echo", "example.com"), Seen::text("hello")])
        .sends(OK)
        .sends(UPGRADED)
        .leaves(State::Open);
}

#[test]
fn end_of_input_is_proper_between_requests_only() {
    for (input, proper) in [("", true), ("G", false), ("GET / HTTP/1.1\r\nHost: h\r\n", false)] {
        Transcript::new(format!("{input:?} and the end"), Start::Server, input)
            .then_ends()
            .sees([Seen::End(proper)])
            .leaves(State::Closed);
    }
    Transcript::new("a request and the end", Start::Server, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        .then_ends()
        .sees([Seen::request("GET", "/", "h"), Seen::End(true)])
        .sends(OK)
        .leaves(State::Closed);
}

#[test]
fn raw_bytes_are_handed_on() {
    Transcript::new("raw", Start::Raw, "GET / HTTP/1.1\r\n\r\n")
        .then_ends()
        .sees([Seen::Data(b"GET / HTTP/1.1\r\n\r\n".to_vec()), Seen::End(true)])
        .leaves(State::Closed);
}

#[test]
fn fields_are_found_by_name_in_any_case_and_in_order() {
    let head = b"GET / HTTP/1.1\r\nX-One: 1\r\nx-one:\t2 \r\nX-One-More: 3\r\nX-ONE: a:b\r\n\r\n";
    let (request, bytes) = http::parse_request(head, HeadLimits::default()).unwrap().unwrap();
    assert_eq!(bytes, head.len());
    let values: Vec<&[u8]> = request.fields.values("x-oNE").collect();
    assert_eq!(values, [b"1".as_slice(), b"2", b"a:b"]);
    assert_eq!(request.fields.values("absent").count(), 0);
}

#[test]
fn lists_are_split_at_commas_and_compared_without_case() {
    let found: Vec<&[u8]> = http::tokens(b" a, ,b\t,,c d ").collect();
    assert_eq!(found, [b"a".as_slice(), b"b", b"c d"]);
    assert!(http::has_token(b"keep-alive, UPGRADE", "upgrade"));
    assert!(!http::has_token(b"upgrades, up grade", "upgrade"));
}
