//! What a request tells the program, over real sockets.

use crate::host::Local;
use crate::rig::{single, text, upgrade_at};
use crate::wire::Wire;
use steadfast::proto::extension::Compression;
use steadfast::proto::upgrade::Policy;
use steadfast::server::{Config, Handler, Hook, Message, Peer, Request, Response, Server};

/// What was negotiated, in words.
fn negotiated(request: &Request) -> String {
    let compression = request.compression();
    let bits = if compression.is_on() { compression.own_window_bits() } else { 0 };
    format!("{:?} {bits}", request.subprotocol())
}

/// Sends what the handshake has negotiated.
struct Negotiated;

impl Handler for Negotiated {
    fn opened(&mut self, peer: &mut Peer, request: &Request) {
        peer.send(&negotiated(request));
    }

    fn message(&mut self, _peer: &mut Peer, _message: Message) {}
}

#[test]
fn request_has_what_the_handshake_negotiated() {
    let compression = Some(Compression { max_window_bits: 11, ..Compression::default() });
    let upgrade = Policy { subprotocols: vec!["v2".into(), "v1".into()], compression, ..Policy::default() };
    let (tell, told) = std::sync::mpsc::channel();
    let hook = Hook::new(move |request, _| {
        let _ = tell.send(negotiated(request));
        Ok(())
    });
    let server = Server::from(Config { upgrade, hook: Some(hook), ..single() });
    let local =
        Local::serve(server.route("/", || Negotiated).get("/get", |request| Response::text(negotiated(request))));
    let deflate = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
    let subprotocols = "Sec-WebSocket-Protocol: v1, v2\r\n";
    for (fields, expected) in [
        (String::new(), "None 0"),
        (subprotocols.to_owned(), "Some(\"v2\") 0"),
        ("Sec-WebSocket-Protocol: v3\r\n".to_owned(), "None 0"),
        (deflate.to_owned(), "None 11"),
        (format!("{deflate}{subprotocols}"), "Some(\"v2\") 11"),
    ] {
        let mut wire = Wire::connect(local.address);
        wire.send(upgrade_at("/", &fields).as_bytes());
        assert_eq!(wire.answer_without_body().status, 101, "{fields}");
        assert_eq!(text(&mut wire), expected, "{fields}");
        // A hook knows what will be negotiated.
        assert_eq!(told.recv().as_deref(), Ok(expected), "{fields}");
    }
    // A request of plain HTTP negotiates nothing, whatever it offers.
    let mut wire = Wire::connect(local.address);
    wire.send(format!("GET /get HTTP/1.1\r\nHost: a\r\n{deflate}{subprotocols}\r\n").as_bytes());
    assert_eq!(wire.answer().body, b"None 0");
}

#[test]
fn request_has_its_line_and_its_fields() {
    let describe = |request: &Request<'_>| {
        let values: Vec<_> = request.header_values("x-a").map(String::from_utf8_lossy).collect();
        let parts = [request.method(), request.target(), request.path(), request.normal_path()].join(" ");
        let (first, none) = (request.header("X-A"), request.header("x-b"));
        let about = (request.head_bytes(), request.head().authority().map(<[u8]>::len), request.body().len());
        Response::text(format!("{parts} {values:?} {first:?} {none:?} {about:?}"))
    };
    let local = Local::serve(Server::from(single()).post("/%70/*", describe));
    let mut wire = Wire::connect(local.address);
    let head = "POST /p/%61?b=c HTTP/1.1\r\nHost: a:81\r\nX-A: one\r\nx-a:  two \r\nContent-Length: 3\r\n\r\n";
    wire.send(format!("{head}abc").as_bytes());
    let expected =
        format!(r#"POST /p/%61?b=c /p/%61 /p/a ["one", "two"] Some("one") None ({}, Some(4), 3)"#, head.len());
    assert_eq!(String::from_utf8_lossy(&wire.answer().body), expected);
    // A value that is not UTF-8 is no text, and is not skipped for a later one.
    wire.send(b"POST /p/ HTTP/1.1\r\nHost: a\r\nX-A: \xff\r\nX-A: b\r\nContent-Length: 0\r\n\r\n");
    let body = wire.answer().body;
    assert!(String::from_utf8_lossy(&body).contains("[\"\u{fffd}\", \"b\"] None None"), "{body:?}");
}

