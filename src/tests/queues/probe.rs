//! A server whose every message can be followed, and receivers that do not read.

use crate::host::Local;
use crate::wire::{BINARY, Frame, PATIENCE, TEXT, UPGRADE, Wire, frame};
use crate::witness::{Kept, Told, Witness};
use socket2::{Domain, SockRef, Socket, Type};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};
use steadfast::proto::session::Limits;
use steadfast::server::{
    CloseCode, Config, ConnectionId, Deadlines, Message, Overflow, Peer, QueueLimits, Request, SendError, Sent, Server,
    SocketBuffers, Totals,
};

/// What those of [`TOPICS_PATH`], and of what is below it, have subscribed to.
pub(crate) const TOPICS: [&str; 3] = ["a", "b", "c"];
pub(crate) const PATH: &str = "/probe";
pub(crate) const TOPICS_PATH: &str = "/topics";

/// What is asked of the kernel for the receiver and the sender: together less than a hundred messages of [`BYTES`] fit.
const RECEIVE_BYTES: usize = 16 << 10;
const SEND_BYTES: u32 = 4 << 10;

/// Bytes of a message, where it does not matter.
pub(crate) const BYTES: usize = 1000;

/// How many of those are more than the kernel and any of these queues take together.
pub(crate) const MANY: usize = 600;

/// A handler that reports every call. A binary message is echoed; a text message asks for a burst: how many messages,
/// of how many bytes, and perhaps for something after them.
pub(crate) fn probe(told: Sender<(ConnectionId, Told)>) -> Witness {
    Witness::new(told, subscribe, burst)
}

fn subscribe(peer: &mut Peer<Kept>, request: &Request) {
    if request.path().starts_with(TOPICS_PATH) {
        TOPICS.iter().for_each(|topic| assert!(peer.subscribe(topic)));
    }
}

fn burst(peer: &mut Peer<Kept>, message: Message) -> Option<Told> {
    let Some(text) = message.text() else {
        peer.echo(message);
        return None;
    };
    let words: Vec<&str> = text.split(' ').collect();
    let number = |at: usize| words[at].parse::<usize>().expect("a number");
    let sent = (0..number(0)).map(|at| peer.send(&payload(at, number(1)))).collect();
    match words.get(2) {
        Some(&"ping") => peer.ping(),
        Some(&"close") => peer.close(CloseCode::NORMAL, "enough"),
        Some(&"abort") => peer.abort(),
        _ => {}
    }
    Some(Told::Burst(sent, peer.queued()))
}

/// A payload that no other number has, of eight bytes or more.
pub(crate) fn payload(number: usize, bytes: usize) -> Vec<u8> {
    let name = format!("{number:08x}");
    name.bytes().chain((0..).map(|at: usize| (at * 7 + number) as u8)).take(bytes).collect()
}

/// The number of a message, of which every byte has to be right.
pub(crate) fn number_of(frame: &Frame) -> usize {
    assert_eq!(frame.first, BINARY, "no message: {frame:?}");
    let name = frame.payload.get(..8).and_then(|name| std::str::from_utf8(name).ok());
    let number = name.and_then(|name| usize::from_str_radix(name, 16).ok()).unwrap_or_else(|| panic!("{frame:?}"));
    assert!(frame.payload == payload(number, frame.payload.len()), "message {number} is damaged");
    number
}

/// Bytes of the frame of a message.
pub(crate) fn frame_bytes(payload_bytes: usize) -> usize {
    payload_bytes + if payload_bytes > 125 { 4 } else { 2 }
}

/// Waits for what nothing announces.
pub(crate) fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let since = Instant::now();
    while !reached() {
        assert!(since.elapsed() < PATIENCE, "{what}: not reached");
        thread::yield_now();
    }
}

pub(crate) fn by_messages(max_queued_messages: usize) -> QueueLimits {
    QueueLimits { max_queued_bytes: 1 << 20, max_queued_messages }
}

pub(crate) fn by_bytes(max_queued_bytes: usize) -> QueueLimits {
    QueueLimits { max_queued_bytes, max_queued_messages: 10_000 }
}

/// More than the kernel takes by itself of what waits, so that it waits until it is read.
pub(crate) fn ample() -> QueueLimits {
    by_bytes(256 << 10)
}

