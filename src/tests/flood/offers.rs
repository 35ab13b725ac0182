//! What a flood puts on the wire: fields, subprotocols, compression, lengths.

use crate::host::{Local, quick};
use crate::rig::{assert_whole, counts, echo_frames, flood, foreign, grant, read_head, stranger};
use crate::wire::Wire;
use serde_json::json;
use std::io::Write;
use std::sync::mpsc::{Sender, channel};
use steadfast::proto::extension::Compression;
use steadfast::proto::upgrade::Policy;
use steadfast::server::{Config, Handler, Message, Peer, Server};

const MORE: [&str; 8] = [
    "--connections",
    "5",
    "--header",
    "X-Load: 7",
    "--header",
    "Authorization: Bearer 0123",
    "--origin",
    "https://example.org",
];

/// The field lines of a head, without the first.
fn lines(head: &str) -> Vec<&str> {
    head.split("\r\n").skip(1).filter(|line| !line.is_empty()).collect()
}

#[test]
fn upgrade_carries_the_fields_and_offers() {
    let (tell, heads) = channel();
    let address = stranger(move |head| tell.send(head.to_owned()).is_ok());
    let url = format!("ws://{address}/path?query=1");
    let (ended, report) = flood(
        &[&[url.as_str(), "--compression", "--subprotocol", "v2.chat", "--subprotocol", "v1.chat"], &MORE[..]].concat(),
    );
    assert_whole(&ended, &report, 5);
    let heads: Vec<String> = heads.try_iter().collect();
    assert_eq!(heads.len(), 5);
    for head in &heads {
        assert!(head.starts_with("GET /path?query=1 HTTP/1.1\r\n"), "{head}");
        let lines = lines(head);
        let host = format!("Host: {address}");
        for line in [
            &host,
            "Sec-WebSocket-Protocol: v2.chat, v1.chat",
            "X-Load: 7",
            "Authorization: Bearer 0123",
            "Origin: https://example.org",
        ] {
            assert_eq!(lines.iter().filter(|found| **found == line).count(), 1, "{line}: {head}");
        }
        assert!(lines.iter().any(|line| line.starts_with("Sec-WebSocket-Extensions: permessage-deflate")), "{head}");
    }
}

#[test]
fn upgrade_offers_nothing_by_default() {
    let (tell, heads) = channel();
    let address = stranger(move |head| tell.send(head.to_owned()).is_ok());
    let (ended, report) = flood(&[&format!("ws://{address}/"), "--connections", "3"]);
    assert_whole(&ended, &report, 3);
    for head in heads.try_iter() {
        for name in ["Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions", "Origin"] {
            assert!(!head.contains(name), "{head}");
        }
    }
}

#[test]
fn unoffered_subprotocol_is_a_protocol_error() {
    let address = foreign(|mut stream| {
        let head = read_head(&mut stream)?;
        grant(&mut stream, &head, "Sec-WebSocket-Protocol: v3.chat\r\n")?;
        echo_frames(&mut stream)
    });
    let url = format!("ws://{address}/");
    let (ended, report) = flood(&[&[url.as_str()], &MORE[..]].concat());
    let cause = "protocol error: extension or subprotocol not offered";
    assert_eq!(report["lost_by_cause"], json!({ cause: 5 }), "{ended:?}");
    assert_eq!(counts(&report, ["opened", "lost"]), [0, 5]);
}

#[test]
fn request_carries_the_fields() {
    let (tell, heads) = channel();
    let address = foreign(move |mut stream| {
        loop {
            let head = read_head(&mut stream)?;
            let _ = tell.send(head);
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
        }
    });
    let url = format!("http://{address}/page");
    let (ended, report) = flood(&[&[url.as_str(), "--messages", "2", "--trickle", "0"], &MORE[..]].concat());
    assert_whole(&ended, &report, 5);
    assert_eq!(report["reply_check"], "content");
    let heads: Vec<String> = heads.try_iter().collect();
    assert_eq!(heads.len(), 5 * 3, "two each, and one more at the end of the hold");
    for head in &heads {
        assert!(head.starts_with("GET /page HTTP/1.1\r\n"), "{head}");
        for line in ["X-Load: 7", "Authorization: Bearer 0123", "Origin: https://example.org"] {
            assert_eq!(lines(head).iter().filter(|found| **found == line).count(), 1, "{line}: {head}");
        }
    }
}

