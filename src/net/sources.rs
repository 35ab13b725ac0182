//! Sources of connections: which addresses count as one source, and how many connections each source may have.

use socket2::SockRef;
use std::collections::HashMap;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};

/// The lengths of the address prefixes that make a source. A host with IPv6 can choose its addresses from a whole /64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourcePrefixes {
    /// The prefix of an IPv4 address, even of one that is mapped into IPv6: 1 to 32.
    pub v4: u32,
    /// The prefix of an IPv6 address: 1 to 128.
    pub v6: u32,
}

impl Default for SourcePrefixes {
    fn default() -> Self {
        Self { v4: 32, v6: 64 }
    }
}

/// A source: all addresses with the same prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Source(u128);

impl SourcePrefixes {
    /// Returns the source of an address. `::ffff:a.b.c.d` is `a.b.c.d` (RFC 4291 section 2.5.5.2).
    pub fn source_of(self, address: IpAddr) -> Source {
        let (address, prefix) = match address.to_canonical() {
            IpAddr::V4(v4) => (v4.to_ipv6_mapped(), self.v4.saturating_add(96)),
            IpAddr::V6(v6) => (v6, self.v6),
        };
        let dropped_bits = 128_u32.saturating_sub(prefix);
        Source(address.to_bits() & u128::MAX.checked_shl(dropped_bits).unwrap_or(0))
    }

    /// Returns the source of a connected socket; `None` where the peer has no address, as over a unix socket, or is
    /// gone.
    pub fn source_of_socket(self, socket: &impl AsFd) -> Option<Source> {
        let peer = SockRef::from(socket).peer_addr().ok()?;
        Some(self.source_of(peer.as_socket()?.ip()))
    }
}

/// The number of connections of each source, over all reactors, and the limit on it.
#[derive(Debug)]
pub struct PerSourceLimit {
    max: u32,
    prefixes: SourcePrefixes,
    counts: Mutex<HashMap<Source, u32>>,
}

impl PerSourceLimit {
    /// Creates a limit of `max` connections for each source. The largest value means that there is no limit; then
    /// nothing is counted.
    pub fn new(max: u32, prefixes: SourcePrefixes) -> Arc<Self> {
        Arc::new(Self { max, prefixes, counts: Mutex::default() })
    }

    pub(super) fn max(&self) -> u32 {
        self.max
    }

    pub(super) fn prefixes(&self) -> SourcePrefixes {
        self.prefixes
    }

    pub(super) fn is_limited(&self) -> bool {
        self.max < u32::MAX
    }

    /// Counts one more connection of `source`, if there is room for it; returns whether there was.
    pub(super) fn enter(&self, source: Source) -> bool {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(source).or_default();
        let fits = *count < self.max;
        *count += u32::from(fits);
        fits
    }

    pub(super) fn leave(&self, source: Source) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&source);
            }
        }
    }
}

#[cfg(test)]
#[path = "../tests/net/sources.rs"]
mod tests;
