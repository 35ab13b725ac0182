//! Proposals to raise a limit.

use super::limit::Limit;
use super::needs::Case;
use crate::net::listener::BACKLOG;
use serde::Serialize;

/// The widest range of ports without the privileged ones, and the number of ports in it.
const WIDEST_PORTS: &str = "1024 65535";
const WIDEST_COUNT: u64 = 65_535 - 1024 + 1;

/// A change that raises a limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Fix {
    /// A sysctl of the running kernel.
    Sysctl {
        /// The name, such as `fs.nr_open`.
        name: &'static str,
        /// What to set it to.
        value: String,
        /// The current value.
        was: String,
    },
    /// A limit of the process, set by the shell or service manager that starts it.
    Ulimit {
        /// The option of the shell's `ulimit`.
        option: &'static str,
        /// The directive of systemd.exec(5).
        directive: &'static str,
        /// What to set it to.
        value: u64,
        /// Whether the hard limit must be raised, which needs CAP_SYS_RESOURCE, and this process lacks it.
        needs_privilege: bool,
    },
    /// A file of a control group.
    Group {
        /// The file.
        file: String,
        /// The value to write.
        value: u64,
    },
    /// A flag of `serve` or `flood`.
    Flag {
        /// The command.
        command: &'static str,
        /// The flag.
        flag: &'static str,
        /// The value, or the number of addresses to list.
        value: u64,
    },
    /// More memory for the host.
    Memory {
        /// The missing amount in bytes.
        bytes: u64,
    },
}

/// Rounds up, for some margin, to at most what an `int` of the kernel holds.
fn rounded(need: u64) -> u64 {
    (need.div_ceil(1024) * 1024).min(i32::MAX as u64 / 1024 * 1024)
}

pub(super) fn fix(case: &Case<'_>, limit: Limit, need: u64) -> Option<Fix> {
    let (host, have) = (case.host, case.have(limit));
    let sysctl = |name, value: u64, was: Option<u64>| {
        Some(Fix::Sysctl { name, value: rounded(value).to_string(), was: was?.to_string() })
    };
    match limit {
        Limit::Nofile => Some(match case.reactors_needed() {
            Some(value) => Fix::Flag { command: "serve", flag: "--reactors", value },
            None => Fix::Ulimit {
                option: "-n",
                directive: "LimitNOFILE",
                value: need,
                needs_privilege: need > host.nofile.1 && !host.can_raise,
            },
        }),
        Limit::NrOpen => sysctl("fs.nr_open", need, have),
        Limit::FileMax => sysctl("fs.file-max", need.saturating_add(host.files), host.file_max),
        Limit::EpollWatches => {
            sysctl("fs.epoll.max_user_watches", need.saturating_add(host.watches), host.max_user_watches)
        }
        Limit::Ports if case.query.connections.div_ceil(case.pairs_of_addresses()) <= WIDEST_COUNT => {
            let name = "net.ipv4.ip_local_port_range";
            Some(Fix::Sysctl { name, value: WIDEST_PORTS.into(), was: host.port_range.clone() })
        }
        Limit::Ports => {
            let value = case.query.connections.div_ceil(host.ports.max(1) * case.query.destinations.max(1));
            Some(Fix::Flag { command: "flood", flag: "--source", value })
        }
        Limit::MaxConnections => Some(Fix::Flag { command: "serve", flag: "--max-connections", value: need }),
        Limit::Threads => threads(case, need),
        Limit::Conntrack => {
            let table = host.conntrack?;
            sysctl("net.netfilter.nf_conntrack_max", need.saturating_add(table.count), Some(table.max))
        }
        Limit::HostMemory => Some(Fix::Memory { bytes: need.saturating_sub(have?) }),
        Limit::GroupMemory => {
            let group = case.tightest_group()?;
            let value = group.limit_bytes + need.saturating_sub(have?);
            Some(Fix::Group { file: group.file.display().to_string(), value: value.div_ceil(1 << 20) << 20 })
        }
        Limit::Backlog => {
            let (value, was) = (BACKLOG.to_string(), host.somaxconn?.to_string());
            Some(Fix::Sysctl { name: "net.core.somaxconn", value, was })
        }
        Limit::Orphans => sysctl("net.ipv4.tcp_max_orphans", need, have),
        Limit::TimeWait => sysctl("net.ipv4.tcp_max_tw_buckets", need, have),
        Limit::TcpMem | Limit::Cpu => None,
    }
}

fn threads(case: &Case<'_>, need: u64) -> Option<Fix> {
    let (host, have) = (case.host, case.have(Limit::Threads)?);
    if let Some(group) = host.pids_groups.iter().find(|group| group.limit.saturating_sub(group.used) == have) {
        return Some(Fix::Group { file: group.file.display().to_string(), value: rounded(need + group.used) });
    }
    if host.nproc == Some(have) {
        return Some(Fix::Ulimit {
            option: "-u",
            directive: "LimitNPROC",
            value: rounded(need),
            needs_privilege: true,
        });
    }
    let (value, was) = (rounded(need + host.threads).to_string(), host.threads_max?.to_string());
    Some(Fix::Sysctl { name: host.threads_sysctl, value, was })
}
