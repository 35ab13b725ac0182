//! The commands that raise limits.

use indicatif::HumanCount;
use std::fmt::Write;
use steadfast::doctor::{Applied, Diagnosis, Fix, Limit, Role};

/// The file that keeps sysctls over a restart; sysctl.d(5).
const FILE: &str = "/etc/sysctl.d/90-steadfast.conf";

fn quoted(value: &str) -> String {
    if value.contains(' ') { format!("'{value}'") } else { value.to_owned() }
}

/// Returns the command that makes a change, or a comment that says what to do if there is none.
pub(super) fn command(fix: &Fix) -> String {
    match fix {
        Fix::Sysctl { name, value, .. } => format!("sysctl -w {name}={}", quoted(value)),
        Fix::Ulimit { option, value, needs_privilege: false, .. } => format!("ulimit {option} {value}"),
        Fix::Ulimit { option, directive, value, .. } => {
            format!("ulimit {option} {value}   # with CAP_SYS_RESOURCE; for a systemd service {directive}={value}")
        }
        Fix::Group { file, value } => format!("echo {value} > {file}"),
        Fix::Flag { command, flag, value } if *flag == "--source" => {
            format!("steadfast {command} --source FIRST-LAST   # {value} addresses of this host")
        }
        Fix::Flag { command, flag, value } => format!("steadfast {command} {flag} {value}"),
        Fix::Memory { bytes } => format!("# {} MiB more memory", count(bytes.div_ceil(1 << 20))),
    }
}

/// Lists what was changed, and how to undo it.
pub(super) fn applied(changes: &[Applied]) -> String {
    let mut text = String::new();
    for Applied { name, was, is, error } in changes {
        let _ = match error {
            Some(error) => writeln!(text, "not set: {name} is {is}: {error}"),
            None => writeln!(text, "set {name}: {was} -> {is}; undo with: sysctl -w {name}={}", quoted(was)),
        };
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

/// Makes a script for sh(1) that writes a file for sysctl.d(5).
pub(super) fn script(diagnosis: &Diagnosis) -> String {
    let (mut keep, mut undo, mut other) = (String::new(), String::new(), String::new());
    for fix in diagnosis.rows.iter().filter_map(|row| row.fix.as_ref()) {
        let _ = match fix {
            Fix::Sysctl { name, value, was } => {
                let was = was.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
                let _ = writeln!(undo, "#   sysctl -w {name}={}", quoted(&was));
                writeln!(keep, "# was {was}\n{name} = {value}")
            }
            Fix::Group { .. } => writeln!(other, "{}", command(fix)),
            Fix::Ulimit { option, directive, value, .. } => {
                writeln!(
                    other,
                    "# ulimit {option} {value} in the shell that starts the program, {directive}={value} for a systemd service"
                )
            }
            Fix::Flag { .. } | Fix::Memory { .. } => writeln!(other, "# {}", command(fix).trim_start_matches("# ")),
        };
    }
    let asked = format!("{} connections as {}", count(diagnosis.connections), role_words(diagnosis.role));
    let mut text =
        format!("#!/bin/sh\n# Raises the limits for {asked}; made by steadfast doctor. Run it as root.\nset -eu\n");
    if keep.is_empty() && other.is_empty() {
        text += "# Nothing needs to be changed.\n";
    }
    if !keep.is_empty() {
        let _ = write!(text, "cat >{FILE} <<'END'\n# {asked}\n{keep}END\nsysctl -p {FILE}\n");
        let _ = write!(text, "# To undo it:\n#   rm {FILE}\n{undo}");
    }
    text + &other
}

// Words for numbers, limits and roles.

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
