//! Long polling: requests that wait for what is published next.

use crate::host::Local;
use crate::rig::{hear, reset, say, single, text, upgrade_at, websocket_at};
use crate::wire::{Answer, Frame, PATIENCE, TEXT, Wire, frame};
use std::net::Shutdown;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};
use steadfast::server::{Config, Deadlines, Handler, Message, Peer, Reply, Request, Response, Server, StatusCode};

const NEXT: &str = "GET /next HTTP/1.1\r\nHost: a\r\n\r\n";
const NOW: &str = "GET /now HTTP/1.1\r\nHost: a\r\n\r\n";

/// Publishes on `news` what it is told, twice if it is told so.
struct Press;

impl Handler for Press {
    fn opened(&mut self, peer: &mut Peer, _request: &Request) {
        peer.subscribe("other");
    }

    fn message(&mut self, peer: &mut Peer, message: Message) {
        match message.text() {
            Some("subscribe") => {
                peer.subscribe("news");
                peer.send("subscribed");
                return;
            }
            Some("twice") => {
                peer.publish("news", "once");
                peer.publish("news", "twice");
            }
            _ => drop(peer.publish("news", message)),
        }
        peer.publish("other", "published");
    }
}

/// A server whose `/next` waits; and what tells that a request is about to.
fn serve(config: Config) -> (Local, Receiver<()>) {
    let (tell, told): (Sender<()>, _) = channel();
    let (post, but) = (tell.clone(), tell.clone());
    let next = |tell: &Sender<()>| {
        // Its reactor goes on when the request waits, so whatever it is asked from now on comes behind that.
        tell.send(()).expect("the test hears of it");
        let like = Response::text("for its fields alone").with_field("X-Like: this").expect("a constant");
        Reply::next("news", like)
    };
    let server = Server::from(config).get("/next", move |_: &Request<'_>| next(&tell));
    let server = server.post("/next", move |_: &Request<'_>| next(&post));
    let server = server.get("/next-but", move |request: &Request<'_>| {
        let Reply::Next(_) = next(&but) else { unreachable!("it waits") };
        // What stands behind the question mark is not wanted, and nothing that begins so.
        let not = request.target().split_once('?').map(|(_, not)| not.to_owned()).unwrap_or_default();
        Reply::next_where(
            "news",
            Response::json("").with_status(StatusCode::NON_AUTHORITATIVE_INFORMATION),
            move |message| !message.starts_with(not.as_bytes()),
        )
    });
    let server = server.get("/now", |_: &Request<'_>| Response::text("now")).route("/press", || Press);
    (Local::serve(server), told)
}

fn waits(local: &Local, told: &Receiver<()>) -> Wire {
    let mut wire = Wire::connect(local.address);
    wire.send(NEXT.as_bytes());
    hear(told);
    wire
}

fn assert_next(answer: &Answer, body: &str) {
    assert_eq!((answer.status, String::from_utf8_lossy(&answer.body).as_ref()), (200, body), "{answer:?}");
    assert_eq!(
        (answer.field("Content-Type"), answer.field("X-Like")),
        (Some("text/plain; charset=utf-8"), Some("this"))
    );
    assert_eq!(answer.field("Cache-Control"), Some("no-store"));
}

fn assert_now(wire: &mut Wire) {
    let answer = wire.answer();
    assert_eq!((answer.status, &*answer.body), (200, &b"now"[..]), "{answer:?}");
}

#[test]
fn a_request_waits_for_what_is_published_next_and_its_connection_goes_on() {
    let (local, told) = serve(single());
    local.server.publish("news", "before anyone waits");
    let mut wire = waits(&local, &told);
    for round in 0..3 {
        local.server.publish("olds", "of another topic");
        local.server.publish("news", &format!("[{round}]"));
        let answer = wire.answer();
        assert_next(&answer, &format!("[{round}]"));
        assert!(!answer.closes());
        // Nobody waits now.
        local.server.publish("news", "missed");
        wire.send(NOW.as_bytes());
        assert_now(&mut wire);
        wire.send(NEXT.as_bytes());
        hear(&told);
    }
    local.server.publish("news", &b"\x00\xff binary"[..]);
    assert_eq!(wire.answer().body, b"\x00\xff binary");
}

/// What comes behind a waiting request, in turns of so many events.
fn assert_pipelined(max_events_per_turn: u32) {
    let (local, told) = serve(Config { max_events_per_turn, max_accepts_per_turn: 1, ..single() });
    let mut wire = Wire::connect(local.address);
    // One that is there at once, and one that comes while the first waits.
    wire.send([NEXT, NOW].concat().as_bytes());
    hear(&told);
    wire.send([NOW, NEXT, NEXT, NOW].concat().as_bytes());
    // The neighbour is answered meanwhile, so the reactor has had a turn with all of that.
    let mut neighbour = Wire::connect(local.address);
    neighbour.send(NOW.as_bytes());
    assert_now(&mut neighbour);
    assert!(told.try_recv().is_err(), "the second has to wait for the first");
    local.server.publish("news", "1");
    assert_next(&wire.answer(), "1");
    assert_now(&mut wire);
    assert_now(&mut wire);
    hear(&told);
    local.server.publish("news", "2");
    assert_next(&wire.answer(), "2");
    hear(&told);
    local.server.publish("news", "3");
    assert_next(&wire.answer(), "3");
    assert_now(&mut wire);
}

#[test]
fn what_is_pipelined_behind_a_waiting_request_is_answered_behind_it() {
    for max_events_per_turn in [1, 2, 32] {
        assert_pipelined(max_events_per_turn);
    }
}

#[test]
fn an_upgrade_may_stand_behind_a_waiting_request() {
    let (local, told) = serve(single());
    let mut wire = Wire::connect(local.address);
    wire.send(&[NEXT.as_bytes(), upgrade_at("/press", "").as_bytes(), &frame(TEXT, b"hello")].concat());
    hear(&told);
    local.server.publish("news", "1");
    assert_next(&wire.answer(), "1");
    wire.assert_upgraded();
    // It has subscribed to the one topic as a WebSocket, and to the other it had as a request: that is over.
    assert_eq!(text(&mut wire), "published");
    local.server.publish("news", "2");
    local.server.publish("other", "3");
    assert_eq!(text(&mut wire), "3");
    say(&mut wire, "subscribe");
    assert_eq!(text(&mut wire), "subscribed");
    local.server.publish("news", "4");
    assert_eq!(text(&mut wire), "4");
}

#[test]
fn a_client_that_goes_away_while_it_waits_harms_nobody() {
    let (local, told) = serve(single());
    let mut neighbour = Wire::connect(local.address);
    for round in 0..4 {
        let (gone, reset_one) = (waits(&local, &told), waits(&local, &told));
        let mut stays = waits(&local, &told);
        drop(gone);
        reset(reset_one);
        // A reset and a FIN are seen at once.
        let since = Instant::now();
        while local.server.counters().ended_abruptly < 2 * (round + 1) {
            assert!(since.elapsed() < PATIENCE, "it still waits");
            neighbour.send(NOW.as_bytes());
            assert_now(&mut neighbour);
        }
        // One who comes to its place.
        let mut successor = Wire::connect(local.address);
        successor.send(NOW.as_bytes());
        assert_now(&mut successor);
        local.server.publish("news", "late");
        assert_next(&stays.answer(), "late");
        // What was meant for those before it is not sent here.
        successor.send(NOW.as_bytes());
        assert_now(&mut successor);
        stays.send(NOW.as_bytes());
        assert_now(&mut stays);
    }
}

#[test]
fn a_client_that_closes_while_it_is_owed_a_response_gives_its_place_back() {
    let (local, told) = serve(Config { max_connections: Some(1), ..single() });
    for round in 0..4 {
        // The end comes with the request, together with another one, or later; of one direction or of both.
        let mut wire = Wire::connect(local.address);
        wire.send(if round % 2 == 0 { NEXT.to_owned() } else { [NEXT, NOW].concat() }.as_bytes());
        if round < 2 {
            hear(&told);
        }
        let twin = wire.socket.try_clone().expect("a twin");
        twin.shutdown(Shutdown::Write).expect("a shutdown");
        if round >= 2 {
            hear(&told);
        }
        wire.assert_gone();
        // There is one place only.
        let mut successor = Wire::connect(local.address);
        successor.send(NOW.as_bytes());
        assert_now(&mut successor);
        // What the one before has subscribed to is not for this one.
        let before = local.server.counters();
        local.server.publish("news", "late");
        successor.send(NOW.as_bytes());
        assert_now(&mut successor);
        let after = local.server.counters();
        assert_eq!((after.messages_out, after.ended_abruptly), (before.messages_out, round + 1));
        let ended = after.ended;
        drop(successor);
        let since = Instant::now();
        while local.server.counters().ended == ended {
            assert!(since.elapsed() < PATIENCE, "the successor is still there");
        }
    }
}

#[test]
fn a_waiting_request_is_answered_as_it_was_asked() {
    let (local, told) = serve(single());
    let mut head = Wire::connect(local.address);
    head.send(["HEAD /next HTTP/1.1\r\nHost: a\r\n\r\n", NOW].concat().as_bytes());
    let mut closes = Wire::connect(local.address);
    closes.send(b"GET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let mut old = Wire::connect(local.address);
    old.send(b"GET /next HTTP/1.0\r\n\r\n");
    let mut old_but_stays = Wire::connect(local.address);
    old_but_stays.send(["GET /next HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", NOW].concat().as_bytes());
    let mut post = Wire::connect(local.address);
    post.send(["POST /next HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi", NOW].concat().as_bytes());
    (0..5).for_each(|_| hear(&told));
    local.server.publish("news", "news");
    let answer = head.answer_without_body();
    assert_eq!((answer.status, answer.field("Content-Length"), answer.closes()), (200, Some("4"), false));
    assert_now(&mut head);
    for wire in [&mut closes, &mut old] {
        let answer = wire.answer();
        assert_next(&answer, "news");
        assert!(answer.closes());
        wire.assert_ended();
    }
    let answer = old_but_stays.answer();
    assert_next(&answer, "news");
    assert_eq!(answer.field("Connection"), Some("keep-alive"));
    assert_now(&mut old_but_stays);
    assert_next(&post.answer(), "news");
    assert_now(&mut post);
}

#[test]
fn many_wait_beside_websockets_of_the_topic_and_each_hears_it_once() {
    // More than one turn of the reactor sends to.
    const MANY: usize = 200;
    let (local, told) = serve(Config { reactors: Some(2), ..single() });
    let mut waiting: Vec<Wire> = (0..MANY).map(|_| waits(&local, &told)).collect();
    let mut sockets: Vec<Wire> = (0..MANY).map(|_| websocket_at(local.address, "/press")).collect();
    for wire in &mut sockets {
        say(wire, "subscribe");
        assert_eq!(text(wire), "subscribed");
    }
    say(&mut sockets[0], "twice");
    for wire in &mut sockets {
        let mut heard = [text(wire), text(wire), text(wire)];
        heard.sort();
        assert_eq!(heard, ["once", "published", "twice"]);
    }
    for wire in &mut waiting {
        assert_next(&wire.answer(), "once");
        wire.send(NOW.as_bytes());
        assert_now(wire);
    }
}

#[test]
fn a_request_that_has_its_answer_counts_for_nothing() {
    let (local, told) = serve(single());
    let mut waiting = [(); 3].map(|()| waits(&local, &told));
    let mut press = websocket_at(local.address, "/press");
    say(&mut press, "twice");
    assert_eq!(press.frame(), Frame { first: TEXT, payload: b"published".to_vec() });
    for wire in &mut waiting {
        assert_next(&wire.answer(), "once");
    }
    let counters = local.server.counters();
    assert_eq!((counters.messages_out, counters.messages_dropped), (1, 0), "{counters:?}");
}

#[test]
fn a_request_may_wait_for_more_than_the_next() {
    let (local, told) = serve(single());
    let mut choosy = [(); 2].map(|()| Wire::connect(local.address));
    for (wire, not) in choosy.iter_mut().zip(["o", "once"]) {
        wire.send(format!("GET /next-but?{not} HTTP/1.1\r\nHost: a\r\n\r\n{NOW}").as_bytes());
        hear(&told);
    }
    let mut press = websocket_at(local.address, "/press");
    let mut any = waits(&local, &told);
    local.server.publish("news", "old");
    assert_next(&any.answer(), "old");
    assert_eq!((choosy[1].answer().body, choosy[1].answer().body), (b"old".to_vec(), b"now".to_vec()));
    // In one pass: one that is not wanted, and one that is.
    say(&mut press, "twice");
    assert_eq!(text(&mut press), "published");
    let answer = choosy[0].answer();
    assert_eq!((answer.status, &*answer.body, answer.closes()), (203, &b"twice"[..], false), "{answer:?}");
    assert_eq!(answer.field("Content-Type"), Some("application/json"));
    assert_now(&mut choosy[0]);
    let counters = local.server.counters();
    assert_eq!(counters.messages_dropped, 0, "what was not wanted is not lost: {counters:?}");
}

#[test]
fn a_large_answer_is_whole_and_the_connection_goes_on_behind_it() {
    let (local, told) = serve(single());
    let mut wire = Wire::connect(local.address);
    wire.send([NEXT, NOW].concat().as_bytes());
    hear(&told);
    // More than the sockets hold.
    let large: Vec<u8> = (0..12 << 20).map(|at| (at % 251) as u8).collect();
    local.server.publish("news", &large);
    let answer = wire.answer();
    assert!(answer.status == 200 && answer.body == large, "{}", answer.head);
    assert_now(&mut wire);
    wire.send(NEXT.as_bytes());
    hear(&told);
    local.server.publish("news", "small");
    assert_next(&wire.answer(), "small");
}

#[test]
fn no_deadline_runs_while_a_request_waits() {
    let deadlines = Deadlines {
        head_s: 1,
        keep_alive_s: 1,
        ping_s: u32::MAX,
        idle_s: 1,
        close_s: 1,
        stalled_s: 1,
        ..Deadlines::default()
    };
    let (local, told) = serve(Config { deadlines, ..single() });
    let mut wire = Wire::connect(local.address);
    wire.send([NEXT, NOW].concat().as_bytes());
    hear(&told);
    // As long as it takes for two who say nothing to be given up, one after the other, each in more than a second.
    for _ in 0..2 {
        let mut idle = Wire::connect(local.address);
        idle.send(NOW.as_bytes());
        assert_now(&mut idle);
        idle.assert_ended();
    }
    local.server.publish("news", "at last");
    assert_next(&wire.answer(), "at last");
    assert_now(&mut wire);
    // Behind its answer they do.
    wire.assert_ended();
}

#[test]
fn a_request_that_waits_in_vain_is_told_that_there_is_nothing() {
    let (local, told) = serve(single());
    let since = Instant::now();
    let mut wire = waits(&local, &told);
    wire.socket.set_read_timeout(Some(2 * PATIENCE)).expect("a timeout");
    let answer = wire.answer();
    assert_eq!((answer.status, answer.field("X-Like"), answer.body.len()), (204, Some("this"), 0), "{answer:?}");
    assert!(since.elapsed() >= Duration::from_secs(24) && !answer.closes(), "{:?}", since.elapsed());
    local.server.publish("news", "for nobody");
    wire.send(NOW.as_bytes());
    assert_now(&mut wire);
    wire.send(NEXT.as_bytes());
    hear(&told);
    local.server.publish("news", "for you");
    assert_next(&wire.answer(), "for you");
}

#[test]
fn a_server_that_stops_tells_those_who_wait_and_waits_for_none_of_them() {
    let (local, told) = serve(single());
    let mut wires = [(); 4].map(|()| waits(&local, &told));
    // Some have asked for more, which is not read.
    wires[0].send(NOW.as_bytes());
    wires[1].send(&NOW.repeat(2000).into_bytes());
    let mut neighbour = Wire::connect(local.address);
    neighbour.send(NOW.as_bytes());
    assert_now(&mut neighbour);
    local.server.stop();
    for wire in &mut wires {
        let answer = wire.answer();
        assert_eq!((answer.status, answer.closes()), (503, true), "{answer:?}");
        wire.assert_ended();
    }
    drop(wires);
    local.join();
}
