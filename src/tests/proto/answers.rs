//! Answers: what is written into them, interim ones, and the subprotocols and fields that a server's owner has set.

use super::feed::{Peer, Seen, Start, Transcript, output};
use super::wire::{self, OK, UPGRADE, UPGRADED};
use steadfast::proto::frame::Role;
use steadfast::proto::http::{self, HeadError, HeadLimits};
use steadfast::proto::http_write::{BadField, DefaultHeaders, HttpResponse, RequestInfo, field_line, is_token};
use steadfast::proto::session::{Event, Limits, Session, State};
use steadfast::proto::upgrade::{self, ClientHandshake, Policy, Rejected};

const INTERIM: [&str; 4] = [
    "HTTP/1.1 100 Continue\r\n\r\n",
    "HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\nLink: </more.css>\r\n\r\n",
    "HTTP/1.1 102 Processing\r\nContent-Length: 500\r\nTransfer-Encoding: chunked\r\n\r\n",
    "HTTP/1.1 199\r\nConnection: close\r\n\r\n",
];

#[test]
fn interim_answers_are_passed_over() {
    let last = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
    for interim in INTERIM.into_iter().chain([&*INTERIM.concat()]) {
        Transcript::new(interim, Start::HttpClient, format!("{interim}{last}{interim}\r\n{last}"))
            .sees([Seen::Response(200), Seen::Body(b"hi".to_vec()), Seen::ResponseEnd])
            .sees([Seen::Response(200), Seen::Body(b"hi".to_vec()), Seen::ResponseEnd])
            .leaves(State::Http);
        Transcript::new(interim, Start::HttpClient, interim).leaves(State::Http);
        let mut input = format!("{interim}{}", wire::accepted()).into_bytes();
        input.extend(wire::to(Role::Client, wire::TEXT, "hello"));
        Transcript::new(interim, Start::Handshake, input).sees([Seen::Opened, Seen::text("hello")]).leaves(State::Open);
        let refused = format!("{interim}HTTP/1.1 403 Forbidden\r\n\r\n");
        Transcript::new(interim, Start::Handshake, refused)
            .sees([Seen::Rejected(Rejected::Status(403))])
            .leaves(State::Closed);
        Transcript::new(interim, Start::Handshake, interim).then_ends().sees([Seen::End(false)]).leaves(State::Closed);
        Transcript::new(interim, Start::Handshake, format!("{interim}HTTP/1.1 101 Ok\nUpgrade: websocket\n\n"))
            .sees([Seen::BadHead(HeadError::Malformed)])
            .leaves(State::Closed);
    }
    // To plain HTTP, 101 is an answer like another: nothing that could be read follows it.
    Transcript::new("101", Start::HttpClient, "HTTP/1.1 101 Switching Protocols\r\n\r\n")
        .sees([Seen::Response(101), Seen::ResponseEnd])
        .leaves(State::Http);
}

fn policy(subprotocols: &[&str]) -> Policy {
    Policy { subprotocols: subprotocols.iter().map(|one| (*one).to_owned()).collect(), ..Policy::default() }
}

#[test]
fn the_server_chooses_the_subprotocol_that_it_likes_best() {
    let chosen = |offers: &[&str], policy: &Policy| {
        let fields: String = offers.iter().map(|offer| format!("sec-websocket-PROTOCOL: {offer}\r\n")).collect();
        let head = UPGRADE.replace("Origin", &format!("{fields}Origin"));
        let (request, _) = http::parse_request(head.as_bytes(), HeadLimits::default()).unwrap().unwrap();
        let acceptance = upgrade::check_request(&request, policy).unwrap();
        let mut out = Vec::new();
        upgrade::encode_response(&mut out, &acceptance, "");
        let field =
            acceptance.subprotocol.map_or(String::new(), |one| format!("\r\nSec-WebSocket-Protocol: {one}\r\n\r\n"));
        let expected = UPGRADED.replace("\r\n\r\n", if field.is_empty() { "\r\n\r\n" } else { &field });
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        acceptance.subprotocol.map(str::to_owned)
    };
    let ours = policy(&["b", "a", "mqtt"]);
    for (offers, expected) in [
        (&["a, b"][..], Some("b")),
        (&["a", "b"], Some("b")),
        (&["x,\ta ,, "], Some("a")),
        (&["x", "y, mqtt"], Some("mqtt")),
        (&["", "a"], Some("a")),
        (&["c"], None),
        // They are compared case-sensitively.
        (&["A, B, MQTT"], None),
        (&["a b"], None),
        (&["ab"], None),
        (&[""], None),
        (&[], None),
    ] {
        assert_eq!(chosen(offers, &ours).as_deref(), expected, "{offers:?}");
        assert_eq!(chosen(offers, &policy(&[])), None, "{offers:?}");
    }
}

