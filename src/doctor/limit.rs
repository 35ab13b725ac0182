//! The limits of the connections of a host.

use serde::Serialize;

/// A limit of how many connections a host holds, or how fast they are opened and closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// Descriptors of a table, RLIMIT_NOFILE, and the number of tables that one process can have.
    Nofile,
    /// fs.nr_open: the maximum for RLIMIT_NOFILE.
    NrOpen,
    /// fs.file-max: open files of the host.
    FileMax,
    /// fs.epoll.max_user_watches.
    EpollWatches,
    /// Ports of each source address for each destination.
    Ports,
    /// `--max-connections` of the server.
    MaxConnections,
    /// Threads: kernel.threads-max, kernel.pid_max, RLIMIT_NPROC, a control group's pids.max.
    Threads,
    /// Entries of connection tracking, if a rule uses it.
    Conntrack,
    /// Memory of the host.
    HostMemory,
    /// Memory of the control group that has the least left.
    GroupMemory,
    /// The queue of connections that wait for accept(2).
    Backlog,
    /// net.ipv4.tcp_mem: memory of all socket queues together.
    TcpMem,
    /// net.ipv4.tcp_max_orphans: closed sockets that still have data to send.
    Orphans,
    /// net.ipv4.tcp_max_tw_buckets: sockets in TIME_WAIT.
    TimeWait,
    /// CPU time that a control group allows.
    Cpu,
}

/// All limits, in the order of the table.
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
    /// Returns whether this limits how many connections are held. The other limits slow opening or closing, or apply
    /// only to queued data.
    pub fn is_hard(self) -> bool {
        !matches!(self, Self::Backlog | Self::TcpMem | Self::Orphans | Self::TimeWait | Self::Cpu)
    }
}

/// The largest number of connections that fit, and the limit that stops there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Capacity {
    /// How many connections fit; `u32::MAX` if no limit is known.
    pub connections: u64,
    /// The limit that one more connection would exceed.
    #[serde(rename = "wall")]
    pub limit: Option<Limit>,
}
