//! Which path is what: handlers of several kinds on one server, pages beside them, answers that are made.

use crate::host::Local;
use crate::rig::{say, single, text, upgrade_at, websocket_at};
use crate::wire::{Answer, Wire};
use std::net::SocketAddr;
use steadfast::proto::http_write::BadField;
use steadfast::server::{
    Config, Handler, InvalidStatus, Message, Peer, Refused, Reply, Request, Response, Server, StatusCode,
};

/// Answers with its name, and with how often it was asked over this connection.
struct Named(&'static str);

impl Handler<u32> for Named {
    fn message(&mut self, peer: &mut Peer<u32>, _message: Message) {
        *peer.state += 1;
        let answer = format!("{} {}", self.0, peer.state);
        peer.send(&answer);
    }
}

/// The same, with a state of another size, and one that owns something.
struct Listing;

impl Handler<Vec<String>> for Listing {
    fn message(&mut self, peer: &mut Peer<Vec<String>>, message: Message) {
        peer.state.push(message.text().unwrap_or_default().to_owned());
        let list = peer.state.join(",");
        peer.send(&list);
    }
}

/// The same, without a state.
struct Plain;

impl Handler for Plain {
    fn message(&mut self, peer: &mut Peer, _message: Message) {
        peer.send("plain");
    }
}

#[test]
fn handlers_with_states_of_several_types_are_on_one_server() {
    let server = Server::from(Config { reactors: Some(2), ..single() });
    let server = server.route("/named", || Named("named")).route("/listing", || Listing).route("/plain", || Plain);
    let local = Local::serve(server);
    // Each over several connections, which come to places in the slab where those of others were.
    let mut wires: Vec<(usize, Wire)> = Vec::new();
    let paths = ["/named", "/listing", "/plain"];
    for turn in 0..30 {
        if turn % 4 == 3 {
            wires.remove(turn % wires.len());
        }
        wires.push((turn % 3, websocket_at(local.address, paths[turn % 3])));
    }
    for round in 1..=3_usize {
        for (kind, wire) in &mut wires {
            say(wire, "x");
            let expected = [format!("named {round}"), vec!["x"; round].join(","), "plain".to_owned()];
            assert_eq!(text(wire), expected[*kind]);
        }
    }
}

/// Who answers a message over a WebSocket at `target`.
fn who(address: SocketAddr, target: &str) -> String {
    let mut wire = websocket_at(address, target);
    say(&mut wire, "");
    text(&mut wire).split(' ').next().unwrap_or_default().to_owned()
}

#[test]
fn just_this_path_comes_first_and_then_the_longest_with_an_asterisk() {
    let routes = [
        ("/chat/*", "all"),
        ("/chat/room", "room"),
        ("/chat/room/*", "in room"),
        ("/*", "rest"),
        ("/chat", "chat"),
        ("/chat/room/1", "one"),
    ];
    let cases = [
        ("/chat/room", "room"),
        ("/chat/room?x=/chat/*", "room"),
        ("/chat/room/", "in room"),
        ("/chat/room/2", "in room"),
        ("/chat/room/1", "one"),
        ("/chat/room/1/", "in room"),
        ("/chat/roomy", "all"),
        ("/chat/", "all"),
        ("/chat", "chat"),
        ("/chats", "rest"),
        ("/", "rest"),
        ("http://a/chat/room/1", "one"),
        // What needs no encoding is decoded, and nothing else; no dots are resolved.
        ("/chat/%72oom", "room"),
        ("/%63h%61t", "chat"),
        ("/%63hat/%72oom/2", "in room"),
        ("/chat%2Froom", "rest"),
        ("/chat/room%2f1", "all"),
        ("/chat/roo%256D", "all"),
        ("/chat/room%00", "all"),
        ("/chat/roo%6", "all"),
        ("/chat/roo%+6d", "all"),
        ("/chat//room", "all"),
        ("/chat/room/%2e%2e/x", "in room"),
        ("/chat/room/../x", "in room"),
        ("/CHAT", "rest"),
    ];
    // In whatever order they were added.
    for turn in 0..routes.len() {
        let mut order = routes.to_vec();
        order.rotate_left(turn);
        let add = |server: Server, (path, name): (&str, &'static str)| server.route(path, move || Named(name));
        let local = Local::serve(order.into_iter().fold(Server::from(single()), add));
        for (target, name) in cases {
            let expected = name.split(' ').next().unwrap_or_default();
            assert_eq!(who(local.address, target), expected, "{target} after {turn}");
        }
    }
}

#[test]
fn path_with_parameters_comes_after_the_exact_one_and_before_those_with_an_asterisk() {
    let routes = ["/rooms/lobby", "/rooms/{room}", "/{kind}/lobby", "/{a}/{b}", "/rooms/*", "/{kind}/x/*", "/r*", "/*"];
    let cases = [
        ("/rooms/lobby", "/rooms/lobby"),
        ("/rooms/%6Cobby", "/rooms/lobby"),
        ("/rooms/kitchen", "/rooms/{room}"),
        ("/chats/lobby", "/{kind}/lobby"),
        ("/chats/kitchen", "/{a}/{b}"),
        ("/rooms/", "/rooms/*"),
        ("/rooms/a/b", "/rooms/*"),
        ("/rooms/x/b", "/{kind}/x/*"),
        ("/chats/x/", "/{kind}/x/*"),
        ("/rooms", "/r*"),
        ("/chats", "/*"),
        ("//lobby", "/*"),
    ];
    for turn in 0..routes.len() {
        let mut order = routes;
        order.rotate_left(turn);
        let add = |server: Server, path: &'static str| server.route(path, move || Named(path));
        let local = Local::serve(order.into_iter().fold(Server::from(single()), add));
        for (target, path) in cases {
            assert_eq!(who(local.address, target), path, "{target} after {turn}");
        }
    }
}

#[test]
fn mistake_in_a_path_is_an_error_at_start() {
    let get = |server: Server, path: &str| server.get(path, |_| Response::text(""));
    let ws = |server: Server, path: &str| server.route(path, || Plain);
    let new = || Server::new().listen("127.0.0.1:0").expect("an endpoint");
    let twice = r#"path "/a" is assigned twice; expected one handler, one answer to GET and one to POST at most"#;
    let same = r#"paths "/{a}/x" and "/{b}/x" differ only in the names of their parameters; expected the same names"#;
    let cases = [
        (ws(new(), "chat"), r#"path "chat" does not begin with a slash, or has a query; expected one such as /chat"#),
        (
            get(new(), "/a/*/b"),
            r#"path "/a/*/b" has an asterisk at a wrong place; expected one such as /chat/* or /{room}/*"#,
        ),
        (
            ws(new(), "/a/{b"),
            r#"path "/a/{b" has a brace that belongs to no parameter; expected one such as /rooms/{room}"#,
        ),
        (new().stats("/{a}/{a}"), r#"path "/{a}/{a}" has two parameters of the same name"#),
        (get(get(new(), "/%61"), "/a").stats("/{"), twice),
        (ws(ws(new(), "/a"), "/a"), twice),
        (new().post("/a", |_| Response::text("")).post("/a", |_| Response::text("")), twice),
        (get(ws(new(), "/{a}/x"), "/{b}/x"), same),
    ];
    for (server, error) in cases {
        assert_eq!(server.spawn().expect_err(error).to_string(), error);
    }
}

/// A request with these field lines, and the answer to it on a connection of its own.
fn ask(address: SocketAddr, line: &str, fields: &str) -> Answer {
    let mut wire = Wire::connect(address);
    wire.send(format!("{line} HTTP/1.1\r\nHost: a\r\n{fields}\r\n").as_bytes());
    if line.starts_with("HEAD") { wire.answer_without_body() } else { wire.answer() }
}

fn body(answer: &Answer) -> (u16, &str) {
    (answer.status, std::str::from_utf8(&answer.body).expect("text"))
}

#[test]
fn a_static_answer_beside_a_handler_is_for_requests_that_accept_html() {
    let server = Server::from(single()).route("/ws", || Plain).get_static("/ws", Response::html("the page"));
    let local = Local::serve(server.route("/", || Plain).get("/", |_: &Request<'_>| Response::html("home")));
    let accepts = [
        "Accept: text/html\r\n",
        "accept: application/xml;q=0.9, text/html;q=0.8\r\n",
        "Accept: Text/*\r\n",
        "Accept: */*;q=0\r\nAccept: text/html;level=1;q=0.001\r\n",
        "Accept: text/*;q=0, text/html\r\n",
    ];
    for accept in accepts {
        let page = ask(local.address, "GET /ws?x", accept);
        assert_eq!((body(&page), page.closes()), ((200, "the page"), false), "{page:?}");
        assert_eq!(page.field("Content-Type"), Some("text/html; charset=utf-8"));
    }
    let refusing = [
        "Accept: text/html;q=0\r\n",
        "Accept: text/html ; Q=0.000 , text/*, */*\r\n",
        "Accept: text/*;q=0, */*\r\n",
        "Accept: */*;q=0\r\n",
    ];
    let others = ["", "Accept: */*\r\n", "Accept: application/json\r\n", "X-Accept: text/html\r\n"];
    for other in others.into_iter().chain(refusing) {
        let refused = ask(local.address, "GET /ws", other);
        assert_eq!((refused.status, refused.field("Upgrade")), (426, Some("websocket")), "{other:?}: {refused:?}");
    }
    // A browser that tries to upgrade takes anything: it is told what is wrong with that.
    let wrong = "Accept: text/html\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 8\r\n";
    assert_eq!(ask(local.address, "GET /ws", wrong).status, 426);
    let head = ask(local.address, "HEAD /ws", "Accept: text/html\r\n");
    assert_eq!((head.status, head.field("Content-Length")), (200, Some("8")));
    // What is answered, and no page, is for all who do not upgrade.
    assert_eq!(body(&ask(local.address, "GET /", "")), (200, "home"));
    assert_eq!((who(local.address, "/ws"), who(local.address, "/")), ("plain".into(), "plain".into()));
}

/// Says what it was asked.
fn repeat(request: &Request<'_>) -> Response {
    let who = request.header_values("x-who").next().unwrap_or(b"nobody");
    Response::text(format!("{} {} {}", request.method(), request.target(), String::from_utf8_lossy(who)))
}

#[test]
fn an_answer_is_made_for_each_request() {
    let server = Server::from(single()).get("/made/*", repeat);
    let server = server.get("/teapot", |_: &Request<'_>| {
        Ok::<_, InvalidStatus>(Response::json("{}").with_status(StatusCode::try_from(418)?))
    });
    let server = server.get("/now", |_: &Request<'_>| Response::new("x/y", vec![0, 1, 2]));
    let local = Local::serve(server);
    let mut wire = Wire::connect(local.address);
    let requests = "GET /made/a?b=c HTTP/1.1\r\nHost: a\r\nX-Who: me\r\n\r\n\
        GET /made/ HTTP/1.1\r\nHost: a\r\n\r\nGET /teapot HTTP/1.1\r\nHost: a\r\n\r\nGET /now HTTP/1.1\r\nHost: a\r\n\r\n";
    wire.send(requests.as_bytes());
    assert_eq!(body(&wire.answer()), (200, "GET /made/a?b=c me"));
    assert_eq!(body(&wire.answer()), (200, "GET /made/ nobody"));
    let teapot = wire.answer();
    assert_eq!((body(&teapot), teapot.field("Content-Type")), ((418, "{}"), Some("application/json")));
    assert!(!teapot.closes(), "what the program answers is no refusal of ours");
    let now = wire.answer();
    assert_eq!((now.status, now.field("Content-Type"), &*now.body), (200, Some("x/y"), &[0, 1, 2][..]));
    assert_eq!(now.field("Cache-Control"), Some("no-store"));
    // HEAD is answered by the same, without the body.
    wire.send(b"HEAD /made/h HTTP/1.1\r\nHost: a\r\n\r\nGET /made/ HTTP/1.1\r\nHost: a\r\n\r\n");
    let length = "HEAD /made/h nobody".len().to_string();
    assert_eq!(wire.answer_without_body().field("Content-Length"), Some(&*length));
    assert_eq!(body(&wire.answer()), (200, "GET /made/ nobody"));
}

#[test]
fn what_an_answer_says_is_checked_when_it_is_made() {
    let field = |field: &str| Response::text("").with_field(field).map(drop);
    assert_eq!(field("X-Fine: yes"), Ok(()));
    assert_eq!(field("X: a\r\nSet-Cookie: b"), Err(BadField::Value));
    assert_eq!(field("Content-Length: 5"), Err(BadField::Reserved));
    for (number, made) in [(0, false), (100, false), (101, false), (199, false), (200, true), (599, true), (600, false)]
    {
        let status = StatusCode::try_from(number);
        assert_eq!(status.is_ok(), made, "{number}");
        let Ok(status) = status else { continue };
        let local = Local::serve(Server::from(single()).get_static("/", Response::text("x").with_status(status)));
        assert_eq!(ask(local.address, "GET /", "").status, number);
    }
    assert!(matches!(Response::new("text/plain\r\nX: y", &b""[..]), Err(BadField::Value)));
}

#[test]
fn a_responder_that_fails_answers_what_its_error_says() {
    let refuse = |_: &Request<'_>| -> Result<Response, Refused> {
        Err(Refused::new(StatusCode::CONFLICT, "taken").with_field("X-Why: name")?)
    };
    let server = Server::from(single()).get("/taken", refuse).post("/taken", refuse);
    let server = server.get("/field", |_| Response::text("x").with_field("no colon"));
    let server = server.get("/status", |request| -> Result<Reply, Refused> {
        let number: u16 =
            request.target().rsplit('?').next().and_then(|number| number.parse().ok()).unwrap_or_default();
        Ok(Response::text("x").with_status(StatusCode::try_from(number)?).into())
    });
    let local = Local::serve(server);
    for line in ["GET /taken", "POST /taken"] {
        let answer = ask(local.address, line, "Content-Length: 0\r\n");
        let found = (body(&answer), answer.field("X-Why"), answer.closes());
        assert_eq!(found, ((409, "taken"), Some("name"), false), "{answer:?}");
    }
    let field = "a field of the response: there is no colon; expected one such as 'X-Served-By: steadfast'";
    assert_eq!(body(&ask(local.address, "GET /field", "")), (500, field));
    let status = "99 is no status code of a response; expected 200 to 599";
    assert_eq!(body(&ask(local.address, "GET /status?99", "")), (500, status));
    assert_eq!(body(&ask(local.address, "GET /status?203", "")), (203, "x"));
}

#[test]
fn fields_of_a_response_replace_those_that_the_server_adds() {
    let own = Response::html(String::from("<p>")).with_field("cache-control: max-age=60");
    let own = own.and_then(|own| own.with_field("SERVER: mine")).expect("two fields");
    let server = Server::from(single()).get_static("/own", own).get_static("/plain", Response::bytes(&b"x"[..]));
    let local = Local::serve(server);
    for (path, cache, name) in [("/own", "max-age=60", "mine"), ("/plain", "no-store", "steadfast")] {
        let answer = ask(local.address, &format!("GET {path}"), "");
        let count = |name: &str| answer.head.to_lowercase().matches(&format!("\n{name}: ")).count();
        assert_eq!((answer.field("Cache-Control"), answer.field("Server")), (Some(cache), Some(name)), "{answer:?}");
        assert_eq!((count("cache-control"), count("server")), (1, 1), "{answer:?}");
    }
}

#[test]
fn a_post_is_answered_with_its_content_at_hand() {
    let post = |request: &Request<'_>| {
        let body = String::from_utf8_lossy(request.body()).to_uppercase();
        Response::text(body).with_status(StatusCode::CREATED).with_field("X-Path: there")
    };
    let local = Local::serve(Server::from(single()).post("/post", post).get("/post", repeat));
    let mut wire = Wire::connect(local.address);
    let sized = "POST /post HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
    let chunked =
        "POST /post HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n";
    wire.send([sized, chunked, "GET /post HTTP/1.1\r\nHost: a\r\n\r\n"].concat().as_bytes());
    for _ in 0..2 {
        let answer = wire.answer();
        assert_eq!((body(&answer), answer.field("X-Path")), ((201, "HELLO"), Some("there")));
    }
    assert_eq!(body(&wire.answer()), (200, "GET /post nobody"));
    wire.send(b"POST /post HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(wire.answer_without_body().status, 100);
    wire.send(b"later");
    assert_eq!(body(&wire.answer()), (201, "LATER"));
    // Content of a length that nobody told.
    let refused = ask(local.address, "POST /post", "");
    assert_eq!((refused.status, refused.closes()), (411, true));
}

#[test]
fn what_a_path_allows_is_told_to_those_who_ask_and_those_who_try() {
    let server = Server::from(single()).route("/ws", || Plain).get("/get", repeat);
    let server = server.get("/both", repeat).post("/both", repeat);
    let local = Local::serve(server);
    let [get, both] = ["GET, HEAD, OPTIONS", "GET, HEAD, OPTIONS, POST"];
    for (path, allowed) in [("/get", get), ("/ws", get), ("/both", both), ("*", both)] {
        let options = ask(local.address, &format!("OPTIONS {path}"), "");
        assert_eq!((options.status, options.field("Allow"), options.closes()), (204, Some(allowed), false), "{path}");
        for method in ["PUT", "DELETE", "TRACE", "PATCH"].iter().filter(|_| path != "*") {
            let refused = ask(local.address, &format!("{method} {path}"), "");
            assert_eq!((refused.status, refused.field("Allow")), (405, Some(allowed)), "{method} {path}");
        }
    }
    let refused = ask(local.address, "POST /get", "Content-Length: 0\r\n");
    assert_eq!((refused.status, refused.field("Allow"), refused.closes()), (405, Some(get), false));
    assert_eq!(ask(local.address, "BREW /get", "").status, 501);
    for line in ["GET /nothing", "PUT /nothing", "OPTIONS /nothing", "HEAD /nothing", "GET /get/", "GET /GET"] {
        let nothing = ask(local.address, line, "");
        assert_eq!((nothing.status, nothing.closes()), (404, false), "{line}");
    }
    // A path without a handler takes no upgrade, and says what it says to others.
    let mut wire = Wire::connect(local.address);
    wire.send(upgrade_at("/get", "").as_bytes());
    let answer = wire.answer();
    assert_eq!((body(&answer), answer.closes()), ((200, "GET /get nobody"), true), "behind it stand frames");
}

#[test]
fn a_path_for_post_alone_does_not_say_that_get_is_allowed() {
    let local = Local::serve(Server::from(single()).post("/post", repeat));
    for line in ["GET /post", "HEAD /post", "OPTIONS /post", "PUT /post"] {
        let answer = ask(local.address, line, "");
        assert_eq!(answer.status, if line.starts_with("OPTIONS") { 204 } else { 405 }, "{line}");
        let allow = answer.field("Allow").unwrap_or_default();
        let methods: Vec<&str> = allow.split(", ").collect();
        assert!(methods.contains(&"POST") && !methods.contains(&"GET"), "{line}: {allow}");
    }
}

#[test]
fn a_path_may_have_its_handler_and_the_one_above_it_the_page() {
    let server = Server::from(single()).route("/app/ws", || Plain).get("/app/*", repeat);
    let local = Local::serve(server.stats("/stats"));
    assert_eq!(who(local.address, "/app/ws"), "plain");
    assert_eq!(body(&ask(local.address, "GET /app/ws", "")), (200, "GET /app/ws nobody"));
    assert_eq!(body(&ask(local.address, "GET /app/x", "")), (200, "GET /app/x nobody"));
    let stats = Wire::connect(local.address).stats();
    assert_eq!(stats["counters"]["upgraded"], 1, "{stats}");
}
