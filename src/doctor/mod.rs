#![doc = include_str!("README.md")]
//!
//! # Where to start
//!
//! [`Host::probe`] reads what the host has, [`measure()`] what a connection costs it ([`Costs`]), and an [`Ask`] says what is
//! asked of it. [`examine`] compares the three and changes nothing; [`fix::apply`] sets what is too low.

pub mod fix;
pub mod groups;
pub mod host;
pub mod measure;
mod needs;
pub mod probe;
mod rows;
mod slabs;
pub mod tree;

pub use fix::Fix;
pub use host::Host;
pub use measure::{Costs, measure};
pub use rows::{Row, Scope, Verdict};
pub use tree::Tree;

use needs::Case;
use serde::Serialize;
use std::fmt;

/// The version of the JSON document.
pub const SCHEMA: &str = "steadfast.doctor/1";

/// Which ends of the connections are on this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The server's.
    Server,
    /// The client's.
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

    /// Sockets of a connection on this host.
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

/// What is asked of the host.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Connections to hold.
    pub connections: u64,
    /// Which of their ends are here.
    pub role: Role,
    /// Addresses that the client connects from; `None` for as many of 127.0.0.0/8 as it takes, as a flood plans it.
    pub sources: Option<u64>,
    /// Addresses and ports that it connects to.
    pub destinations: u64,
    /// What the server is limited to; `None` for what is asked.
    pub max_connections: Option<u64>,
    /// Reactors that the server is started with; `None` for as many as it takes.
    pub reactors: Option<usize>,
    /// Addresses and ports that the server listens on.
    pub listeners: usize,
}

impl Ask {
    /// So many connections, and all else as it is by default.
    pub fn new(connections: u64, role: Role) -> Self {
        Self { connections, role, sources: None, destinations: 1, max_connections: None, reactors: None, listeners: 1 }
    }
}

/// Something that bounds how many connections a host holds, or how fast they come and go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Wall {
    /// Descriptors of a table, RLIMIT_NOFILE, and the tables that one process can have.
    Nofile,
    /// fs.nr_open: descriptors that a table can have at all.
    NrOpen,
    /// fs.file-max: open files of the host.
    FileMax,
    /// fs.epoll.max_user_watches.
    EpollWatches,
    /// Ports of each source address to each destination.
    Ports,
    /// `--max-connections` of the server.
    MaxConnections,
    /// Threads: kernel.threads-max, kernel.pid_max, RLIMIT_NPROC, a control group's pids.max.
    Threads,
    /// Entries of connection tracking, where something is hooked to it.
    Conntrack,
    /// Memory of the host.
    HostMemory,
    /// Memory of the control group that has the least left.
    GroupMemory,
    /// The queue of connections that wait to be accepted.
    Backlog,
    /// net.ipv4.tcp_mem: bytes that all sockets queue together.
    TcpMem,
    /// net.ipv4.tcp_max_orphans: sockets that were closed and still have something to send.
    Orphans,
    /// net.ipv4.tcp_max_tw_buckets: sockets in TIME_WAIT.
    TimeWait,
    /// Processor time that a control group grants.
    Cpu,
}

/// All walls, in the order of the table.
pub const WALLS: [Wall; 15] = [
    Wall::Nofile,
    Wall::NrOpen,
    Wall::FileMax,
    Wall::EpollWatches,
    Wall::Ports,
    Wall::MaxConnections,
    Wall::Threads,
    Wall::Conntrack,
    Wall::HostMemory,
    Wall::GroupMemory,
    Wall::Backlog,
    Wall::TcpMem,
    Wall::Orphans,
    Wall::TimeWait,
    Wall::Cpu,
];

impl Wall {
    /// Whether it bounds how many are held. The others make coming and going slower, or bind only for what is queued.
    pub fn is_hard(self) -> bool {
        !matches!(self, Self::Backlog | Self::TcpMem | Self::Orphans | Self::TimeWait | Self::Cpu)
    }
}

/// The largest number of connections, and what stops there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Most {
    /// So many fit; `u32::MAX` where nothing stops before.
    pub connections: u64,
    /// What the next one runs into.
    pub wall: Option<Wall>,
}

/// The largest numbers for each role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Forecast {
    /// As server alone.
    pub server: Most,
    /// As client alone.
    pub client: Most,
    /// As both, over loopback.
    pub both: Most,
}

impl Forecast {
    /// That for a role.
    pub fn of(&self, role: Role) -> Most {
        match role {
            Role::Server => self.server,
            Role::Client => self.client,
            Role::Both => self.both,
        }
    }
}

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct Diagnosis {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// As many were asked for.
    pub connections: u64,
    /// With these ends on this host.
    pub role: Role,
    /// Whether they fit.
    pub fits: bool,
    /// A row for each wall, in the order of [`WALLS`].
    pub rows: Vec<Row>,
    /// How many fit.
    pub forecast: Forecast,
    /// What was reckoned with.
    pub costs: Costs,
}

/// Looks at every wall. It reads and changes nothing, and takes a few milliseconds.
///
/// ```
/// use steadfast::doctor::{Ask, Costs, Host, Role, Tree, examine};
/// let host = Host::read(&Tree::new("/"));
/// let diagnosis = examine(&Ask::new(100, Role::Both), &host, &Costs::default());
/// assert!(diagnosis.forecast.server.connections >= diagnosis.forecast.both.connections);
/// ```
pub fn examine(ask: &Ask, host: &Host, costs: &Costs) -> Diagnosis {
    let most = |role| Case { ask: &Ask { role, ..ask.clone() }, host, costs }.most();
    let forecast = Forecast { server: most(Role::Server), client: most(Role::Client), both: most(Role::Both) };
    let case = Case { ask, host, costs };
    Diagnosis {
        schema: SCHEMA,
        connections: ask.connections,
        role: ask.role,
        fits: forecast.of(ask.role).connections >= ask.connections,
        rows: WALLS.map(|wall| rows::row(&case, wall)).into(),
        forecast,
        costs: costs.clone(),
    }
}

/// Whether so many fit as far as is known without measuring: the walls that they would run into.
pub fn walls_hit(ask: &Ask, host: &Host, costs: &Costs) -> Vec<Row> {
    let case = Case { ask, host, costs };
    let hit = WALLS.into_iter().filter(|&wall| wall.is_hard() && !case.fits(wall, ask.connections));
    hit.map(|wall| rows::row(&case, wall)).collect()
}
