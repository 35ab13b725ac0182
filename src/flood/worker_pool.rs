//! The workers of a flood: one thread with one reactor each.

use super::command::{Command, WorkerConfig, WorkerEvent};
use super::config::Config;
use super::driver::Worker;
use super::error::FloodError;
use super::ledger::{Counts, SharedCounts};
use crate::net::counters::Counters;
use crate::net::driver::Driver;
use crate::net::fd_table::{self, Plan, PlanError, PlanRequest};
use crate::net::mailbox::Mailbox;
use crate::net::pool::RING_BYTES;
use crate::net::reactor::{ConnectionLimit, Reactor, Settings};
use crate::net::room::Need;
use crate::net::slots::Slots;
use crate::net::sweep::Deadlines;
use crate::net::sys;
use crate::net::thread::{Failure, MakeError, Thread};
use crate::proto::session::Limits;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

/// Plans how many threads hold `connections`, each with a descriptor table of its own where one is too small.
pub(super) fn plan(connections: usize) -> Result<Plan, FloodError> {
    let table =
        fd_table::raise_limit().map_err(|error| FloodError::new(format!("cannot raise RLIMIT_NOFILE: {error}")))?;
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let request =
        PlanRequest { max_connections: Some(connections), reactors: None, cores, table, listeners: 0, hashed: false };
    let plan = Plan::new(request).map_err(|error| {
        let needed = match error {
            PlanError::TableTooSmall { needed } | PlanError::TooFewReactors { needed } => needed,
        };
        FloodError::new(format!(
            "RLIMIT_NOFILE is {table}, which leaves no room for connections; raise it to {needed} or more (ulimit -n)"
        ))
    })?;
    let need = Need {
        reactors: plan.reactors,
        cores,
        per_reactor: plan.per_reactor,
        connections,
        record_bytes: Slots::<<Worker as Driver>::State>::record_bytes(),
        ring_bytes: RING_BYTES,
    };
    need.check().map_err(|no_room| FloodError::new(format!("{connections} connections: {no_room}")))?;
    Ok(plan)
}

/// The running workers.
pub(super) struct WorkerPool {
    /// What all workers share.
    pub(super) config: Arc<WorkerConfig>,
    mailboxes: Vec<Mailbox<Command>>,
    shared_counts: Vec<Arc<SharedCounts>>,
    counters: Vec<Arc<Counters>>,
    threads: Vec<JoinHandle<()>>,
    pub(super) events: Receiver<WorkerEvent>,
    /// How many workers run at a time in phases that load the server: as many as there are cores. Running more would
    /// evict the tables of those that run from the cache.
    pub(super) active: usize,
}

impl WorkerPool {
    pub(super) fn start(
        config: &Config,
        plan: Plan,
        worker_config: Arc<WorkerConfig>,
        active: usize,
    ) -> Result<Self, FloodError> {
        let (event_sender, events) = channel();
        let (started_sender, started) = channel();
        let mut pool = Self {
            config: Arc::clone(&worker_config),
            mailboxes: Vec::new(),
            shared_counts: Vec::new(),
            counters: Vec::new(),
            threads: Vec::new(),
            events,
            active,
        };
        let own = config.own_connections();
        let deadlines = Deadlines {
            connect_s: config.connect_timeout_s,
            // The flood sends its own messages, so it sends no pings and has no idle timeout.
            ping_s: u32::MAX,
            idle_s: u32::MAX,
            ..Deadlines::default()
        };
        let limits = Limits {
            max_message_bytes: (config.payload.max_bytes() as u64).max(1 << 20),
            max_control_frames_per_s: u16::MAX,
            ..Limits::default()
        };
        for _ in 0..plan.reactors {
            let mailbox = Mailbox::new();
            pool.mailboxes
                .push(mailbox.map_err(|error| FloodError::new(format!("cannot create a mailbox: eventfd: {error}")))?);
        }
        for worker in 0..plan.reactors {
            let shared_counts = Arc::new(SharedCounts::default());
            let until = |worker: usize| own.start + share(own.len() as u32, worker, plan.reactors);
            let planned = until(worker)..until(worker + 1);
            let counters = Arc::new(Counters::default());
            pool.counters.push(Arc::clone(&counters));
            let counted = Arc::clone(&counters);
            let driver = Worker::new(
                Arc::clone(&worker_config),
                Arc::clone(&shared_counts),
                counted,
                event_sender.clone(),
                planned,
            );
            let driver = driver.map_err(|_| {
                let bytes = config.payload.max_bytes();
                FloodError::new(format!(
                    "no memory for messages of {bytes} bytes in each of {} workers; expected a shorter --payload, or \
                     a higher limit (ulimit -v)",
                    plan.reactors
                ))
            })?;
            let settings = Settings {
                limits,
                deadlines,
                compression: config.compression.unwrap_or_default(),
                ..Settings::new(plan.per_reactor, ConnectionLimit::new(plan.max_connections))
            };
            pool.shared_counts.push(shared_counts);
            let mailbox = pool.mailboxes[worker].clone();
            let start = Start { driver, settings, counters, mailbox, own_table: plan.own_tables };
            pool.threads.push(start.spawn(worker, started_sender.clone(), event_sender.clone())?);
        }
        drop(started_sender);
        for _ in 0..plan.reactors {
            let begun = started.recv().map_err(|_| FloodError::new("a worker ended before it began"))?;
            begun.map_err(FloodError::new)?;
        }
        Ok(pool)
    }

