//! The state that the reactors of a server share, and the document of `/stats`.

use super::config::Protocol;
use super::hook::Hook;
use crate::net::counters::{Counters, Totals};
use crate::net::fd_table::Plan;
use crate::net::reactor::MemoryLimit;
use crate::net::sources::SourcePrefixes;
use crate::net::sys;
use crate::proto::http::Request;
use crate::proto::upgrade::Policy;
use crate::stats::Memory;
use serde_json::{Map, Value, json};
use std::io;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// The state that the reactors of one server share: read only, counters, or behind a lock off the hot path.
#[derive(Debug)]
pub(super) struct ServerState {
    pub(super) counters: Vec<Arc<Counters>>,
    pub(super) buffers: Arc<MemoryLimit>,
    pub(super) plan: Plan,
    pub(super) protocol: Protocol,
    pub(super) upgrade: Policy,
    pub(super) hook: Option<Hook>,
    pub(super) max_upgrades_per_s: u32,
    pub(super) max_long_files: u32,
    pub(super) source_prefixes: SourcePrefixes,
    /// The time over which a drain closes connections, and the time after which it resets the rest.
    pub(super) drain: (Duration, Duration),
    /// Whether responses get our field Server: the program's own fields have none.
    pub(super) says_server: bool,
    pub(super) started: Instant,
    /// A random number that distinguishes this server from another one at the same address.
    pub(super) instance: u64,
    /// Memory when the server was ready and had no connection.
    pub(super) at_ready: OnceLock<Memory>,
    /// The maximum age of a cached document of `/stats`.
    pub(super) stats_max_age: Duration,
    pub(super) stats: Mutex<StatsCache>,
    /// The error of the first reactor that failed; it stopped the others.
    pub(super) failure: OnceLock<(io::ErrorKind, String)>,
}

impl ServerState {
    /// Counts messages that a reactor dropped for `lost` receivers because too many publications are waiting.
    #[inline]
    pub(super) fn count_lost(&self, reactor: u16, lost: usize) {
        if lost > 0 {
            let counters = &self.counters[usize::from(reactor)];
            counters.messages_out.add(lost as u64);
            counters.messages_dropped.add(lost as u64);
        }
    }
}

/// The last documents of `/stats`.
#[derive(Debug, Default)]
pub(super) struct StatsCache {
    /// Without the counters of each reactor, and with them; each with the time at which it was made.
    documents: [Option<(Instant, Arc<[u8]>)>; 2],
}

/// Returns the document of `/stats`: the sums over all reactors and, if `with_reactors`, the numbers of each.
///
/// The document may be up to `stats_max_age_ms` old, so that a flood of small requests causes little work.
pub(super) fn json(shared: &ServerState, with_reactors: bool) -> Arc<[u8]> {
    let mut cache = shared.stats.lock().unwrap_or_else(PoisonError::into_inner);
    let cached = &mut cache.documents[usize::from(with_reactors)];
    if let Some((made, document)) = cached
        && made.elapsed() < shared.stats_max_age
    {
        return Arc::clone(document);
    }
    let made = Instant::now();
    let document: Arc<[u8]> = document(shared, with_reactors).to_string().into_bytes().into();
    *cached = Some((made, Arc::clone(&document)));
    document
}

/// Whether the query of a request asks for the counters of each reactor: `/stats?reactors`.
pub(super) fn wants_reactors(request: &Request<'_>) -> bool {
    let query = request.target.split_once('?').map_or("", |(_, query)| query);
    query.split('&').any(|word| matches!(word, "reactors" | "reactors=1" | "reactors=true"))
}

fn document(shared: &ServerState, with_reactors: bool) -> Value {
    let memory = Memory::read(None);
    let each: Vec<Totals> = shared.counters.iter().map(|counters| counters.totals()).collect();
    let sum: Totals = each.iter().copied().sum();
    let now = connections_now(&sum);
    let at_ready = shared.at_ready.get().copied().unwrap_or_default();
    let (user, system) = sys::cpu_time();
    let mut document = json!({
        "server": "steadfast",
        "version": env!("CARGO_PKG_VERSION"),
        "instance": format!("{:016x}", shared.instance),
        "protocol": shared.protocol.to_string(),
        "uptime_s": shared.started.elapsed().as_secs_f64(),
        "connections": { "now": now, "ever": sum.opened, "max": shared.plan.max_connections },
        "messages": {
            "in": sum.messages_in,
            "out": sum.messages_out,
            "delivered": sum.messages_delivered,
            "dropped": sum.messages_dropped,
            "queued": sum.messages_queued,
        },
        "bytes": { "in": sum.bytes_in, "out": sum.bytes_out },
        "memory": {
            "buffer_bytes": shared.buffers.used_bytes(),
            "max_buffer_bytes": shared.buffers.limit_bytes(),
            "user_bytes": memory.user_bytes,
            "user_bytes_when_ready": at_ready.user_bytes,
            "user_bytes_per_connection": memory.user_bytes_per_connection(&at_ready, now),
            "kernel_bytes_per_connection": memory.kernel_bytes_per_socket(&at_ready),
        },
        "cpu": { "user_s": user.as_secs_f64(), "system_s": system.as_secs_f64() },
        "counters": named(&sum),
        "reactor_count": each.len(),
    });
    if with_reactors {
        document["reactors"] = each.iter().map(reactor).collect();
    }
    document
}

fn named(totals: &Totals) -> Map<String, Value> {
    Totals::NAMES.iter().zip(totals.values()).map(|(name, value)| ((*name).to_owned(), value.into())).collect()
}

fn connections_now(totals: &Totals) -> u64 {
    totals.opened.saturating_sub(totals.ended)
}

fn reactor(totals: &Totals) -> Value {
    json!({ "connections": { "now": connections_now(totals) }, "counters": named(totals) })
}