/// What a client makes of an answer with these fields, however it is cut.
fn judged(subprotocols: &[&str], fields: &str) -> Seen {
    let offered: Vec<String> = subprotocols.iter().map(|one| (*one).to_owned()).collect();
    let answer = wire::accepted().replace("\r\n\r\n", &format!("\r\n{fields}\r\n"));
    let mut found = Vec::new();
    for cut in [1, 2, 40, answer.len()] {
        let mut out = output();
        let opening = ClientHandshake { host: "h", path: "/", subprotocols: &offered, ..ClientHandshake::default() };
        let mut session = Session::websocket_client(&opening, &mut out);
        let request = String::from_utf8(out.bytes.clone()).unwrap();
        assert_eq!(
            request.contains(&format!("\r\nSec-WebSocket-Protocol: {}\r\n", subprotocols.join(", "))),
            !offered.is_empty()
        );
        let mut message = Vec::new();
        // A hint goes before, so that what was offered is kept over it.
        for piece in [INTERIM[1].as_bytes(), answer.as_bytes()].concat().chunks(cut) {
            let mut piece = piece.to_vec();
            let mut at = 0;
            while at < piece.len() {
                let (consumed, event) = session.receive(&mut piece[at..], &mut message, &Limits::default(), &mut out);
                match event {
                    Event::Opened(_) => found.push(Seen::Opened),
                    Event::Rejected(rejected) => found.push(Seen::Rejected(rejected)),
                    _ => {}
                }
                at += consumed;
            }
        }
    }
    assert_eq!(found.len(), 4, "{fields:?}");
    assert!(found.iter().all(|one| *one == found[0]), "{fields:?}: {found:?}");
    found.remove(0)
}

#[test]
fn a_client_takes_only_a_subprotocol_that_it_offered() {
    let ours = &["chat", "superchat"][..];
    for field in ["chat", "superchat", "\t chat \t"] {
        assert_eq!(judged(ours, &format!("Sec-WebSocket-Protocol: {field}\r\n")), Seen::Opened, "{field:?}");
    }
    assert_eq!(judged(ours, ""), Seen::Opened, "a server need not choose");
    for field in ["", "Chat", "cha", "chats", "chat,superchat", "chat, superchat", ",", "x", "chat superchat"] {
        let fields = format!("Sec-WebSocket-Protocol: {field}\r\n");
        assert_eq!(judged(ours, &fields), Seen::Rejected(Rejected::NotOffered), "{field:?}");
    }
    for twice in [["chat", "chat"], ["chat", "superchat"], ["chat", ""], ["", "chat"], ["chat", "x"]] {
        let fields: String = twice.iter().map(|one| format!("Sec-WebSocket-Protocol: {one}\r\n")).collect();
        assert_eq!(judged(ours, &fields), Seen::Rejected(Rejected::NotOffered), "{twice:?}");
    }
    for field in ["chat", ""] {
        let fields = format!("Sec-WebSocket-Protocol: {field}\r\n");
        assert_eq!(judged(&[], &fields), Seen::Rejected(Rejected::NotOffered), "{field:?}");
    }
    // Nor an extension that it did not ask for.
    let fields = "Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Extensions: permessage-deflate\r\n";
    assert_eq!(judged(ours, fields), Seen::Rejected(Rejected::NotOffered));
}

