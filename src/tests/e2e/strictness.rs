//! Requests that other servers take or refuse in a useful way, as raw bytes over a socket: for each the status, and what
//! its answer says.

use crate::flags::assert_refused;
use crate::host::{Local, Serve, quick};
use crate::wire::{UPGRADE, Wire};
use std::net::SocketAddr;
use steadfast::proto::upgrade::{Origins, Policy};
use steadfast::server::{Config, Deadlines};

/// A request, the status of its answer, and what the answer's head or body has to contain.
struct Case {
    request: String,
    status: u16,
    contains: &'static [&'static str],
}

fn case(request: impl Into<String>, status: u16, contains: &'static [&'static str]) -> Case {
    Case { request: request.into(), status, contains }
}

fn assert_answers(local: &Local, cases: Vec<Case>) {
    assert_answers_at(local.address, cases);
}

fn assert_answers_at(address: SocketAddr, cases: Vec<Case>) {
    for Case { request, status, contains } in cases {
        let mut wire = Wire::connect(address);
        wire.send(request.as_bytes());
        let answer = if request.starts_with("HEAD ") { wire.answer_without_body() } else { wire.answer() };
        let text = format!("{}{}", answer.head, String::from_utf8_lossy(&answer.body));
        assert_eq!(answer.status, status, "{request:?}: {text}");
        for part in contains {
            assert!(text.contains(part), "{request:?}: no {part:?} in {text}");
        }
    }
}

/// RFC 4648 section 3.5: a decoder need not look at the bits of the last character that stand for nothing.
#[test]
fn key_of_16_bytes_with_any_padding_bits_is_accepted() {
    let local = Local::start(quick());
    let upgrade = |key: &str| UPGRADE.replace("dGhlIHNhbXBsZSBub25jZQ==", key);
    // The answers are those of another implementation.
    assert_answers(
        &local,
        vec![
            case(upgrade("dGhlIHNhbXBsZSBub25jZQ=="), 101, &["Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"]),
            case(upgrade("dGhlIHNhbXBsZSBub25jZR=="), 101, &["Sec-WebSocket-Accept: Zgw8jYXtqX5qJr7MJ1Q/MqzeSRI=\r\n"]),
            case(upgrade("abcdefghijklmnopqrstuv=="), 101, &["Sec-WebSocket-Accept: bgAIe1Uyl8RkKSUGzScol17gp1Y=\r\n"]),
            case(upgrade("dGhlIHNhbXBsZSBub25jZ=="), 400, &[]),
            case(upgrade("dGhlIHNhbXBsZSBub25jZQA="), 400, &[]),
            case(upgrade("dGhlIHNhbXBsZSBub25jZQ=A"), 400, &[]),
            case(upgrade("dGhlIHNhbXBsZSBub25jZ-=="), 400, &[]),
        ],
    );
}

/// RFC 9110 section 7.8: "A server MUST ignore an Upgrade header field that is received in an HTTP/1.0 request."
#[test]
fn upgrade_of_http_1_0_gets_the_page_or_426() {
    let local = Local::start(quick());
    let upgrade = |path: &str| UPGRADE.replace("/echo", path).replace("HTTP/1.1", "HTTP/1.0");
    let with_html = upgrade("/echo").replace("Host: a", "Host: a\r\nAccept: text/html");
    assert_answers(
        &local,
        vec![
            case(upgrade("/"), 200, &["text/html", "<!doctype html>"]),
            case(with_html, 200, &["<!doctype html>"]),
            case(upgrade("/poll"), 200, &["application/json"]),
            case(upgrade("/echo"), 426, &["Upgrade: websocket\r\n"]),
        ],
    );
}

/// RFC 9110 section 2.5.
#[test]
fn later_minor_version_is_answered_as_http_1_1() {
    let local = Local::start(quick());
    let with = |version: &str| format!("GET /poll {version}\r\nHost: a\r\n\r\n");
    let upgraded = &["HTTP/1.1 101 ", "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"];
    assert_answers(
        &local,
        vec![
            case(with("HTTP/1.2"), 200, &["HTTP/1.1 200 OK\r\n"]),
            case(with("HTTP/1.9"), 200, &["HTTP/1.1 200 OK\r\n"]),
            case(UPGRADE.replace("HTTP/1.1", "HTTP/1.2"), 101, upgraded),
            case("GET /poll HTTP/1.2\r\n\r\n", 400, &[]),
            case(with("HTTP/1.10"), 400, &[]),
            case(with("HTTP/2.0"), 505, &[]),
            case(with("HTTP/0.9"), 505, &[]),
            case(with("HTTP/3.1"), 505, &[]),
        ],
    );
}

