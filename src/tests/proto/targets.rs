//! What a request asks for and of whom: targets, Host, methods and versions, RFC 9112 sections 3 and 9.3.

use super::feed::{Seen, Start, Transcript};
use super::heads::refused;
use super::wire::{OK, OK_AND_CLOSE, OK_TO_HEAD};
use steadfast::proto::http::{self, HeadError, HeadLimits};
use steadfast::proto::session::{Limits, State};

fn malformed(name: &str, input: impl Into<Vec<u8>>) {
    refused(name, Limits::default(), input, HeadError::Malformed);
}

fn taken(method: &str, target: &str, host: &str) {
    Transcript::new(
        format!("{method} {target} at {host:?}"),
        Start::Server,
        format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"),
    )
    .sees([Seen::request(method, target, host)])
    .sends(OK)
    .leaves(State::Head);
}

#[test]
fn a_host_that_is_none_gets_400() {
    for host in [
        "",
        " ",
        ":80",
        "a b",
        "a,b c",
        "user@h",
        "user:secret@h:80",
        "@h",
        "h/",
        "h/path",
        "http://h",
        "h:x",
        "h:80:80",
        "h:-1",
        "h:123456",
        "h?",
        "h#",
        "h\\",
        "<h>",
        "\"h\"",
        "h\u{e9}",
        "::1",
        "[]",
        "[::1",
        "::1]",
        "[::1]x",
        "[::1]:x",
        "[::1]80",
        "[::1]:80]",
        "[[::1]]",
        "x[::1]",
        "[::1 ]",
    ] {
        malformed(host, format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    }
    for fields in ["", "X: y\r\n", "Host: h\r\nHost: h\r\n", "Host: h\r\nX: y\r\nHOST: i\r\n", "Host: h\r\nHost:\r\n"] {
        malformed(fields, format!("GET / HTTP/1.1\r\n{fields}\r\n"));
    }
    // HTTP/1.0 need not have one, but not a wrong one.
    for fields in ["Host: h\r\nHost: h\r\n", "Host:\r\n", "Host: a b\r\n"] {
        malformed(fields, format!("GET / HTTP/1.0\r\n{fields}\r\n"));
    }
}

#[test]
fn hosts_of_every_kind_are_taken() {
    for host in [
        "h",
        "H.example",
        "h:80",
        "h:",
        "h:65535",
        "127.0.0.1:8080",
        "[::1]",
        "[::1]:8080",
        "[v1.a:b]",
        "xn--bcher-kva",
        "a%20b",
        "a_b~c",
        "h.",
    ] {
        taken("GET", "/", host);
    }
}

#[test]
fn targets_of_every_form_are_taken() {
    for target in ["/", "/a/b?c=d&e", "//", "/?", "/a?b://c", "/%00", "/a:b@c", "/*", "/a[b]|{}^`\"<>"] {
        taken("GET", target, "h");
    }
    for target in ["http://i", "http://i/", "HTTPS://i:80/p?q", "ws://[::1]:80/p", "wss://i?q", "http://i/a?b://c"] {
        taken("GET", target, "h");
    }
    taken("OPTIONS", "*", "h");
    taken("OPTIONS", "/a", "h");
    taken("CONNECT", "i:443", "i:443");
    taken("BREW", "/", "h");
}

#[test]
fn a_target_that_is_none_gets_400() {
    for target in [
        "*",
        "a",
        "a/b",
        "?",
        "/#a",
        "/a#",
        "#",
        "/\u{e9}",
        "/a\\\u{7f}",
        "h:80",
        "http:/h/",
        "http:h",
        "http://",
        "http:///p",
        "http://?q",
        "http://user@h/",
        "http://user:secret@h:80/",
        "http://h:x/",
        "http://h:123456/",
        "http://h#a",
        "http://h\u{e9}/",
        "http://[::1/",
        "ftp://h/",
        "file:///etc/passwd",
        "://h/",
        "x/http://h/",
        "javascript://h/",
    ] {
        malformed(target, format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n"));
        // HTTP/1.0 has the same ones.
        malformed(target, format!("GET {target} HTTP/1.0\r\n\r\n"));
    }
    for (method, target) in [
        ("HEAD", "*"),
        ("options", "*"),
        ("OPTIONS", "**"),
        ("CONNECT", "http://h/"),
        ("CONNECT", "u@h:80"),
        ("CONNECT", "*"),
    ] {
        malformed(target, format!("{method} {target} HTTP/1.1\r\nHost: h\r\n\r\n"));
    }
    malformed("bytes that are no text", b"GET /\xff\xfe HTTP/1.1\r\nHost: h\r\n\r\n");
    malformed("an absolute target without Host", "GET http://h/ HTTP/1.1\r\n\r\n");
}

#[test]
fn a_target_is_taken_apart() {
    for (target, path, authority) in [
        ("/", "/", "host"),
        ("/a/b?c=d", "/a/b", "host"),
        ("/?c=/d", "/", "host"),
        ("/a?b://c", "/a", "host"),
        ("/a://b", "/a://b", "host"),
        ("//a/b", "//a/b", "host"),
        ("*", "*", "host"),
        ("http://other", "/", "other"),
        ("http://other/", "/", "other"),
        ("http://other:81?q", "/", "other:81"),
        ("http://other?q/r", "/", "other"),
        ("ws://[::1]:80/a/b?c/d", "/a/b", "[::1]:80"),
        ("HTTP://Other//a", "//a", "Other"),
        ("http://other/a?b://c/d", "/a", "other"),
    ] {
        let head = format!("GET {target} HTTP/1.1\r\nHost: host\r\n\r\n");
        let (request, _) = http::parse_request(head.as_bytes(), HeadLimits::default()).unwrap().unwrap();
        assert_eq!((request.path(), request.authority()), (path, Some(authority.as_bytes())), "{target}");
    }
    let (old, _) = http::parse_request(b"GET / HTTP/1.0\r\n\r\n", HeadLimits::default()).unwrap().unwrap();
    assert_eq!((old.path(), old.authority()), ("/", None));
}

/// RFC 9112 section 3.2.2: the authority of the target replaces Host wherever that is compared.
#[test]
fn an_absolute_target_is_the_host_that_an_origin_is_compared_with() {
    for (target, origin, status) in [
        ("http://i/echo", "http://i", 101),
        ("http://i/echo", "http://example.com", 403),
        ("/echo", "http://example.com", 101),
        ("ws://I:81/echo?x", "https://i:81", 101),
    ] {
        let head = super::wire::UPGRADE.replace("GET /echo", &format!("GET {target}"));
        let head = head.replace("Origin: http://example.com", &format!("Origin: {origin}"));
        let mut peer = super::feed::Peer::new(Start::Server, Limits::default(), head.len());
        peer.feed(head.as_bytes());
        assert!(peer.out.bytes.starts_with(format!("HTTP/1.1 {status} ").as_bytes()), "{target} from {origin}");
    }
}

#[test]
fn old_clients_are_answered_as_they_ask() {
    let keep_alive = OK.replace("\r\n\r\n", "\r\nConnection: keep-alive\r\n\r\n");
    let asks = "GET /1 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    Transcript::new(
        "it asks each time",
        Start::Server,
        format!("{asks}{asks}GET /1 HTTP/1.0\r\n\r\nGET / HTTP/1.0\r\n\r\n"),
    )
    .sees([Seen::old_request("/1"), Seen::old_request("/1"), Seen::old_request("/1")])
    .sends(keep_alive.repeat(2))
    .sends(OK_AND_CLOSE)
    .leaves(State::Closed);
    let asks = "GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n";
    Transcript::new("close counts", Start::Server, asks)
        .sees([Seen::old_request("/")])
        .sends(OK_AND_CLOSE)
        .leaves(State::Closed);
    let with_body =
        "POST / HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nabGET / HTTP/1.0\r\n\r\n";
    Transcript::new("with a body", Start::Server, with_body)
        .sees([Seen::request_with_body("POST", "/", "h", b"ab"), Seen::old_request("/")])
        .sends(keep_alive)
        .sends(OK_AND_CLOSE)
        .leaves(State::Closed);
    let head = "HEAD / HTTP/1.0\r\nHost: h\r\n\r\n";
    Transcript::new("HEAD", Start::Server, head)
        .sees([Seen::request("HEAD", "/", "h")])
        .sends(OK_TO_HEAD.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"))
        .leaves(State::Closed);
}

/// Each is a way to hide a field from one reader and show it to another.
#[test]
fn fields_that_readers_differ_on_get_400() {
    for (name, fields) in [
        ("obs-fold", "X: a\r\n b\r\n"),
        ("obs-fold with a tab", "X: a\r\n\tb\r\n"),
        ("obs-fold before the first field", " X: a\r\n"),
        ("a space before the colon", "X : a\r\n"),
        ("a tab before the colon", "X\t: a\r\n"),
        ("a space in a name", "X Y: a\r\n"),
        ("a leading tab", "\tX: a\r\n"),
        ("a bare CR in a value", "X: a\rY: b\r\n"),
        ("a bare CR at the end of a value", "X: a\r\r\n"),
        ("a bare CR in a name", "X\r: a\r\n"),
        ("a bare LF", "X: a\nY: b\r\n"),
        ("NUL in a value", "X: a\0b\r\n"),
        ("NUL in a name", "X\0: a\r\n"),
        ("a control character", "X: \x1b[0m\r\n"),
        ("DEL", "X: \x7f\r\n"),
        ("no colon", "X\r\n"),
        ("no name", ": a\r\n"),
        ("a name in brackets", "[X]: a\r\n"),
        ("a name that is no token", "X\u{e9}: a\r\n"),
    ] {
        malformed(name, format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n"));
        malformed(name, format!("GET / HTTP/1.1\r\n{fields}Host: h\r\n\r\n"));
    }
    // These are within the grammar: any byte of an unknown encoding, white space around a value, nothing in it.
    for fields in ["X: \u{e9}\r\n", "X:a\r\n", "X: \t a\tb \t\r\n", "X:\r\n", "X: :\r\n", "!#$%&'*+-.^_`|~1aZ: a\r\n"] {
        Transcript::new(fields, Start::Server, format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n"))
            .sees([Seen::request("GET", "/", "h")])
            .sends(OK)
            .leaves(State::Head);
    }
}
