//! What a handler is told of its connections, and what it keeps for them.

use crate::host::Local;
use crate::rig::{all_told, hear, reset, say, single, text, upgrade_at, websocket_at};
use crate::wire::{BINARY, CLOSE, PING, PONG, TEXT, UPGRADE, Wire, close_body, frame};
use crate::witness::{Kept, Told, Witness};
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;
use steadfast::proto::session::{Limits, MessageKind};
use steadfast::proto::upgrade::Policy;
use steadfast::server::{Closed, Config, ConnectionId, Deadlines, Handler, Message, Peer, Request, Server};

fn witnessed(config: Config) -> (Local, Receiver<(ConnectionId, Told)>) {
    let (tell, told) = channel();
    let server = Server::from(config).route("/witness", move || Witness::obedient(tell.clone()));
    (Local::serve(server), told)
}

fn opened(target: &str) -> Told {
    Told::Opened { target: target.to_owned(), who: None, subprotocol: None }
}

#[test]
fn a_handler_is_told_what_was_asked_for_and_what_is_said() {
    let upgrade = Policy { subprotocols: vec!["chat".into()], ..Policy::default() };
    let (local, told) = witnessed(Config { upgrade, ..single() });
    let mut wire = Wire::connect(local.address);
    let fields = "X-Who: me\r\nSec-WebSocket-Protocol: other, chat\r\n";
    // All in one write: a handler is not told less because much is there at once.
    let fragments = [frame(0x01, b"in "), frame(PING, b"?"), frame(0x80, b"pieces")].concat();
    let head = upgrade_at("/witness?room=1&x=%20", fields);
    wire.send(&[head.as_bytes(), &frame(TEXT, "käse".as_bytes()), &frame(BINARY, b""), &fragments].concat());
    wire.assert_upgraded();
    let answers = [wire.frame(), wire.frame(), wire.frame(), wire.frame()].map(|frame| frame.first);
    assert_eq!(answers, [TEXT, BINARY, PONG, TEXT]);
    let large = vec![7; 300_000];
    wire.echo(&large);
    wire.send(&frame(CLOSE, &close_body(4000, b"bye")));
    assert_eq!(wire.frame().close_code(), 4000);
    wire.assert_ended();
    let mut all = all_told(local, &told);
    // Whether the large one has to wait is for the kernel to say.
    all.retain(|(_, told)| *told != Told::Writable);
    let (id, _) = all[0].clone();
    let expected = [
        Told::Opened {
            target: "/witness?room=1&x=%20".into(),
            who: Some("me".into()),
            subprotocol: Some("chat".into()),
        },
        Told::text("käse"),
        Told::Message(MessageKind::Binary, Vec::new()),
        Told::text("in pieces"),
        Told::Message(MessageKind::Binary, large),
        Told::closed(4000, "bye", true),
        Told::Dropped,
    ];
    assert!(all.iter().all(|(other, _)| *other == id));
    // Not by assert_eq, which would print all of the large one.
    assert!(all.into_iter().map(|(_, told)| told).eq(expected));
}

/// What each connection was told when it had opened, in the order in which they came.
fn told_of_each(all: Vec<(ConnectionId, Told)>, target: &str) -> Vec<Vec<Told>> {
    let mut order: Vec<ConnectionId> = Vec::new();
    for (id, told) in &all {
        if *told == opened(target) {
            assert!(!order.contains(id), "a name that was given twice");
            order.push(*id);
        }
    }
    let of = |wanted: ConnectionId| {
        let mine = all.iter().filter(move |(id, _)| *id == wanted);
        mine.skip(1).map(|(_, told)| told.clone()).collect()
    };
    order.into_iter().map(of).collect()
}

fn open(address: SocketAddr) -> Wire {
    websocket_at(address, "/witness")
}

#[test]
fn closed_is_called_once_with_what_the_peer_said() {
    let (local, told) = witnessed(single());
    let said = [close_body(1000, b""), close_body(3456, "schön".as_bytes()), Vec::new()];
    for body in &said {
        let mut wire = open(local.address);
        // What stands behind a Close is not read, another Close included.
        wire.send(&[frame(CLOSE, body), frame(TEXT, b"behind"), frame(CLOSE, body)].concat());
        assert_eq!(wire.frame().first, CLOSE);
        wire.assert_ended();
    }
    let each = told_of_each(all_told(local, &told), "/witness");
    let closed = |code, reason| vec![Told::closed(code, reason, true), Told::Dropped];
    assert_eq!(each, [closed(1000, ""), closed(3456, "schön"), closed(1005, "")]);
}

