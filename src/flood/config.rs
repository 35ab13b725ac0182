//! The configuration of a flood.

use super::error::FloodError;
use super::scenario::{Phase, Scenario};
use super::sizes::Sizes;
use super::target::Target;
use crate::proto::extension::Compression;
use std::fmt;
use std::net::IpAddr;
use std::ops::Range;
use std::str::FromStr;
use std::time::SystemTime;

/// The configuration of a flood.
#[derive(Clone, Debug)]
pub struct Config {
    /// The targets; connections are distributed evenly over them.
    pub targets: Vec<Target>,
    /// How many connections to open, over all shards.
    pub connections: u32,
    /// The phases to run.
    pub scenario: Scenario,
    /// The most connects, replies and closes in progress at a time.
    pub in_flight: u32,
    /// Length of the messages.
    pub payload: Sizes,
    /// Settings of permessage-deflate, which is offered and may be declined; `None` does not offer it.
    pub compression: Option<Compression>,
    /// Subprotocols to offer, the best first.
    pub subprotocols: Vec<String>,
    /// The Origin field, as a web page would send it.
    pub origin: Option<String>,
    /// Additional fields for each request, each as `Name: value`.
    pub fields: Vec<String>,
    /// Addresses to connect from. If empty: as many of 127.0.0.0/8 as needed on loopback, or the address that the
    /// kernel chooses.
    pub sources: Vec<IpAddr>,
    /// Time to connect and upgrade, in seconds.
    pub connect_timeout_s: u32,
    /// Time until a reply, in seconds.
    pub reply_timeout_s: u32,
    /// The longest response of an HTTP server, in bytes. Each worker keeps two for each target, to compare others with.
    pub max_reply_bytes: u32,
    /// How long connections may take to close after an interrupt, in seconds; then they are reset.
    pub interrupt_s: u32,
    /// The server's process, if it is on this host: its memory and CPU time are read. Otherwise `/stats` is requested.
    pub server_pid: Option<u32>,
    /// The shard of the flood that this host runs; `None` runs all of it.
    pub shard: Option<Shard>,
    /// When to start, so that all shards start together; `None` starts at once.
    pub start_at: Option<SystemTime>,
    /// Allows targets that are neither on this host nor in a private network: the user confirms that they may be
    /// flooded.
    pub owns_targets: bool,
}

impl Config {
    /// Makes the configuration of a flood of `connections` at `targets`, with the defaults of the command line: each
    /// connection is opened, sends one message and is closed.
    pub fn new(targets: Vec<Target>, connections: u32) -> Self {
        let ramp = Phase::Ramp { connections: None, per_s: None, over_s: None, steps: None };
        Self {
            targets,
            connections,
            scenario: Scenario { phases: vec![ramp, Phase::Reply { messages: 1 }] },
            in_flight: 256,
            payload: Sizes::Fixed(20),
            compression: None,
            subprotocols: Vec::new(),
            origin: None,
            fields: Vec::new(),
            sources: Vec::new(),
            connect_timeout_s: 30,
            reply_timeout_s: 30,
            max_reply_bytes: 16 << 20,
            interrupt_s: 10,
            server_pid: None,
            shard: None,
            start_at: None,
            owns_targets: false,
        }
    }

    /// Returns the numbers of this shard's connections.
    pub fn own_connections(&self) -> Range<u32> {
        let all = u64::from(self.connections);
        let share = self.shard.map_or(0..all, |shard| shard.share_of(all));
        share.start as u32..share.end as u32
    }

    /// Refuses targets that may belong to others: a public address needs [`Config::owns_targets`].
    pub(super) fn check_manners(&self) -> Result<(), FloodError> {
        let addresses = self.targets.iter().flat_map(|target| target.addresses.iter().map(move |to| (target, to)));
        for (target, address) in addresses {
            if !self.owns_targets && !is_own(address.ip()) {
                return Err(FloodError::new(format!(
                    "{target}: {} is neither a loopback nor a private address; if the host is yours, or its owner wants \
                     this, say so with --i-own-this-host",
                    address.ip()
                )));
            }
        }
        Ok(())
    }
}

/// Returns whether an address is loopback, link-local or private: RFC 1122, 3927, 1918; RFC 4291, 4193.
fn is_own(address: IpAddr) -> bool {
    match address.to_canonical() {
        // A connect to 0.0.0.0 reaches this host.
        IpAddr::V4(address) => {
            address.is_loopback() || address.is_private() || address.is_link_local() || address.is_unspecified()
        }
        IpAddr::V6(address) => {
            address.is_loopback()
                || address.is_unique_local()
                || address.is_unicast_link_local()
                || address.is_unspecified()
        }
    }
}

/// One of `count` parts of a flood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// The index of this shard, from 1.
    pub index: u32,
    /// The number of shards.
    pub count: u32,
}

impl Shard {
    /// Returns this shard's part of `all` things. The parts of all shards are disjoint and cover everything.
    pub(super) fn share_of(self, all: u64) -> Range<u64> {
        let Self { index, count } = self;
        let until = |index: u32| all * u64::from(index.min(count)) / u64::from(count.max(1));
        until(index.saturating_sub(1))..until(index)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

impl FromStr for Shard {
    type Err = &'static str;

    /// `INDEX/COUNT`
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (index, count) = text.split_once('/')?;
            let (index, count) = (index.parse().ok()?, count.parse().ok()?);
            (index >= 1 && index <= count && count <= 100_000).then_some(Self { index, count })
        };
        parse().ok_or("expected INDEX/COUNT, such as 1/4")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_disjoint_and_cover_everything() {
        for (all, count) in [(0, 1), (1, 3), (10, 3), (1_000_000, 7), (u64::from(u32::MAX), 100_000)] {
            let shares: Vec<_> = (1..=count).map(|index| Shard { index, count }.share_of(all)).collect();
            assert_eq!(
                (shares.first().map(|first| first.start), shares.last().map(|last| last.end)),
                (Some(0), Some(all))
            );
            assert!(shares.windows(2).all(|pair| pair[0].end == pair[1].start));
        }
    }

    #[test]
    fn loopback_and_private_addresses_are_own() {
        for own in [
            "127.9.9.9",
            "10.1.2.3",
            "172.31.0.1",
            "192.168.0.1",
            "169.254.1.1",
            "::1",
            "fd00::1",
            "fe80::1",
            "0.0.0.0",
        ] {
            assert!(is_own(own.parse().expect("an address")), "{own}");
        }
        assert!(is_own("::ffff:10.0.0.1".parse().expect("an address")));
        for other in ["8.8.8.8", "172.32.0.1", "100.64.0.1", "192.0.2.1", "2001:db8::1", "::ffff:8.8.8.8"] {
            assert!(!is_own(other.parse().expect("an address")), "{other}");
        }
    }

    #[test]
    fn invalid_shard_is_rejected() {
        assert_eq!("2/3".parse(), Ok(Shard { index: 2, count: 3 }));
        for text in ["", "1", "0/3", "4/3", "1/0", "-1/2", "1/2/3", "a/b", "1/1000000"] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
    }
}
