//! A query: what a host should hold.

use serde::Serialize;
use std::fmt;

/// Which ends of the connections are on this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The server.
    Server,
    /// The client.
    Client,
    /// Both, over loopback.
    Both,
}

impl Role {
    pub(crate) fn has_server(self) -> bool {
        self != Self::Client
    }

    pub(crate) fn has_client(self) -> bool {
        self != Self::Server
    }

    /// Returns the number of sockets of a connection on this host.
    pub(crate) fn ends(self) -> u64 {
        u64::from(self.has_server()) + u64::from(self.has_client())
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Server => "server",
            Self::Client => "client",
            Self::Both => "both",
        })
    }
}

/// What the host should hold, and how server and client are started.
#[derive(Clone, Debug)]
pub struct Query {
    /// Connections to hold.
    pub connections: u64,
    /// Which of their ends are on this host.
    pub role: Role,
    /// Addresses that the client connects from; `None` for as many of 127.0.0.0/8 as a flood would use.
    pub sources: Option<u64>,
    /// Addresses and ports that the client connects to.
    pub destinations: u64,
    /// `--max-connections` of the server; `None` for `connections`.
    pub max_connections: Option<u64>,
    /// Reactors of the server; `None` for as many as needed.
    pub reactors: Option<usize>,
    /// Addresses and ports that the server listens on.
    pub listeners: usize,
}

impl Query {
    /// Makes a query for `connections`, with defaults for the rest.
    pub fn new(connections: u64, role: Role) -> Self {
        Self { connections, role, sources: None, destinations: 1, max_connections: None, reactors: None, listeners: 1 }
    }
}
