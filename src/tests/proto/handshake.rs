//! The opening handshake, both roles.

use super::feed::{Seen, Start, Transcript, output};
use super::wire::{self, UPGRADE, UPGRADED};
use steadfast::proto::frame::Role;
use steadfast::proto::http::{self, HeadError, HeadLimits};
use steadfast::proto::session::{Session, State};
use steadfast::proto::upgrade::{self, ClientHandshake, Origins, Policy, Rejected, Scheme};

fn upgrade_request() -> Seen {
    Seen::request("GET", "/echo", "example.com")
}

#[test]
fn frames_directly_after_the_request_are_read() {
    let mut input = UPGRADE.as_bytes().to_vec();
    input.extend(wire::to(Role::Server, wire::TEXT, "first"));
    input.extend(wire::to(Role::Server, wire::PING, "are you there"));
    input.extend(wire::to(Role::Server, wire::BINARY, [0, 0xff]));
    Transcript::new("upgrade, then frames", Start::Server, input)
        .sees([upgrade_request(), Seen::text("first"), Seen::Ping(b"are you there".to_vec())])
        .sees([Seen::Binary(vec![0, 0xff])])
        .sends(UPGRADED)
        .sends(wire::from(Role::Server, wire::PONG, "are you there"))
        .leaves(State::Open);
}

#[test]
fn names_and_tokens_are_compared_without_case() {
    for change in [
        ("Connection: Upgrade", "connection: keep-alive, uPGRADE"),
        ("Upgrade: websocket", "UPGRADE: h2c, WebSocket"),
        ("Upgrade: websocket", "Upgrade: h2c\r\nUpgrade: websocket"),
        ("Sec-WebSocket-Version", "sec-websocket-version"),
        ("Origin: http://example.com", "Origin: https://EXAMPLE.com"),
        ("Origin: http://example.com\r\n", ""),
        ("Connection: Upgrade", "Connection: Upgrade\r\nContent-Length: 0"),
        ("Host", "Sec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Protocol: chat\r\nHost"),
    ] {
        Transcript::new(change.1, Start::Server, UPGRADE.replace(change.0, change.1))
            .sees([upgrade_request()])
            .sends(UPGRADED)
            .leaves(State::Open);
    }
}

#[test]
fn a_refused_upgrade_closes_and_reads_no_further() {
    let not_upgrade = (426, "Upgrade Required", "Upgrade: websocket\r\n");
    let version = (426, "Upgrade Required", "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n");
    let bad = (400, "Bad Request", "");
    let key = "dGhlIHNhbXBsZSBub25jZQ==";
    for ((from, to), (status, phrase, fields)) in [
        (("Upgrade: websocket\r\n", ""), not_upgrade),
        (("Upgrade: websocket", "Upgrade: websockets"), not_upgrade),
        (("Connection: Upgrade\r\n", ""), not_upgrade),
        (("Connection: Upgrade", "Connection: keep-alive"), not_upgrade),
        (("Version: 13", "Version: 8"), version),
        (("Version: 13", "Version: 013"), version),
        (("Sec-WebSocket-Version: 13\r\n", ""), version),
        ((key, ""), bad),
        ((key, "dGhlIHNhbXBsZSBub25jZQ"), bad),
        ((key, "dGhlIHNhbXBsZSBub25jZS4="), bad),
        ((key, "dGhlIHNhbXBsZSBub25j!!=="), bad),
        ((key, "dGhlIHNhbXBsZSBub25jZS4uLi4="), bad),
        (("Sec-WebSocket-Key", "X-Key"), bad),
        (("HTTP/1.1", "HTTP/1.0"), not_upgrade),
        (("Origin: http://example.com", "Origin: http://example.org"), (403, "Forbidden", "")),
        (("Origin: http://example.com", "Origin: http://example.com:81"), (403, "Forbidden", "")),
        (("Origin: http://example.com", "Origin: null"), (403, "Forbidden", "")),
    ] {
        let input = UPGRADE.replace(from, to) + "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
        Transcript::new(format!("{from:?} is {to:?}"), Start::Server, input)
            .sees([upgrade_request()])
            .sends(wire::refusal(status, phrase, fields))
            .leaves(State::Closed);
    }
    for (from, to) in [
        ("Host: example.com\r\n", "Host: example.com\r\nhost: example.com\r\n"),
        ("Version: 13", "Version: 13\r\nSec-WebSocket-Version: 13"),
    ] {
        let input = UPGRADE.replace(from, to) + "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
        Transcript::new(format!("{from:?} is {to:?}"), Start::Server, input)
            .sees([Seen::BadHead(HeadError::Malformed)])
            .refuses(400, "Bad Request", true)
            .leaves(State::Closed);
    }
    let with_body = UPGRADE.replace("Connection: Upgrade", "Connection: Upgrade\r\nContent-Length: 5") + "hello";
    Transcript::new("an upgrade with a body", Start::Server, with_body)
        .sees([Seen::request_with_body("GET", "/echo", "example.com", b"hello")])
        .sends(wire::refusal(400, "Bad Request", ""))
        .leaves(State::Closed);
}

