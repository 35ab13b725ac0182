//! What a server may make the flood keep: pages, heads and answers to questions are bounded, and a loss has its cause.

use crate::host::{Ended, run};
use crate::rig::{assert_sums, assert_whole, echo_frames, flood, foreign, grant, read_head};
use serde_json::json;
use std::io::Write;
use std::net::TcpStream;

/// A flood with little memory.
fn bounded(arguments: &[&str]) -> Ended {
    run("ulimit -v 600000", &[&["flood"], arguments].concat())
}

fn says(ended: &Ended, line: &str) {
    assert!(ended.out.iter().any(|said| said.trim() == line), "no {line:?} in {ended:?}");
}

#[test]
fn page_without_end_ends_the_connection_with_its_cause() {
    for head in ["Content-Length: 99999999999", "Transfer-Encoding: chunked", "Connection: close"] {
        let address = foreign(move |mut stream| {
            read_head(&mut stream)?;
            write!(stream, "HTTP/1.1 200 OK\r\n{head}\r\n\r\n")?;
            let piece = [b'x'; 64 << 10];
            loop {
                if head.ends_with("chunked") {
                    stream.write_all(b"10000\r\n")?;
                }
                stream.write_all(&piece)?;
                if head.ends_with("chunked") {
                    stream.write_all(b"\r\n")?;
                }
            }
        });
        let url = format!("http://{address}/");
        let ended = bounded(&[&url, "--connections", "6", "--reply-timeout-s", "3600"]);
        assert_eq!(ended.code(), 1, "{ended:?}");
        says(&ended, "6 reply too long");
    }
}

#[test]
fn page_of_the_maximum_length_is_accepted() {
    let address = foreign(|mut stream| {
        loop {
            read_head(&mut stream)?;
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{}", "x".repeat(1000))?;
        }
    });
    let url = format!("http://{address}/");
    let (ended, report) = flood(&[&url, "--connections", "5", "--max-reply-bytes", "1000"]);
    assert_whole(&ended, &report, 5);
    let (ended, report) = flood(&[&url, "--connections", "5", "--max-reply-bytes", "999"]);
    assert_sums(&ended, &report, 5);
    assert_eq!(report["lost_by_cause"], json!({ "reply too long": 5 }), "{report}");
}

#[test]
fn head_without_end_ends_the_connection_with_its_cause() {
    let endless = |line: &'static str| {
        foreign(move |mut stream| {
            read_head(&mut stream)?;
            stream.write_all(b"HTTP/1.1 200 OK\r\n")?;
            loop {
                stream.write_all(line.repeat(100).as_bytes())?;
            }
        })
    };
    for (scheme, line, cause) in [
        ("http", "X: y\r\n", "protocol error: malformed response"),
        ("ws", "X: y\r\n", "protocol error: malformed response"),
        ("http", "\r\nHTTP/1.1 100 Continue\r\n", "protocol error: malformed response"),
    ] {
        let url = format!("{scheme}://{}/", endless(line));
        let limits = ["--connections", "4", "--reply-timeout-s", "3600", "--connect-timeout-s", "3600"];
        let ended = bounded(&[&[url.as_str()], &limits[..]].concat());
        assert_eq!(ended.code(), 1, "{ended:?}");
        if line.starts_with('X') {
            says(&ended, &format!("4 {cause}"));
        }
    }
}

#[test]
fn endless_interim_responses_do_not_extend_the_deadline() {
    for (scheme, cause) in [("http", "4 timeout: reply"), ("ws", "4 timeout: connect")] {
        let address = foreign(|mut stream| {
            read_head(&mut stream)?;
            loop {
                stream.write_all(b"HTTP/1.1 102 Processing\r\n\r\n")?;
            }
        });
        let url = format!("{scheme}://{address}/");
        let ended = bounded(&[&url, "--connections", "4", "--reply-timeout-s", "1", "--connect-timeout-s", "1"]);
        assert_eq!(ended.code(), 1, "{ended:?}");
        says(&ended, cause);
    }
}

/// Echoes, and answers the question for `/stats` with `stats`.
fn telling(stats: String) -> std::net::SocketAddr {
    foreign(move |mut stream: TcpStream| {
        let head = read_head(&mut stream)?;
        if head.contains("Upgrade: websocket") {
            grant(&mut stream, &head, "")?;
            return echo_frames(&mut stream);
        }
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{stats}", stats.len())
    })
}

#[test]
fn oversize_stats_response_is_skipped_with_a_warning() {
    let stats = format!("{{\"server\":\"steadfast\",\"x\":[{}0]}}", "0,".repeat(7 << 20));
    let url = format!("ws://{}/", telling(stats));
    let (ended, report) = flood(&[&url, "--connections", "5"]);
    assert_whole(&ended, &report, 5);
    let warning = "the answer to /stats is longer than 1048576 bytes, and is not read";
    assert_eq!(report["warnings"], json!([warning]), "{report}");
    assert!(ended.err.contains(&format!("steadfast: warning: {warning}")), "{ended:?}");
}

#[test]
fn malformed_stats_response_is_taken_for_a_foreign_server() {
    for stats in [
        "[".repeat(1 << 20),
        format!("{{\"server\":\"steadfast\",\"x\":{}", "[".repeat(1 << 19)),
        r#"{"server":"steadfast","counters":7}"#.into(),
        r#"{"server":"steadfast","connections":{"now":-1}}"#.into(),
    ] {
        let url = format!("ws://{}/", telling(stats));
        let ended = bounded(&[&url, "--connections", "5"]);
        assert_eq!(ended.code(), 0, "{ended:?}");
    }
}

#[test]
fn stats_of_any_size_are_compared() {
    let most = u64::MAX;
    let counters = format!("{{\"upgraded\":{most},\"messages_in\":{most},\"messages_delivered\":{most}}}");
    let connections = format!("{{\"now\":{most},\"max\":{most}}}");
    let cpu = r#"{"user_s":1e300,"system_s":-1e300}"#;
    let stats =
        format!("{{\"server\":\"steadfast\",\"counters\":{counters},\"connections\":{connections},\"cpu\":{cpu}}}");
    let url = format!("ws://{}/", telling(stats));
    let (ended, report) = flood(&[&url, "--connections", "5"]);
    assert_whole(&ended, &report, 5);
}

#[test]
fn payload_beyond_the_available_memory_is_refused() {
    let ended = bounded(&["ws://127.0.0.1:9/", "--connections", "5", "--payload", "1073741824"]);
    assert_eq!((ended.code(), ended.err.len()), (2, 1), "{ended:?}");
    for word in ["no memory", "1073741824 bytes", "--payload", "ulimit -v"] {
        assert!(ended.err[0].contains(word), "no {word:?} in {ended:?}");
    }
}
