#![doc = include_str!("README.md")]
//!
//! # Where to start
//!
//! Call [`Client::connect`] with a [`Config`]; [`Client::receive`] returns what was [`Heard`].

mod config;
mod error;
mod url;

pub use crate::proto::upgrade::BadSetting;
pub use config::Config;
pub use error::{ConnectError, Ending, Refused};
pub use url::{BadUrl, Url};

use crate::net::sys;
use crate::proto::close::CloseCode;
use crate::proto::deflate::Deflate;
use crate::proto::extension::NegotiatedCompression;
use crate::proto::http::HeadError;
use crate::proto::mask::RandomSource;
use crate::proto::session::{Event, Limits, MessageKind, Output, Session, State};
use crate::proto::upgrade::{ClientHandshake, Rejected};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

/// The size of the input buffer.
const INPUT_BYTES: usize = 64 << 10;

/// Sent bytes are removed from the front of the queue when there are this many.
const SENT_BYTES: usize = 1 << 20;

/// What [`Client::receive`] heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A whole message; text is valid UTF-8. Do not print it to a terminal unescaped.
    Message(MessageKind, Vec<u8>),
    /// A ping; the pong is queued already.
    Ping(Vec<u8>),
    /// A pong.
    Pong(Vec<u8>),
    /// The connection ended; nothing follows.
    Ended(Ending),
}

/// An open connection.
#[derive(Debug)]
pub struct Client {
    socket: TcpStream,
    peer: SocketAddr,
    session: Session,
    out: Output,
    /// How many bytes of `out.bytes` have been sent.
    sent: usize,
    input: Box<[u8]>,
    /// The part of `input` that has been read but not yet parsed.
    unread: std::ops::Range<usize>,
    message: Vec<u8>,
    limits: Limits,
    subprotocol: Option<String>,
    began: Instant,
    last_progress: Instant,
    ended: Option<Ending>,
}

impl Client {
    /// Connects and upgrades; blocks until that is done. The addresses of a name are tried one after the other.
    ///
    /// # Errors
    /// [`ConnectError`]; then no connection is left open.
    ///
    /// ```no_run
    /// use steadfast::client::{Client, Config, ConnectError};
    ///
    /// let mut config = Config::to("ws://127.0.0.1:8080/chat".parse()?);
    /// config.subprotocols = vec!["v2.chat".into(), "chat".into()];
    /// config.fields = vec!["Authorization: Bearer 0123".into()];
    /// match Client::connect(&config) {
    ///     Ok(client) => println!("speaks {:?}", client.subprotocol()),
    ///     Err(ConnectError::Refused(refused)) => println!("{}, {:?}", refused.status, refused.field("Location")),
    ///     Err(error) => println!("{error}"),
    /// }
    /// # Ok::<(), steadfast::client::BadUrl>(())
    /// ```
    pub fn connect(config: &Config) -> Result<Self, ConnectError> {
        let fields = config.lines()?;
        let url = &config.url;
        let addresses = format!("{}:{}", url.host, url.port).to_socket_addrs().map_err(ConnectError::Resolve)?;
        let now = Instant::now();
        let deadline = now + Duration::from_secs(config.connect_timeout_s.into());
        let (socket, peer) = dial(&addresses.collect::<Vec<_>>(), deadline)?;
        let mut out = Output::new(RandomSource::new(sys::random));
        if let Some(settings) = &config.compression {
            out.deflate = Deflate::new(settings);
        }
        let opening = ClientHandshake {
            host: &url.authority(),
            path: &url.path,
            subprotocols: &config.subprotocols,
            compression: config.compression.as_ref(),
            fields: &fields,
        };
        let session = Session::websocket_client(&opening, &mut out);
        let mut client = Self {
            socket,
            peer,
            session,
            out,
            sent: 0,
            input: vec![0; INPUT_BYTES].into(),
            unread: 0..0,
            message: Vec::new(),
            limits: config.limits,
            subprotocol: None,
            began: now,
            last_progress: now,
            ended: None,
        };
        client.shake_hands(deadline)?;
        Ok(client)
    }

