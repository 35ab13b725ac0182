//! The targets of a flood: `ws://`, `http://` or `tcp://`, a host, a port or a range of ports, a path.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;

/// The protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// WebSocket; the replies are echoes.
    Ws,
    /// HTTP/1.1; GET requests one after the other on a connection.
    Http,
    /// Raw TCP; the replies are echoes.
    Tcp,
}

/// One URL, resolved.
#[derive(Clone, Debug)]
pub struct Target {
    url: String,
    /// The protocol.
    pub scheme: Scheme,
    /// Host and port as in the Host field, one for each address.
    pub hosts: Vec<String>,
    /// Path and query.
    pub path: String,
    /// The addresses, one for each port.
    pub addresses: Vec<SocketAddr>,
}

/// Why a text is not a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadTarget(String);

impl fmt::Display for BadTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; expected ws://127.0.0.1:8080/echo, http://[::1]/ or tcp://127.0.0.1:7000-7099", self.0)
    }
}

impl std::error::Error for BadTarget {}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

impl FromStr for Target {
    type Err = BadTarget;

    /// Parses a URL. A name is resolved at once, to its first address.
    fn from_str(url: &str) -> Result<Self, BadTarget> {
        let bad = |what: &str| BadTarget(what.to_owned());
        let (scheme, rest) = url.split_once("://").ok_or_else(|| bad("the scheme is missing"))?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "ws" => Scheme::Ws,
            "http" => Scheme::Http,
            "tcp" => Scheme::Tcp,
            "wss" | "https" => return Err(bad("TLS is not supported")),
            _ => return Err(BadTarget(format!("{scheme:?} is not a supported scheme"))),
        };
        let rest = rest.split_once('#').map_or(rest, |(rest, _fragment)| rest);
        let (authority, path) = rest.find(['/', '?']).map_or((rest, ""), |at| rest.split_at(at));
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        if path.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
            return Err(bad("the path has a space or a control character"));
        }
        let (host, ports) = match authority.rsplit_once(':') {
            // The last colon of a bare IPv6 address is part of it.
            Some((host, ports)) if !ports.ends_with(']') => (host, Some(ports)),
            _ => (authority, None),
        };
        if host.is_empty() {
            return Err(bad("the host is missing"));
        }
        let (first, last) = match (ports, scheme) {
            (Some(ports), _) => port_range(ports)?,
            (None, Scheme::Ws | Scheme::Http) => (80, 80),
            (None, Scheme::Tcp) => return Err(bad("the port is missing")),
        };
        let resolved =
            format!("{host}:{first}").to_socket_addrs().map_err(|error| BadTarget(format!("{host:?}: {error}")))?;
        let mut address = resolved.into_iter().next().ok_or_else(|| BadTarget(format!("{host:?} has no address")))?;
        let addresses: Vec<SocketAddr> = (first..=last)
            .map(|port| {
                address.set_port(port);
                address
            })
            .collect();
        let host_of = |port: u16| if port == 80 { host.to_owned() } else { format!("{host}:{port}") };
        let hosts = (first..=last).map(host_of).collect();
        Ok(Self { url: url.to_owned(), scheme, hosts, path, addresses })
    }
}

fn port_range(ports: &str) -> Result<(u16, u16), BadTarget> {
    let number = |port: &str| match port.parse::<u16>() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(BadTarget(format!("{port:?} is not a port from 1 to 65535"))),
    };
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let (first, last) = (number(first)?, number(last)?);
    if first <= last { Ok((first, last)) } else { Err(BadTarget(format!("the range of ports {ports} is empty"))) }
}
