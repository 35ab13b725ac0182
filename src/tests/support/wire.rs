//! A client's side of the wire, written from the RFCs and not with the code under test.

use serde_json::Value;
use std::fmt::Debug;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// Turns a hang into a failure, and is far above what a slow host needs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Long enough for an answer that should not come to come after all; too short can only hide a failure.
const SILENCE: Duration = Duration::from_millis(300);

pub(crate) const TEXT: u8 = 0x81;
pub(crate) const BINARY: u8 = 0x82;
pub(crate) const CLOSE: u8 = 0x88;
pub(crate) const PING: u8 = 0x89;
pub(crate) const PONG: u8 = 0x8a;

/// The handshake of RFC 6455 section 1.3, with the key that it answers.
pub(crate) const UPGRADE: &str = "GET /echo HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// What a connection has to be for these tests.
pub(crate) trait Socket: Read + Write + Debug {
    fn set_timeouts(&self, read: Duration);
}

impl Socket for TcpStream {
    fn set_timeouts(&self, read: Duration) {
        self.set_read_timeout(Some(read)).expect("a read timeout");
        self.set_write_timeout(Some(PATIENCE)).expect("a write timeout");
    }
}

impl Socket for UnixStream {
    fn set_timeouts(&self, read: Duration) {
        self.set_read_timeout(Some(read)).expect("a read timeout");
        self.set_write_timeout(Some(PATIENCE)).expect("a write timeout");
    }
}

/// An HTTP answer as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The values of all fields of that name.
    pub(crate) fn fields<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let lines = self.head.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
        lines.filter(move |(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    /// The value of a field.
    pub(crate) fn field<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.fields(name).next()
    }

    pub(crate) fn closes(&self) -> bool {
        let mut options = self.fields("Connection").flat_map(|value| value.split(','));
        options.any(|option| option.trim().eq_ignore_ascii_case("close"))
    }
}

/// A frame as a server sends it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) first: u8,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// The code of a Close frame; 1005 for one without (RFC 6455 section 7.1.5).
    pub(crate) fn close_code(&self) -> u16 {
        assert_eq!(self.first, CLOSE, "not a Close: {self:?}");
        self.payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code))
    }
}