/// Tells how long each message is, and sends it back.
struct Measuring(Sender<usize>);

impl Handler for Measuring {
    fn message(&mut self, peer: &mut Peer, message: Message) {
        let _ = self.0.send(message.payload().len());
        peer.echo(message);
    }
}

/// The lengths of 2,000 messages.
fn lengths(payload: &str) -> Vec<usize> {
    let (tell, lengths) = channel();
    let local = Local::serve(Server::from(quick()).route("/", move || Measuring(tell.clone())));
    let url = format!("ws://{}/", local.address);
    let (ended, report) =
        flood(&[&url, "--connections", "20", "--messages", "99", "--trickle", "0", "--payload", payload]);
    assert_whole(&ended, &report, 20);
    assert_eq!(report["reply_check"], "content");
    let lengths: Vec<usize> = lengths.try_iter().collect();
    assert_eq!(lengths.len(), 2000);
    lengths
}

#[test]
fn message_lengths_follow_the_distribution() {
    // Which message is how long depends on its number alone: these are the same in every run.
    assert!(lengths("77").iter().all(|&length| length == 77));
    let uniform = lengths("100-300");
    assert!(uniform.iter().all(|length| (100..=300).contains(length)));
    let mean = uniform.iter().sum::<usize>() as f64 / 2000.0;
    assert!((190.0..=210.0).contains(&mean), "{mean}");
    let exponential = lengths("exp:200");
    assert!(exponential.iter().all(|length| (1..=2000).contains(length)));
    let mean = exponential.iter().sum::<usize>() as f64 / 2000.0;
    assert!((180.0..=220.0).contains(&mean), "{mean}");
    let weighted = lengths("64:3,5000:1");
    let long = weighted.iter().filter(|&&length| length == 5000).count();
    assert!(weighted.iter().all(|length| [64, 5000].contains(length)), "another length");
    assert!((440..=560).contains(&long), "{long} of 2,000, and not a quarter");
}

#[test]
fn raw_message_lengths_follow_the_distribution() {
    let local = Local::start(Config { protocol: steadfast::server::Protocol::Tcp, ..quick() });
    let url = format!("tcp://{}", local.address);
    let (ended, report) =
        flood(&[&url, "--connections", "20", "--messages", "20", "--trickle", "0", "--payload", "1-3000"]);
    assert_whole(&ended, &report, 20);
    assert_eq!(report["replies"], 20 * 21);
}

#[test]
fn compressed_message_is_shorter_on_the_wire() {
    let upgrade = Policy { compression: Some(Compression::default()), ..Policy::default() };
    let local = Local::start(Config { upgrade, ..quick() });
    let url = format!("ws://{}/echo", local.address);
    let bytes = |more: &[&str]| {
        let bytes_in = || Wire::connect(local.address).stats()["bytes"]["in"].as_u64().expect("bytes");
        let before = bytes_in();
        let (ended, report) =
            flood(&[&[url.as_str(), "--connections", "10", "--trickle", "0", "--payload", "4000"], more].concat());
        assert_whole(&ended, &report, 10);
        assert_eq!(report["reply_check"], "content");
        bytes_in() - before
    };
    // Two messages on each, and the heads. Level 1 has fixed codes, and finds nothing to save in letters at random.
    let (plain, compressed) = (bytes(&[]), bytes(&["--compression", "--compression-level", "6"]));
    assert!(plain > 80_000, "{plain}");
    assert!(compressed < 80_000, "{compressed} of {plain}");
}
