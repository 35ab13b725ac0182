//! A client for the tests of programs that use [`crate::server`].
//!
//! ```
//! use steadfast::server::{Handler, Message, Peer, Server};
//! use steadfast::testing::TestClient;
//!
//! struct Echo;
//!
//! impl Handler for Echo {
//!     fn message(&mut self, peer: &mut Peer, message: Message) {
//!         peer.send(message);
//!     }
//! }
//!
//! let server = Server::new().listen("127.0.0.1:0")?.route("/echo", || Echo).spawn()?;
//! let mut client = TestClient::connect(&server, "/echo")?;
//! client.send("hello")?;
//! assert_eq!(client.text()?, "hello");
//! # client.close()?;
//! # server.stop();
//! # server.join()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::client::{BadUrl, Client, Config, ConnectError, Ending, Heard};
use crate::net::listener::Endpoint;
use crate::proto::close::{CloseCode, CloseStatus};
use crate::proto::session::MessageKind;
use crate::server::{Handle, Message};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

/// How long a [`TestClient`] waits for a message or a close.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// Why a [`TestClient`] cannot connect, or does not get what it waits for.
#[derive(Debug)]
#[non_exhaustive]
pub enum TestError {
    /// The server listens on unix sockets alone.
    NoAddress,
    /// The path cannot be part of a URL.
    Url(BadUrl),
    /// The server cannot be reached, or refuses the upgrade.
    Connect(ConnectError),
    /// Nothing came within [`TIMEOUT`].
    TimedOut,
    /// The connection has ended.
    Ended(Ending),
    /// A message came where something else was expected.
    Unexpected(MessageKind, Vec<u8>),
}

impl fmt::Display for TestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAddress => f.write_str("the server has no TCP address; add .listen(\"127.0.0.1:0\")"),
            Self::Url(bad) => bad.fmt(f),
            Self::Connect(error) => error.fmt(f),
            Self::TimedOut => write!(f, "nothing came within {} s", TIMEOUT.as_secs()),
            Self::Ended(ending) => write!(f, "the connection has ended: {ending:?}"),
            Self::Unexpected(kind, payload) => {
                write!(f, "a message came that was not expected: {kind:?} {:?}", String::from_utf8_lossy(payload))
            }
        }
    }
}

impl std::error::Error for TestError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Url(bad) => Some(bad),
            Self::Connect(error) => Some(error),
            _ => None,
        }
    }
}

/// A WebSocket client that blocks, at most for [`TIMEOUT`] at a time.
#[derive(Debug)]
pub struct TestClient {
    client: Client,
}

/// The first TCP address of a server, as a client on the same host reaches it.
fn address_of(server: &Handle) -> Option<SocketAddr> {
    let addresses = server.endpoints().iter().filter_map(|endpoint| match endpoint {
        Endpoint::Tcp(addresses) => addresses.first(),
        Endpoint::Unix(_) => None,
    });
    let mut address = *addresses.into_iter().next()?;
    match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    Some(address)
}

impl TestClient {
    /// Connects to a path, which may have a query, at the first TCP address of a server.
    ///
    /// # Errors
    /// [`TestError::NoAddress`], [`TestError::Url`] and [`TestError::Connect`].
    pub fn connect(server: &Handle, path: &str) -> Result<Self, TestError> {
        Self::connect_with(server, path, |_| {})
    }

    /// Connects with more than a path: `configure` may add header fields, subprotocols and compression.
    ///
    /// # Errors
    /// As [`TestClient::connect`].
    ///
    /// ```no_run
    /// use steadfast::testing::{TestClient, TestError};
    ///
    /// fn sign_in(server: &steadfast::server::Handle) -> Result<TestClient, TestError> {
    ///     TestClient::connect_with(server, "/chat", |config| config.fields.push("Cookie: session=sesame".into()))
    /// }
    /// ```
    pub fn connect_with(server: &Handle, path: &str, configure: impl FnOnce(&mut Config)) -> Result<Self, TestError> {
        let address = address_of(server).ok_or(TestError::NoAddress)?;
        let mut config = Config::to(format!("ws://{address}{path}").parse().map_err(TestError::Url)?);
        configure(&mut config);
        Ok(Self { client: Client::connect(&config).map_err(TestError::Connect)? })
    }

    /// Sends a message; text and bytes convert into one.
    ///
    /// # Errors
    /// [`TestError::Ended`] if the connection has been closed.
    pub fn send<'m>(&mut self, message: impl Into<Message<'m>>) -> Result<(), TestError> {
        let message = message.into();
        if self.client.send(message.kind(), message.payload()) {
            return Ok(());
        }
        Err(match self.client.receive(Duration::ZERO) {
            Some(Heard::Ended(ending)) => TestError::Ended(ending),
            _ => TestError::Ended(Ending::Abnormal(None)),
        })
    }

    /// Waits for the next message, and returns its kind and its payload. Pings and pongs are passed over.
    ///
    /// # Errors
    /// [`TestError::TimedOut`] and [`TestError::Ended`].
    pub fn receive(&mut self) -> Result<(MessageKind, Vec<u8>), TestError> {
        let since = Instant::now();
        loop {
            let left = TIMEOUT.saturating_sub(since.elapsed());
            match self.client.receive(left) {
                Some(Heard::Message(kind, payload)) => return Ok((kind, payload)),
                Some(Heard::Ended(ending)) => return Err(TestError::Ended(ending)),
                Some(_) if !left.is_zero() => {}
                _ => return Err(TestError::TimedOut),
            }
        }
    }

    /// Waits for the next message, which is text.
    ///
    /// # Errors
    /// As [`TestClient::receive`], and [`TestError::Unexpected`] for a binary message.
    pub fn text(&mut self) -> Result<String, TestError> {
        let (kind, payload) = self.receive()?;
        match String::from_utf8(payload) {
            Ok(text) if kind == MessageKind::Text => Ok(text),
            Ok(text) => Err(TestError::Unexpected(kind, text.into_bytes())),
            Err(error) => Err(TestError::Unexpected(kind, error.into_bytes())),
        }
    }

    /// Waits until the server closes the connection, and returns the code and the reason of its Close.
    ///
    /// # Errors
    /// As [`TestClient::receive`], and [`TestError::Unexpected`] for a message.
    pub fn closed(&mut self) -> Result<(CloseStatus, String), TestError> {
        match self.receive() {
            Ok((kind, payload)) => Err(TestError::Unexpected(kind, payload)),
            Err(TestError::Ended(Ending::ByPeer { code, reason } | Ending::ByUs { code, reason })) => {
                Ok((code, reason))
            }
            Err(error) => Err(error),
        }
    }

    /// Closes the connection with 1000, and waits for the server's answer. Messages that are still on their way are lost.
    ///
    /// # Errors
    /// [`TestError::TimedOut`], and [`TestError::Ended`] if the connection ends without the answer.
    pub fn close(mut self) -> Result<(), TestError> {
        self.client.close(CloseCode::NORMAL, "");
        self.closed()?;
        self.client.finish(TIMEOUT);
        Ok(())
    }

    /// The client of this library that does the work, e.g. for pings.
    pub fn client(&mut self) -> &mut Client {
        &mut self.client
    }
}
