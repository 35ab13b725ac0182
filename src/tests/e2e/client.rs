//! The library's client: what a program sees that uses it.

use crate::connect_peer::{Door, echo_of};
use crate::host::{Local, quick};
use crate::wire::{CLOSE, PATIENCE, PING, PONG, TEXT, close_body};
use std::io::{Write, pipe};
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;
use steadfast::client::{BadSetting, Client, Config, ConnectError, Ending, Heard};
use steadfast::proto::close::{CloseCode, Fault};
use steadfast::proto::session::MessageKind;

fn config(url: &str) -> Config {
    Config::to(url.parse().expect("a URL"))
}

#[test]
fn messages_come_back_in_order_and_the_close_is_answered() {
    let local = Local::start(quick());
    let mut client = Client::connect(&config(&echo_of(local.address))).expect("a connection");
    assert_eq!((client.peer(), client.subprotocol(), client.compression().is_on()), (local.address, None, false));
    assert_eq!(client.receive(Duration::ZERO), None);
    assert!(client.send(MessageKind::Text, b"one") && client.ping(b"p") && client.send(MessageKind::Binary, b"two"));
    assert!(!client.ping(&[0; 126]), "too long");
    for expected in [
        Heard::Message(MessageKind::Text, b"one".to_vec()),
        Heard::Pong(b"p".to_vec()),
        Heard::Message(MessageKind::Binary, b"two".to_vec()),
    ] {
        assert_eq!(client.receive(PATIENCE), Some(expected));
    }
    client.close(CloseCode::GOING_AWAY, "enough");
    assert!(!client.send(MessageKind::Text, b"too late") && !client.ping(b""));
    let ended = Heard::Ended(Ending::ByUs { code: CloseCode::GOING_AWAY.into(), reason: String::new() });
    assert_eq!(client.receive(PATIENCE), Some(ended.clone()));
    assert_eq!(client.receive(Duration::ZERO), Some(ended), "and each time it is asked");
    client.finish(PATIENCE);
}

#[test]
fn ending_tells_which_side_closed_first() {
    let cases: [(Vec<u8>, Ending); 3] = [
        (
            [&[CLOSE, 5][..], &close_body(4001, b"bye")].concat(),
            Ending::ByPeer { code: CloseCode::of::<4001>().into(), reason: "bye".into() },
        ),
        (vec![TEXT, 1, 0xff], Ending::Failed(Fault::TextNotUtf8)),
        (vec![TEXT, 2, b'a'], Ending::Abnormal(None)),
    ];
    for (bytes, ending) in cases {
        let door = Door::open();
        let url = door.url.clone();
        let asking = thread::spawn(move || Client::connect(&config(&url)).expect("a connection"));
        let mut peer = door.upgraded("");
        let mut client = asking.join().expect("no panic");
        peer.wire.send(&bytes);
        peer.wire.socket.shutdown(std::net::Shutdown::Write).expect("an end");
        assert_eq!(client.receive(PATIENCE), Some(Heard::Ended(ending.clone())));
        client.finish(PATIENCE);
        if ending != Ending::Abnormal(None) {
            assert_eq!(peer.frame().close_code(), u16::from(ending.code()), "the answer is not lost");
        }
        peer.wire.assert_ended();
    }
}

/// A ping that comes is answered though the program only waits; and a wait ends for whatever else it listens to.
#[test]
fn wait_returns_for_the_socket_and_for_other_descriptors() {
    let door = Door::open();
    let url = door.url.clone();
    let asking = thread::spawn(move || Client::connect(&config(&url)).expect("a connection"));
    let mut peer = door.upgraded("");
    let mut client = asking.join().expect("no panic");
    let (other, mut writer) = pipe().expect("a pipe");
    assert_eq!(client.wait(&[other.as_fd()], Duration::ZERO).expect("poll"), [false]);
    peer.send(PING, b"hello");
    assert_eq!(client.wait(&[other.as_fd()], PATIENCE).expect("poll"), [false]);
    assert_eq!(client.receive(PATIENCE), Some(Heard::Ping(b"hello".to_vec())));
    writer.write_all(b"x").expect("a pipe with room");
    assert_eq!(client.wait(&[other.as_fd()], PATIENCE).expect("poll"), [true]);
    let pong = peer.frame();
    assert_eq!((pong.first, &pong.payload[..]), (PONG, &b"hello"[..]));
}

#[test]
fn invalid_settings_are_refused() {
    let base = config("ws://127.0.0.1:1/");
    let cases = [
        Config { subprotocols: vec!["a b".into()], ..base.clone() },
        Config { subprotocols: vec!["a".into(), "a".into()], ..base.clone() },
        Config { origin: Some("example.org".into()), ..base.clone() },
        Config { origin: Some("http://a\r\nX: y".into()), ..base.clone() },
        Config { origin: Some("null".into()), fields: vec!["origin: null".into()], ..base.clone() },
        Config { fields: vec!["X: a\r\nY: b".into()], ..base.clone() },
        Config { fields: vec!["Host: a".into()], ..base.clone() },
    ];
    for case in cases {
        let error = Client::connect(&case).expect_err("nothing is sent");
        assert!(matches!(error, ConnectError::Setting(_)), "{case:?}: {error:?}");
    }
    let error = Client::connect(&Config { origin: Some("null".into()), ..base }).expect_err("nobody listens there");
    assert!(!matches!(error, ConnectError::Setting(BadSetting::Origin(_))), "{error:?}");
}
