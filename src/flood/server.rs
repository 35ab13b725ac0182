//! What can be learned of the server: from its `/stats` if it is one of ours, from proc(5) if its process is named.

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

/// A server that is asked once is asked again in vain if it takes longer.
const ASK_TIMEOUT: Duration = Duration::from_secs(3);

/// How often it is asked how much memory it has.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// How long a server may take to notice the last of what has happened to its connections.
const SETTLE: Duration = Duration::from_secs(5);

/// How long it is waited for guests that are about to leave.
const LEAVE: Duration = Duration::from_millis(500);

/// What is read of `/stats`. An answer of any other form is not one of ours.
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
    /// `/stats` before the first connection.
    before: Option<Stats>,
    /// Asks the first target. The watcher asks with it too: together they take one place of the server.
    asker: Option<Arc<Mutex<Asker>>>,
    /// All places of the server, if the flood leaves none of them for questions.
    places: Option<u64>,
    warnings: Vec<String>,
    is_alone: bool,
    worker_config: Arc<WorkerConfig>,
    /// Whether it may be one of ours. A stranger that speaks WebSocket is asked for `/stats` once, and not again; one
    /// that serves pages, and counts them, only when its first page says whose it is. Before the beginning nobody is asked.
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

    /// Remembers how things stand before the first connection.
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
            self.keep_asking();
        }
    }

    /// Keeps a connection for questions, since a server that is full takes no other one; unless the flood has a place for
    /// each of its connections without it, and for all but one with it.
    fn keep_asking(&mut self) {
        let (Some(asker), Some(before)) = (&self.asker, &self.before) else { return };
        let wanted = before.connections.now.max(1).saturating_add(self.config.connections.into());
        match before.connections.max.filter(|max| max.saturating_add(1) == wanted) {
            Some(places) => {
                self.places = Some(places);
                let warning = format!(
                    "the server has {places} places, which leaves none for /stats beside {} connections: what it says of \
                     memory and CPU time may be missing; expected {wanted} places or more, or --server-pid",
                    self.config.connections
                );
                self.warn(warning);
            }
            None => {
                let mut kept = lock(asker);
                kept.keeps = true;
                // Opened before the first connection of the flood. What it says now is known.
                let _ = ask(&mut kept);
                drop(kept);
                self.watcher = Some(Watcher::start(Arc::clone(asker)));
            }
        }
    }

    /// CPU time of the server since [`ServerView::begin`], when so many connections are open.
    pub(super) fn cpu_since_begin(&mut self, connections: u64) -> Option<Cpu> {
        let before = self.cpu_before?;
        let now = match self.config.server_pid {
            Some(pid) => Cpu::read(pid),
            None => self.stats_beside(connections)?.cpu,
        };
        Some(now?.since(&before))
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
            self.stats_beside(connections).map(|stats| stats.memory).unwrap_or_default();
        SideMemory { connections, user_bytes_per_connection, kernel_bytes_per_connection }
    }

    /// What the server says of the flood that is over, against what the flood saw: `None` where it cannot be known, since the
    /// server is not one of ours, not one alone, or had other guests from the beginning, as other shards are.
    pub(super) fn reconcile(&mut self, counts: &Counts) -> Option<Reconciliation> {
        self.watcher = None;
        // Each question goes over a connection of its own: behind one address may be several servers.
        self.ask_anew();
        let is_only_guest = self.config.shard.is_none() && self.config.targets.len() == 1;
        let before = self.before.clone().filter(|_| self.is_alone && is_only_guest)?;
        let asked = Instant::now();
        loop {
            let after = self.stats();
            if after.as_ref().is_some_and(|after| after.instance != before.instance) {
                return None; // behind one address are several after all, or it began anew
            }
            let Some(after) = after else {
                return Some(Reconciliation::of(vec![agreement("servers that answer", 1, Some(1), 0)]));
            };
            let reconciliation = compare(&before, &after, counts);
            if reconciliation.agrees || asked.elapsed() > SETTLE {
                return Some(reconciliation);
            }
            thread::sleep(Duration::from_millis(20)); // the last of the closes are on their way
        }
    }

    /// What has to be said of the server, once.
    pub(super) fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    fn warn(&mut self, warning: String) {
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    /// Whether this is one server, and nobody else is there. Behind one address may be several, who take turns; and those who
    /// are about to leave are waited for.
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

    /// Closes the connection that was kept for questions, and keeps none from now on.
    fn ask_anew(&mut self) {
        if let Some(asker) = &self.asker {
            let mut asker = lock(asker);
            asker.keeps = false;
            asker.close();
        }
    }

    /// `/stats` when so many connections are open; a server without a free place is not asked, and not waited for.
    fn stats_beside(&mut self, connections: u64) -> Option<Stats> {
        if self.places.is_some_and(|places| places <= connections) { None } else { self.stats() }
    }

    /// `/stats`, if the first target is a server that has it.
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

/// `/stats`; `None` of a server that is not one of ours.
fn ask(asker: &mut Asker) -> io::Result<Option<Stats>> {
    let (status, body) = asker.get("/stats", ASK_TIMEOUT)?;
    let stats: Option<Stats> = serde_json::from_slice(&body).ok().filter(|_| status == 200);
    Ok(stats.filter(|stats| stats.server == "steadfast"))
}

/// Each figure that both sides have.
fn compare(before: &Stats, after: &Stats, counts: &Counts) -> Reconciliation {
    let grown = |count: fn(&Counted) -> u64| count(&after.counters).saturating_sub(count(&before.counters));
    let opened = counts.opened + counts.reopened;
    let told = counts.replies + counts.received;
    // What was lost or dropped may have been answered, and what nobody asks for may come until the end.
    let is_exact = told == counts.replies && counts.sent == counts.replies && counts.lost_upgrading == 0;
    let figures = [
        agreement("connections upgraded", opened, Some(opened + counts.lost_upgrading), grown(|of| of.upgraded)),
        agreement("messages to the server", counts.replies, Some(counts.sent), grown(|of| of.messages_in)),
        agreement("messages from the server", told, is_exact.then_some(told), grown(|of| of.messages_delivered)),
        agreement("connections left", 0, Some(0), guests(after)),
    ];
    Reconciliation::of(figures.into())
}

/// Connections of a server, without the one that asks.
fn guests(stats: &Stats) -> u64 {
    stats.connections.now.saturating_sub(1)
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
