//! Figures of the server: from its `/stats` if it is a Steadfast server, from proc(5) if its process is named.

use super::command::WorkerConfig;
use super::config::Config;
use super::fetch::{Asker, MAX_BODY_BYTES};
use super::ledger::Counts;
use super::report::{Agreement, Reconciliation, SideMemory};
use super::target::Scheme;
use crate::stats::{Cpu, Memory};
use serde::Deserialize;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long a request for `/stats` may take.
const STATS_TIMEOUT: Duration = Duration::from_secs(3);

/// How often the memory of the server is requested.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// How long a server may take to process the last closes.
const SETTLE: Duration = Duration::from_secs(5);

/// How long to wait for other clients that are about to leave.
const LEAVE: Duration = Duration::from_millis(500);

/// The members of `/stats` that are read. A response of any other form is not from a Steadfast server.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Stats {
    server: String,
    instance: Option<String>,
    connections: Places,
    memory: Usage,
    cpu: Option<Cpu>,
    counters: Counted,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Places {
    now: u64,
    max: Option<u64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Usage {
    user_bytes: Option<u64>,
    user_bytes_per_connection: Option<f64>,
    kernel_bytes_per_connection: Option<f64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Counted {
    upgraded: u64,
    messages_in: u64,
    messages_delivered: u64,
}

/// The server, as the flood sees it.
#[derive(Debug)]
pub(super) struct ServerView<'a> {
    config: &'a Config,
    memory_before: Memory,
    cpu_before: Option<Cpu>,
    /// `/stats` from before the first connection.
    before: Option<Stats>,
    /// Requests `/stats` of the first target. The watcher shares it, so that together they take one of the server's
    /// places.
    asker: Option<Arc<Mutex<Asker>>>,
    /// The server's places, if the flood leaves none of them for `/stats`.
    places: Option<u64>,
    warnings: Vec<String>,
    is_alone: bool,
    worker_config: Arc<WorkerConfig>,
    /// Set when the server is known not to answer `/stats`. An unknown WebSocket server is asked once. An HTTP server,
    /// which counts requests, is asked only after its first page says that it is a Steadfast server. Nothing is
    /// requested before `begin`.
    asked_in_vain: bool,
    watcher: Option<Watcher>,
}

impl<'a> ServerView<'a> {
    pub(super) fn new(config: &'a Config, worker_config: Arc<WorkerConfig>) -> Self {
        let first = config.targets.first().and_then(|target| Some((target.addresses.first()?, target.hosts.first()?)));
        let asker = first.map(|(address, host)| Arc::new(Mutex::new(Asker::new(*address, host.clone()))));
        Self {
            config,
            memory_before: Memory::default(),
            cpu_before: None,
            before: None,
            asker,
            places: None,
            warnings: Vec::new(),
            is_alone: false,
            worker_config,
            asked_in_vain: true,
            watcher: None,
        }
    }

    /// Reads the figures from before the first connection.
    pub(super) fn begin(&mut self) {
        self.memory_before = Memory::read(self.config.server_pid);
        self.asked_in_vain = false;
        self.before = if self.is_websocket() { self.stats() } else { None };
        self.asked_in_vain = self.is_websocket() && self.before.is_none();
        self.is_alone = self.before.is_some() && self.has_no_guests();
        self.cpu_before = match self.config.server_pid {
            Some(pid) => Cpu::read(pid),
            None => self.before.as_ref().and_then(|before| before.cpu),
        };
        if self.config.server_pid.is_none() && self.before.is_some() {
            self.keep_connection();
        }
    }

    /// Keeps a connection open for `/stats`, since a full server accepts no other. It is not kept if that would take
    /// the place of the flood's last connection.
    fn keep_connection(&mut self) {
        let (Some(asker), Some(before)) = (&self.asker, &self.before) else { return };
        let wanted = before.connections.now.max(1).saturating_add(self.config.connections.into());
        match before.connections.max.filter(|max| max.saturating_add(1) == wanted) {
            Some(places) => {
                self.places = Some(places);
                let warning = format!(
                    "the server has {places} places, which leaves none for /stats beside {} connections: its memory and \
                     CPU time may be missing; expected {wanted} places or more, or --server-pid",
                    self.config.connections
                );
                self.warn(warning);
            }
            None => {
                let mut kept = lock(asker);
                kept.keeps = true;
                // Opens the connection before the first one of the flood; the response is not needed.
                let _ = ask(&mut kept);
                drop(kept);
                self.watcher = Some(Watcher::start(Arc::clone(asker)));
            }
        }
    }

    /// Returns the CPU time of the server since [`ServerView::begin`], while `connections` are open.
    pub(super) fn cpu_since_begin(&mut self, connections: u64) -> Option<Cpu> {
        let before = self.cpu_before?;
        let now = match self.config.server_pid {
            Some(pid) => Cpu::read(pid),
            None => self.stats_while_open(connections)?.cpu,
        };
        Some(now?.since(&before))
    }

    /// Returns the memory of the server, at most about a second old.
    pub(super) fn user_bytes(&self) -> Option<u64> {
        match (self.config.server_pid, &self.watcher) {
            (Some(pid), _) => Memory::read(Some(pid)).user_bytes,
            (None, Some(watcher)) => watcher.user_bytes(),
            (None, None) => None,
        }
    }

    /// Returns the memory of the server per connection, while `connections` are open.
    pub(super) fn memory(&mut self, connections: u64) -> SideMemory {
        if let Some(pid) = self.config.server_pid {
            let now = Memory::read(Some(pid));
            return SideMemory {
                connections,
                user_bytes_per_connection: now.user_bytes_per_connection(&self.memory_before, connections),
                kernel_bytes_per_connection: now.kernel_bytes_per_socket(&self.memory_before),
            };
        }
        let Usage { user_bytes_per_connection, kernel_bytes_per_connection, .. } =
            self.stats_while_open(connections).map(|stats| stats.memory).unwrap_or_default();
        SideMemory { connections, user_bytes_per_connection, kernel_bytes_per_connection }
    }

    /// Compares the server's figures with those of the finished flood. `None` if they cannot be compared: the server is
    /// not a Steadfast server, is several servers, or had other clients from the start, as other shards are.
    pub(super) fn reconcile(&mut self, counts: &Counts) -> Option<Reconciliation> {
        self.watcher = None;
        // Each request uses a new connection, since several servers may share one address.
        self.stop_keeping();
        let is_only_guest = self.config.shard.is_none() && self.config.targets.len() == 1;
        let before = self.before.clone().filter(|_| self.is_alone && is_only_guest)?;
        let asked = Instant::now();
        loop {
            let after = self.stats();
            if after.as_ref().is_some_and(|after| after.instance != before.instance) {
                return None; // several servers share the address, or the server was restarted
            }
            let Some(after) = after else {
                return Some(Reconciliation::of(vec![agreement("servers that answer", 1, Some(1), 0)]));
            };
            let reconciliation = compare(&before, &after, counts);
            if reconciliation.agrees || asked.elapsed() > SETTLE {
                return Some(reconciliation);
            }
            thread::sleep(Duration::from_millis(20)); // the server is still processing the last closes
        }
    }

    /// Returns the warnings about the server, once.
    pub(super) fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    fn warn(&mut self, warning: String) {
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    /// Returns whether this is a single server without other clients. Several servers may answer at one address in
    /// turn; clients that are about to leave are waited for.
    fn has_no_guests(&mut self) -> bool {
        let asked = Instant::now();
        loop {
            let Some(now) = self.stats() else { return false };
            if now.instance != self.before.as_ref().and_then(|before| before.instance.clone()) {
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

    /// Closes the kept connection, and keeps none from now on.
    fn stop_keeping(&mut self) {
        if let Some(asker) = &self.asker {
            let mut asker = lock(asker);
            asker.keeps = false;
            asker.close();
        }
    }

    /// Requests `/stats` while `connections` are open; a server without a free place is not asked.
    fn stats_while_open(&mut self, connections: u64) -> Option<Stats> {
        if self.places.is_some_and(|places| places <= connections) { None } else { self.stats() }
    }

    /// Requests `/stats`, if the first target is a server that has it.
    fn stats(&mut self) -> Option<Stats> {
        let known = self.worker_config.is_ours.load(Ordering::Relaxed);
        if self.asked_in_vain || !(known || self.is_websocket()) {
            return None;
        }
        let asked = ask(&mut lock(self.asker.as_ref()?));
        if let Err(error) = &asked
            && error.kind() == io::ErrorKind::FileTooLarge
        {
            let warning = format!("the answer to /stats is longer than {MAX_BODY_BYTES} bytes, and is not read");
            self.warn(warning);
        }
        asked.ok().flatten()
    }
}

fn lock(asker: &Mutex<Asker>) -> MutexGuard<'_, Asker> {
    asker.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Requests `/stats`; returns `None` if the server is not a Steadfast server.
fn ask(asker: &mut Asker) -> io::Result<Option<Stats>> {
    let (status, body) = asker.get("/stats", STATS_TIMEOUT)?;
    let stats: Option<Stats> = serde_json::from_slice(&body).ok().filter(|_| status == 200);
    Ok(stats.filter(|stats| stats.server == "steadfast"))
}

/// Compares each figure that both sides have.
fn compare(before: &Stats, after: &Stats, counts: &Counts) -> Reconciliation {
    let grown = |count: fn(&Counted) -> u64| count(&after.counters).saturating_sub(count(&before.counters));
    let opened = counts.opened + counts.reopened;
    let told = counts.replies + counts.received;
    // Messages on lost connections may have been answered, and pushed messages may arrive until the end.
    let is_exact = told == counts.replies && counts.sent == counts.replies && counts.lost_upgrading == 0;
    let figures = [
        agreement("connections upgraded", opened, Some(opened + counts.lost_upgrading), grown(|of| of.upgraded)),
        agreement("messages to the server", counts.replies, Some(counts.sent), grown(|of| of.messages_in)),
        agreement("messages from the server", told, is_exact.then_some(told), grown(|of| of.messages_delivered)),
        agreement("connections left", 0, Some(0), guests(after)),
    ];
    Reconciliation::of(figures.into())
}

/// Returns the connections of a server without the one that asks.
fn guests(stats: &Stats) -> u64 {
    stats.connections.now.saturating_sub(1)
}

fn agreement(what: &str, at_least: u64, at_most: Option<u64>, server: u64) -> Agreement {
    let agrees = (at_least..=at_most.unwrap_or(u64::MAX)).contains(&server);
    Agreement { what: what.to_owned(), at_least, at_most, server, agrees }
}

/// Requests `/stats` once a second, on its own thread, since a server under load may answer slowly.
#[derive(Debug)]
struct Watcher {
    user_bytes: Arc<AtomicU64>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    fn start(asker: Arc<Mutex<Asker>>) -> Self {
        let user_bytes = Arc::new(AtomicU64::new(0));
        let (stop, stopped) = channel::<()>();
        let told = Arc::clone(&user_bytes);
        let body = move || {
            while stopped.recv_timeout(WATCH_EVERY) == Err(RecvTimeoutError::Timeout) {
                let stats = ask(&mut lock(&asker)).ok().flatten();
                let bytes = stats.and_then(|stats| stats.memory.user_bytes);
                told.store(bytes.unwrap_or(0), Ordering::Relaxed);
            }
        };
        // If the thread cannot be started, the report lacks these figures; the flood still runs.
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
