//! Faults that were found by reading, each held by the sequence of events that showed it.

use crate::flood::flood;
use crate::host::{Local, Running, Scratch, quick, steadfast, text};
use crate::wire::{CLOSE, Wire, close_body, frame};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;
use steadfast::server::{Config, Deadlines};

/// A server of pages: each GET is answered with what `page` makes of its number, over all connections.
fn pages(page: impl Fn(usize) -> Vec<u8> + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("its address");
    let page = std::sync::Arc::new(page);
    let number = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (page, number) = (page.clone(), number.clone());
            thread::spawn(move || -> std::io::Result<()> {
                let mut writer = stream.try_clone()?;
                let mut reader = BufReader::new(stream);
                let mut line = String::new();
                while reader.read_line(&mut line)? > 0 {
                    if line == "\r\n" {
                        let next = number.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        writer.write_all(&page(next))?;
                    }
                    line.clear();
                }
                Ok(())
            });
        }
    });
    address
}

fn sized(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

#[test]
fn idle_reactor_has_the_current_time() {
    let local = Local::start(Config { deadlines: Deadlines { head_s: 2, ..Deadlines::default() }, ..quick() });
    // Longer than the deadline, without a connection: nothing but time can pass here.
    thread::sleep(Duration::from_millis(3000));
    let mut wire = Wire::connect(local.address);
    wire.socket.set_read_timeout(Some(Duration::from_millis(1000))).expect("a timeout");
    let error = wire.socket.peek(&mut [0]).expect_err("no answer to no request");
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    wire.socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    wire.upgrade();
    wire.echo(b"in time");
}

#[test]
fn chunked_page_with_any_number_of_chunks_ends() {
    // The head, the chunks and the end are an event each; a turn takes 32.
    for chunks in [28, 29, 30, 31, 32, 62, 63, 64] {
        let address = pages(move |_| {
            let body: String = (0..chunks).map(|_| "1\r\nx\r\n").collect();
            format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}0\r\n\r\n").into_bytes()
        });
        let (ended, report) = flood(&[&format!("http://{address}/"), "--connections", "3", "--reply-timeout-s", "3"]);
        assert_eq!((ended.code(), &report["ok"]), (0, &Value::Bool(true)), "{chunks} chunks: {report}");
    }
}

#[test]
fn page_without_a_comparison_is_reported_as_status_only() {
    for messages in ["0", "1"] {
        let address = pages(|number| sized(if number == 7 { "another" } else { "the page" }));
        let url = format!("http://{address}/");
        let (ended, report) = flood(&[&url, "--connections", "20", "--messages", messages]);
        let wrong = (ended.code(), &report["lost_by_cause"]) == (1, &json!({ "wrong reply": 1 }));
        // Where the odd one is among the first, from which a worker learns, the page is seen to vary.
        let honest = wrong || report["reply_check"] == "status";
        assert!(honest, "{report}");
    }
}

#[test]
fn connects_that_fail_at_once_are_all_accounted_for() {
    // An address reserved for documentation (RFC 5737): bind(2) refuses it before anything is in progress.
    let arguments = ["tcp://127.0.0.1:9", "--connections", "1000", "--source", "192.0.2.77"];
    let (ended, report) = flood(&arguments);
    assert_eq!(ended.code(), 1, "{ended:?}");
    assert_eq!(report["lost_by_cause"], json!({ "local limit: no free port or address": 1000 }));
}

#[test]
fn an_interrupt_while_replies_are_due_ends_the_flood() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let url = format!("tcp://{}", silent.local_addr().expect("its address"));
    let scratch = Scratch::new();
    let report = scratch.file("report");
    let arguments = ["flood", &url, "--connections", "4", "--reply-timeout-s", "600", "--json", text(&report)];
    let mut flood = Running::spawn(steadfast("", &arguments));
    flood.error_line("reply");
    flood.signal("INT");
    let ended = flood.ended();
    assert_eq!(ended.code(), 1, "{ended:?}");
    let report: Value = serde_json::from_slice(&std::fs::read(&report).expect("a report")).expect("JSON");
    assert_eq!(report["connections"]["closed"], 4, "{report}");
}

#[test]
fn reset_after_the_closing_handshake_counts_as_closed() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("its address");
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || close_and_reset(stream));
        }
    });
    let (ended, report) = flood(&[&format!("ws://{address}/"), "--connections", "4"]);
    assert_eq!((ended.code(), &report["connections"]["closed"]), (0, &json!(4)), "{report}");
}

/// Speaks just enough: upgrades, echoes masked frames unmasked, answers Close, and resets.
fn close_and_reset(mut stream: TcpStream) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let Some(key) = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")) else {
        return stream.shutdown(Shutdown::Both); // asked for a page, which it has none of
    };
    let accept = steadfast::proto::upgrade::accept_key(key.as_bytes());
    let mut answer = Vec::new();
    steadfast::proto::upgrade::encode_response(&mut answer, &accept.into(), "");
    stream.write_all(&answer)?;
    loop {
        let mut header = [0; 6];
        stream.read_exact(&mut header)?;
        let mut payload = vec![0; usize::from(header[1] & 0x7f)];
        stream.read_exact(&mut payload)?;
        steadfast::proto::mask::apply(&mut payload, [header[2], header[3], header[4], header[5]]);
        let mut reply = vec![header[0], payload.len() as u8];
        reply.extend_from_slice(&payload);
        stream.write_all(&reply)?;
        if header[0] == CLOSE {
            socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
            return Ok(());
        }
    }
}

#[test]
fn a_stop_sends_what_is_queued_first() {
    let local = Local::start(quick());
    let mut slow = Wire::websocket(local.address);
    // More than both sockets' buffers hold, so that some of it waits in the server.
    let message = vec![b'x'; 1 << 20];
    let echoed = frame(0x82, &message);
    let thread = {
        let mut writer = slow.socket.try_clone().expect("another handle");
        let echoed = echoed.clone();
        thread::spawn(move || {
            for _ in 0..24 {
                if writer.write_all(&echoed).is_err() {
                    return;
                }
            }
            let _ = writer.write_all(&frame(CLOSE, &close_body(1000, b"")));
        })
    };
    // The first message is through, so the server is at it.
    assert_eq!(slow.frame().payload.len(), message.len());
    local.server.stop();
    let last = loop {
        let next = slow.frame();
        if next.first == CLOSE {
            break next;
        }
        assert_eq!(next.payload.len(), message.len(), "a message that was queued is whole");
    };
    assert_eq!(last.close_code(), 1001);
    thread.join().expect("the writer");
}
