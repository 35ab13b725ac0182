//! Listeners: addresses, port ranges, unix sockets.

use super::sys;
use socket2::{Domain, SockAddr, Socket, TcpKeepalive, Type};
use std::ffi::OsString;
use std::fmt;
use std::fs::Metadata;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, SystemTime};

/// The backlog for listen(2); the kernel takes the smaller of this and net.core.somaxconn.
pub const BACKLOG: i32 = 65_535;

/// An endpoint to listen on: an address with a port or a range of ports, or a unix socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// The addresses, one for each port of a range.
    Tcp(Vec<SocketAddr>),
    /// The path of a unix socket. A path that begins with `@` is the name of an abstract socket, which has no file
    /// (unix(7)); the path of a file with such a name is `./@name`.
    Unix(PathBuf),
}

/// A text that is not an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadEndpoint(String);

impl fmt::Display for BadEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}; expected 127.0.0.1:8080, 0.0.0.0:7000-7099, [::1]:8080, unix:/run/steadfast.sock or \
             unix:@name",
            self.0
        )
    }
}

impl std::error::Error for BadEndpoint {}

impl FromStr for Endpoint {
    type Err = BadEndpoint;

    /// Parses `ADDRESS:PORT`, `ADDRESS:FIRST-LAST`, `unix:PATH` or `unix:@NAME`; an address may be a host name.
    fn from_str(text: &str) -> Result<Self, BadEndpoint> {
        if let Some(path) = text.strip_prefix("unix:") {
            return match path {
                "" => Err(BadEndpoint("the path of the unix socket is missing".into())),
                "@" => Err(BadEndpoint("the name of the abstract unix socket is missing".into())),
                _ => Ok(Self::Unix(path.into())),
            };
        }
        let (host, ports) = text.rsplit_once(':').ok_or_else(|| BadEndpoint("the port is missing".into()))?;
        if host.is_empty() {
            return Err(BadEndpoint("the address is missing".into()));
        }
        let number = |port: &str| {
            port.parse::<u16>().map_err(|_| BadEndpoint(format!("{port:?} is not a port from 0 to 65535")))
        };
        let (first, last) = match ports.split_once('-') {
            Some((first, last)) => (number(first)?, number(last)?),
            None => (number(ports)?, number(ports)?),
        };
        if first == 0 && last > 0 {
            return Err(BadEndpoint(format!(
                "the range of ports {first}-{last} begins with 0, which lets the kernel choose"
            )));
        }
        if first > last {
            return Err(BadEndpoint(format!("the range of ports {first}-{last} is empty")));
        }
        let resolve = |port| {
            let found =
                format!("{host}:{port}").to_socket_addrs().map_err(|error| BadEndpoint(format!("{host:?}: {error}")));
            found?.next().ok_or_else(|| BadEndpoint(format!("{host:?} has no address")))
        };
        let mut address = resolve(first)?;
        let addresses = (first..=last).map(|port| {
            address.set_port(port);
            address
        });
        Ok(Self::Tcp(addresses.collect()))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(addresses) => match &addresses[..] {
                [first, .., last] => write!(f, "{first}-{}", last.port()),
                [one] => write!(f, "{one}"),
                [] => Ok(()),
            },
        }
    }
}

/// A socket that reserves an address until the reactors listen on it.
///
/// It is bound without SO_REUSEPORT, so that an address in use is an error even if it is used by a process of the same
/// user that sets the option: with the option, both processes would share the connections. After bind(2) the option is
/// set, so that the reactors can join.
#[derive(Debug)]
pub struct Reservation {
    /// The address, with the port that the kernel chose for port 0.
    pub address: SocketAddr,
    _socket: Socket,
}

/// Reserves `address` for this process.
///
/// # Errors
/// As socket(2) and bind(2).
pub fn reserve(address: SocketAddr) -> io::Result<Reservation> {
    let socket = tcp_socket(address)?;
    socket.bind(&address.into())?;
    socket.set_reuse_port(true)?;
    let address = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
    Ok(Reservation { address, _socket: socket })
}

/// The kernel's buffers of one TCP connection, in bytes. 0 leaves their size to the kernel, which lets them grow as
/// needed (tcp(7), tcp_rmem and tcp_wmem).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketBuffers {
    /// SO_SNDBUF (socket(7)).
    pub send_bytes: u32,
    /// SO_RCVBUF.
    pub receive_bytes: u32,
    /// TCP_NOTSENT_LOWAT (tcp(7)): the socket takes no more while it holds this many bytes that have not been sent.
    /// Further messages are queued in user space, where they are counted and can be dropped.
    pub notsent_lowat_bytes: u32,
}