#[test]
fn closed_is_called_once_when_the_server_says_close_first() {
    let (local, told) = witnessed(single());
    for answer in [close_body(4001, b"enough"), close_body(1000, b"as you like"), Vec::new()] {
        let mut wire = open(local.address);
        // A message that is under way meanwhile is read, and not delivered.
        wire.send(&[frame(TEXT, b"close"), frame(TEXT, b"behind")].concat());
        let close = wire.frame();
        assert_eq!((close.close_code(), &close.payload[2..]), (4001, &b"enough"[..]));
        wire.send(&[frame(TEXT, b"crossing"), frame(CLOSE, &answer)].concat());
        wire.assert_ended();
    }
    let each = told_of_each(all_told(local, &told), "/witness");
    let closed = |code, reason| vec![Told::text("close"), Told::closed(code, reason, true), Told::Dropped];
    assert_eq!(each, [closed(4001, "enough"), closed(1000, "as you like"), closed(1005, "")]);
}

#[test]
fn closed_is_called_once_when_a_peer_breaks_a_rule() {
    let limits = Limits { max_message_bytes: 1000, ..Limits::default() };
    let (local, told) = witnessed(Config { limits, ..single() });
    let cases: [(&[u8], u16, &str); 5] = [
        (b"\x81\x02hi", 1002, "client frame is not masked"),
        (b"\xc1\x80mask", 1002, "reserved bits are set"),
        (b"\x80\x80mask", 1002, "continuation of no message"),
        (b"\x81\x81\0\0\0\0\xff", 1007, "text is not UTF-8"),
        (b"\x82\xfe\x03\xe9mask", 1009, "message is too big"),
    ];
    for (bytes, code, _) in cases {
        let mut wire = open(local.address);
        wire.send(&[&frame(TEXT, b"fine")[..], bytes].concat());
        assert_eq!((text(&mut wire), wire.frame().close_code()), ("fine".into(), code));
        wire.assert_ended();
    }
    let each = told_of_each(all_told(local, &told), "/witness");
    let expected = cases.map(|(_, code, reason)| {
        vec![Told::text("fine"), Told::closed(code, reason, false), Told::Dropped] // the peer has not said Close
    });
    assert_eq!(each, expected);
}

#[test]
fn closed_is_called_once_when_a_peer_just_goes() {
    let (local, told) = witnessed(single());
    let gone = |reason| assert_eq!(hear(&told).1, Told::closed(1006, reason, false));
    for half in [&b""[..], &frame(TEXT, b"whole")[..5]] {
        for ends_with_a_reset in [false, true] {
            let mut wire = open(local.address);
            assert_eq!(hear(&told).1, opened("/witness"));
            wire.send(half);
            if ends_with_a_reset {
                reset(wire);
                gone("the connection failed");
            } else {
                drop(wire);
                gone("");
            }
            assert_eq!(hear(&told).1, Told::Dropped);
        }
    }
    // A server that lets go is told in the same way.
    let mut wire = open(local.address);
    say(&mut wire, "abort");
    wire.assert_ended();
    let last = told_of_each(all_told(local, &told), "/witness");
    assert_eq!(last, [vec![Told::text("abort"), Told::closed(1006, "aborted", false), Told::Dropped]]);
}

#[test]
fn closed_is_called_once_for_each_when_the_server_stops() {
    let (local, told) = witnessed(single());
    let (mut polite, _silent) = (open(local.address), open(local.address));
    local.server.stop();
    let close = polite.frame();
    assert_eq!((close.close_code(), &close.payload[2..]), (1001, &b"server stops"[..]));
    polite.send(&frame(CLOSE, &close_body(1001, b"")));
    polite.assert_ended();
    let each = told_of_each(all_told(local, &told), "/witness");
    let closed = |code, reason, was_clean| vec![Told::closed(code, reason, was_clean), Told::Dropped];
    assert_eq!(each, [closed(1001, "", true), closed(1006, "it did not answer the Close", false)]);
}

#[test]
fn closed_is_called_once_when_a_peer_is_silent_for_too_long() {
    let deadlines = Deadlines { ping_s: u32::MAX, idle_s: 1, close_s: 1, ..Deadlines::default() };
    let (local, told) = witnessed(Config { deadlines, ..single() });
    let mut wire = open(local.address);
    assert_eq!(wire.frame().close_code(), 1001);
    let each = told_of_each(all_told(local, &told), "/witness");
    assert_eq!(each, [vec![Told::closed(1006, "no sign of life", false), Told::Dropped]]);
}

