//! The doctor's table and its final sentence.

use super::script::{command, count, role_words, short_name};
use std::fmt::Write;
use steadfast::doctor::{Capacity, Diagnosis, Host, Limit, Role, Row, Scope, Verdict};

/// Returns the title of a limit's row.
fn title(limit: Limit) -> &'static str {
    match limit {
        Limit::Nofile => "RLIMIT_NOFILE: descriptors of a table",
        Limit::NrOpen => "fs.nr_open: its maximum",
        Limit::FileMax => "fs.file-max: open files, left",
        Limit::EpollWatches => "fs.epoll.max_user_watches, left",
        Limit::Ports => "ip_local_port_range: ports of a source",
        Limit::MaxConnections => "--max-connections of the server",
        Limit::Threads => "threads, left",
        Limit::Conntrack => "nf_conntrack_max: entries, left",
        Limit::HostMemory => "memory of the host, MiB available",
        Limit::GroupMemory => "memory of the control group, MiB left",
        Limit::Backlog => "somaxconn: queue for accept(2)",
        Limit::TcpMem => "tcp_mem: all queues together, MiB",
        Limit::Orphans => "tcp_max_orphans: closed with data left",
        Limit::TimeWait => "tcp_max_tw_buckets: in TIME_WAIT",
        Limit::Cpu => "cores",
    }
}

fn figure(limit: Limit, value: Option<u64>, round_up: bool) -> String {
    let is_bytes = matches!(limit, Limit::HostMemory | Limit::GroupMemory | Limit::TcpMem);
    match value {
        None => "-".into(),
        Some(value) if value >= 1 << 62 => "no limit".into(),
        Some(value) if is_bytes && round_up => count(value.div_ceil(1 << 20)),
        Some(value) if is_bytes => count(value >> 20),
        Some(value) => count(value),
    }
}

fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Holds => "enough",
        Verdict::Short => "TOO LOW",
        Verdict::Slows => "low",
        Verdict::DoesNotBind => "does not bind",
        Verdict::Unseen => "not visible",
    }
}

/// Returns a note on what the figures do not show.
fn note(row: &Row, host: &Host) -> String {
    let fact = |name: &str| row.facts.get(name).copied();
    match row.limit {
        Limit::Nofile => {
            let sides = [("server_tables", "server"), ("client_tables", "client")];
            let tables: Vec<String> = sides
                .iter()
                .filter_map(|&(name, side)| match fact(name)? {
                    1 => Some(format!("one table for the {side}")),
                    tables => Some(format!("{} tables for the {side}", count(tables))),
                })
                .collect();
            let forbidden =
                if host.own_tables { "" } else { "unshare(CLONE_FILES) is forbidden, so there is one table only" };
            let (soft, hard) = host.nofile;
            let raised =
                if soft < hard { format!("soft {}, which is raised to it", count(soft)) } else { String::new() };
            [tables.join(", "), forbidden.into(), raised]
                .into_iter()
                .filter(|part| !part.is_empty())
                .collect::<Vec<_>>()
                .join("; ")
        }
        Limit::FileMax if row.verdict == Verdict::DoesNotBind => "CAP_SYS_ADMIN is exempt".into(),
        Limit::Ports if row.verdict == Verdict::DoesNotBind => "only a client uses ports".into(),
        Limit::Ports => {
            let (sources, destinations) = (fact("sources").unwrap_or(1), fact("destinations").unwrap_or(1));
            let to = if destinations > 1 { format!(", to {} each", count(destinations)) } else { String::new() };
            let from =
                if sources > 1 { format!("from {} addresses", count(sources)) } else { "from one address".into() };
            from + &to
        }
        Limit::MaxConnections if row.verdict == Verdict::DoesNotBind => "no other number is given".into(),
        Limit::Conntrack if row.have.is_none() => "this kernel has none".into(),
        Limit::Conntrack if row.verdict == Verdict::DoesNotBind => "no rule is hooked to it".into(),
        Limit::GroupMemory if row.have.is_none() => "no control group limits it".into(),
        Limit::Backlog if row.verdict == Verdict::DoesNotBind => "only a server has this queue".into(),
        Limit::Backlog if fact("max_syn_backlog").is_some() => {
            format!("without syncookies {} handshakes at a time", count(fact("max_syn_backlog").unwrap_or(0)))
        }
        Limit::Backlog => "for each listener; other clients must retry".into(),
        Limit::TcpMem => match fact("each") {
            Some(each) => {
                format!(
                    "idle connections queue nothing; broadcasts and stalled readers may queue {} B each",
                    count(each)
                )
            }
            None => "idle connections queue nothing; the host's, not visible here".into(),
        },
        Limit::Orphans => "when all close at once; others are reset".into(),
        Limit::TimeWait => "when all close at once; others skip TIME_WAIT".into(),
        Limit::Cpu => match fact("quota_percent") {
            Some(percent) => {
                let cores = percent as f64 / 100.0;
                format!("a control group allows {cores}; it limits how fast connections open, not how many")
            }
            None => "no quota; it limits how fast connections open, not how many".into(),
        },
        _ => String::new(),
    }
}

/// Returns whose limit it is, if not the host's.
fn whose(row: &Row) -> String {
    match &row.scope {
        Scope::Process => "set by the shell or service".into(),
        Scope::Container => "of this network namespace, not the host's".into(),
        Scope::Group(file) => format!("{file}: the container's, not the host's"),
        Scope::Host | Scope::Network | Scope::Server => String::new(),
    }
}