impl Default for SocketBuffers {
    fn default() -> Self {
        Self { send_bytes: 0, receive_bytes: 0, notsent_lowat_bytes: 128 << 10 }
    }
}

/// The longest time that TCP_KEEPIDLE accepts, in seconds.
pub const MAX_KEEPALIVE_S: u32 = 32_767;

/// Returns the options for three probes after `idle_s` of silence, within half of that time (tcp(7)).
fn keepalive(idle_s: u32) -> TcpKeepalive {
    let seconds = |seconds: u32| Duration::from_secs(seconds.clamp(1, MAX_KEEPALIVE_S).into());
    TcpKeepalive::new().with_time(seconds(idle_s)).with_interval(seconds(idle_s / 6)).with_retries(3)
}

/// Listens on `address`, which several sockets may share. Accepted sockets inherit `buffers`, and SO_KEEPALIVE with
/// `keepalive_s` if it is given.
///
/// # Errors
/// As socket(2), bind(2) and listen(2).
pub fn listen_tcp(address: SocketAddr, buffers: SocketBuffers, keepalive_s: Option<u32>) -> io::Result<OwnedFd> {
    let socket = tcp_socket(address)?;
    if let Some(idle_s) = keepalive_s {
        socket.set_tcp_keepalive(&keepalive(idle_s))?;
    }
    if buffers.send_bytes > 0 {
        socket.set_send_buffer_size(buffers.send_bytes as usize)?;
    }
    if buffers.receive_bytes > 0 {
        // This comes before listen(2), so that the window scale fits it (tcp(7)).
        socket.set_recv_buffer_size(buffers.receive_bytes as usize)?;
    }
    if buffers.notsent_lowat_bytes > 0 {
        sys::set_notsent_lowat(socket.as_fd(), buffers.notsent_lowat_bytes)?;
    }
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    // Accepted sockets inherit the option, which saves a call for each.
    socket.set_tcp_nodelay(true)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn tcp_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking().cloexec(), None)?;
    // The last connections of a server that restarts may be in TIME_WAIT.
    socket.set_reuse_address(true)?;
    Ok(socket)
}

/// The file of a unix socket that [`listen_unix`] has created, with what tells it from a file that replaces it.
#[derive(Debug, PartialEq, Eq)]
pub struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
    /// The time of creation, where the file system keeps it: an inode may be used again.
    born: Option<SystemTime>,
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        let about = std::fs::symlink_metadata(path)?;
        Ok(Self { path: path.to_owned(), device: about.dev(), inode: about.ino(), born: about.created().ok() })
    }

    /// Removes the file, unless another one has its path now.
    pub fn remove(&self) {
        if Self::of(&self.path).is_ok_and(|found| found == *self) {
            // A file that cannot be removed stays; the next server replaces it.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Listens on a unix socket at `path`, or at an abstract name; replaces the file of a server that has ended. Returns
/// the socket and its file, if it has one.
///
/// # Errors
/// As socket(2), bind(2) and listen(2); `AddrInUse` if a program listens there.
pub fn listen_unix(path: &Path) -> io::Result<(OwnedFd, Option<SocketFile>)> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)?;
    if let [b'@', name @ ..] = path.as_os_str().as_bytes() {
        let name = OsString::from_vec([b"\0", name].concat());
        socket.bind(&SockAddr::unix(name)?)?;
        socket.listen(BACKLOG)?;
        return Ok((socket.into(), None));
    }
    let address = SockAddr::unix(path)?;
    let is_socket = |found: Metadata| found.file_type().is_socket();
    if std::fs::symlink_metadata(path).is_ok_and(is_socket) {
        remove_dead(path, &address)?;
    }
    socket.bind(&address)?;
    let file = SocketFile::of(path)?;
    if let Err(error) = socket.listen(BACKLOG) {
        file.remove();
        return Err(error);
    }
    Ok((socket.into(), Some(file)))
}

/// Removes the socket at `path` if no program listens at it.
fn remove_dead(path: &Path, address: &SockAddr) -> io::Result<()> {
    let found = SocketFile::of(path)?;
    // A socket whose queue is full is in use: connect(2) on a non-blocking socket returns EAGAIN.
    let probe = Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)?;
    match probe.connect(address) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            found.remove();
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(error),
        _ => Err(io::ErrorKind::AddrInUse.into()),
    }
}

#[cfg(test)]
#[path = "../tests/net/listener.rs"]
mod tests;