#[test]
fn another_method_and_a_missing_host_are_refused() {
    Transcript::new("POST", Start::Server, UPGRADE.replace("GET", "POST"))
        .sees([Seen::request("POST", "/echo", "example.com")])
        .sends(wire::refusal(405, "Method Not Allowed", "Allow: GET\r\n"))
        .leaves(State::Closed);
    Transcript::new("no Host", Start::Server, UPGRADE.replace("Host: example.com\r\n", ""))
        .sees([Seen::BadHead(HeadError::Malformed)])
        .refuses(400, "Bad Request", true)
        .leaves(State::Closed);
}

#[test]
fn origins_pass_by_rule() {
    let allow = |origins: &Origins, origin: &str| {
        let head = UPGRADE.replace("http://example.com", origin);
        let (request, _) = http::parse_request(head.as_bytes(), HeadLimits::default()).unwrap().unwrap();
        origins.allow(&request, None)
    };
    let listed = Origins::Listed(vec!["https://a.example".into(), "http://b.example:8080".into()]);
    assert!(allow(&listed, "HTTPS://A.example") && allow(&listed, "http://b.example:8080"));
    assert!(!allow(&listed, "http://a.example") && !allow(&listed, "http://example.com"));
    assert!(allow(&Origins::Any, "null") && !allow(&Origins::Same, "example.com"));
    assert!(allow(&Origins::Same, "https://example.com") && !allow(&Origins::Same, "https://example.com.evil"));
}