    /// Returns the number of workers.
    pub(super) fn len(&self) -> usize {
        self.mailboxes.len()
    }

    /// Returns the sum of the counts of all workers.
    pub(super) fn counts(&self) -> Counts {
        let mut sum = Counts::default();
        for shared_counts in &self.shared_counts {
            sum.add(&shared_counts.read());
        }
        sum
    }

    /// Returns how many pings of the server were answered.
    pub(super) fn pings(&self) -> u64 {
        self.counters.iter().map(|counters| counters.pings_in.value()).sum()
    }

    pub(super) fn send(&self, worker: usize, command: Command) {
        // A worker that cannot be woken has ended; `has_lost_one` finds it.
        let _ = self.mailboxes[worker].send(command);
    }

    pub(super) fn send_all(&self, command: impl Fn() -> Command) {
        for worker in 0..self.len() {
            self.send(worker, command());
        }
    }

    /// Returns whether a worker's thread has ended too early; it will never report.
    pub(super) fn has_lost_one(&self) -> bool {
        self.threads.iter().any(JoinHandle::is_finished)
    }

    pub(super) fn join(&mut self) {
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Returns how many of `all` connections the first `worker` of `workers` workers have together.
pub(super) fn share(all: u32, worker: usize, workers: usize) -> u32 {
    (u64::from(all) * worker as u64 / workers as u64) as u32
}

/// The parts from which a worker's thread is started.
struct Start {
    driver: Worker,
    settings: Settings,
    counters: Arc<Counters>,
    mailbox: Mailbox<Command>,
    own_table: bool,
}

impl Start {
    fn spawn(
        self,
        worker: usize,
        started_sender: Sender<Result<(), String>>,
        events: Sender<WorkerEvent>,
    ) -> Result<JoinHandle<()>, FloodError> {
        let own_table = self.own_table;
        let thread = Thread { kind: "worker", name: "flood", index: worker, own_table };
        // The coordinator may have given up; then nothing waits for this.
        let made = move |made: Result<(), MakeError<String>>| drop(started_sender.send(made.map_err(text)));
        // A panic is noticed by the end of the thread, see `has_lost_one`.
        let failed = move |failure| {
            if let Failure::Wait(error) = failure {
                let _ = events.send(WorkerEvent::Failed(error));
            }
        };
        thread
            .spawn(|| self.reactor().map(|reactor| || reactor.run()), made, failed)
            .map_err(|error| FloodError::new(format!("cannot start worker {worker}: {error}; raise RLIMIT_NPROC")))
    }

    /// Makes the reactor; runs on the worker's own thread.
    fn reactor(self) -> Result<Reactor<Worker>, String> {
        sys::wake_exactly();
        Reactor::new(self.driver, self.settings, self.counters, self.mailbox)
            .map_err(|error| format!("cannot create a worker's reactor: epoll: {error}"))
    }
}

/// Why a worker has no reactor, in words.
fn text(error: MakeError<String>) -> String {
    match error {
        MakeError::OwnTable(error) => format!(
            "cannot give a worker a descriptor table of its own: unshare(CLONE_FILES): {error}; a seccomp filter may forbid \
             it: raise RLIMIT_NOFILE instead, or ask for fewer --connections"
        ),
        MakeError::Make(text) | MakeError::Panic(text) => text,
    }
}