    /// Sends the request, and reads the response and nothing after it.
    fn shake_hands(&mut self, deadline: Instant) -> Result<(), ConnectError> {
        let mut head = Vec::new();
        while self.session.state() == State::Handshake {
            self.flush();
            self.fill();
            if let Some(ending) = self.ended.take() {
                let Ending::Abnormal(error) = ending else { return Err(ConnectError::HungUp(None)) };
                return Err(ConnectError::HungUp(error.map(io::Error::from)));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ConnectError::TimedOut);
            }
            if self.unread.is_empty() {
                self.wait(&[], left).map_err(|error| ConnectError::HungUp(Some(error)))?;
                continue;
            }
            let arrived = &mut self.input[self.unread.clone()];
            let kept_bytes = head.len();
            head.extend_from_slice(arrived);
            let (used, event) = self.session.receive(arrived, &mut self.message, &self.limits, &mut self.out);
            self.unread.start += used;
            match event {
                Event::Opened(response) => {
                    let name = response.fields.websocket_protocol;
                    self.subprotocol = name.map(|name| String::from_utf8_lossy(name).into_owned());
                }
                Event::Rejected(Rejected::Status(status)) => {
                    return Err(ConnectError::Refused(Refused::new(status, head)));
                }
                Event::Rejected(rejected) => return Err(ConnectError::BadUpgrade(rejected)),
                Event::BadHead(error) => return Err(ConnectError::NotHttp(error)),
                // A server may send many interim responses: each has a limit, and all together have one too.
                _ if kept_bytes > INPUT_BYTES => return Err(ConnectError::NotHttp(HeadError::TooLarge)),
                _ => head.truncate(kept_bytes + used),
            }
        }
        Ok(())
    }

    /// Returns the address of the peer.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Returns the subprotocol that the server chose among those offered.
    pub fn subprotocol(&self) -> Option<&str> {
        self.subprotocol.as_deref()
    }

    /// Returns the negotiated compression.
    pub fn compression(&self) -> NegotiatedCompression {
        self.session.compression()
    }

    /// Queues a message, and sends as much as the socket accepts at once. Text must be UTF-8. Returns whether the
    /// connection was open. The queue has no limit; see [`Client::queued_bytes`].
    pub fn send(&mut self, kind: MessageKind, payload: &[u8]) -> bool {
        let open = self.session.send(kind, payload, &mut self.out);
        self.flush();
        open
    }

    /// Queues a ping of at most 125 bytes. Returns whether it was short enough and the connection open.
    pub fn ping(&mut self, payload: &[u8]) -> bool {
        let open = self.session.ping(payload, &mut self.out);
        self.flush();
        open
    }

    /// Queues a Close after all other output, once; a reason longer than 123 bytes is cut. Messages that arrive
    /// afterwards are not delivered. The peer's answer is returned as [`Ending::ByUs`]; the caller decides how long to
    /// wait for it.
    pub fn close(&mut self, code: CloseCode, reason: &str) {
        self.session.close(code, reason, &mut self.out);
        self.flush();
    }

    /// Returns how many bytes are queued here, besides those that the kernel has.
    pub fn queued_bytes(&self) -> usize {
        self.out.bytes.len() - self.sent
    }

    /// Returns when bytes last arrived, or were last accepted by the kernel for sending.
    pub fn last_progress(&self) -> Instant {
        self.last_progress
    }

    /// Returns what the peer sends next, waiting at most `timeout`; zero does not wait. `None` means that nothing
    /// complete arrived in that time. After the end it returns [`Heard::Ended`] on each call.
    pub fn receive(&mut self, timeout: Duration) -> Option<Heard> {
        let since = Instant::now();
        let mut has_read = false;
        loop {
            if let Some(heard) = self.understand() {
                return Some(heard);
            }
            if let Some(ending) = &self.ended {
                return Some(Heard::Ended(ending.clone()));
            }
            let left = timeout.saturating_sub(since.elapsed());
            // A peer may send without a pause and without anything to return: the rest is for the next call.
            if left.is_zero() && has_read {
                return None;
            }
            self.flush();
            self.fill();
            if !self.unread.is_empty() || self.ended.is_some() {
                has_read = true;
                continue;
            }
            if left.is_zero() {
                return None;
            }
            if let Err(error) = self.wait(&[], left) {
                self.end_of_input(Some(error.kind()));
            }
        }
    }

    /// Sends what is queued, and waits until input has arrived, one of `others` is readable, or `timeout` is over.
    /// Returns for each of `others` whether it is readable, or has ended.
    ///
    /// This is for programs that wait for more than this connection; afterwards, [`Client::receive`] with a zero
    /// timeout returns what has arrived.
    ///
    /// # Errors
    /// As poll(2).
    ///
    /// ```no_run
    /// use std::os::fd::AsFd;
    /// use std::time::Duration;
    ///
    /// # let mut client = steadfast::client::Client::connect(&steadfast::client::Config::to("ws://a/".parse()?))?;
    /// let ready = client.wait(&[std::io::stdin().as_fd()], Duration::from_secs(60))?;
    /// if ready[0] {
    ///     println!("something was typed");
    /// }
    /// while let Some(heard) = client.receive(Duration::ZERO) {
    ///     println!("{heard:?}");
    /// #   break
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait(&mut self, others: &[BorrowedFd<'_>], timeout: Duration) -> io::Result<Vec<bool>> {
        self.flush();
        let ready_now = !self.unread.is_empty() || self.ended.is_some();
        let timeout = if ready_now { Duration::ZERO } else { timeout };
        let mut all: Vec<(BorrowedFd<'_>, bool)> = others.iter().map(|other| (*other, false)).collect();
        if !ready_now {
            all.push((self.socket.as_fd(), self.queued_bytes() > 0));
        }
        let mut ready = sys::poll(&all, timeout)?;
        ready.truncate(others.len());
        Ok(ready)
    }

    /// Finishes a connection that has ended: sends what is queued, such as the answer to the peer's Close, and gives
    /// the peer time to close first (RFC 6455 section 7.1.1), both within `timeout`.
    pub fn finish(mut self, timeout: Duration) {
        let since = Instant::now();
        let mut shut = false;
        let mut rest = [0; 4096];
        while since.elapsed() < timeout && !matches!(self.ended, Some(Ending::Abnormal(_))) {
            self.flush();
            if self.queued_bytes() == 0 && !shut {
                // The peer sees the end after our last byte. What it sends meanwhile is read, since close(2) with
                // unread data sends a reset, which can overtake the Close.
                shut = self.socket.shutdown(Shutdown::Write).is_ok();
            }
            match self.socket.read(&mut rest) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if is_not_yet(&error) => {
                    let waited = sys::poll(
                        &[(self.socket.as_fd(), self.queued_bytes() > 0)],
                        timeout.saturating_sub(since.elapsed()),
                    );
                    if waited.is_err() {
                        return;
                    }
                }
                Err(_) => return,
            }
        }
    }

    /// Sends as much as the socket accepts. On an error the queue is dropped; reading tells the cause after the peer's
    /// last bytes.
    fn flush(&mut self) {
        while self.sent < self.out.bytes.len() {
            match self.socket.write(&self.out.bytes[self.sent..]) {
                Ok(taken) => {
                    self.sent += taken;
                    self.last_progress = Instant::now();
                }
                Err(error) if is_not_yet(&error) => break,
                Err(_) => self.sent = self.out.bytes.len(),
            }
        }
        if self.sent == self.out.bytes.len() {
            self.out.bytes.clear();
            self.out.bytes.shrink_to(SENT_BYTES);
            self.sent = 0;
        } else if self.sent > SENT_BYTES && self.sent > self.out.bytes.len() / 2 {
            self.out.bytes.drain(..self.sent);
            self.sent = 0;
        }
    }

    /// Reads once, if all earlier input has been parsed.
    fn fill(&mut self) {
        if !self.unread.is_empty() || self.ended.is_some() {
            return;
        }
        match self.socket.read(&mut self.input) {
            Ok(0) => self.end_of_input(None),
            Ok(bytes) => {
                self.unread = 0..bytes;
                self.last_progress = Instant::now();
            }
            Err(error) if is_not_yet(&error) => {}
            Err(error) => self.end_of_input(Some(error.kind())),
        }
    }

    fn end_of_input(&mut self, error: Option<ErrorKind>) {
        self.session.abandon();
        self.ended.get_or_insert(Ending::Abnormal(error));
    }

    /// Parses the next event from the input.
    fn understand(&mut self) -> Option<Heard> {
        while !self.unread.is_empty() {
            let closing = self.session.state() == State::Closing;
            let input = &mut self.input[self.unread.clone()];
            self.out.now_s = self.began.elapsed().as_secs() as u32;
            let (used, event) = self.session.receive(input, &mut self.message, &self.limits, &mut self.out);
            self.unread.start += used;
            let ending = match event {
                Event::Message(kind, payload) => return Some(Heard::Message(kind, payload.to_vec())),
                Event::Ping(payload) => return Some(Heard::Ping(payload.to_vec())),
                Event::Pong(payload) => return Some(Heard::Pong(payload.to_vec())),
                Event::Closed(code, reason) => {
                    let reason = String::from_utf8_lossy(reason).into_owned();
                    if closing { Ending::ByUs { code, reason } } else { Ending::ByPeer { code, reason } }
                }
                Event::Failed(fault) => Ending::Failed(fault),
                _ => continue,
            };
            self.unread = 0..0; // RFC 6455 section 5.5.1: data after a Close is ignored
            self.ended = Some(ending);
        }
        None
    }
}

/// For programs that wait by other means. Queued output is sent only when a method is called.
impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Connects to the first of `addresses` that accepts; each may use an equal share of the time left.
fn dial(addresses: &[SocketAddr], deadline: Instant) -> Result<(TcpStream, SocketAddr), ConnectError> {
    let mut last = ConnectError::Resolve(io::Error::new(ErrorKind::NotFound, "it has no address"));
    for (at, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / (addresses.len() - at) as u32;
        if share.is_zero() {
            return Err(ConnectError::TimedOut);
        }
        let connected = TcpStream::connect_timeout(address, share).and_then(|socket| {
            socket.set_nonblocking(true)?;
            socket.set_nodelay(true)?; // each line is a message of its own, to be sent at once
            Ok(socket)
        });
        match connected {
            Ok(socket) => return Ok((socket, *address)),
            Err(error) => last = ConnectError::Unreachable(*address, error),
        }
    }
    Err(last)
}

/// Returns whether a nonblocking socket is not ready yet.
fn is_not_yet(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