/// RFC 6454 section 4: a scheme's default port and no port are the same.
#[test]
fn origin_of_the_host_asked_for_is_the_same_with_and_without_a_default_port() {
    let allow = |host: &str, origin: &str, scheme: Option<Scheme>| {
        let head = UPGRADE.replace("Host: example.com", &format!("Host: {host}")).replace("http://example.com", origin);
        let (request, _) = http::parse_request(head.as_bytes(), HeadLimits::default()).unwrap().unwrap();
        Origins::Same.allow(&request, scheme)
    };
    for (host, origin) in [
        ("ex.org", "https://ex.org"),
        ("ex.org", "http://ex.org"),
        ("ex.org", "https://ex.org:443"),
        ("ex.org:443", "https://ex.org"),
        ("ex.org:80", "http://ex.org"),
        ("ex.org:", "http://ex.org:80"),
        ("EX.org:8080", "http://ex.ORG:8080"),
        ("[::1]:443", "https://[::1]"),
        ("127.0.0.1:8080", "http://127.0.0.1:8080"),
    ] {
        assert!(allow(host, origin, None), "{host} {origin}");
    }
    for (host, origin) in [
        ("ex.org:443", "http://ex.org"),
        ("ex.org:80", "https://ex.org"),
        ("ex.org:8080", "http://ex.org"),
        ("ex.org", "http://ex.org:8080"),
        ("ex.org", "https://ex.org:80"),
        // What no browser sends, or no page of the web has.
        ("ex.org", "://ex.org"),
        ("ex.org", "ex.org"),
        ("ex.org", "//ex.org"),
        ("ex.org", "1http://ex.org"),
        ("ex.org", "ht tp://ex.org"),
        ("ex.org", "http://ex.org/"),
        ("ex.org", "http://ex.org:"),
        ("ex.org", "http://user@ex.org"),
        ("ex.org", "http://ex.org?x"),
        ("ex.org", "http://ex.org http://ex.org"),
        ("ex.org", "http://"),
        ("ex.org", "ws://ex.org"),
        ("ex.org", "file://ex.org"),
        ("ex.org", "chrome-extension://ex.org"),
        ("ex.org", "null"),
        ("ex.org", ""),
    ] {
        assert!(!allow(host, origin, None), "{host} {origin}");
    }
    assert!(allow("ex.org", "https://ex.org", Some(Scheme::Https)));
    assert!(!allow("ex.org", "http://ex.org", Some(Scheme::Https)));
    assert!(!allow("ex.org:8080", "https://ex.org:8080", Some(Scheme::Http)));
}

#[test]
fn listed_origins_are_matched_by_scheme_host_and_port() {
    let allow = |listed: &str, origin: &str| {
        let head = UPGRADE.replace("http://example.com", origin);
        let (request, _) = http::parse_request(head.as_bytes(), HeadLimits::default()).unwrap().unwrap();
        let origins = Origins::Listed(vec![listed.to_owned()]);
        assert_eq!(origins.first_wrong(), None, "{listed}");
        origins.allow(&request, None)
    };
    for (listed, origin) in [
        ("https://ex.org", "https://ex.org:443"),
        ("https://ex.org:443", "https://ex.org"),
        ("HTTP://ex.org:80", "http://EX.org"),
        ("null", "null"),
        ("chrome-extension://abcdef", "chrome-extension://abcdef"),
        ("https://*.ex.org", "https://a.ex.org"),
        ("https://*.ex.org", "https://b.a.EX.org:443"),
        ("http://*.ex.org:8080", "http://a.ex.org:8080"),
    ] {
        assert!(allow(listed, origin), "{listed} {origin}");
    }
    for (listed, origin) in [
        ("https://ex.org", "http://ex.org"),
        ("https://ex.org", "https://ex.org:444"),
        ("https://ex.org", "null"),
        ("https://*.ex.org", "https://ex.org"),
        ("https://*.ex.org", "https://.ex.org"),
        ("https://*.ex.org", "https://aex.org"),
        ("https://*.ex.org", "https://a.ex.org.evil"),
        ("https://*.ex.org", "https://a.ex.org:8080"),
        ("https://*.ex.org", "http://a.ex.org"),
        ("https://*.ex.org", "https://a.ex.org/"),
        ("null", "://null"),
    ] {
        assert!(!allow(listed, origin), "{listed} {origin}");
    }
    for wrong in [
        "*",
        "https://*",
        "https://*.",
        "https://*.*.org",
        "https://a.*.org",
        "https://*ex.org",
        "https://*.1.2.3",
        "https://*.[::1]",
        "https://ex.org:65536",
        "https://ex.org/",
        "://ex.org",
        "NULL",
        "",
    ] {
        assert_eq!(Origins::Listed(vec!["null".into(), wrong.into()]).first_wrong(), Some(wrong));
    }
}

