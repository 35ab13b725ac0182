//! Valid requests: one after the other, pipelined, HEAD, HTTP/1.0, and an upgrade after them.

use crate::host::{Local, Serve, quick};
use crate::wire::{BINARY, Frame, TEXT, UPGRADE, Wire, frame};
use std::time::Instant;

const GET_PAGE: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const GET_STATS: &str = "GET /stats HTTP/1.1\r\nHost: a\r\n\r\n";
const GET_NOTHING: &str = "GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn one_connection_serves_request_after_request() {
    let local = Local::start(quick());
    let mut wire = Wire::connect(local.address);
    for _ in 0..3 {
        wire.send(GET_PAGE.as_bytes());
        let page = wire.answer();
        assert_eq!((page.status, page.field("Content-Type")), (200, Some("text/html; charset=utf-8")));
        assert!(!page.closes() && page.body.starts_with(b"<!doctype html>"), "{page:?}");
        wire.send(GET_NOTHING.as_bytes());
        let nothing = wire.answer();
        assert_eq!((nothing.status, nothing.closes()), (404, false));
        assert_eq!(wire.stats()["server"], "steadfast");
    }
}

#[test]
fn requests_in_one_write_are_answered_in_order() {
    let local = Local::start(quick());
    let mut wire = Wire::connect(local.address);
    // Empty lines in front of a request line are ignored, RFC 9112 section 2.2.
    wire.send([GET_PAGE, "\r\n\r\n", GET_STATS, GET_NOTHING, GET_PAGE].concat().as_bytes());
    let answers = [wire.answer(), wire.answer(), wire.answer(), wire.answer()];
    assert_eq!(answers.each_ref().map(|answer| answer.status), [200, 200, 404, 200]);
    assert_eq!(answers[1].field("Content-Type"), Some("application/json"));
    assert_eq!(answers[0].body, answers[3].body);
}

#[test]
fn a_long_pipeline_of_requests_is_answered_whole() {
    const REQUESTS: usize = 500;
    let local = Local::start(quick());
    let mut wire = Wire::connect(local.address);
    let mut sender = Wire::over(wire.socket.try_clone().expect("a twin"));
    let requests = [GET_NOTHING, GET_PAGE].concat().repeat(REQUESTS);
    let sending = std::thread::spawn(move || sender.send(requests.as_bytes()));
    for at in 0..REQUESTS {
        assert_eq!((wire.answer().status, wire.answer().status), (404, 200), "pair {at}");
    }
    sending.join().expect("all is sent");
    wire.socket.shutdown(std::net::Shutdown::Write).expect("a shutdown");
    wire.assert_ended();
}

#[test]
fn head_is_answered_like_get_without_the_body() {
    let local = Local::start(quick());
    let mut wire = Wire::connect(local.address);
    wire.send(GET_PAGE.as_bytes());
    let page = wire.answer();
    // What follows at once would be taken for a body if there were one.
    wire.send(["HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", "HEAD /nothing HTTP/1.1\r\nHost: a\r\n\r\n"].concat().as_bytes());
    let head = wire.answer_without_body();
    assert_eq!((head.status, head.field("Content-Length")), (200, page.field("Content-Length")));
    assert_eq!(wire.answer_without_body().status, 404);
    wire.send(b"HEAD /echo HTTP/1.1\r\nHost: a\r\n\r\n");
    let refused = wire.answer_without_body();
    assert_eq!((refused.status, refused.closes()), (426, true));
    wire.assert_ended();
}

#[test]
fn request_with_connection_close_is_answered_and_closed() {
    let local = Local::start(quick());
    let requests = [
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: a\r\n\r\n",
    ];
    for request in requests {
        let mut wire = Wire::connect(local.address);
        wire.send([request, GET_STATS].concat().as_bytes());
        let answer = wire.answer();
        assert_eq!((answer.status, answer.closes()), (200, true), "{request:?}");
        wire.assert_ended();
    }
}

