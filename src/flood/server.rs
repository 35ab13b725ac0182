//! What can be learned of the server: from its `/stats` if it is one of ours, from proc(5) if its process is named.

use super::ledger::Counts;
use super::orders::Orders;
use super::report::{Agreement, Reconciliation, SideMemory};
use super::target::{Scheme, Target};
use super::{Config, fetch};
use crate::stats::{Cpu, Memory};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// A server that is asked once is asked again in vain if it takes longer.
const ASK_TIMEOUT: Duration = Duration::from_secs(3);

/// How often it is asked how much memory it has.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// How long a server may take to notice the last of what has happened to its connections.
const SETTLE: Duration = Duration::from_secs(5);

/// How long it is waited for guests that are about to leave.
const LEAVE: Duration = Duration::from_millis(500);

/// The server, as the flood sees it.
#[derive(Debug)]
pub(super) struct ServerView<'a> {
    config: &'a Config,
    memory_before: Memory,
    cpu_before: Option<Cpu>,
    /// `/stats` before the first connection.
    before: Option<Value>,
    is_alone: bool,
    orders: Arc<Orders>,
    /// Whether it may be one of ours. A stranger that speaks WebSocket is asked for `/stats` once, and not again; one
    /// that serves pages, and counts them, only when its first page says whose it is. Before the beginning nobody is asked.
    asked_in_vain: bool,
    watcher: Option<Watcher>,
}

impl<'a> ServerView<'a> {
    pub(super) fn new(config: &'a Config, orders: Arc<Orders>) -> Self {
        Self {
            config,
            memory_before: Memory::default(),
            cpu_before: None,
            before: None,
            is_alone: false,
            orders,
            asked_in_vain: true,
            watcher: None,
        }
    }

    /// Remembers how things stand before the first connection.
    pub(super) fn begin(&mut self) {
        self.memory_before = Memory::read(self.config.server_pid);
        self.asked_in_vain = false;
        self.before = self.is_websocket().then(|| self.stats()).flatten();
        self.asked_in_vain = self.is_websocket() && self.before.is_none();
        self.is_alone = self.before.is_some() && self.has_no_guests();
        self.cpu_before = match self.config.server_pid {
            Some(pid) => Cpu::read(pid),
            None => self.before.as_ref().and_then(cpu_of),
        };
        if self.config.server_pid.is_none()
            && self.before.is_some()
            && let Some(target) = self.config.targets.first()
        {
            self.watcher = Some(Watcher::start(target.clone()));
        }
    }

    /// CPU time of the server since [`ServerView::begin`].
    pub(super) fn cpu_since_begin(&self) -> Option<Cpu> {
        let now = match self.config.server_pid {
            Some(pid) => Cpu::read(pid),
            None => cpu_of(&self.stats()?),
        };
        Some(now?.since(&self.cpu_before?))
    }

    /// Memory of the server, as of the last second.
    pub(super) fn user_bytes(&self) -> Option<u64> {
        match (self.config.server_pid, &self.watcher) {
            (Some(pid), _) => Memory::read(Some(pid)).user_bytes,
            (None, Some(watcher)) => watcher.user_bytes(),
            (None, None) => None,
        }
    }

    /// Memory of the server for each of `connections` that are open.
    pub(super) fn memory(&self, connections: u64) -> SideMemory {
        if let Some(pid) = self.config.server_pid {
            let now = Memory::read(Some(pid));
            return SideMemory {
                connections,
                user_bytes_per_connection: now.user_bytes_per_connection(&self.memory_before, connections),
                kernel_bytes_per_connection: now.kernel_bytes_per_socket(&self.memory_before),
            };
        }
        let stats = self.stats();
        let figure = |name: &str| stats.as_ref()?.get("memory")?.get(name)?.as_f64();
        SideMemory {
            connections,
            user_bytes_per_connection: figure("user_bytes_per_connection"),
            kernel_bytes_per_connection: figure("kernel_bytes_per_connection"),
        }
    }

    /// What the server says of the flood that is over, against what the flood saw: `None` where it cannot be known, since the
    /// server is not one of ours, not one alone, or had other guests from the beginning, as other shards are.
    pub(super) fn reconcile(&mut self, counts: &Counts) -> Option<Reconciliation> {
        self.watcher = None;
        let is_only_guest = self.config.shard.is_none() && self.config.targets.len() == 1;
        let before = self.before.as_ref().filter(|_| self.is_alone && is_only_guest)?;
        let asked = Instant::now();
        loop {
            let after = self.stats();
            if after.as_ref().is_some_and(|after| instance(after) != instance(before)) {
                return None; // behind one address are several after all, or it began anew
            }
            let Some(after) = after else {
                return Some(Reconciliation::of(vec![agreement("servers that answer", 1, Some(1), 0)]));
            };
            let reconciliation = compare(before, &after, counts);
            if reconciliation.agrees || asked.elapsed() > SETTLE {
                return Some(reconciliation);
            }
            thread::sleep(Duration::from_millis(20)); // the last of the closes are on their way
        }
    }

