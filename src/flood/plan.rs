//! Plans the routes: source address × destination address × port, so that no connection fails for lack of a port.

use super::config::{Config, Shard};
use super::error::FloodError;
use super::target::Target;
use crate::net::sys;
use socket2::SockAddr;
use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// The share of a loopback source's ports that is used; other programs of this host need ports too.
const LOOPBACK_FILL: f64 = 0.5;

/// A pair of addresses between which connections are opened.
#[derive(Debug)]
pub(super) struct Route {
    /// The address to bind to; `None` leaves it to the kernel.
    source: Option<IpAddr>,
    pub(super) destination: SockAddr,
    /// The field Host.
    pub(super) host: String,
    pub(super) target: usize,
}

/// The routes of a flood; connection number `i` takes route `i` modulo the number of routes.
///
/// The source port is chosen here too. connect(2) tries the ports of one parity first, one after the other; when half
/// of them are taken, it tries all of those for each connection, which takes milliseconds.
#[derive(Debug)]
pub(super) struct Routes {
    pub(super) routes: Vec<Route>,
    ports: Vec<u16>,
    /// Where in `ports` this flood begins: at random, since connections of the previous flood may still be in
    /// TIME_WAIT.
    offset: usize,
    /// The number of the first connection.
    first: u32,
}

impl Routes {
    pub(super) fn plan(config: &Config) -> Result<Self, FloodError> {
        let usable_ports = local_ports();
        let ports = usable_ports.len();
        let destinations: Vec<(usize, SocketAddr, &str)> = destinations(&config.targets);
        let all = sources(config, &destinations, ports);
        let sources = share_of(&all, config.shard)?;
        let connections = config.own_connections().len();
        let capacity = |source: &Option<IpAddr>| {
            destinations.iter().filter(|(_, to, _)| source.is_none_or(|from| from.is_ipv4() == to.is_ipv4())).count()
                * ports
        };
        let room: usize = sources.iter().map(capacity).sum();
        if room < connections {
            let needed = connections.div_ceil((ports * destinations.len()).max(1));
            return Err(FloodError::new(format!(
                "{connections} connections to {} addresses need {needed} source addresses with {ports} ports each \
                 (net.ipv4.ip_local_port_range), and there are {}; name more with --source, or more targets",
                destinations.len(),
                sources.len()
            )));
        }
        let mut routes: Vec<Route> = Vec::new();
        for source in sources {
            for &(target, destination, host) in &destinations {
                // At most one route per connection, however many pairs of addresses there are.
                if routes.len() >= connections {
                    break;
                }
                if source.is_some_and(|source| source.is_ipv4() != destination.is_ipv4()) {
                    continue;
                }
                // If the kernel chooses the address it also chooses the port, and finds one quickly while many are
                // free.
                let is_tight = connections > ports * destinations.len() / 4;
                routes.push(Route {
                    source: source.or_else(|| is_tight.then(|| own_address(destination)).flatten()),
                    destination: destination.into(),
                    host: host.to_owned(),
                    target,
                });
            }
        }
        let (offset, first) = (sys::random_number() as usize % ports.max(1), config.own_connections().start);
        Ok(Self { routes, ports: usable_ports, offset, first })
    }

    /// Returns the address and port to connect from; `None` leaves both to the kernel. No two connections between the
    /// same addresses have the same port.
    pub(super) fn source(&self, connection: u32) -> Option<SockAddr> {
        let address = self.of(connection).source?;
        let place = (connection - self.first) as usize / self.routes.len() + self.offset;
        Some(SocketAddr::new(address, self.ports[place % self.ports.len()]).into())
    }

    /// Returns the address to connect from, with a port that the kernel chooses.
    pub(super) fn source_address(&self, connection: u32) -> Option<SockAddr> {
        self.of(connection).source.map(|address| SocketAddr::new(address, 0).into())
    }

    pub(super) fn of(&self, connection: u32) -> &Route {
        &self.routes[(connection - self.first) as usize % self.routes.len()]
    }
}

/// Returns the sources of one shard, so that two shards on one host do not take each other's ports.
fn share_of(all: &[Option<IpAddr>], shard: Option<Shard>) -> Result<&[Option<IpAddr>], FloodError> {
    // An address that the kernel chooses needs no sharing.
    let Some(shard) = shard.filter(|_| all != [None]) else { return Ok(all) };
    let share = shard.share_of(all.len() as u64);
    if share.is_empty() {
        return Err(FloodError::new(format!(
            "--shard {shard}: there are {} source addresses for {} shards; name at least one for each with --source",
            all.len(),
            shard.count
        )));
    }
    Ok(&all[share.start as usize..share.end as usize])
}

fn destinations(targets: &[Target]) -> Vec<(usize, SocketAddr, &str)> {
    let mut all = Vec::new();
    for (index, target) in targets.iter().enumerate() {
        let pairs = target.addresses.iter().zip(&target.hosts);
        all.extend(pairs.map(|(&address, host)| (index, address, host.as_str())));
    }
    all
}

fn sources(config: &Config, destinations: &[(usize, SocketAddr, &str)], ports: usize) -> Vec<Option<IpAddr>> {
    if !config.sources.is_empty() {
        return config.sources.iter().copied().map(Some).collect();
    }
    let loopback = |address: &SocketAddr| matches!(address.ip(), IpAddr::V4(ip) if ip.is_loopback());
    if !destinations.iter().all(|(_, address, _)| loopback(address)) {
        return vec![None];
    }
    // All of 127.0.0.0/8 belongs to this host: take as many sources as leave half of each one's ports free, for each
    // shard.
    let each = ((ports as f64 * LOOPBACK_FILL) as usize).max(1) * destinations.len().max(1);
    let shards = config.shard.map_or(1, |shard| shard.count as usize);
    let of_a_shard = (config.connections as usize).div_ceil(shards).div_ceil(each).max(1);
    let usable = (1..0x00ff_fffe_u32).filter(|host| !matches!(host & 0xff, 0 | 255));
    usable.take(of_a_shard * shards).map(|host| Some(IpAddr::V4(Ipv4Addr::from(0x7f00_0000 | host)))).collect()
}

/// Returns the local address that the routing tables choose for `destination`; `None` if there is no route.
fn own_address(destination: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = if destination.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    // connect(2) on a UDP socket sends nothing.
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(destination).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// Returns the ports that connect(2) may choose from, ip(7): ip_local_port_range without ip_local_reserved_ports, or
/// the documented default if it cannot be read.
fn local_ports() -> Vec<u16> {
    let read = |name: &str| fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")).unwrap_or_default();
    let range = read("ip_local_port_range");
    let mut numbers = range.split_ascii_whitespace().filter_map(|number| number.parse::<u16>().ok());
    let (first, last) = match (numbers.next(), numbers.next()) {
        (Some(first), Some(last)) if last >= first => (first, last),
        _ => (32_768, 60_999),
    };
    let mut reserved = BTreeSet::new();
    for part in read("ip_local_reserved_ports").trim().split(',').filter(|part| !part.is_empty()) {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(from), Ok(to)) = (from.parse::<u16>(), to.parse::<u16>()) {
            reserved.extend(from..=to);
        }
    }
    (first..=last).filter(|port| !reserved.contains(port)).collect()
}
