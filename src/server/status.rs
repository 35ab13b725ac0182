//! What the reactors of a server share, and `/stats`: what they count, summed and for each, as JSON.

use super::routes::Routes;
use super::{Hook, Protocol};
use crate::net::counters::Counters;
use crate::net::fd_table::Plan;
use crate::net::sources::SourcePrefixes;
use crate::net::sys;
use crate::proto::upgrade::Policy;
use crate::stats::Memory;
use serde_json::{Map, Value, json};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// What the reactors of one server share, all of it read only or counted.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) counters: Vec<Arc<Counters>>,
    pub(super) plan: Plan,
    pub(super) protocol: Protocol,
    pub(super) upgrade: Policy,
    pub(super) hook: Option<Hook>,
    pub(super) max_upgrades_per_s: u32,
    pub(super) max_long_files: u32,
    pub(super) source_prefixes: SourcePrefixes,
    pub(super) routes: Arc<Routes>,
    /// Over how long connections are closed, and when they are not waited for any more.
    pub(super) drain: (Duration, Duration),
    /// The owner's fields have no Server, which may stand in an answer once.
    pub(super) says_server: bool,
    pub(super) started: Instant,
    /// Tells this server from another at the same address: random.
    pub(super) instance: u64,
    /// Memory when the server was ready and had no connection.
    pub(super) at_ready: OnceLock<Memory>,
}

impl Shared {
    /// Counts messages that one of the reactors had to drop before it looked for who should get them.
    #[inline]
    pub(super) fn count_lost(&self, reactor: u16, lost: usize) {
        if lost > 0 {
            let counters = &self.counters[usize::from(reactor)];
            counters.messages_out.add(lost as u64);
            counters.messages_dropped.add(lost as u64);
        }
    }
}

/// The document, whole.
pub(super) fn json(shared: &Shared) -> Vec<u8> {
    let each: Vec<Vec<u64>> = shared.counters.iter().map(|counters| counters.values()).collect();
    let mut sum = vec![0; Counters::NAMES.len()];
    for values in &each {
        for (total, value) in sum.iter_mut().zip(values) {
            *total += value;
        }
    }
    let total = named(&sum);
    let now = connections_now(&total);
    let memory = Memory::read(None);
    let at_ready = shared.at_ready.get().copied().unwrap_or_default();
    let (user, system) = sys::cpu_time();
    let document = json!({
        "server": "steadfast",
        "version": env!("CARGO_PKG_VERSION"),
        "instance": format!("{:016x}", shared.instance),
        "protocol": shared.protocol.to_string(),
        "uptime_s": shared.started.elapsed().as_secs_f64(),
        "connections": { "now": now, "ever": total["opened"], "max": shared.plan.max_connections },
        "messages": {
            "in": total["messages_in"],
            "out": total["messages_out"],
            "delivered": total["messages_delivered"],
            "dropped": total["messages_dropped"],
            "queued": total["messages_queued"],
        },
        "bytes": { "in": total["bytes_in"], "out": total["bytes_out"] },
        "memory": {
            "user_bytes": memory.user_bytes,
            "user_bytes_when_ready": at_ready.user_bytes,
            "user_bytes_per_connection": memory.user_bytes_per_connection(&at_ready, now),
            "kernel_bytes_per_connection": memory.kernel_bytes_per_socket(&at_ready),
        },
        "cpu": { "user_s": user.as_secs_f64(), "system_s": system.as_secs_f64() },
        "counters": total,
        "reactors": each.iter().map(|values| reactor(values)).collect::<Vec<_>>(),
    });
    document.to_string().into_bytes()
}

fn named(values: &[u64]) -> Map<String, Value> {
    Counters::NAMES.iter().zip(values).map(|(name, &value)| ((*name).to_owned(), value.into())).collect()
}

fn connections_now(counters: &Map<String, Value>) -> u64 {
    let value = |name: &str| counters[name].as_u64().unwrap_or(0);
    value("opened").saturating_sub(value("ended"))
}

fn reactor(values: &[u64]) -> Value {
    let counters = named(values);
    json!({ "connections": { "now": connections_now(&counters) }, "counters": counters })
}
