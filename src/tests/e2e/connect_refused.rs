//! `steadfast connect` without a connection: the message and the exit code.

use crate::connect_peer::{Door, connect, echo_of, piped, plain};
use crate::host::{Ended, Local, quick};
use crate::wire::{BINARY, PING};
use std::io::Write;

/// One line on stderr that has all of `words`, nothing on stdout, and exit code 1.
fn assert_no_connection(ended: &Ended, words: &[&str]) {
    assert_eq!((ended.code(), ended.out.len(), ended.err.len()), (1, 0, 1), "{ended:?}");
    for word in words {
        assert!(ended.err[0].contains(word), "no {word:?} in {ended:?}");
    }
}

/// The output for `answer`, after which the server closes.
fn told(answer: &str, arguments: &[&str]) -> Ended {
    let door = Door::open();
    let (running, input) = connect(&door.url, arguments);
    let mut peer = door.asked();
    peer.wire.send(answer.as_bytes());
    drop(peer);
    let ended = running.ended();
    drop(input);
    ended
}

#[test]
fn refusals_of_steadfast_are_explained() {
    let local = Local::start(quick());
    let nothing = format!("ws://{}/nothing", local.address);
    assert_no_connection(&piped(&nothing, &[], b"hi"), &["404 Not Found", "nothing at /nothing"]);
    let foreign = piped(&echo_of(local.address), &["--origin", "https://example.org"], b"hi");
    assert_no_connection(&foreign, &["403 Forbidden", "another --origin than https://example.org"]);
    let own = format!("http://{}", local.address);
    assert_eq!(piped(&echo_of(local.address), &["--origin", &own], b"hi").code(), 0);
}

#[test]
fn refusal_suggests_what_may_help() {
    let cases: [(&str, &[&str]); 9] = [
        ("302 Found\r\nLocation: ws://b/c", &["302 Found", "redirects to ws://b/c;"]),
        ("308 x", &["308 Permanent Redirect", "redirects without a Location"]),
        ("401 x\r\nWWW-Authenticate: Basic", &["401 Unauthorized", "asks for Basic;", "--header 'Authorization"]),
        ("403 x", &["403 Forbidden", "--origin", "--header"]),
        (
            "426 x\r\nUpgrade: TLS/1.2\r\nSec-WebSocket-Version: 8",
            &["426 Upgrade Required", "Upgrade: TLS/1.2, Sec-WebSocket-Version: 8", "version 13"],
        ),
        ("503 x\r\nRetry-After: 7", &["503 Service Unavailable", "Retry-After: 7"]),
        ("200 OK\r\nContent-Length: 0", &["200 OK", "not a WebSocket"]),
        // What comes from the peer is shown so that it cannot drive a terminal, here too.
        ("302 Found\r\nLocation: \u{9b}2J", &["redirects to \\u{9b}2J;"]),
        ("103 Early Hints\r\nLocation: a\r\n\r\nHTTP/1.1 301 x\r\nLocation: b", &["redirects to b;"]),
    ];
    for (answer, words) in cases {
        assert_no_connection(&told(&format!("HTTP/1.1 {answer}\r\n\r\n"), &[]), words);
    }
}

#[test]
fn response_that_is_not_http_is_refused() {
    let upgrade = "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
    assert_no_connection(&told(&format!("{upgrade}\r\n"), &[]), &["Sec-WebSocket-Accept"]);
    assert_no_connection(&told("HTTP/1.1 101 x\r\n\r\n", &[]), &["without Upgrade"]);
    assert_no_connection(&told("\x15\x03\x01 ho\r\n\r\n", &[]), &["does not speak HTTP/1.1", "port"]);
    assert_no_connection(&told("", &[]), &["ended before an answer came", "TLS"]);
    let endless = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(20_000));
    assert_no_connection(&told(&endless, &[]), &["too large"]);
}

#[test]
fn silent_server_times_out() {
    let door = Door::open();
    let (running, input) = connect(&door.url, &["--connect-timeout-s", "1"]);
    let _peer = door.asked();
    assert_no_connection(&running.ended(), &["no answer within 1 s", "--connect-timeout-s"]);
    drop(input);
}

#[test]
fn refused_connect_is_reported() {
    let ended = piped("ws://127.0.0.1:1/", &[], b"");
    assert_no_connection(&ended, &["127.0.0.1:1 is not reachable", "refused"]);
    // No label of a name may be as long (RFC 1035 section 2.3.4), so no server is asked for it.
    let nowhere = format!("ws://{}.example/", "a".repeat(64));
    assert_no_connection(&piped(&nowhere, &[], b""), &[&nowhere, "cannot be found"]);
}

/// A name with more than one address is tried at each of them: many a server listens on one kind alone.
#[test]
fn all_addresses_of_a_name_are_tried() {
    let local = Local::start(quick());
    let ended = piped(&format!("ws://localhost:{}/echo", local.address.port()), &[], b"hi");
    assert_eq!((ended.code(), &ended.out[..]), (0, &["text: hi".to_owned()][..]), "{ended:?}");
}

/// A peer that goes on and on, and says nothing that would be shown: it does not keep the program from its end.
#[test]
fn endless_response_does_not_block() {
    let door = Door::open();
    let (mut running, input) = connect(&door.url, &[]);
    let mut peer = door.upgraded("");
    running.error_line("connected to ");
    running.signal("INT");
    assert_eq!(peer.frame().close_code(), 1000);
    // Messages after our Close are read, and not shown.
    let messages = plain(BINARY, b"x").repeat(10_000);
    while peer.wire.socket.write_all(&messages).is_ok() {}
    let ended = running.ended();
    assert_eq!(ended.code(), 1, "{ended:?}");
    assert!(ended.err.iter().any(|line| line.contains("did not answer within 1 s")), "{ended:?}");
    drop(input);
}

/// Pings are no answers: what was piped is not waited for because of them.
#[test]
fn peer_that_only_pings_does_not_block() {
    let door = Door::open();
    let (running, mut input) = connect(&door.url, &[]);
    let mut peer = door.upgraded("");
    writeln!(input, "hi").expect("it reads its input");
    drop(input);
    let pinging = std::thread::spawn(move || {
        // One in a while, and far more of them than the wait is long.
        for _ in 0..100 {
            if peer.wire.socket.write_all(&plain(PING, b"")).is_err() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
        panic!("twenty seconds of pings kept it");
    });
    let ended = running.ended();
    assert_eq!(ended.code(), 1, "{ended:?}");
    pinging.join().expect("it ended before the pings did");
}
