//! The workers of a flood, as their coordinator holds them: a thread with a reactor for each.

use super::config::Config;
use super::driver::Worker;
use super::error::FloodError;
use super::ledger::{Counts, SharedCounts};
use super::orders::{Command, WorkerConfig, WorkerEvent};
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
use crate::net::thread::{Failure, Thread};
use crate::proto::session::Limits;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

/// How many threads hold `connections`, with a descriptor table for each where one is too small.
pub(super) fn plan(connections: usize) -> Result<Plan, FloodError> {
    let table =
        fd_table::raise_limit().map_err(|error| FloodError::new(format!("cannot raise RLIMIT_NOFILE: {error}")))?;
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let wanted =
        PlanRequest { max_connections: Some(connections), reactors: None, cores, table, listeners: 0, hashed: false };
    let plan = Plan::new(wanted).map_err(|impossible| {
        let needed = match impossible {
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

/// The workers.
pub(super) struct WorkerPool {
    mailboxes: Vec<Mailbox<Command>>,
    boards: Vec<Arc<SharedCounts>>,
    counters: Vec<Arc<Counters>>,
    threads: Vec<JoinHandle<()>>,
    pub(super) done: Receiver<WorkerEvent>,
    /// How many work at a time, in phases that load the server: as many as there are cores. The tables of the others
    /// wait full or empty, and do not take the cache from those that work.
    pub(super) active: usize,
}

impl WorkerPool {
    pub(super) fn start(
        config: &Config,
        plan: Plan,
        orders: &Arc<WorkerConfig>,
        active: usize,
    ) -> Result<Self, FloodError> {
        let (done_sender, done) = channel();
        let (news, heard) = channel();
        let mut crew =
            Self { mailboxes: Vec::new(), boards: Vec::new(), counters: Vec::new(), threads: Vec::new(), done, active };
        let own = config.own_connections();
        let deadlines = Deadlines {
            connect_s: config.connect_timeout_s,
            // The flood asks its own questions, and is no judge of a server that is silent when not asked.
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
            crew.mailboxes
                .push(mailbox.map_err(|error| FloodError::new(format!("cannot make a wake-up: eventfd: {error}")))?);
        }
        for worker in 0..plan.reactors {
            let board = Arc::new(SharedCounts::default());
            let until = |worker: usize| own.start + share(own.len() as u32, worker, plan.reactors);
            let planned = until(worker)..until(worker + 1);
            let counters = Arc::new(Counters::default());
            crew.counters.push(Arc::clone(&counters));
            let counted = Arc::clone(&counters);
            let driver = Worker::new(Arc::clone(orders), Arc::clone(&board), counted, done_sender.clone(), planned);
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
            crew.boards.push(board);
            let mailbox = crew.mailboxes[worker].clone();
            let start = Start { driver, settings, counters, mailbox, own_table: plan.own_tables };
            crew.threads.push(start.spawn(worker, news.clone(), done_sender.clone())?);
        }
        drop(news);
        for _ in 0..plan.reactors {
            let begun = heard.recv().map_err(|_| FloodError::new("a worker ended before it began"))?;
            begun.map_err(FloodError::new)?;
        }
        Ok(crew)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.mailboxes.len()
    }

    /// The ledgers of all of them, added up.
    pub(super) fn counts(&self) -> Counts {
        let mut sum = Counts::default();
        for board in &self.boards {
            sum.add(&board.read());
        }
        sum
    }

    /// Pings of the server that were answered.
    pub(super) fn pings(&self) -> u64 {
        self.counters.iter().map(|counters| counters.pings_in.value()).sum()
    }

    pub(super) fn order(&self, worker: usize, order: Command) {
        // A worker that cannot be woken has ended, which its silence shows.
        let _ = self.mailboxes[worker].send(order);
    }

    pub(super) fn order_all(&self, order: impl Fn() -> Command) {
        for worker in 0..self.len() {
            self.order(worker, order());
        }
    }

    /// Whether a worker has ended before it was told to: it never answers.
    pub(super) fn has_lost_one(&self) -> bool {
        self.threads.iter().any(JoinHandle::is_finished)
    }

    pub(super) fn join(&mut self) {
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// How many of `all` the first `worker` of so many workers have together.
pub(super) fn share(all: u32, worker: usize, workers: usize) -> u32 {
    (u64::from(all) * worker as u64 / workers as u64) as u32
}

/// What a worker's thread is started with.
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
        news: Sender<Result<(), String>>,
        done: Sender<WorkerEvent>,
    ) -> Result<JoinHandle<()>, FloodError> {
        let own_table = self.own_table;
        let thread = Thread { kind: "worker", name: "flood", index: worker, own_table, flag: "--connections" };
        // A coordinator that has gone wants no news.
        let made = move |made| drop(news.send(made));
        // One that panicked is missed when its thread has ended.
        let failed = move |failure| {
            if let Failure::Wait(error) = failure {
                let _ = done.send(WorkerEvent::Failed(error));
            }
        };
        thread
            .spawn(|| self.reactor().map(|reactor| || reactor.run()), made, failed)
            .map_err(|error| FloodError::new(format!("cannot start worker {worker}: {error}; raise RLIMIT_NPROC")))
    }

    /// On the worker's own thread.
    fn reactor(self) -> Result<Reactor<Worker>, String> {
        sys::wake_exactly();
        Reactor::new(self.driver, self.settings, self.counters, self.mailbox)
            .map_err(|error| format!("cannot make a worker's reactor: epoll: {error}"))
    }
}