    /// Whether this is one server, and nobody else is there. Behind one address may be several, who take turns; and those who
    /// are about to leave are waited for.
    fn has_no_guests(&mut self) -> bool {
        let asked = Instant::now();
        loop {
            let Some(now) = self.stats() else { return false };
            if instance(&now) != self.before.as_ref().and_then(instance) {
                return false;
            }
            let guests = guests(&now);
            self.before = Some(now);
            if guests == 0 || asked.elapsed() > LEAVE {
                return guests == 0;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn is_websocket(&self) -> bool {
        self.config.targets.first().is_some_and(|target| target.scheme == Scheme::Ws)
    }

    /// `/stats`, if the first target is a server that has it.
    fn stats(&self) -> Option<Value> {
        let known = self.orders.is_ours.load(Ordering::Relaxed);
        if self.asked_in_vain || !(known || self.is_websocket()) {
            return None;
        }
        stats_of(self.config.targets.first()?)
    }
}

fn stats_of(target: &Target) -> Option<Value> {
    let (status, body) = fetch::get(*target.addresses.first()?, target.hosts.first()?, "/stats", ASK_TIMEOUT).ok()?;
    let stats: Value = serde_json::from_slice(&body).ok().filter(|_| status == 200)?;
    (stats.get("server")? == "steadfast").then_some(stats)
}

fn cpu_of(stats: &Value) -> Option<Cpu> {
    serde_json::from_value(stats.get("cpu")?.clone()).ok()
}

fn instance(stats: &Value) -> Option<&str> {
    stats.get("instance")?.as_str()
}

/// Each figure that both sides have.
fn compare(before: &Value, after: &Value, counts: &Counts) -> Reconciliation {
    let grown = |name: &str| {
        let count = |stats: &Value| stats["counters"][name].as_u64().unwrap_or(0);
        count(after).saturating_sub(count(before))
    };
    let opened = counts.opened + counts.reopened;
    let told = counts.replies + counts.received;
    // What was lost or dropped may have been answered, and what nobody asks for may come until the end.
    let is_exact = told == counts.replies && counts.sent == counts.replies && counts.lost_upgrading == 0;
    let figures = [
        agreement("connections upgraded", opened, Some(opened + counts.lost_upgrading), grown("upgraded")),
        agreement("messages to the server", counts.replies, Some(counts.sent), grown("messages_in")),
        agreement("messages from the server", told, is_exact.then_some(told), grown("messages_delivered")),
        agreement("connections left", 0, Some(0), guests(after)),
    ];
    Reconciliation::of(figures.into())
}

/// Connections of a server beside that of whoever asks.
fn guests(stats: &Value) -> u64 {
    stats["connections"]["now"].as_u64().unwrap_or(0).saturating_sub(1)
}

fn agreement(what: &str, at_least: u64, at_most: Option<u64>, server: u64) -> Agreement {
    let agrees = (at_least..=at_most.unwrap_or(u64::MAX)).contains(&server);
    Agreement { what: what.to_owned(), at_least, at_most, server, agrees }
}

/// Asks for `/stats` once a second, on a thread of its own: a server under load may take its time.
#[derive(Debug)]
struct Watcher {
    user_bytes: Arc<AtomicU64>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    fn start(target: Target) -> Self {
        let user_bytes = Arc::new(AtomicU64::new(0));
        let (stop, stopped) = channel::<()>();
        let told = Arc::clone(&user_bytes);
        let body = move || {
            while stopped.recv_timeout(WATCH_EVERY) == Err(RecvTimeoutError::Timeout) {
                let bytes = stats_of(&target).and_then(|stats| stats["memory"]["user_bytes"].as_u64());
                told.store(bytes.unwrap_or(0), Ordering::Relaxed);
            }
        };
        // Without it the report has no such figures; that is no reason not to begin.
        let thread = thread::Builder::new().name("flood-watch".into()).stack_size(256 << 10).spawn(body).ok();
        Self { user_bytes, stop: Some(stop), thread }
    }

    fn user_bytes(&self) -> Option<u64> {
        Some(self.user_bytes.load(Ordering::Relaxed)).filter(|bytes| *bytes > 0)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