#[test]
fn a_pong_tells_how_long_its_ping_took() {
    let (local, told) = witnessed(single());
    let mut wire = open(local.address);
    for _ in 0..2 {
        let before = Instant::now();
        say(&mut wire, "ping");
        let ping = wire.frame();
        assert_eq!(ping.first, PING);
        wire.send(&frame(PONG, &ping.payload));
        let is_pong = |(_, told): &(ConnectionId, Told)| matches!(told, Told::Pong(_));
        let pong = std::iter::repeat_with(|| hear(&told)).find(is_pong);
        let Some((_, Told::Pong(Some(took)))) = pong else { panic!("no round trip: {pong:?}") };
        assert!(took <= before.elapsed(), "{took:?} of {:?}", before.elapsed());
    }
}

#[test]
fn a_pong_of_a_ping_of_the_servers_own_tells_how_long_it_took() {
    let deadlines = Deadlines { ping_s: 1, close_s: 1, ..Deadlines::default() };
    let (local, told) = witnessed(Config { deadlines, ..single() });
    let mut wire = open(local.address);
    let ping = wire.frame();
    assert_eq!(ping.first, PING);
    wire.send(&frame(PONG, &ping.payload));
    assert_eq!(hear(&told).1, opened("/witness"));
    let (_, pong) = hear(&told);
    assert!(matches!(pong, Told::Pong(Some(_))), "{pong:?}");
}

#[test]
fn a_pong_that_nobody_asked_for_has_no_round_trip() {
    let (local, told) = witnessed(single());
    let mut wire = open(local.address);
    // Heartbeats of one side alone (RFC 6455 section 5.5.3), some of them with a counter of eight bytes.
    let payloads: [&[u8]; 7] =
        [b"", b"x", b"\0\0\0\0\0\0\0", b"\0\0\0\0\0\0\0\0\0", b"\xff\xff\xff\xff\xff\xff\xff\xff", &[0; 8], &[1; 125]];
    for payload in payloads {
        wire.send(&frame(PONG, payload));
    }
    wire.echo(b"all are heard");
    let all = told_of_each(all_told(local, &told), "/witness").remove(0);
    let pongs: Vec<_> = all.into_iter().filter(|told| matches!(told, Told::Pong(_))).collect();
    assert_eq!(pongs, vec![Told::Pong(None); payloads.len()]);
}

#[test]
fn a_request_that_is_not_upgraded_is_no_connection_of_a_handler() {
    let (local, told) = witnessed(single());
    for request in [
        UPGRADE.replace("/echo", "/nothing"),
        UPGRADE.replace("/echo", "/witness").replace("Version: 13", "Version: 12"),
        "GET /witness HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "garbage\r\n\r\n".to_owned(),
    ] {
        let mut wire = Wire::connect(local.address);
        wire.send(request.as_bytes());
        assert!(wire.answer().status >= 400, "{request:?}");
        drop(wire);
    }
    assert_eq!(all_told(local, &told), []);
}

/// Says good-bye to all others.
struct Farewell;

impl Handler<Kept> for Farewell {
    fn opened(&mut self, peer: &mut Peer<Kept>, _request: &Request) {
        peer.subscribe("farewell");
    }

    fn message(&mut self, _peer: &mut Peer<Kept>, _message: Message) {}

    fn closed(&mut self, peer: &mut Peer<Kept>, closed: &Closed) {
        peer.publish("farewell", &u16::from(closed.code).to_string());
    }
}

#[test]
fn what_is_published_about_an_end_is_heard_by_those_who_stay() {
    let local = Local::serve(Server::from(single()).route("/", || Farewell));
    let mut stays = websocket_at(local.address, "/");
    let mut others = [(); 4].map(|()| Some(websocket_at(local.address, "/")));
    drop(others[0].take());
    assert_eq!(text(&mut stays), "1006");
    reset(others[1].take().expect("it is open"));
    assert_eq!(text(&mut stays), "1006");
    others[2].as_mut().expect("it is open").send(&frame(CLOSE, &close_body(4711, b"")));
    assert_eq!(text(&mut stays), "4711");
    others[3].as_mut().expect("it is open").send(b"\x81\x00");
    assert_eq!(text(&mut stays), "1002");
}