pub(super) fn table(diagnosis: &Diagnosis, host: &Host) -> String {
    let asked = format!("{} need", count(diagnosis.connections));
    let mut text = format!("{:<40} {:>14} {asked:>16}\n", "", "available");
    for row in &diagnosis.rows {
        let have = match (row.limit, row.have) {
            (Limit::Cpu, _) => count(host.cores),
            (limit, have) => figure(limit, have, false),
        };
        let need = figure(row.limit, row.need, true);
        let notes = [note(row, host), whose(row)];
        let notes: Vec<&str> = notes.iter().map(String::as_str).filter(|note| !note.is_empty()).collect();
        let colon = if notes.is_empty() { "" } else { ": " };
        let said = format!("{}{colon}{}", verdict(row.verdict), notes.join("; "));
        let _ = writeln!(text, "{:<40} {have:>14} {need:>16}  {said}", title(row.limit));
        if let Some(fix) = &row.fix {
            let _ = writeln!(text, "{:<40} {}", "", command(fix));
        }
    }
    let costs = &diagnosis.costs;
    let source = match costs.measured_pairs {
        0 => "default".to_owned(),
        pairs => format!("measured here on {} connections", count(pairs)),
    };
    let _ = writeln!(
        text,
        "\neach socket: {:.0} B in the kernel ({source}); in user space {} B for the server, {} B for the client",
        costs.kernel_bytes_per_socket, costs.server.bytes_per_connection, costs.client.bytes_per_connection
    );
    text + &sentence(diagnosis) + "\n"
}

/// Rounds a number to its accuracy: memory is known to three digits.
fn rounded(capacity: &Capacity) -> String {
    if !matches!(capacity.limit, Some(Limit::HostMemory | Limit::GroupMemory)) {
        return count(capacity.connections);
    }
    let unit = 10_u64.pow(capacity.connections.checked_ilog10().unwrap_or(0).saturating_sub(2));
    count(capacity.connections / unit * unit)
}

/// Returns the sentence that says how many connections this host holds, and which limit stops it.
pub(super) fn sentence(diagnosis: &Diagnosis) -> String {
    let name = |capacity: &Capacity| capacity.limit.map_or("none that is known", short_name);
    let asked = diagnosis.forecast.of(diagnosis.role);
    let others = [Role::Server, Role::Client, Role::Both].into_iter().filter(|&role| role != diagnosis.role);
    let others: Vec<String> = others
        .map(|role| {
            let capacity = diagnosis.forecast.of(role);
            format!("as {}: {} ({})", role_words(role), rounded(&capacity), name(&capacity))
        })
        .collect();
    format!(
        "This host holds {} connections as {}; the first limit is {}. {}.",
        rounded(&asked),
        role_words(diagnosis.role),
        name(&asked),
        others.join("; ").replacen('a', "A", 1)
    )
}

// What tuning guides still recommend for many connections, and why it is not a limit.

/// Each recommendation, and why it does not help.
pub(super) const MYTHS: [(&str, &str); 13] = [
    (
        "net.ipv4.tcp_tw_recycle",
        "was removed in Linux 4.12. Before that it broke clients that share an address through NAT.",
    ),
    (
        "net.ipv4.tcp_tw_reuse, to hold connections",
        "lets a new outgoing connection take the port of one in TIME_WAIT. A held connection is not in TIME_WAIT, and a \
         server opens no outgoing connections.",
    ),
    (
        "net.ipv4.tcp_fin_timeout",
        "is how long a closed socket waits for the peer's FIN (FIN_WAIT_2). It is not the time in TIME_WAIT, which is 60 s \
         and fixed. It does not affect held connections.",
    ),
    (
        "net.core.rmem_max, wmem_max, and the minima of tcp_rmem, tcp_wmem",
        "are not allocated for each socket: an idle one has no buffer. The maxima limit what one socket may queue.",
    ),
    (
        "net.ipv4.tcp_mem, to hold connections",
        "limits queued data. Idle connections queue nothing; it matters for broadcasts and stalled readers.",
    ),
    (
        "net.ipv4.tcp_keepalive_*",
        "is not a limit, and affects only sockets with SO_KEEPALIVE. A WebSocket is checked by its own pings.",
    ),
    (
        "net.core.netdev_max_backlog, on loopback",
        "is a queue of packets between a network card's interrupt and the stack, for each core. On loopback it is filled and \
         emptied in one step, and idle connections send no packets.",
    ),
    (
        "net.ipv4.tcp_max_syn_backlog, with syncookies",
        "applies only if net.ipv4.tcp_syncookies is 0. Otherwise the queue of handshakes is as long as that for accept(2).",
    ),
    (
        "net.core.somaxconn, to hold connections",
        "limits the connections that wait for accept(2), and they wait only briefly. The backlog of listen(2) limits them too.",
    ),
    (
        "ulimit -n in /etc/security/limits.conf, for a service",
        "is read by pam_limits at login. A systemd service has no login: its limit is LimitNOFILE=.",
    ),
    (
        "ulimit -n 1000000, as the first thing to do",
        "is not needed here: RLIMIT_NOFILE limits one descriptor table, and each reactor can have its own.",
    ),
    (
        "65,535 ports are the most connections of a server",
        "A port is used up only on the client's side, for each pair of addresses. All accepted connections share the server's port.",
    ),
    (
        "fs.file-max, as root",
        "does not apply with CAP_SYS_ADMIN. For other processes it does; its default is a tenth of the memory in KiB.",
    ),
];

pub(super) fn myths() -> String {
    let mut text = "\nWhat guides recommend although it is not a limit:\n".to_owned();
    for (name, why) in MYTHS {
        let _ = write!(text, "\n  {name}\n      {why}\n");
    }
    text
}