/// No deadline that a busy host could miss.
pub(crate) fn patient() -> Deadlines {
    const LONG_S: u32 = 86_400;
    Deadlines {
        head_s: LONG_S,
        keep_alive_s: LONG_S,
        ping_s: u32::MAX,
        idle_s: u32::MAX,
        close_s: LONG_S,
        stalled_s: LONG_S,
        ..Deadlines::default()
    }
}

/// One reactor with little room in the kernel, so that its counters are one answer's and a receiver is soon full.
pub(crate) fn tight(queue: QueueLimits) -> Config {
    let socket_buffers = SocketBuffers { send_bytes: SEND_BYTES, ..SocketBuffers::default() };
    // No message is longer than what may wait.
    let limits = Limits::default();
    let max_message_bytes = limits.max_message_bytes.min(queue.max_queued_bytes as u64);
    let limits = Limits { max_message_bytes, ..limits };
    // The limits are to be seen at work, and not after a while; `grace` is about the while.
    let queue_grace_s = 0;
    Config {
        reactors: Some(1),
        queue,
        queue_grace_s,
        limits,
        socket_buffers,
        deadlines: patient(),
        ..Config::default()
    }
}

/// A connection that has little room in its kernel.
pub(crate) fn slow_socket(address: SocketAddr) -> Wire {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    // Before connect(2), so that the window is never wider.
    socket.set_recv_buffer_size(RECEIVE_BYTES).expect("SO_RCVBUF");
    socket.connect(&address.into()).expect("a connection");
    socket.set_tcp_nodelay(true).expect("TCP_NODELAY");
    Wire::over(TcpStream::from(socket))
}

/// The same, upgraded at `path`.
pub(crate) fn slow_receiver(address: SocketAddr, path: &str) -> Wire {
    upgraded(slow_socket(address), path)
}

pub(crate) fn upgraded(mut wire: Wire, path: &str) -> Wire {
    wire.send(UPGRADE.replace("/echo", path).as_bytes());
    wire.assert_upgraded();
    wire
}

/// Resets a connection.
pub(crate) fn reset(wire: Wire) {
    SockRef::from(&wire.socket).set_linger(Some(Duration::ZERO)).expect("SO_LINGER");
}

/// What the counters of messages have to be, whenever they are looked at.
pub(crate) fn assert_adds_up(totals: &Totals) {
    let parts = totals.messages_delivered + totals.messages_dropped + totals.messages_queued;
    assert_eq!(totals.messages_out, parts, "{totals:?}");
}

/// A server with a [`probe`], and its reports.
#[derive(Debug)]
pub(crate) struct Probed {
    pub(crate) local: Local,
    pub(crate) news: Receiver<(ConnectionId, Told)>,
    /// A connection that has ended.
    gone: ConnectionId,
}

/// What is told next, but for the end of states.
fn next_of(news: &Receiver<(ConnectionId, Told)>) -> (ConnectionId, Told) {
    loop {
        let next = news.recv_timeout(PATIENCE).expect("news of the handler");
        if next.1 != Told::Dropped {
            return next;
        }
    }
}

impl Probed {
    pub(crate) fn start(config: Config, overflow: Overflow) -> Self {
        let (sender, news) = channel();
        let server = Server::from(config)
            .route_with(&[PATH, TOPICS_PATH], overflow, move || probe(sender.clone()))
            .stats("/stats");
        let local = Local::serve(server);
        drop(upgraded(Wire::connect(local.address), PATH));
        let (gone, opened) = next_of(&news);
        assert!(matches!((opened, next_of(&news).1), (Told::Opened { .. }, Told::Closed { .. })));
        until("it is counted", || local.server.counters().ended == 1);
        Self { local, news, gone }
    }

    /// Waits until the reactor has done all that it was asked for before.
    pub(crate) fn catch_up(&self) {
        // Mail is read when what was under way is done, and this goes nowhere.
        assert_eq!(self.local.server.send(self.gone, "").wait(), Err(SendError::Gone));
    }

    pub(crate) fn next_news(&self) -> (ConnectionId, Told) {
        next_of(&self.news)
    }

