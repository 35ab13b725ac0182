//! Blocking GET requests for `/stats`, with the protocol core, over a connection that may be kept open.

use crate::net::sys;
use crate::proto::mask::RandomSource;
use crate::proto::session::{Event, Limits, Output, Session};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// The longest response that is read: enough for a server with a thousand reactors.
pub(super) const MAX_BODY_BYTES: usize = 1 << 20;

/// Sends requests to one server, one at a time.
#[derive(Debug)]
pub(super) struct Asker {
    address: SocketAddr,
    host: String,
    /// Whether the connection stays open for the next request. Meanwhile it takes one of the server's places.
    pub(super) keeps: bool,
    kept: Option<Connection>,
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    session: Session,
    out: Output,
}

impl Asker {
    pub(super) fn new(address: SocketAddr, host: String) -> Self {
        Self { address, host, keeps: false, kept: None }
    }

    /// Closes the kept connection, if there is one.
    pub(super) fn close(&mut self) {
        self.kept = None;
    }

    /// Requests `path`; returns the status and the body.
    ///
    /// # Errors
    /// As connect(2), send(2) and recv(2); `InvalidData` if the response is not HTTP, `TimedOut` after `timeout`,
    /// `FileTooLarge` for more than [`MAX_BODY_BYTES`].
    pub(super) fn get(&mut self, path: &str, timeout: Duration) -> io::Result<(u16, Vec<u8>)> {
        let deadline = Instant::now() + timeout;
        if let Some(kept) = self.kept.take() {
            match self.ask(kept, path, deadline) {
                // The server has closed it since the previous request.
                Err(error) if is_gone(error.kind()) => {}
                answered => return answered,
            }
        }
        let stream = TcpStream::connect_timeout(&self.address, left(deadline)?)?;
        let (session, out) = (Session::http_client(), Output::new(RandomSource::new(sys::random)));
        self.ask(Connection { stream, session, out }, path, deadline)
    }

    fn ask(&mut self, mut connection: Connection, path: &str, deadline: Instant) -> io::Result<(u16, Vec<u8>)> {
        let Connection { stream, session, out } = &mut connection;
        out.clear();
        session.request(&self.host, path, "", out);
        stream.set_write_timeout(Some(left(deadline)?))?;
        stream.write_all(&out.bytes)?;
        let (limits, mut message) = (Limits::default(), Vec::new());
        let (mut status, mut stays, mut body) = (0, false, Vec::new());
        let mut input = vec![0; 16 << 10];
        loop {
            // The timeout is for the whole response: a server that sends a byte now and then does not extend it.
            stream.set_read_timeout(Some(left(deadline)?))?;
            let arrived = stream.read(&mut input)?;
            if arrived == 0 {
                session.end_of_input();
            }
            let mut used = 0;
            while used < arrived || session.has_event() {
                let (bytes, event) = session.receive(&mut input[used..arrived], &mut message, &limits, out);
                used += bytes;
                match event {
                    Event::Response(head) => (status, stays) = (head.status, head.keeps_alive()),
                    Event::Body(piece) => body.extend_from_slice(piece),
                    Event::ResponseEnd => {
                        let is_whole = arrived > 0 && used == arrived;
                        self.kept = Some(connection).filter(|_| self.keeps && stays && is_whole);
                        return Ok((status, body));
                    }
                    Event::NeedMore => {}
                    _ => return Err(ErrorKind::InvalidData.into()),
                }
                if body.len() > MAX_BODY_BYTES {
                    return Err(ErrorKind::FileTooLarge.into());
                }
            }
            if arrived == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

fn is_gone(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe
    )
}

/// Returns the time left until `deadline`, as a timeout for a socket, which may not be zero.
fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
}
