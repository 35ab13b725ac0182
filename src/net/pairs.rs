//! Connections from this host to itself, with both ends in one epoll set: the doctor measures on them what a connection
//! costs the kernel.

use super::sys;
use mio::unix::SourceFd;
use mio::{Interest, Poll, Token};
use socket2::{Domain, Socket, Type};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

/// The timeout of connecting over loopback: where a filter drops packets, connect(2) would take minutes.
const PATIENCE: Duration = Duration::from_millis(200);

/// Connections of one source address before the next address is used: few enough for the smallest range of ports.
const PER_SOURCE: usize = 16;

/// Loopback connections, held until they are dropped. The two ends are opened one after the other, so that the cost of
/// each is measured by itself.
#[derive(Debug)]
pub struct Pairs {
    listener: Socket,
    address: SocketAddr,
    poll: Poll,
    clients: Vec<Socket>,
    servers: Vec<Socket>,
}

impl Pairs {
    /// Creates an empty set with room for `most` connections; up to `backlog` may wait to be accepted.
    ///
    /// # Errors
    /// As socket(2), bind(2), listen(2) and epoll_create1(2).
    pub fn new(most: usize, backlog: usize) -> io::Result<Self> {
        let listener = Socket::new(Domain::IPV4, Type::STREAM.nonblocking().cloexec(), None)?;
        listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
        listener.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
        let address = listener.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
        let (clients, servers) = (Vec::with_capacity(most), Vec::with_capacity(most));
        Ok(Self { listener, address, poll: Poll::new()?, clients, servers })
    }

    /// Connects one more, and watches the client's end.
    ///
    /// # Errors
    /// As connect(2) and epoll_ctl(2); `TimedOut` where loopback does not answer.
    pub fn connect(&mut self) -> io::Result<()> {
        let client = Socket::new(Domain::IPV4, Type::STREAM.cloexec(), None)?;
        sys::set_bind_address_no_port(client.as_fd())?;
        let host = (self.clients.len() / PER_SOURCE % 200) as u8 + 1;
        client.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 0, host), 0)).into())?;
        client.connect_timeout(&self.address.into(), PATIENCE)?;
        self.watch(&client)?;
        self.clients.push(client);
        Ok(())
    }

    /// Accepts the next connection that waits, and watches the server's end.
    ///
    /// # Errors
    /// As accept4(2) and epoll_ctl(2); `TimedOut` where none comes.
    pub fn accept(&mut self) -> io::Result<()> {
        let server = loop {
            match sys::accept(self.listener.as_fd()) {
                Ok(socket) => break Socket::from(socket),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            if sys::poll(&[(self.listener.as_fd(), false)], PATIENCE)? == [false] {
                return Err(io::ErrorKind::TimedOut.into());
            }
        };
        self.watch(&server)?;
        self.servers.push(server);
        Ok(())
    }

    fn watch(&self, socket: &Socket) -> io::Result<()> {
        // A connection that is closed by a reset does not stay in TIME_WAIT, and conntrack forgets it in seconds.
        socket.set_linger(Some(Duration::ZERO))?;
        let (fd, both) = (socket.as_raw_fd(), Interest::READABLE | Interest::WRITABLE);
        self.poll.registry().register(&mut SourceFd(&fd), Token(fd as usize), both)
    }

    /// Returns how many connections are open, with both ends.
    pub fn len(&self) -> usize {
        self.servers.len()
    }
}
