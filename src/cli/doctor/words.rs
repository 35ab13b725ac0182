//! How the doctor speaks of numbers, walls and roles.

use indicatif::HumanCount;
use steadfast::doctor::{Role, Wall};

pub(super) fn count(number: u64) -> String {
    HumanCount(number).to_string()
}

/// How a wall is called in a sentence.
pub(super) fn short_name(wall: Wall) -> &'static str {
    match wall {
        Wall::Nofile => "RLIMIT_NOFILE",
        Wall::NrOpen => "fs.nr_open",
        Wall::FileMax => "fs.file-max",
        Wall::EpollWatches => "fs.epoll.max_user_watches",
        Wall::Ports => "net.ipv4.ip_local_port_range",
        Wall::MaxConnections => "--max-connections",
        Wall::Threads => "the number of threads",
        Wall::Conntrack => "nf_conntrack_max",
        Wall::HostMemory => "memory",
        Wall::GroupMemory => "the memory of the control group",
        Wall::Backlog => "net.core.somaxconn",
        Wall::TcpMem => "net.ipv4.tcp_mem",
        Wall::Orphans => "net.ipv4.tcp_max_orphans",
        Wall::TimeWait => "net.ipv4.tcp_max_tw_buckets",
        Wall::Cpu => "processor time",
    }
}

pub(super) fn role_words(role: Role) -> &'static str {
    match role {
        Role::Server => "server alone",
        Role::Client => "client alone",
        Role::Both => "both sides",
    }
}
