//! `steadfast doctor`, and the warning that `serve` and `flood` print at their start if the connections cannot fit.

mod script;
mod table;

use crate::cli::io::{complain, tell};
use clap::{Args as ClapArgs, ValueEnum, value_parser};
use std::io::Write;
use std::process::ExitCode;
use steadfast::doctor::{self, Costs, Diagnosis, Host, Limit, Query, Role, Tree};

/// The connections do not fit.
const EXIT_TOO_MANY: u8 = 4;

#[derive(Clone, Copy, Debug, ValueEnum)]
enum RoleArg {
    Server,
    Client,
    Both,
}

impl From<RoleArg> for Role {
    fn from(arg: RoleArg) -> Self {
        match arg {
            RoleArg::Server => Self::Server,
            RoleArg::Client => Self::Client,
            RoleArg::Both => Self::Both,
        }
    }
}

#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// Connections to hold
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = value_parser!(u32).range(1..))]
    connections: u32,
    /// Which ends of the connections are on this host
    #[arg(long, value_enum, default_value = "both")]
    role: RoleArg,
    /// Addresses that the client connects from [default: as many of 127.0.0.0/8 as a flood on loopback uses]
    #[arg(long, value_name = "K", value_parser = value_parser!(u32).range(1..))]
    sources: Option<u32>,
    /// Addresses and ports that the client connects to
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = value_parser!(u32).range(1..))]
    destinations: u32,
    /// --max-connections of the server [default: --connections]
    #[arg(long, value_name = "M", value_parser = value_parser!(u32).range(1..))]
    max_connections: Option<u32>,
    /// Reactors of the server [default: as many as needed]
    #[arg(long, value_name = "R", value_parser = value_parser!(u16).range(1..=4096))]
    reactors: Option<u16>,
    /// Addresses and ports that the server listens on
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = value_parser!(u16).range(1..))]
    listeners: u16,
    /// Open no connections; use the costs that were measured on another host
    #[arg(long)]
    no_measure: bool,
    /// List what tuning guides still recommend, and why it is not a limit
    #[arg(long)]
    explain: bool,
    /// Print everything as JSON
    #[arg(long)]
    json: bool,
    /// Set the sysctls that are too low, and print their previous values
    #[arg(long)]
    apply: bool,
    /// Print a shell script that sets them, also after a restart, instead of the table
    #[arg(long, conflicts_with_all = ["apply", "json", "explain"])]
    script: bool,
}

impl Args {
    fn query(&self) -> Query {
        Query {
            connections: self.connections.into(),
            role: self.role.into(),
            sources: self.sources.map(u64::from),
            destinations: self.destinations.into(),
            max_connections: self.max_connections.map(u64::from),
            reactors: self.reactors.map(usize::from),
            listeners: self.listeners.into(),
        }
    }
}

pub(super) fn run(args: Args) -> ExitCode {
    let (tree, query) = (Tree::new("/"), args.query());
    let mut host = Host::probe(&tree);
    host.count_watches();
    let costs = costs(&host, &tree, args.no_measure);
    let mut diagnosis = doctor::examine(&query, &host, &costs);
    let applied = if args.apply { doctor::apply(&diagnosis.rows, &tree) } else { Vec::new() };
    if args.apply {
        // Read the limits again, to show what was really set.
        let watches = host.watches;
        host = Host { watches, ..Host::probe(&tree) };
        diagnosis = doctor::examine(&query, &host, &costs);
    }
    let text = if args.json {
        json(&diagnosis, &applied, args.explain)
    } else if args.script {
        script::script(&diagnosis)
    } else {
        let myths = if args.explain { table::myths() } else { String::new() };
        script::applied(&applied) + &table::table(&diagnosis, &host) + &myths
    };
    // The exit code is correct even if stdout is closed.
    let _ = std::io::stdout().write_all(text.as_bytes());
    if diagnosis.fits { ExitCode::SUCCESS } else { ExitCode::from(EXIT_TOO_MANY) }
}

fn costs(host: &Host, tree: &Tree, assume: bool) -> Costs {
    if assume {
        return Costs::assumed(host);
    }
    doctor::measure(host, tree).unwrap_or_else(|error| {
        complain(&format!("cannot measure what a connection costs here: {error}; using default costs"));
        Costs::assumed(host)
    })
}

fn json(diagnosis: &Diagnosis, applied: &[doctor::Applied], explain: bool) -> String {
    let mut value = serde_json::to_value(diagnosis).unwrap_or_default();
    value["sentence"] = table::sentence(diagnosis).into();
    for (row, said) in diagnosis.rows.iter().zip(value["rows"].as_array_mut().into_iter().flatten()) {
        said["command"] = row.fix.as_ref().map(script::command).into();
    }
    value["applied"] = serde_json::to_value(applied).unwrap_or_default();
    if explain {
        value["myths"] =
            table::MYTHS.iter().map(|(name, why)| serde_json::json!({ "name": name, "why": why })).collect();
    }
    format!("{value:#}\n")
}

/// Prints a warning if a server cannot hold its connections. Limits for which the server refuses to start are left to
/// it.
pub(super) fn warn_server(max_connections: Option<u32>, reactors: Option<u16>) {
    // Without a number the server takes what fits.
    let Some(connections) = max_connections else { return };
    warn(&Query { reactors: reactors.map(usize::from), ..Query::new(connections.into(), Role::Server) });
}

/// The same for a flood; on loopback both ends are on this host.
pub(super) fn warn_client(config: &steadfast::flood::Config) {
    let mut addresses = config.targets.iter().flat_map(|target| &target.addresses);
    let destinations = addresses.clone().count() as u64;
    let is_loopback = addresses.clone().all(|address| address.ip().is_loopback());
    // IPv6 has one loopback address, IPv4 as many as needed.
    let has_many = is_loopback && addresses.all(|address| address.is_ipv4());
    let named = Some(config.sources.len() as u64).filter(|&named| named > 0);
    warn(&Query {
        sources: named.or_else(|| (!has_many).then_some(1)),
        destinations,
        ..Query::new(config.own_connections().len() as u64, if is_loopback { Role::Both } else { Role::Client })
    });
}

fn warn(query: &Query) {
    let host = Host::probe(&Tree::new("/"));
    let hit = doctor::limits_hit(query, &host, &Costs::assumed(&host));
    // The command itself refuses to start because of these, and says what to do.
    let is_refused =
        |limit: Limit| matches!(limit, Limit::Nofile | Limit::MaxConnections | Limit::Threads | Limit::Ports);
    if hit.iter().any(|row| is_refused(row.limit)) {
        return;
    }
    let Some(row) = hit.iter().min_by_key(|row| row.max_connections) else { return };
    let (connections, role) = (query.connections, query.role);
    tell(&format_args!(
        "steadfast: warning: {} connections do not fit here: {} has room for about {}; \
         see steadfast doctor --connections {connections} --role {role}",
        script::count(connections),
        script::short_name(row.limit),
        script::count(row.max_connections.unwrap_or(0))
    ));
}