#[test]
fn http_1_0_with_keep_alive_stays_open() {
    let local = Local::start(quick());
    let mut wire = Wire::connect(local.address);
    for _ in 0..2 {
        wire.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        let answer = wire.answer();
        assert_eq!((answer.status, answer.closes()), (200, false));
    }
}

#[test]
fn an_upgrade_follows_requests_and_is_followed_by_frames_in_one_write() {
    let local = Local::start(quick());
    let mut wire = Wire::connect(local.address);
    wire.send(&[GET_PAGE.as_bytes(), UPGRADE.as_bytes(), &frame(TEXT, b"at once"), &frame(BINARY, b"")].concat());
    assert_eq!(wire.answer().status, 200);
    wire.assert_upgraded();
    assert_eq!(wire.frame(), Frame { first: TEXT, payload: b"at once".to_vec() });
    assert_eq!(wire.frame(), Frame { first: BINARY, payload: Vec::new() });
    wire.echo(b"and later");
}

#[test]
fn a_request_may_come_byte_by_byte() {
    let local = Local::start(quick());
    let mut wire = Wire::connect(local.address);
    for byte in [UPGRADE.as_bytes(), &frame(TEXT, "käse".as_bytes())].concat() {
        wire.send(&[byte]);
    }
    wire.assert_upgraded();
    assert_eq!(wire.frame(), Frame { first: TEXT, payload: "käse".into() });
}

#[test]
fn upgrade_from_the_same_origin_is_accepted() {
    let local = Local::start(quick());
    for (path, more) in [("/", ""), ("/echo?room=1", "Origin: http://a\r\n"), ("/", "Origin: HTTP://A\r\n")] {
        let mut wire = Wire::connect(local.address);
        let request = UPGRADE.replace("/echo", path).replace("Host: a\r\n", &format!("Host: a\r\n{more}"));
        wire.send(request.as_bytes());
        wire.assert_upgraded();
        wire.echo(b"here");
    }
}

#[test]
fn stats_count_what_happened() {
    let local = Local::start(quick());
    let mut stats = Wire::connect(local.address);
    let mut wires = [Wire::websocket(local.address), Wire::websocket(local.address)];
    for wire in &mut wires {
        wire.echo(&[7; 100]);
    }
    let now = stats.stats();
    assert_eq!((&now["connections"]["now"], &now["connections"]["ever"]), (&3.into(), &3.into()), "{now}");
    assert_eq!((&now["messages"]["in"], &now["messages"]["out"]), (&2.into(), &2.into()), "{now}");
    assert!(now.get("reactors").is_none(), "{now}");
    let now = stats.stats_at("/stats?reactors");
    let by_reactor = now["reactors"].as_array().expect("reactors");
    let sum: u64 = by_reactor.iter().filter_map(|one| one["connections"]["now"].as_u64()).sum();
    assert_eq!((by_reactor.len(), sum), (local.server.plan().reactors, 3), "{now}");
    for name in ["user_bytes", "user_bytes_when_ready", "user_bytes_per_connection"] {
        assert!(now["memory"][name].is_number(), "{name}: {now}");
    }
    // Ends of which the server learns in its own time.
    drop(wires);
    stats.stats_until("two have gone", |stats| stats["connections"]["now"] == 1);
}

/// A request of 31 bytes is no load: the document is made at most once in 250 ms.
#[test]
fn stats_are_not_made_anew_for_every_request() {
    let serve = Serve::start(&[]);
    let mut stats = Wire::connect(serve.address());
    let began = Instant::now();
    let mut uptimes: Vec<String> = (0..400).map(|_| stats.stats()["uptime_s"].to_string()).collect();
    let most = began.elapsed().as_millis() as usize / 250 + 1;
    uptimes.dedup();
    assert!(uptimes.len() <= most, "{} documents, {most} at most", uptimes.len());
}
