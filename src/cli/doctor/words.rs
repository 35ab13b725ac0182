//! Words for numbers, limits and roles.

use indicatif::HumanCount;
use steadfast::doctor::{Limit, Role};

pub(super) fn count(number: u64) -> String {
    HumanCount(number).to_string()
}

/// Returns the name of a limit within a sentence.
pub(super) fn short_name(limit: Limit) -> &'static str {
    match limit {
        Limit::Nofile => "RLIMIT_NOFILE",
        Limit::NrOpen => "fs.nr_open",
        Limit::FileMax => "fs.file-max",
        Limit::EpollWatches => "fs.epoll.max_user_watches",
        Limit::Ports => "net.ipv4.ip_local_port_range",
        Limit::MaxConnections => "--max-connections",
        Limit::Threads => "the number of threads",
        Limit::Conntrack => "nf_conntrack_max",
        Limit::HostMemory => "memory",
        Limit::GroupMemory => "the memory of the control group",
        Limit::Backlog => "net.core.somaxconn",
        Limit::TcpMem => "net.ipv4.tcp_mem",
        Limit::Orphans => "net.ipv4.tcp_max_orphans",
        Limit::TimeWait => "net.ipv4.tcp_max_tw_buckets",
        Limit::Cpu => "CPU time",
    }
}

pub(super) fn role_words(role: Role) -> &'static str {
    match role {
        Role::Server => "server alone",
        Role::Client => "client alone",
        Role::Both => "both sides",
    }
}