/// What the request says by name, in words.
fn named(request: &Request) -> String {
    let param = |name| request.param(name).map(std::borrow::Cow::into_owned);
    let pairs: Vec<String> = request.query_pairs().map(|(name, value)| format!("{name}:{value}")).collect();
    let (room, rest, token) = (param("room"), param("*"), request.query("token"));
    format!("{room:?} {rest:?} {:?} {token:?} {pairs:?} {:?}", param("token"), request.cookie("session"))
}

/// Sends what its request says by name.
struct Named;

impl Handler for Named {
    fn opened(&mut self, peer: &mut Peer, request: &Request) {
        peer.send(&named(request));
    }

    fn message(&mut self, _peer: &mut Peer, _message: Message) {}
}

#[test]
fn request_has_parameters_query_and_cookies_by_name() {
    let (tell, told) = std::sync::mpsc::channel();
    let hook = Hook::new(move |request, _| {
        let _ = tell.send(named(request));
        Ok(())
    });
    let server = Server::from(Config { hook: Some(hook), ..single() });
    let mut server = server;
    for path in ["/rooms/{room}/messages", "/files/*", "/{room}/files/*", "/plain"] {
        let respond = |request: &Request<'_>| Response::text(named(request));
        server = server.route(path, || Named).get(path, respond).post(path, respond);
    }
    let local = Local::serve(server);
    let cases = [
        ("/rooms/kitchen/messages", "", r#"Some("kitchen") None None None [] None"#),
        (
            "/rooms/caf%C3%A9%2F%2e./messages?token=a%26b+c&token=d&x",
            "Cookie: a=b; session=%41; session=c\r\n",
            r#"Some("café/..") None None Some("a&b c") ["token:a&b c", "token:d", "x:"] Some("%41")"#,
        ),
        ("http://a/rooms/%zz%/messages?%74oken", "", r#"Some("%zz%") None None Some("") ["token:"] None"#),
        (
            "/files/a%20b/c?token=%ff",
            "Cookie: a=1\r\nCOOKIE: session=\"two\"\r\n",
            "None Some(\"a b/c\") None Some(\"\u{fffd}\") [\"token:\u{fffd}\"] Some(\"\\\"two\\\"\")",
        ),
        ("/ada/files/", "", r#"Some("ada") Some("") None None [] None"#),
        ("/plain?", "Cookie: session\r\n", "None None None None [] None"),
    ];
    for (target, fields, expected) in cases {
        let mut wire = Wire::connect(local.address);
        wire.send(upgrade_at(target, fields).as_bytes());
        wire.assert_upgraded();
        assert_eq!(text(&mut wire), expected, "{target}");
        assert_eq!(told.recv().as_deref(), Ok(expected), "{target}");
        for method in ["POST", "GET"] {
            let mut wire = Wire::connect(local.address);
            let about = format!("Host: a\r\n{fields}Content-Length: 0\r\nAccept: text/html\r\n");
            wire.send(format!("{method} {target} HTTP/1.1\r\n{about}\r\n").as_bytes());
            assert_eq!(String::from_utf8_lossy(&wire.answer().body), expected, "{method} {target}");
        }
    }
    // A parameter is one segment, and not empty.
    for path in ["/rooms//messages", "/rooms/a/b/messages", "/rooms/a", "/rooms/a/messages/"] {
        let mut wire = Wire::connect(local.address);
        wire.send(upgrade_at(path, "").as_bytes());
        assert_eq!(wire.answer().status, 404, "{path}");
    }
}