/// RFC 3986 section 6.2.2.2: characters that need no encoding mean the same with it.
#[test]
fn path_with_needless_encoding_is_the_same_path() {
    let local = Local::start(quick());
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_answers(
        &local,
        vec![
            case(get("/p%6Fll"), 200, &["application/json"]),
            case(get("/%70%6f%6C%6c?x=%70"), 200, &["application/json"]),
            case(get("/long%2Dpoll"), 200, &["application/json"]),
            case(UPGRADE.replace("/echo", "/%65cho"), 101, &[]),
            case(get("/p%256Fll"), 404, &[]),
            case(get("/%2Fpoll"), 404, &[]),
            case(get("//poll"), 404, &[]),
            case(get("/./poll"), 404, &[]),
            case(get("/%2e/poll"), 404, &[]),
            case(get("/poll%00"), 404, &[]),
            case(get("/poll%"), 404, &[]),
            case(get("/poll%2"), 404, &[]),
        ],
    );
}

/// RFC 9110 sections 12.4.2 and 12.5.1.
#[test]
fn html_is_not_sent_to_a_client_that_excludes_it() {
    let local = Local::start(quick());
    let get = |path: &str, accept: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\nAccept: {accept}\r\n\r\n");
    let mut cases = vec![
        case(get("/", "*/*"), 200, &["<!doctype html>"]),
        case(get("/", "text/html;q=0.1"), 200, &["<!doctype html>"]),
        case(get("/echo", "text/*"), 200, &["<!doctype html>"]),
        case(get("/echo", "*/*"), 426, &["Upgrade: websocket\r\n"]),
    ];
    for accept in ["text/html;q=0", "text/html; q=0.0, */*", "text/*;q=0,*/*;q=1", "*/*;q=0"] {
        for (path, status) in [("/", 426), ("/echo", 426), ("/chat/room", 426), ("/compare", 406)] {
            cases.push(case(get(path, accept), status, &["text/plain"]));
        }
    }
    assert_answers(&local, cases);
}

/// No script, style or frame that is not the page's own. Browsers run the pages under this policy in `src/tests/interop`.
#[test]
fn pages_carry_a_content_security_policy_of_their_own() {
    let local = Local::start(quick());
    let mut policies = Vec::new();
    for path in ["/", "/echo", "/push", "/chat", "/chat/room", "/compare"] {
        let mut wire = Wire::connect(local.address);
        wire.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\n\r\n").as_bytes());
        let page = wire.answer();
        assert_eq!(page.field("X-Content-Type-Options"), Some("nosniff"), "{path}");
        let policy = page.field("Content-Security-Policy").expect("a policy").to_owned();
        for part in ["default-src 'none'; script-src 'sha256-", "; style-src 'sha256-", "; frame-ancestors 'none'"] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        policies.push(policy);
    }
    // Each page has a script of its own; that of a room is that of the chat.
    assert_eq!(policies[3], policies[4]);
    policies.sort();
    policies.dedup();
    assert_eq!(policies.len(), 5);
}

/// The upgrade of a page from `origin`, at `host`.
fn upgrade_from(host: &str, origin: &str) -> String {
    UPGRADE.replace("Host: a\r\n", &format!("Host: {host}\r\nOrigin: {origin}\r\n"))
}

#[test]
fn origin_of_the_host_is_accepted() {
    let local = Local::start(quick());
    assert_answers(
        &local,
        vec![
            case(upgrade_from("ex.org:443", "https://ex.org"), 101, &[]),
            case(upgrade_from("ex.org:80", "http://ex.org"), 101, &[]),
            case(upgrade_from("ex.org", "https://ex.org"), 101, &[]),
            case(upgrade_from("ex.org:80", "https://ex.org"), 403, &[]),
            case(upgrade_from("ex.org", "://ex.org"), 403, &[]),
            case(upgrade_from("ex.org", "null"), 403, &[]),
        ],
    );
    let listed = |origin: &str| Origins::Listed(vec![origin.to_owned()]);
    let with = |origins| Config { upgrade: Policy { origins, ..Policy::default() }, ..quick() };
    let below = Local::start(with(listed("https://*.ex.org")));
    assert_answers(
        &below,
        vec![
            case(upgrade_from("a", "https://www.ex.org"), 101, &[]),
            case(upgrade_from("a", "https://a.b.ex.org"), 101, &[]),
            case(upgrade_from("a", "https://ex.org"), 403, &[]),
            case(upgrade_from("a", "https://www.ex.org.evil.com"), 403, &[]),
            case(upgrade_from("a", "http://www.ex.org"), 403, &[]),
        ],
    );
    assert_answers(&Local::start(with(Origins::Any)), vec![case(upgrade_from("a", "null"), 101, &[])]);
}

