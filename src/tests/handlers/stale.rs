//! The name of a connection that is gone never becomes that of another: thousands come and go while somebody sends to
//! all of them by name.

use crate::host::{Local, quick};
use crate::limits::raise_nofile;
use crate::rig::{hear, upgrade_at};
use crate::wire::{PATIENCE, TEXT, frame};
use socket2::SockRef;
use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use steadfast::server::{
    Closed, Config, ConnectionId, Handle, Handler, Message, Overflow, Peer, Receipt, Request, SendError, Server,
};

const MOST: usize = 5_000;
const ROUNDS: usize = 4;

/// Connections that are opened at a time: fewer than may wait to be accepted.
const TOGETHER: usize = 50;

const LAST_WORD: &[u8] = b"the last word";

enum Told {
    Opened(u64, ConnectionId),
    Closed(ConnectionId),
}

/// Tells the name of each connection with the number that it came with.
struct Register(Sender<Told>);

impl Handler for Register {
    fn opened(&mut self, peer: &mut Peer, request: &Request) {
        let nonce = request.target().rsplit('=').next().and_then(|nonce| nonce.parse().ok()).expect("a nonce");
        let _ = self.0.send(Told::Opened(nonce, peer.id()));
    }

    fn message(&mut self, peer: &mut Peer, message: Message) {
        peer.send(message);
    }

    fn closed(&mut self, peer: &mut Peer, _closed: &Closed) {
        let _ = self.0.send(Told::Closed(peer.id()));
    }
}

/// Numbers that cannot be guessed from one another, and are the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        // Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

/// A connection that was once.
#[derive(Clone, Copy)]
struct Name {
    id: ConnectionId,
    nonce: u64,
    /// Its handler has heard that it is closed.
    is_gone: bool,
}

/// All names that there were, and where in the list each is.
#[derive(Default)]
struct Names {
    list: Vec<Name>,
    places: HashMap<ConnectionId, usize>,
}

/// What the sender found.
#[derive(Debug, Default)]
struct Sent {
    taken: u64,
    gone: u64,
    known_gone: u64,
}

/// Sends each its own nonce, those that are gone too, until it is told to stop.
fn send(server: &Handle, names: &Mutex<Names>, stop: &AtomicBool) -> Sent {
    let mut random = Random(7);
    let mut sent = Sent::default();
    while !stop.load(Ordering::Acquire) {
        let batch: Vec<Name> = {
            let names = &names.lock().expect("the names").list;
            let count = 500.min(names.len());
            (0..count).map(|_| names[random.below(names.len())]).collect()
        };
        if batch.is_empty() {
            thread::yield_now();
        }
        let sending = |name: &Name| server.send(name.id, &name.nonce.to_string());
        let receipts: Vec<Receipt> = batch.iter().map(sending).collect();
        for (name, receipt) in batch.iter().zip(receipts) {
            match receipt.wait() {
                Ok(_) => {
                    assert!(!name.is_gone, "{:?} took a message after its end", name.id);
                    sent.taken += 1;
                }
                Err(SendError::Gone) => sent.gone += 1,
                Err(error) => panic!("{error}"),
            }
            sent.known_gone += u64::from(name.is_gone);
        }
    }
    sent
}

/// One end of a connection, and the number that it alone may be sent.
struct Client {
    socket: TcpStream,
    nonce: u64,
    unread: Vec<u8>,
    received: usize,
}

impl Client {
    /// Asks for the upgrade, and does not wait for it.
    fn begin(address: SocketAddr, nonce: u64) -> Self {
        let mut socket = TcpStream::connect(address).expect("a connection");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        socket.write_all(upgrade_at(&format!("/?nonce={nonce}"), "").as_bytes()).expect("it is taken");
        Self { socket, nonce, unread: Vec::new(), received: 0 }
    }

    /// Reads once, as much as is there.
    fn read(&mut self) {
        let mut bytes = [0; 4096];
        let read = self.socket.read(&mut bytes).unwrap_or_else(|error| panic!("{error} at {}", self.nonce));
        assert!(read > 0, "{} was closed by the server", self.nonce);
        self.unread.extend_from_slice(&bytes[..read]);
    }

    fn upgraded(&mut self) {
        let end = loop {
            if let Some(at) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            self.read();
        };
        assert!(self.unread.starts_with(b"HTTP/1.1 101 "), "no upgrade: {:?}", String::from_utf8_lossy(&self.unread));
        self.unread.drain(..end);
    }

    /// Takes out what has come whole: it is its own, up to the last word; returns whether that was there.
    fn take_own(&mut self) -> bool {
        let own = self.nonce.to_string();
        while let [first, length @ 0..=125, rest @ ..] = &self.unread[..]
            && let Some(payload) = rest.get(..usize::from(*length))
        {
            if payload == LAST_WORD {
                return true;
            }
            let payload = String::from_utf8_lossy(payload);
            assert_eq!((*first, &*payload), (TEXT, &*own), "a message of another connection");
            let end = 2 + payload.len();
            self.unread.drain(..end);
            self.received += 1;
        }
        assert!(self.unread.len() < 128, "a frame that is none of ours: {:?}", self.unread);
        false
    }