    /// The name of the connection that has just been opened.
    pub(crate) fn opened(&self) -> ConnectionId {
        let (id, Told::Opened { .. }) = self.next_news() else { panic!("no news of an opening") };
        id
    }

    /// A receiver that does not read.
    pub(crate) fn slow(&self, path: &str) -> (Wire, ConnectionId) {
        let wire = slow_receiver(self.local.address, path);
        (wire, self.opened())
    }

    /// A receiver that reads, and has the room for it.
    pub(crate) fn healthy(&self) -> (Wire, ConnectionId) {
        let wire = upgraded(Wire::connect(self.local.address), PATH);
        (wire, self.opened())
    }

    /// What the reactor has counted when it has nothing to do.
    pub(crate) fn totals(&self) -> Totals {
        self.catch_up();
        self.local.server.counters()
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.totals().messages_dropped
    }

    /// Sends one message to one connection, and waits until its reactor has.
    pub(crate) fn send(&self, id: ConnectionId, number: usize, bytes: usize) -> Sent {
        self.local.server.send(id, &payload(number, bytes)).wait().expect("an open connection")
    }

    /// Publishes one message on a topic of one member, and waits until its reactor has dealt with it.
    pub(crate) fn publish(&self, topic: &str, number: usize, bytes: usize) {
        let before = self.totals().messages_out;
        self.local.server.publish(topic, &payload(number, bytes));
        until("the message is on its way", || self.totals().messages_out > before);
    }

    /// Asks for a burst, and returns the outcome of each of its messages.
    pub(crate) fn burst(&self, wire: &mut Wire, messages: usize, more: &str) -> (Vec<Sent>, (usize, usize)) {
        wire.send(&frame(TEXT, format!("{messages} {BYTES}{more}").as_bytes()));
        loop {
            // What the kernel could still take of something before makes news too.
            match self.next_news() {
                (_, Told::Burst(sent, queued)) => return (sent, queued),
                (_, Told::Writable) => {}
                other => panic!("{other:?} instead of a burst"),
            }
        }
    }

    /// The connection has taken all that waited for it, and is as good as any other.
    pub(crate) fn assert_goes_on(&self, wire: &mut Wire, id: ConnectionId) {
        for number in [70_000, 70_001, 70_002] {
            assert_eq!(self.send(id, number, BYTES), Sent::Sent);
            assert_eq!(number_of(&wire.frame()), number);
        }
        wire.echo(b"as before");
        let totals = self.totals();
        assert_adds_up(&totals);
        assert_eq!((totals.messages_queued, totals.closed_slow), (0, 0), "{totals:?}");
    }
}

/// The numbers of the next messages.
pub(crate) fn numbers(wire: &mut Wire, count: usize) -> Vec<usize> {
    (0..count).map(|_| number_of(&wire.frame())).collect()
}

/// Messages that were sent one by one, in this order, and those of them that were dropped.
#[derive(Debug)]
pub(crate) struct Ledger {
    sent: Range<usize>,
    dropped: Vec<bool>,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        Self { sent: 0..0, dropped: Vec::new() }
    }

    /// The number of the next message, which is on its way from now on.
    pub(crate) fn next(&mut self) -> usize {
        self.sent.end += 1;
        self.dropped.push(false);
        self.sent.end - 1
    }

    pub(crate) fn drop(&mut self, number: usize) {
        assert!(!std::mem::replace(&mut self.dropped[number], true), "message {number} was dropped before");
    }

    pub(crate) fn is_dropped(&self, number: usize) -> bool {
        self.dropped[number]
    }

    /// What has to arrive, in order.
    pub(crate) fn left(&self) -> Vec<usize> {
        self.sent.clone().filter(|&number| !self.dropped[number]).collect()
    }
}

/// The first of the last messages before `end` that wait together: all those that the limits let.
pub(crate) fn first_waiting(end: usize, limits: QueueLimits, bytes: impl Fn(usize) -> usize) -> usize {
    let mut sum = 0;
    let fits = |number: &usize| {
        sum += frame_bytes(bytes(*number));
        end - number <= limits.max_queued_messages && sum <= limits.max_queued_bytes
    };
    (0..end).rev().take_while(fits).last().unwrap_or(end - 1)
}
