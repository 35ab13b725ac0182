//! Requests that other servers take or refuse in a useful way, as raw bytes over a socket: for each the status, and what
//! its answer says.

use crate::host::{Local, quick};
use crate::wire::{UPGRADE, Wire};

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
    for Case { request, status, contains } in cases {
        let mut wire = Wire::connect(local.address);
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
fn html_goes_to_no_client_that_rules_it_out() {
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