const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

fn standing() -> DefaultHeaders {
    DefaultHeaders { date: DATE.into(), fields: "Server: s\r\nX-Served-By: t\r\n".into() }
}

#[test]
fn standing_fields_are_in_every_answer_and_the_date_in_all_but_101() {
    let sent = |input: &str| {
        let mut peer = Peer::new(Start::Server, Limits::default(), input.len());
        peer.out.default_headers = standing();
        peer.feed(input.as_bytes());
        String::from_utf8(peer.out.bytes).unwrap()
    };
    let with = |answer: &str, connection: &str| {
        let (line, rest) = answer.split_once("\r\n").unwrap();
        let rest = rest.replacen(&format!("{connection}\r\n\r\n"), "\r\n\r\n", 1);
        let rest = rest.replacen("\r\n\r\n", &format!("\r\nServer: s\r\nX-Served-By: t{connection}\r\n\r\n"), 1);
        format!("{line}\r\nDate: {DATE}\r\n{rest}")
    };
    assert_eq!(sent("GET / HTTP/1.1\r\nHost: h\r\n\r\n"), with(OK, ""));
    let close = "\r\nConnection: close";
    assert_eq!(sent("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"), with(wire::OK_AND_CLOSE, close));
    for (input, why) in [
        ("GET / HTTP/1.1\r\n\r\n", "the field Host is missing"),
        ("\0", r#"the request line is not "METHOD TARGET HTTP/1.1": "\x00""#),
    ] {
        let why = format!("Bad Request: {why}\n");
        let refused = wire::refusal(400, "Bad Request", "X-Content-Type-Options: nosniff\r\n");
        let length = format!("Content-Length: {}\r\n", why.len());
        let refused = refused
            .replace("Content-Length: 11\r\n", &length)
            .replace("\r\n\r\nBad Request", &format!("\r\n\r\n{why}"));
        assert_eq!(sent(input), with(&refused, close));
    }
    let method = sent(&UPGRADE.replace("GET", "PUT"));
    assert_eq!(method, with(&wire::refusal(405, "Method Not Allowed", "Allow: GET\r\n"), close));
    let upgraded = UPGRADED.replace("\r\n\r\n", "\r\nServer: s\r\nX-Served-By: t\r\n\r\n");
    assert_eq!(sent(UPGRADE), upgraded);
    // An interim answer has nothing of its own.
    let expects = sent("POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n");
    assert_eq!(expects, "HTTP/1.1 100 Continue\r\n\r\n");
}

#[test]
fn an_answer_says_what_it_has() {
    let written = |status: u16, asked: RequestInfo, standing: &DefaultHeaders| {
        let answer = HttpResponse { status, content_type: "a/b", more_fields: "X: y\r\n", body: b"body", close: false };
        let mut out = Vec::new();
        answer.encode(&mut out, asked, standing);
        String::from_utf8(out).unwrap()
    };
    let (plain, bare) = (RequestInfo::default(), DefaultHeaders::default());
    let head = "Content-Type: a/b\r\nContent-Length: 4\r\nX: y\r\n";
    assert_eq!(written(200, plain, &bare), format!("HTTP/1.1 200 OK\r\n{head}\r\nbody"));
    assert_eq!(written(299, plain, &bare), format!("HTTP/1.1 299 Error\r\n{head}\r\nbody"));
    let without = RequestInfo { without_body: true, says_keep_alive: true, closes: false };
    assert_eq!(written(200, without, &bare), format!("HTTP/1.1 200 OK\r\n{head}Connection: keep-alive\r\n\r\n"));
    let both = RequestInfo { closes: true, ..without };
    assert_eq!(written(404, both, &bare), format!("HTTP/1.1 404 Not Found\r\n{head}Connection: close\r\n\r\n"));
    for (status, phrase) in [(204, "No Content"), (304, "Not Modified")] {
        let expected =
            format!("HTTP/1.1 {status} {phrase}\r\nDate: {DATE}\r\nX: y\r\nServer: s\r\nX-Served-By: t\r\n\r\n");
        assert_eq!(written(status, plain, &standing()), expected);
    }
}

/// Frames may follow a request for an upgrade that is refused, and a page is a refusal, too.
#[test]
fn a_page_in_place_of_an_upgrade_closes() {
    let mut input = UPGRADE.replace("/echo", "/page").into_bytes();
    input.extend(wire::to(Role::Server, wire::TEXT, "GET / HTTP/1.1\r\nHost: h\r\n\r\n"));
    Transcript::new("a page", Start::Server, input)
        .sees([Seen::request("GET", "/page", "example.com")])
        .sends(wire::OK_AND_CLOSE)
        .leaves(State::Closed);
}

#[test]
fn a_field_that_could_be_more_than_one_is_refused() {
    for (text, line) in [
        ("X-Served-By: a", "X-Served-By: a\r\n"),
        ("X:a", "X: a\r\n"),
        ("X:\t a b\tc \t", "X: a b\tc\r\n"),
        ("X:", "X: \r\n"),
        ("X: a:b", "X: a:b\r\n"),
        ("X: h\u{e9}", "X: h\u{e9}\r\n"),
        ("!#$%&'*+-.^_`|~0aZ: x", "!#$%&'*+-.^_`|~0aZ: x\r\n"),
        ("Server: mine", "Server: mine\r\n"),
        ("Sec-Web: x", "Sec-Web: x\r\n"),
        ("Strict-Transport-Security: max-age=1", "Strict-Transport-Security: max-age=1\r\n"),
    ] {
        assert_eq!(field_line(text).as_deref(), Ok(line));
    }
    for text in ["", "X", "X a", "\r\n"] {
        assert_eq!(field_line(text), Err(BadField::NoColon), "{text:?}");
    }
    for text in [
        ":",
        ": a",
        " X: a",
        "X : a",
        "X\t: a",
        "X Y: a",
        "X\r\nY: a",
        "X\0: a",
        "X(: a",
        "\u{e9}: a",
        "X\r: a",
        "\"X\": a",
    ] {
        assert_eq!(field_line(text), Err(BadField::Name), "{text:?}");
    }
    for text in
        ["X: a\r\nY: b", "X: a\n", "X: a\r", "X: \0", "X: \x1b", "X: \x7f", "X: a\r\n\r\nHTTP/1.1 200 OK", "X:\n"]
    {
        assert_eq!(field_line(text), Err(BadField::Value), "{text:?}");
    }
    for name in [
        "Connection",
        "content-length",
        "CONTENT-TYPE",
        "Date",
        "Host",
        "Keep-Alive",
        "Transfer-Encoding",
        "Upgrade",
        "Sec-WebSocket-Accept",
        "sec-websocket-protocol",
        "Sec-WebSocket-Anything",
    ] {
        assert_eq!(field_line(&format!("{name}: x")), Err(BadField::Reserved), "{name}");
    }
}

#[test]
fn a_token_is_what_a_name_may_be() {
    for text in ["a", "chat", "v1.json", "!#$%&'*+-.^_`|~09AZaz"] {
        assert!(is_token(text), "{text:?}");
    }
    for text in [
        "", " ", "a b", "a,b", "a;b", "a\t", "a\r\n", "a/b", "a:b", "a=b", "\"a\"", "(a)", "[a]", "{a}", "<a>", "@",
        "\\", "?", "\u{e9}", "\0", "\x7f",
    ] {
        assert!(!is_token(text), "{text:?}");
    }
    // RFC 9110 section 5.6.2, for each of the bytes.
    for byte in 0..=0x7f_u8 {
        let visible = (0x21..0x7f).contains(&byte);
        assert_eq!(
            is_token(&char::from(byte).to_string()),
            visible && !b"\"(),/:;<=>?@[\\]{}".contains(&byte),
            "{byte}"
        );
    }
}
