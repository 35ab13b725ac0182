//! Connections that only receive: the age of messages, the end of the phase, and slow readers.

use crate::host::{Local, Serve, quick};
use crate::rig::{
    assert_agrees, assert_sums, assert_whole, counts, echo_frames, flood, foreign, grant, number, phases, read_head,
};
use crate::wire::{CLOSE, PATIENCE, TEXT};
use serde_json::{Value, json};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};
use steadfast::server::{
    Config, ConnectionId, Deadlines, Handle, Handler, Message, Overflow, Peer, ReactorContext, Request, Sent, Server,
    SocketBuffers,
};

/// How many receive.
const ALL: usize = 20;

/// Pushes `messages` messages, one after the other, when all connections are open.
struct Pusher {
    here: Arc<AtomicUsize>,
    left: usize,
    every: Duration,
    message: String,
}

impl Handler for Pusher {
    fn opened(&mut self, peer: &mut Peer, _request: &Request) {
        peer.subscribe("news");
        self.here.fetch_add(1, Ordering::Relaxed);
    }

    fn message(&mut self, _peer: &mut Peer, _message: Message) {}

    fn tick(&mut self, context: &mut ReactorContext) {
        if self.here.load(Ordering::Relaxed) >= ALL && self.left > 0 {
            self.left -= 1;
            context.publish("news", &self.message);
        }
        context.wake_after(self.every);
    }
}

/// A server that pushes `messages` of `bytes`, one every so often.
fn pushing(messages: usize, bytes: usize, every: Duration) -> Local {
    let here = Arc::new(AtomicUsize::new(0));
    let server = Server::from(Config { reactors: Some(1), ..quick() }).stats("/stats");
    Local::serve(server.route_with(&["/"], Overflow::Close, move || Pusher {
        here: Arc::clone(&here),
        left: messages,
        every,
        message: "x".repeat(bytes),
    }))
}

fn receive(local: &Local, phase: &str) -> (crate::host::Ended, Value) {
    let url = format!("ws://{}/", local.address);
    flood(&[&[url.as_str(), "--connections", &ALL.to_string()], &phases(&["ramp", phase])[..]].concat())
}

#[test]
fn message_with_a_timestamp_has_an_age() {
    let server = Serve::start(&["--push-interval", "0.1"]);
    let url = format!("ws://{}/push", server.address());
    let began = Instant::now();
    let scenario = phases(&["ramp", "receive for_s=600 messages=3"]);
    let (ended, report) = flood(&[&[url.as_str(), "--connections", "30"], &scenario[..]].concat());
    assert_whole(&ended, &report, 30);
    assert_agrees(&report);
    // It ended with the third message, and not when the time was over.
    assert_eq!(report["phases"][1]["kind"], "receive");
    assert!(report["phases"][1]["seconds"].as_f64().is_some_and(|seconds| seconds < 600.0), "{report}");
    let samples = number(&report["age"], "samples");
    assert!(samples >= 90 && samples <= number(&report, "received"), "{samples}: {report}");
    assert!(u128::from(number(&report["age"], "max_us")) <= began.elapsed().as_micros(), "{}", report["age"]);
    server.stop();
}

#[test]
fn message_without_a_timestamp_has_no_age() {
    // Without end: the first may come before the flood has begun to count.
    let local = pushing(usize::MAX, 50, Duration::from_millis(20));
    let (ended, report) = receive(&local, "receive for_s=600 messages=3");
    assert_whole(&ended, &report, ALL as u64);
    assert_agrees(&report);
    assert_eq!((&report["age"]["samples"], &report["age"]["p50_us"]), (&json!(0), &Value::Null));
    assert!(number(&report, "received") >= 3 * ALL as u64, "{report}");
}

#[test]
fn lost_receiver_does_not_delay_the_phase() {
    const EVERY: Duration = Duration::from_millis(20);
    let came = AtomicUsize::new(0);
    let address = foreign(move |mut stream| {
        let head = read_head(&mut stream)?;
        if !head.contains("Upgrade: websocket") {
            return Ok(()); // asked for its /stats
        }
        grant(&mut stream, &head, "")?;
        let mut pushes = stream.try_clone()?;
        // One half is sent to for ever, the other never, until it is closed.
        if came.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) {
            thread::spawn(move || {
                while pushes.write_all(&[TEXT, 1, b'x']).is_ok() {
                    thread::sleep(EVERY);
                }
            });
        } else {
            thread::sleep(20 * EVERY);
            pushes.write_all(&[CLOSE, 2, 0x0f, 0xa1])?;
        }
        echo_frames(&mut stream)
    });
    let url = format!("ws://{address}/");
    let scenario = phases(&["ramp", "receive for_s=600 messages=3"]);
    let (ended, report) = flood(&[&[url.as_str(), "--connections", "10"], &scenario[..]].concat());
    assert_sums(&ended, &report, 10);
    assert_eq!(report["lost_by_cause"], json!({ "close code 4001": 5 }), "{report}");
    assert_eq!((ended.code(), counts(&report, ["closed"])), (1, [5]), "{ended:?}");
}