/// DNS rebinding: the page of evil.org has let its name lead to this server.
#[test]
fn request_for_another_host_is_refused_where_hosts_are_listed() {
    let hosts = vec!["ex.org".to_owned(), "[::1]:8080".to_owned()];
    let local = Local::start(Config { upgrade: Policy { hosts, ..Policy::default() }, ..quick() });
    let server = Serve::start(&["--host", "ex.org", "--host", "[::1]:8080"]);
    assert_eq!(server.said[1], "limits: host ex.org [::1]:8080 (default any)");
    let get = |host: &str| format!("GET /poll HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let post = "POST /echo HTTP/1.1\r\nHost: evil.org\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n";
    for address in [local.address, server.address()] {
        assert_answers_at(
            address,
            vec![
                case(get("ex.org"), 200, &[]),
                case(get("ex.org:9000"), 200, &[]),
                case(get("[::1]:8080"), 200, &[]),
                case("GET /poll HTTP/1.0\r\n\r\n", 200, &[]),
                case(upgrade_from("ex.org", "https://ex.org"), 101, &[]),
                case(get("evil.org"), 421, &["HTTP/1.1 421 Misdirected Request\r\n", "Connection: close\r\n"]),
                case(get("[::1]"), 421, &[]),
                case(upgrade_from("evil.org", "http://evil.org"), 421, &[]),
                case(post, 421, &[]),
                case("GET http://evil.org/poll HTTP/1.1\r\nHost: ex.org\r\n\r\n", 421, &[]),
            ],
        );
    }
    server.stop();
    for wrong in ["", "http://ex.org", "*.ex.org", "ex.org:65536"] {
        assert_refused("", &["serve", "--listen", "127.0.0.1:0", "--host", wrong], &["--host", "expected a name"]);
    }
}

/// Every refusal names the rule and the value, for people who debug by it.
#[test]
fn refusals_say_which_rule_was_broken_and_with_what() {
    let local = Local::start(quick());
    let get = |target: &str, fields: &str| format!("GET {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    let post = |fields: &str| format!("POST /echo HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    let change = |from: &str, to: &str| UPGRADE.replace(from, to);
    let key = "dGhlIHNhbXBsZSBub25jZQ==";
    let start = "Bad Request: the request line is not \"METHOD TARGET HTTP/1.1\": ";
    let field = "Bad Request: a field is not \"Name: value\": ";
    let says = |request: String, status: u16, reason: String| (request, status, reason);
    let cases = vec![
        says("hello, how are you?\r\n\r\n".into(), 400, format!("{start}\"hello,\"")),
        says("GET /\u{1}<b>\r\n\r\n".into(), 400, format!("{start}\"GET /\\x01\"")),
        says(get("/", "X<script>: y\r\n"), 400, format!("{field}\"X\\x3c\"")),
        says(get("/", "X: a\0b\r\n"), 400, format!("{field}\"X: a\\x00\"")),
        says("GET / HTTP/1.1\nHost: a\n\n".into(), 400, "a line ends with LF alone, and not with CR LF".into()),
        says("GET / HTTP/1.1\r\n\r\n".into(), 400, "Bad Request: the field Host is missing\n".into()),
        says(get("/", "Host: b\r\n"), 400, "the field Host is there more than once".into()),
        says("GET / HTTP/1.1\r\nHost: a b\r\n\r\n".into(), 400, "Host is \"a b\": expected a host".into()),
        says(get("nowhere", ""), 400, "the target \"nowhere\" is no path and no URI".into()),
        says(post("Content-Length: +1\r\n"), 400, "Content-Length is \"+1\": expected a number".into()),
        says(post("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"), 400, "are both there".into()),
        says(get("/nothing<i>", ""), 404, "Not Found: there is nothing at \"/nothing\\x3ci\\x3e\"\n".into()),
        says(
            "PUT /stats HTTP/1.1\r\nHost: a\r\n\r\n".into(),
            405,
            "the method is \"PUT\", and \"/stats\" allows GET".into(),
        ),
        says(get("/compare", "Accept: text/html;q=0\r\n"), 406, "Accept rules out text/html".into()),
        says(post(""), 411, "Length Required: Content-Length is missing\n".into()),
        says(
            post("Content-Length: 1048577\r\n"),
            413,
            "longer than 1048576 bytes: Content-Length is \"1048577\"".into(),
        ),
        says(format!("GET /{}", "x".repeat(9000)), 414, format!("8192 bytes: \"GET /{}...\"", "x".repeat(195))),
        says(get("/", "Expect: tea\r\n"), 417, "Expect is \"tea\": expected 100-continue".into()),
        says(get("/", &"X: y\r\n".repeat(101)), 431, "the head has more than 100 fields".into()),
        says(get("/", &format!("X: {}", "x".repeat(17_000))), 431, "the head is longer than 16384 bytes".into()),
        says("FETCH / HTTP/1.1\r\nHost: a\r\n\r\n".into(), 501, "the method \"FETCH\" is not known".into()),
        says(post("Transfer-Encoding: gzip, chunked\r\n"), 501, "is \"gzip, chunked\": expected chunked".into()),
        says("GET / HTTP/2.0\r\nHost: a\r\n\r\n".into(), 505, "the version is \"HTTP/2.0\": expected HTTP/1.1".into()),
        says(change(key, "c2hvcnQ="), 400, "Sec-WebSocket-Key is \"c2hvcnQ=\": expected 16 bytes in base64".into()),
        says(change("Upgrade: w", "Content-Length: 1\r\nUpgrade: w") + "x", 400, "an upgrade has no content".into()),
        says(upgrade_from("a", "http://b<"), 403, "Origin is \"http://b\\x3c\": expected an origin such as".into()),
        says(upgrade_from("a", "http://b"), 403, "Forbidden: Origin is \"http://b\", and pages of other".into()),
        says(upgrade_from("a", "http://b"), 403, "the host is \"a\"\n".into()),
        says(get("/echo", ""), 426, "Upgrade is missing and Connection is missing".into()),
        says(
            change("Upgrade: websocket", "Upgrade: h2c"),
            426,
            "Upgrade is \"h2c\" and Connection is \"Upgrade\"".into(),
        ),
        says(change("Version: 13", "Version: 8"), 426, "Sec-WebSocket-Version is \"8\": expected 13".into()),
        says(change("HTTP/1.1", "HTTP/1.0"), 426, "needs HTTP/1.1, and this request is HTTP/1.0".into()),
        says(change("HTTP/1.1", "HTTP/1.0"), 426, "nginx: proxy_http_version 1.1".into()),
    ];
    for (request, status, reason) in cases {
        let mut wire = Wire::connect(local.address);
        wire.send_if_taken(request.as_bytes());
        let answer = wire.answer();
        let body = String::from_utf8(answer.body.clone()).expect("text");
        assert!(answer.status == status && body.contains(&reason), "{request:?}: no {reason:?} in {answer:?} {body}");
        assert!(body.len() < 1_200 && body.ends_with('\n') && !body.contains(['<', '>', '&', '\0']), "{body}");
        let types = (answer.field("Content-Type"), answer.field("X-Content-Type-Options"));
        assert_eq!(types, (Some("text/plain; charset=utf-8"), Some("nosniff")), "{body}");
    }
}

#[test]
fn refusals_of_head_have_no_body() {
    let local =
        Local::start(Config { deadlines: Deadlines { head_s: 1, close_s: 1, ..Deadlines::default() }, ..quick() });
    for (request, status) in [
        ("HEAD /nothing HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 404),
        ("HEAD /echo HTTP/1.1\r\nHost: a\r\n\r\n", 426),
        ("HEAD / HTTP/1.1\r\n\r\n", 400),
        ("HEAD / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", 400),
        ("HEAD / HTTP/2.0\r\n\r\n", 505),
        ("HEAD / HTT", 408),
    ] {
        let mut wire = Wire::connect(local.address);
        wire.send(request.as_bytes());
        let answer = wire.answer_without_body();
        assert_eq!((answer.status, answer.closes()), (status, true), "{request:?}");
        assert_ne!(answer.field("Content-Length"), Some("0"), "{request:?}");
        wire.assert_ended();
    }
}