/// A frame as a client sends it: masked, its length in the shortest form.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut bytes = vec![first];
    match payload.len() {
        short @ 0..=125 => bytes.push(0x80 | short as u8),
        medium @ 126..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend((medium as u16).to_be_bytes());
        }
        long => {
            bytes.push(0x80 | 127);
            bytes.extend((long as u64).to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

/// A Close frame's payload.
pub(crate) fn close_body(code: u16, reason: &[u8]) -> Vec<u8> {
    [&code.to_be_bytes(), reason].concat()
}

/// One connection, with what has been read and not yet looked at.
#[derive(Debug)]
pub(crate) struct Wire<S: Socket = TcpStream> {
    pub(crate) socket: S,
    unread: Vec<u8>,
}

impl Wire<TcpStream> {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let socket = TcpStream::connect_timeout(&address, PATIENCE).expect("a connection");
        socket.set_nodelay(true).expect("TCP_NODELAY");
        Self::over(socket)
    }

    /// A connection whose upgrade is done.
    pub(crate) fn websocket(address: SocketAddr) -> Self {
        let mut wire = Self::connect(address);
        wire.upgrade();
        wire
    }
}

impl<S: Socket> Wire<S> {
    pub(crate) fn over(socket: S) -> Self {
        socket.set_timeouts(PATIENCE);
        Self { socket, unread: Vec::new() }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).expect("the peer takes what is sent");
    }

    /// Sends what a peer that has already refused need not take.
    pub(crate) fn send_if_taken(&mut self, bytes: &[u8]) {
        if let Err(error) = self.socket.write_all(bytes) {
            let expected = [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset];
            assert!(expected.contains(&error.kind()), "sending: {error}");
        }
    }

    /// Reads once; false at the end of the stream.
    fn fill(&mut self) -> std::io::Result<bool> {
        let mut bytes = [0; 64 << 10];
        loop {
            match self.socket.read(&mut bytes) {
                // A read with a timeout is not taken up again by the kernel when something else wakes the thread.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(read) => {
                    self.unread.extend_from_slice(&bytes[..read]);
                    return Ok(read > 0);
                }
            }
        }
    }

    fn fill_for(&mut self, what: &str) {
        match self.fill() {
            Ok(true) => {}
            Ok(false) => panic!("the end came instead of {what}, behind {:?}", String::from_utf8_lossy(&self.unread)),
            Err(error) => panic!("{error} instead of {what}, behind {:?}", String::from_utf8_lossy(&self.unread)),
        }
    }

    pub(crate) fn read(&mut self, count: usize) -> Vec<u8> {
        while self.unread.len() < count {
            self.fill_for("more bytes");
        }
        self.unread.drain(..count).collect()
    }

    fn head(&mut self) -> String {
        let end = loop {
            if let Some(at) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            self.fill_for("an answer's head");
        };
        String::from_utf8(self.read(end)).expect("a head of text")
    }

    /// The answer to a HEAD: it says how long its body would be, and has none.
    pub(crate) fn answer_without_body(&mut self) -> Answer {
        let head = self.head();
        let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).and_then(|code| code.parse().ok());
        Answer { status: status.unwrap_or_else(|| panic!("no status: {head}")), head, body: Vec::new() }
    }

    pub(crate) fn answer(&mut self) -> Answer {
        let mut answer = self.answer_without_body();
        let length = answer.field("Content-Length").map(|length| length.parse().expect("a number"));
        answer.body = self.read(length.unwrap_or(0));
        answer
    }

    pub(crate) fn upgrade(&mut self) {
        self.send(UPGRADE.as_bytes());
        self.assert_upgraded();
    }

    pub(crate) fn assert_upgraded(&mut self) {
        let answer = self.answer_without_body();
        assert_eq!((answer.status, answer.field("Sec-WebSocket-Accept")), (101, Some(ACCEPT)), "{answer:?}");
    }

    /// The next frame; a server's are not masked.
    pub(crate) fn frame(&mut self) -> Frame {
        let [first, second] = self.read(2)[..] else { unreachable!("two bytes were read") };
        assert_eq!(second & 0x80, 0, "a server must not mask");
        let length = match second {
            126 => usize::from(u16::from_be_bytes(self.read(2).try_into().expect("two bytes"))),
            127 => u64::from_be_bytes(self.read(8).try_into().expect("eight bytes")) as usize,
            short => usize::from(short),
        };
        Frame { first, payload: self.read(length) }
    }

    /// Sends a message, and expects just that to come back.
    pub(crate) fn echo(&mut self, payload: &[u8]) {
        self.send(&frame(BINARY, payload));
        assert_eq!(self.frame(), Frame { first: BINARY, payload: payload.to_vec() });
    }

    /// Everything up to the end of the stream, which has to be a proper one.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        loop {
            match self.fill() {
                Ok(true) => {}
                Ok(false) => return std::mem::take(&mut self.unread),
                Err(error) => panic!("{error} instead of the end, behind {:?}", String::from_utf8_lossy(&self.unread)),
            }
        }
    }

    pub(crate) fn assert_ended(&mut self) {
        let rest = self.rest();
        assert!(rest.is_empty(), "before the end came {:?}", String::from_utf8_lossy(&rest));
    }

    /// The end, proper or not, with nothing before it.
    pub(crate) fn assert_gone(&mut self) {
        match self.fill() {
            Ok(more) => assert!(!more, "before the end came {:?}", String::from_utf8_lossy(&self.unread)),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}"),
        }
    }

    /// The peer resets the connection; what it sent before does not matter.
    pub(crate) fn assert_reset(&mut self) {
        loop {
            match self.fill() {
                Ok(true) => {}
                Ok(false) => panic!("a proper end instead of a reset"),
                Err(error) => return assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}"),
            }
        }
    }

    /// Nothing has come, and nothing comes for a while.
    pub(crate) fn assert_silent(&mut self) {
        self.socket.set_timeouts(SILENCE);
        let filled = self.fill();
        self.socket.set_timeouts(PATIENCE);
        let heard = String::from_utf8_lossy(&self.unread);
        assert!(filled.is_err() && heard.is_empty(), "{filled:?} instead of silence: {heard:?}");
    }

    /// `/stats`, over this connection.
    pub(crate) fn stats(&mut self) -> Value {
        self.stats_at("/stats")
    }

    /// The document of `target`: `/stats`, or the same with a query.
    pub(crate) fn stats_at(&mut self, target: &str) -> Value {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        let answer = self.answer();
        assert_eq!(answer.status, 200, "{answer:?}");
        serde_json::from_slice(&answer.body).expect("JSON")
    }

    pub(crate) fn counter(&mut self, name: &str) -> u64 {
        counter(&self.stats(), name)
    }

    /// Asks for `/stats` until `reached`: for what a server does after the last byte that a peer can see.
    pub(crate) fn stats_until(&mut self, what: &str, mut reached: impl FnMut(&Value) -> bool) -> Value {
        let since = Instant::now();
        loop {
            let stats = self.stats();
            if reached(&stats) {
                return stats;
            }
            assert!(since.elapsed() < PATIENCE, "{what}: {stats}");
            // Nothing tells of it but the next answer; a server that is asked without a pause has no time for it.
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// One of the counters of `/stats`.
pub(crate) fn counter(stats: &Value, name: &str) -> u64 {
    stats["counters"][name].as_u64().unwrap_or_else(|| panic!("no counter {name}: {stats}"))
}

/// The counters of refusals and failures that differ, and by how much.
pub(crate) fn refusals_since(before: &Value, after: &Value) -> Vec<(String, u64)> {
    let counters = after["counters"].as_object().expect("counters");
    let names = counters.keys().filter(|name| name.starts_with("refused_") || name.starts_with("failed_"));
    let grown = names.map(|name| (name.clone(), counter(after, name) - counter(before, name)));
    grown.filter(|(_, by)| *by > 0).collect()
}
