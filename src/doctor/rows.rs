//! The rows of a diagnosis: for each limit what the host has, what is needed, the verdict, and what would raise it.

use super::fix::{self, Fix};
use super::groups::MemoryGroup;
use super::limit::Limit;
use super::needs::Case;
use crate::net::listener::BACKLOG;
use serde::Serialize;
use std::collections::BTreeMap;

/// To what a limit applies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// The whole host; also visible inside a container.
    Host,
    /// A network namespace that is not the host's first: a container's.
    Container,
    /// The host's first network namespace.
    Network,
    /// A control group; the file that has the limit.
    Group(String),
    /// This process; set by the shell or service manager that started it.
    Process,
    /// The server; set by its flags.
    Server,
}

/// The verdict on a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The limit is high enough.
    Holds,
    /// The limit is too low: the connections do not fit.
    Short,
    /// The limit is low: opening or closing is slower or less orderly, but held connections stay.
    Slows,
    /// The limit does not apply here.
    DoesNotBind,
    /// The limit cannot be read here.
    Unseen,
}

/// One row of the diagnosis.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The limit.
    #[serde(rename = "wall")]
    pub limit: Limit,
    /// To what the limit applies.
    pub scope: Scope,
    /// How much is available for connections.
    pub have: Option<u64>,
    /// How much the connections need.
    pub need: Option<u64>,
    /// The most connections that fit within the limit; `None` if it is no bound.
    #[serde(rename = "most")]
    pub max_connections: Option<u64>,
    /// The verdict.
    pub verdict: Verdict,
    /// What would raise the limit.
    pub fix: Option<Fix>,
    /// More figures about the limit, by name.
    pub facts: BTreeMap<&'static str, u64>,
}

pub(super) fn row(case: &Case<'_>, limit: Limit) -> Row {
    let (have, need) = (case.have(limit), case.need(limit, case.query.connections));
    let verdict = verdict(case, limit, have, need);
    let fix = match verdict {
        Verdict::Short | Verdict::Slows => need.and_then(|need| fix::fix(case, limit, need)),
        _ => None,
    };
    let max_connections = if limit.is_hard() { case.capacity_of(limit) } else { None };
    Row { limit, scope: scope(case, limit), have, need, max_connections, verdict, fix, facts: facts(case, limit) }
}

fn verdict(case: &Case<'_>, limit: Limit, have: Option<u64>, need: Option<u64>) -> Verdict {
    let binds = match limit {
        Limit::FileMax => !case.host.is_admin,
        Limit::Ports => case.role().has_client(),
        Limit::MaxConnections => case.role().has_server() && have.is_some(),
        Limit::Conntrack => case.costs.is_tracked && have.is_some(),
        Limit::GroupMemory => have.is_some(),
        Limit::TcpMem => have.is_none(),
        Limit::Backlog => case.role().has_server(),
        // Without a plan the number of threads is unknown.
        Limit::Threads => need.is_some(),
        Limit::Cpu => false,
        _ => true,
    };
    let (Some(have), Some(need), true) = (have, need, binds) else {
        return if binds { Verdict::Unseen } else { Verdict::DoesNotBind };
    };
    match limit {
        Limit::NrOpen if need > have => Verdict::Short,
        _ if limit.is_hard() && case.fits(limit, case.query.connections) => Verdict::Holds,
        _ if limit.is_hard() => Verdict::Short,
        _ if need > have => Verdict::Slows,
        _ => Verdict::Holds,
    }
}

fn scope(case: &Case<'_>, limit: Limit) -> Scope {
    let network = if case.host.is_contained { Scope::Container } else { Scope::Network };
    let group = |file: &std::path::Path| Scope::Group(file.display().to_string());
    match limit {
        Limit::Nofile => Scope::Process,
        Limit::NrOpen | Limit::FileMax | Limit::EpollWatches | Limit::HostMemory | Limit::TcpMem | Limit::Orphans => {
            Scope::Host
        }
        Limit::Ports | Limit::Conntrack | Limit::Backlog | Limit::TimeWait => network,
        Limit::MaxConnections => Scope::Server,
        Limit::GroupMemory => case.tightest_group().map_or(Scope::Host, |tightest| group(&tightest.file)),
        Limit::Cpu => case.host.cpu.as_ref().map_or(Scope::Host, |quota| group(&quota.file)),
        Limit::Threads => {
            let tightest = case.host.pids_groups.iter().min_by_key(|group| group.limit.saturating_sub(group.used));
            match tightest {
                Some(found) if case.have(limit) == Some(found.limit.saturating_sub(found.used)) => group(&found.file),
                _ if case.host.nproc.is_some() && case.have(limit) == case.host.nproc => Scope::Process,
                _ => Scope::Host,
            }
        }
    }
}

fn facts(case: &Case<'_>, limit: Limit) -> BTreeMap<&'static str, u64> {
    let (host, query, role) = (case.host, case.query, case.role());
    let facts: Vec<(&'static str, Option<u64>)> = match limit {
        Limit::Nofile => {
            let tables = |server: bool, is_here: bool| {
                let plan = case.plan(server, query.connections).filter(|_| is_here)?;
                Some(if plan.own_tables { plan.reactors as u64 } else { 1 })
            };
            vec![
                ("soft", Some(host.nofile.0)),
                ("hard", Some(host.nofile.1)),
                ("server_tables", tables(true, role.has_server())),
                ("client_tables", tables(false, role.has_client())),
            ]
        }
        Limit::FileMax => vec![("max", host.file_max), ("open", Some(host.files))],
        Limit::EpollWatches => vec![("max", host.max_user_watches), ("used", Some(host.watches))],
        Limit::Ports if role.has_client() => vec![
            ("sources", Some(case.sources())),
            ("destinations", Some(query.destinations)),
            ("reserved", Some(host.reserved_ports)),
        ],
        Limit::Threads => vec![("host_has", Some(host.threads))],
        Limit::Conntrack => {
            vec![("max", host.conntrack.map(|table| table.max)), ("count", host.conntrack.map(|table| table.count))]
        }
        Limit::GroupMemory => {
            let group = case.tightest_group();
            let of = |figure: fn(&MemoryGroup) -> u64| group.map(figure);
            vec![
                ("limit", of(|group| group.limit_bytes)),
                ("used", of(|group| group.used_bytes)),
                ("cached", of(|group| group.cached_bytes)),
            ]
        }
        Limit::HostMemory => vec![("total", Some(host.memory.total_bytes))],
        Limit::Backlog => vec![
            ("somaxconn", host.somaxconn),
            ("asked", Some(BACKLOG as u64)),
            ("max_syn_backlog", host.max_syn_backlog.filter(|_| !host.syncookies)),
        ],
        // What each connection may queue before the kernel considers memory low.
        Limit::TcpMem => {
            let ends = role.ends() * query.connections.max(1);
            vec![("each", host.tcp_mem_bytes.map(|[calm, ..]| calm / ends))]
        }
        Limit::Cpu => {
            let percent = host.cpu.as_ref().map(|quota| (quota.cores * 100.0) as u64);
            vec![("cores", Some(host.cores)), ("quota_percent", percent)]
        }
        Limit::Ports | Limit::NrOpen | Limit::MaxConnections | Limit::Orphans | Limit::TimeWait => Vec::new(),
    };
    facts.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}
