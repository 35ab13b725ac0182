//! What bounds the connections of a host.

use serde::Serialize;

/// Something that bounds how many connections a host holds, or how fast they come and go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
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
pub const LIMITS: [Limit; 15] = [
    Limit::Nofile,
    Limit::NrOpen,
    Limit::FileMax,
    Limit::EpollWatches,
    Limit::Ports,
    Limit::MaxConnections,
    Limit::Threads,
    Limit::Conntrack,
    Limit::HostMemory,
    Limit::GroupMemory,
    Limit::Backlog,
    Limit::TcpMem,
    Limit::Orphans,
    Limit::TimeWait,
    Limit::Cpu,
];

impl Limit {
    /// Whether it bounds how many are held. The others make coming and going slower, or bind only for what is queued.
    pub fn is_hard(self) -> bool {
        !matches!(self, Self::Backlog | Self::TcpMem | Self::Orphans | Self::TimeWait | Self::Cpu)
    }
}

/// The largest number of connections, and what stops there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Capacity {
    /// So many fit; `u32::MAX` where nothing stops before.
    pub connections: u64,
    /// What the next one runs into.
    #[serde(rename = "wall")]
    pub limit: Option<Limit>,
}