#[test]
fn requests_for_other_hosts_are_refused_where_hosts_are_listed() {
    let serves = |hosts: &[&str], host: &str| {
        let head = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let (request, _) = http::parse_request(head.as_bytes(), HeadLimits::default()).unwrap().unwrap();
        let policy = Policy { hosts: hosts.iter().map(|&host| host.to_owned()).collect(), ..Policy::default() };
        assert_eq!(policy.first_wrong_host(), None, "{hosts:?}");
        policy.serves(&request)
    };
    let hosts = &["ex.org", "api.ex.org:8443", "www.ex.org:443", "[::1]:8080", "127.0.0.1"];
    for host in ["ex.org", "EX.ORG:80", "ex.org:9", "api.ex.org:8443", "www.ex.org", "[::1]:8080", "127.0.0.1:8080"] {
        assert!(serves(hosts, host) && serves(&[], host), "{host}");
    }
    for host in
        ["evil.org", "a.ex.org", "ex.org.", "api.ex.org", "api.ex.org:443", "www.ex.org:80", "[::1]", "127.0.0.2"]
    {
        assert!(!serves(hosts, host) && serves(&[], host), "{host}");
    }
    for wrong in ["", "http://ex.org", "ex.org:", "ex.org:65536", "*.ex.org", "a b", "ex.org/", "::1"] {
        let policy = Policy { hosts: vec!["ex.org".into(), wrong.into()], ..Policy::default() };
        assert_eq!(policy.first_wrong_host(), Some(wrong));
    }
}

#[test]
fn the_client_writes_a_request_that_the_server_takes() {
    let mut out = output();
    let session = Session::websocket_client(
        &ClientHandshake { host: "[::1]:8080", path: "/chat?x=1", ..ClientHandshake::default() },
        &mut out,
    );
    assert_eq!(session.state(), State::Handshake);
    let expected = format!(
        "GET /chat?x=1 HTTP/1.1\r\nHost: [::1]:8080\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {}\r\n\r\n",
        wire::CLIENT_KEY
    );
    assert_eq!(String::from_utf8(out.bytes.clone()).unwrap(), expected);
    let (request, _) = http::parse_request(&out.bytes, HeadLimits::default()).unwrap().unwrap();
    let accept = upgrade::check_request(&request, &Policy::default()).unwrap().key;
    assert_eq!(&accept, wire::CLIENT_ACCEPT.as_bytes());
}

#[test]
fn frames_directly_after_the_response_are_read() {
    let mut input = wire::accepted().into_bytes();
    input.extend(wire::to(Role::Client, wire::TEXT, "welcome"));
    input.extend(wire::to(Role::Client, wire::PING, ""));
    input.extend(wire::to(Role::Client, wire::CLOSE, wire::close_body(1001, "so soon")));
    Transcript::new("101, then frames", Start::Handshake, input)
        .sees([Seen::Opened, Seen::text("welcome"), Seen::Ping(vec![]), Seen::Closed(1001, b"so soon".to_vec())])
        .sends(wire::from(Role::Client, wire::PONG, ""))
        .sends(wire::from(Role::Client, wire::CLOSE, wire::close_body(1001, "")))
        .leaves(State::Closed);
}

#[test]
fn an_answer_opens_in_any_case_of_letters_and_with_more_fields() {
    for (from, to) in [
        ("Upgrade: websocket", "UPGRADE: WebSocket"),
        ("Connection: Upgrade", "connection: keep-alive, upgrade"),
        ("Switching Protocols", ""),
        ("Connection", "Server: x\r\nDate: y\r\nConnection"),
        ("HTTP/1.1 101", "\r\nHTTP/1.1 101"),
    ] {
        Transcript::new(to, Start::Handshake, wire::accepted().replace(from, to))
            .sees([Seen::Opened])
            .leaves(State::Open);
    }
}

