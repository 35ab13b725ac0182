//! A client that is not the code under test: it blocks, and looks at every byte.

use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Turns a hang into a failure, and is far above what a slow host needs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// Why something did not go as it should.
#[derive(Debug)]
pub(crate) enum Failed {
    /// The connection ended early: right if it was reset by the fault library, and only then.
    Ended(String),
    /// Wrong in any case.
    Wrong(String),
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended(why) => write!(f, "ended early: {why}"),
            Self::Wrong(why) => f.write_str(why),
        }
    }
}

pub(crate) type Outcome<T = ()> = Result<T, Failed>;

pub(crate) fn wrong<T>(why: impl Into<String>) -> Outcome<T> {
    Err(Failed::Wrong(why.into()))
}

/// Fails unless `condition` holds.
pub(crate) fn ensure(condition: bool, why: impl FnOnce() -> String) -> Outcome {
    if condition { Ok(()) } else { Err(Failed::Wrong(why())) }
}

fn failed(error: &std::io::Error, doing: &str) -> Failed {
    match error.kind() {
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof | ErrorKind::NotConnected => {
            Failed::Ended(format!("{doing}: {error}"))
        }
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Failed::Wrong(format!("HUNG {doing}")),
        _ => Failed::Wrong(format!("{doing}: {error}")),
    }
}

/// The end of a connection that is written to, perhaps by another thread than reads.
#[derive(Debug)]
pub(crate) struct Writer(TcpStream);

impl Writer {
    pub(crate) fn send(&mut self, bytes: &[u8]) -> Outcome {
        self.0.write_all(bytes).map_err(|error| failed(&error, "sending"))
    }
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Peer {
    socket: TcpStream,
    unread: Vec<u8>,
    pub(crate) port: u16,
}

/// A response.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) length: usize,
}

impl Peer {
    pub(crate) fn connect(address: SocketAddr) -> Outcome<Self> {
        let socket = TcpStream::connect(address).map_err(|error| Failed::Wrong(format!("connect: {error}")))?;
        let port = socket.local_addr().map_or(0, |address| address.port());
        socket.set_nodelay(true).expect("TCP_NODELAY");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        socket.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        Ok(Self { socket, unread: Vec::new(), port })
    }

    pub(crate) fn writer(&self) -> Writer {
        Writer(self.socket.try_clone().expect("a second descriptor"))
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> Outcome {
        self.writer().send(bytes)
    }

    /// The smallest receive buffer that there is, so that what is not read soon waits in the server.
    pub(crate) fn shrink(&self) {
        socket2::SockRef::from(&self.socket).set_recv_buffer_size(1).expect("a size");
    }

    fn fill(&mut self, what: &str) -> Outcome {
        let mut bytes = [0; 16 << 10];
        loop {
            match self.socket.read(&mut bytes) {
                Ok(0) => return Err(Failed::Ended(format!("end of the stream instead of {what}"))),
                Ok(count) => {
                    self.unread.extend(&bytes[..count]);
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(&error, &format!("waiting for {what}"))),
            }
        }
    }

    pub(crate) fn read(&mut self, count: usize) -> Outcome<Vec<u8>> {
        while self.unread.len() < count {
            self.fill("more bytes")?;
        }
        Ok(self.unread.drain(..count).collect())
    }

    /// The head of a response.
    pub(crate) fn response(&mut self) -> Outcome<Response> {
        let end = loop {
            if let Some(at) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            self.fill("a response")?;
        };
        let head = String::from_utf8_lossy(&self.read(end)?).into_owned();
        let number = |text: Option<&str>| text.and_then(|text| text.trim().parse::<usize>().ok());
        let status = number(head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)));
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length:").map(str::to_owned));
        match status {
            Some(status) => Ok(Response { status: status as u16, length: number(length.as_deref()).unwrap_or(0) }),
            None => wrong(format!("no response: {head:?}")),
        }
    }

    pub(crate) fn upgrade(&mut self, path: &str) -> Outcome {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        self.send(request.as_bytes())?;
        let status = self.response()?.status;
        ensure(status == 101, || format!("{status} instead of 101"))
    }

    /// The next frame: its first byte and its payload. Pings are passed over: there was no time for them to matter.
    pub(crate) fn frame(&mut self) -> Outcome<(u8, Vec<u8>)> {
        loop {
            let head = self.read(2)?;
            let count = match head[1] {
                126 => usize::from(u16::from_be_bytes(self.read(2)?.try_into().expect("two bytes"))),
                127 => u64::from_be_bytes(self.read(8)?.try_into().expect("eight bytes")) as usize,
                short => usize::from(short),
            };
            ensure(count <= 1 << 20, || format!("a frame of {count} bytes: the stream is out of step"))?;
            let payload = self.read(count)?;
            if head[0] != PING {
                return Ok((head[0], payload));
            }
        }
    }

    /// Closes as a WebSocket does, and waits for the end of the stream.
    pub(crate) fn close(mut self) -> Outcome {
        self.send(&frame(CLOSE, &1000_u16.to_be_bytes()))?;
        let (first, payload) = self.frame()?;
        ensure(first == CLOSE && payload.starts_with(&[3, 232]), || format!("{first:#x} {payload:?} for a Close"))?;
        self.assert_end()
    }

    /// The stream ends here, with nothing before the end.
    pub(crate) fn assert_end(&mut self) -> Outcome {
        ensure(self.unread.is_empty(), || format!("{} bytes before the end", self.unread.len()))?;
        let mut byte = [0];
        match self.socket.read(&mut byte) {
            Ok(0) => Ok(()),
            Ok(_) => wrong("more instead of the end"),
            Err(error) => Err(failed(&error, "waiting for the end")),
        }
    }
}

pub(crate) const TEXT: u8 = 0x81;
pub(crate) const BINARY: u8 = 0x82;
pub(crate) const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;

/// A frame as a client sends it.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x11, 0x84, 0x5c, 0xe3];
    let mut bytes = vec![first];
    match payload.len() {
        short @ 0..=125 => bytes.push(0x80 | short as u8),
        medium @ 126..=0xffff => {
            bytes.push(0xfe);
            bytes.extend((medium as u16).to_be_bytes());
        }
        long => {
            bytes.push(0xff);
            bytes.extend((long as u64).to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}