    /// Looks at what is there.
    fn check(&mut self) {
        self.socket.set_nonblocking(true).expect("O_NONBLOCK");
        let end = self.socket.read_to_end(&mut self.unread);
        self.socket.set_nonblocking(false).expect("no O_NONBLOCK");
        let is_open = end.is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
        assert!(is_open && !self.take_own(), "{} was closed by the server", self.nonce);
    }

    /// Says the last word, and reads up to its echo; returns how much it received in all.
    fn finish(mut self) -> usize {
        self.socket.write_all(&frame(TEXT, LAST_WORD)).expect("it is taken");
        while !self.take_own() {
            self.read();
        }
        self.received
    }

    /// Ends with a reset; returns how much it received.
    fn reset(mut self) -> usize {
        self.check();
        SockRef::from(&self.socket).set_linger(Some(Duration::ZERO)).expect("SO_LINGER");
        self.received
    }
}

/// The places of a server, with a connection in each.
struct Places {
    local: Local,
    told: Receiver<Told>,
    names: Arc<Mutex<Names>>,
    clients: Vec<Option<Client>>,
    random: Random,
    received: usize,
}

impl Places {
    /// Opens a connection in every place that has none, each with a nonce of its own.
    fn fill(&mut self) {
        let empty: Vec<usize> = (0..self.clients.len()).filter(|&at| self.clients[at].is_none()).collect();
        for together in empty.chunks(TOGETHER) {
            for &at in together {
                self.clients[at] = Some(Client::begin(self.local.address, self.random.next()));
            }
            for &at in together {
                self.clients[at].as_mut().expect("it is open").upgraded();
            }
        }
        self.listen(empty.len(), 0);
    }

    /// Resets half of the connections, picked at random.
    fn reset_half(&mut self) {
        let count = self.clients.len();
        let mut order: Vec<usize> = (0..count).collect();
        for at in 0..count / 2 {
            order.swap(at, at + self.random.below(count - at));
            self.received += self.clients[order[at]].take().expect("it is open").reset();
        }
    }

    /// Hears of so many that have opened and so many that have closed.
    fn listen(&mut self, opened: usize, closed: usize) {
        let (mut opened, mut closed) = (opened, closed);
        while opened > 0 || closed > 0 {
            let told = hear(&self.told);
            let mut names = self.names.lock().expect("the names");
            match told {
                Told::Opened(nonce, id) => {
                    let place = names.list.len();
                    assert_eq!(names.places.insert(id, place), None, "a name that was given twice");
                    names.list.push(Name { id, nonce, is_gone: false });
                    opened = opened.saturating_sub(1);
                }
                Told::Closed(id) => {
                    let place = names.places[&id];
                    names.list[place].is_gone = true;
                    closed = closed.saturating_sub(1);
                }
            }
        }
    }

    fn check(&mut self) {
        self.clients.iter_mut().flatten().for_each(Client::check);
    }
}

#[test]
fn no_connection_is_sent_what_is_for_the_one_that_was_in_its_place() {
    // Both ends live in this process, and other tests beside them.
    let count = MOST.min(raise_nofile() / 4);
    let (tell, told) = channel();
    // No more places than there are connections at a time, but for some: so they are used again and again.
    let config = Config { reactors: Some(2), max_connections: Some(count + TOGETHER), ..quick() };
    let server = Server::from(config).route_with(&["/"], Overflow::DropNewest, move || Register(tell.clone()));
    let local = Local::serve(server);
    let (names, stop) = (Arc::<Mutex<Names>>::default(), Arc::new(AtomicBool::new(false)));
    let (clients, random) = ((0..count).map(|_| None).collect(), Random(1));
    let mut places = Places { local, told, names: Arc::clone(&names), clients, random, received: 0 };
    let (server, stopped) = (places.local.server.clone(), Arc::clone(&stop));
    let (done, ended) = channel();
    let sender = thread::spawn(move || {
        done.send(send(&server, &names, &stopped)).expect("the test hears of it");
    });
    places.fill();
    for _ in 0..ROUNDS {
        places.reset_half();
        places.fill();
        places.check();
        assert!(!sender.is_finished(), "the sender failed");
    }
    // Until all who were reset are known to have gone, and some more have been sent to.
    let gone = places.names.lock().expect("the names").list.iter().filter(|name| name.is_gone).count();
    places.listen(0, ROUNDS * (count / 2) - gone);
    places.check();
    stop.store(true, Ordering::Release);
    let sent = ended.recv_timeout(PATIENCE).expect("the sender ends");
    sender.join().expect("without a failure");
    let received = places.received + places.clients.drain(..).flatten().map(Client::finish).sum::<usize>();
    assert!(sent.known_gone <= sent.gone && sent.known_gone > 0 && received > 0, "{sent:?}, received {received}");
    let counters = places.local.server.counters();
    assert_eq!(counters.sent_to_gone, sent.gone, "{sent:?}");
    // What was on its way to those who were reset is lost, and nothing else.
    assert!(received as u64 <= sent.taken, "{sent:?}, received {received}");
    assert_eq!((counters.accept_paused_error, counters.closed_slow), (0, 0));
}
