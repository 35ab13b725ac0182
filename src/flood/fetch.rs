//! One blocking GET, on the same session as everything else: for `/stats`, and for what a page has to look like.

use crate::net::sys;
use crate::proto::mask::RandomSource;
use crate::proto::session::{Event, Limits, Output, Session};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// No answer to a question about statistics is worth more.
const MAX_BODY_BYTES: usize = 16 << 20;

/// Gets `path` from `address`; its status and body.
///
/// # Errors
/// As connect(2), send(2) and recv(2); `InvalidData` for what is not HTTP, `TimedOut` after `timeout`.
pub(super) fn get(address: SocketAddr, host: &str, path: &str, timeout: Duration) -> io::Result<(u16, Vec<u8>)> {
    let mut stream = TcpStream::connect_timeout(&address, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    let began = Instant::now();
    let mut session = Session::http_client();
    let mut out = Output::new(RandomSource::new(sys::random));
    session.request(host, path, "", &mut out);
    stream.write_all(&out.bytes)?;
    let (limits, mut message) = (Limits::default(), Vec::new());
    let (mut status, mut body) = (0, Vec::new());
    let mut input = vec![0; 64 << 10];
    loop {
        let arrived = stream.read(&mut input)?;
        if arrived == 0 {
            session.end_of_input();
        }
        let mut used = 0;
        while used < arrived || session.has_event() {
            let (bytes, event) = session.receive(&mut input[used..arrived], &mut message, &limits, 0, &mut out);
            used += bytes;
            match event {
                Event::Response(head) => status = head.status,
                Event::Body(piece) => body.extend_from_slice(piece),
                Event::ResponseEnd => return Ok((status, body)),
                Event::NeedMore => {}
                _ => return Err(io::ErrorKind::InvalidData.into()),
            }
            if body.len() > MAX_BODY_BYTES {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
        }
        if arrived == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if began.elapsed() > timeout {
            return Err(io::ErrorKind::TimedOut.into()); // a byte now and then is no answer either
        }
    }
}