#[test]
fn an_answer_that_breaks_a_rule_is_rejected() {
    let accept = format!("Sec-WebSocket-Accept: {}", wire::CLIENT_ACCEPT);
    let wrong = accept.replace("7Ub", "7ub");
    let extension = format!("{accept}\r\nSec-WebSocket-Extensions: permessage-deflate");
    let protocol = format!("{accept}\r\nSec-WebSocket-Protocol: chat");
    for (from, to, rejected) in [
        ("101 Switching Protocols", "503 Service Unavailable", Rejected::Status(503)),
        ("101 Switching Protocols", "200 OK", Rejected::Status(200)),
        ("101 Switching Protocols", "301 Moved\r\nLocation: /", Rejected::Status(301)),
        ("Upgrade: websocket\r\n", "", Rejected::NotUpgrade),
        ("Upgrade: websocket", "Upgrade: h2c", Rejected::NotUpgrade),
        ("Connection: Upgrade\r\n", "", Rejected::NotUpgrade),
        ("Connection: Upgrade", "Connection: close", Rejected::NotUpgrade),
        (&accept, &wrong, Rejected::Accept),
        (&accept, "X: y", Rejected::Accept),
        (&accept, "Sec-WebSocket-Accept:", Rejected::Accept),
        (&accept, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", Rejected::Accept),
        (&accept, &extension, Rejected::NotOffered),
        (&accept, &protocol, Rejected::NotOffered),
    ] {
        let mut input = wire::accepted().replace(from, to).into_bytes();
        input.extend(wire::to(Role::Client, wire::TEXT, "never read"));
        Transcript::new(format!("{from:?} is {to:?}"), Start::Handshake, input)
            .sees([Seen::Rejected(rejected)])
            .leaves(State::Closed);
    }
}

/// RFC 6455 section 11.3.3: the field "MUST NOT appear more than once in an HTTP response".
#[test]
fn an_answer_with_two_accepts_is_rejected() {
    let accept = format!("Sec-WebSocket-Accept: {}", wire::CLIENT_ACCEPT);
    let twice = format!("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n{accept}");
    Transcript::new("two accepts", Start::Handshake, wire::accepted().replace(&accept, &twice))
        .sees([Seen::Rejected(Rejected::Accept)])
        .leaves(State::Closed);
}

#[test]
fn an_answer_that_is_no_head_is_refused() {
    for (name, input, error) in [
        ("another protocol", "SSH-2.0-OpenSSH_9.9\r\n", HeadError::Malformed),
        ("nearly HTTP", "HTTQ/1.1 101 Switching\r\n\r\n", HeadError::Malformed),
        ("a request", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", HeadError::Malformed),
        ("HTTP/2", "HTTP/2.0 200 OK\r\n\r\n", HeadError::Version),
        ("a status of letters", "HTTP/1.1 abc OK\r\n\r\n", HeadError::Malformed),
        ("bare line feeds", "HTTP/1.1 101 Ok\nUpgrade: websocket\n\n", HeadError::Malformed),
        ("a bad field", "HTTP/1.1 101 Ok\r\nUpgrade websocket\r\n\r\n", HeadError::Malformed),
    ] {
        Transcript::new(name, Start::Handshake, input).sees([Seen::BadHead(error)]).leaves(State::Closed);
    }
    let fields = "X: y\r\n".repeat(101);
    Transcript::new("too many fields", Start::Handshake, format!("HTTP/1.1 101 Ok\r\n{fields}\r\n"))
        .sees([Seen::BadHead(HeadError::TooLarge)])
        .leaves(State::Closed);
    let endless = format!("HTTP/1.1 101 Ok\r\nX: {}", "x".repeat(20_000));
    Transcript::new("without end", Start::Handshake, endless)
        .sees([Seen::BadHead(HeadError::TooLarge)])
        .leaves(State::Closed);
}

#[test]
fn the_end_before_an_answer_is_not_proper() {
    for input in ["", "HTTP/1.1 10"] {
        Transcript::new(format!("{input:?} and the end"), Start::Handshake, input)
            .then_ends()
            .sees([Seen::End(false)])
            .leaves(State::Closed);
    }
}