/// What the reactor of a [`Steady`] reports about its connections.
#[derive(Debug)]
enum News {
    /// It has said its number, by which it is known whether it will read: of a quarter it is every fourth.
    Here(ConnectionId, u64),
    /// All that waited for it is on its way.
    Drained(ConnectionId),
}

/// Echoes, and tells.
struct Steady(Sender<News>);

impl Handler for Steady {
    fn message(&mut self, peer: &mut Peer, message: Message) {
        let digits = String::from_utf8_lossy(message.payload());
        let number = u64::from_str_radix(&digits[..12], 16).expect("the number of a message") >> 16;
        peer.echo(message);
        let _ = self.0.send(News::Here(peer.id(), number));
    }

    fn writable(&mut self, peer: &mut Peer) {
        let _ = self.0.send(News::Drained(peer.id()));
    }
}

/// Sends to all connections, no more than healthy readers accept, until the others have been given up. Returns how many
/// messages were sent.
fn push_until_given_up(server: &Handle, news: &Receiver<News>) -> usize {
    let mut all = Vec::new();
    while all.len() < ALL {
        if let News::Here(id, number) = news.recv_timeout(PATIENCE).expect("one more") {
            all.push((id, number % 4 == 3));
        }
    }
    let message = "x".repeat(16 << 10);
    let (mut slow, reading): (Vec<_>, Vec<_>) = all.into_iter().partition(|(_, is_slow)| *is_slow);
    let mut sent = 0;
    while !slow.is_empty() {
        for &(id, _) in &reading {
            if server.send(id, &message).wait() == Ok(Sent::Queued) {
                while !matches!(news.recv_timeout(PATIENCE), Ok(News::Drained(drained)) if drained == id) {}
            }
        }
        slow.retain(|&(id, _)| matches!(server.send(id, &message).wait(), Ok(Sent::Sent | Sent::Queued)));
        sent += 1;
    }
    sent
}

#[test]
fn only_connections_that_do_not_read_are_lost() {
    let (tell, news) = channel();
    // A connection that is closed as too slow sees that when it reads, and no reset.
    let deadlines = Deadlines { close_s: 60, ..Deadlines::default() };
    let socket_buffers = SocketBuffers { send_bytes: 32 << 10, ..SocketBuffers::default() };
    let server = Server::from(Config { reactors: Some(1), deadlines, socket_buffers, ..quick() }).stats("/stats");
    let local = Local::serve(server.route("/", move || Steady(tell.clone())));
    let handle = local.server.clone();
    let pusher = thread::spawn(move || push_until_given_up(&handle, &news));
    let url = format!("ws://{}/", local.address);
    let scenario = phases(&["ramp", "reply", "slow for_s=5 share=0.25"]);
    let (ended, report) = flood(&[&[url.as_str(), "--connections", &ALL.to_string()], &scenario[..]].concat());
    let sent = pusher.join().expect("those who do not read were given up");
    assert_sums(&ended, &report, ALL as u64);
    assert_agrees(&report);
    assert_eq!(report["lost_by_cause"], json!({ "close code 1008": 5 }), "{report}");
    assert_eq!(counts(&report, ["opened", "closed", "lost"]), [20, 15, 5]);
    // The others have had all, and these what was under way when the server gave them up.
    let received = number(&report, "received");
    assert!(received >= 15 * sent as u64, "{received} of {sent} each");
    let totals = local.server.counters();
    assert_eq!(
        (totals.closed_slow, totals.messages_delivered),
        (5, received + number(&report, "replies")),
        "{totals:?}"
    );
    assert_eq!(ended.code(), 1, "{ended:?}");
}

#[test]
fn slow_reader_that_keeps_up_is_not_lost() {
    let local = pushing(10, 100, Duration::from_millis(20));
    let (ended, report) = receive(&local, "slow for_s=2 share=0.5 bytes_per_s=100000");
    assert_whole(&ended, &report, ALL as u64);
    assert_agrees(&report);
    assert_eq!(report["received"], 10 * ALL);
}

#[test]
fn slow_reader_receives_everything_in_the_end() {
    // Less than the buffers hold: no connection is given up, and what was left unread is read when the phase is over.
    let local = pushing(10, 1000, Duration::from_millis(20));
    let (ended, report) = receive(&local, "slow for_s=1.5 share=0.5 bytes_per_s=2000");
    assert_whole(&ended, &report, ALL as u64);
    assert_agrees(&report);
    assert_eq!(report["received"], 10 * ALL);
}
