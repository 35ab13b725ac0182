//! The flood: connect, get the reply, hold, ask each whether it is alive, close; and account for every connection.

mod driver;
mod fetch;
pub mod ledger;
mod orders;
mod page;
mod payload;
mod plan;
pub mod report;
mod server;
pub mod target;

use crate::net::counters::Counters;
use crate::net::fd_table::{self, Impossible, Plan, Wanted};
use crate::net::mailbox::Mailbox;
use crate::net::reactor::{Quota, Reactor, Settings};
use crate::net::sweep::Deadlines;
use crate::net::sys;
use crate::proto::extension::Compression;
use crate::proto::session::Limits;
use crate::stats::{Cpu, Memory};
use driver::Worker;
use ledger::{Board, Counts, Stage, add_causes};
use orders::{Done, Order, Orders, Phase, Results, histogram};
use plan::Routes;
use report::{Connections, Report, SCHEMA, SideMemory, Sides};
use server::ServerView;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use target::Target;

/// How often the observer is shown where the flood stands.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What a flood is asked to do.
#[derive(Clone, Debug)]
pub struct Config {
    /// What to aim at; connections are dealt out evenly.
    pub targets: Vec<Target>,
    /// How many connections to open.
    pub connections: u32,
    /// Connects a second; `None` for as fast as they are accepted.
    pub rate: Option<u32>,
    /// The most connects, replies and closes under way at a time.
    pub in_flight: u32,
    /// Length of a message.
    pub payload_bytes: usize,
    /// permessage-deflate, offered to a WebSocket server that may decline it; `None` does not offer it.
    pub compression: Option<Compression>,
    /// Messages of each connection, one after the other, before the hold.
    pub messages: u16,
    /// How long to hold all connections.
    pub hold_s: f64,
    /// Messages a second over all connections while they are held.
    pub trickle_per_s: f64,
    /// Addresses to connect from; empty for as many of 127.0.0.0/8 as it takes, or what the kernel chooses.
    pub sources: Vec<IpAddr>,
    /// Time to connect and be upgraded.
    pub connect_timeout_s: u32,
    /// Time to answer a message.
    pub reply_timeout_s: u32,
    /// Process on this host whose memory and CPU time are the server's; else `/stats` is asked.
    pub server_pid: Option<u32>,
}

/// Why a flood did not begin: what was asked, what was found, what to do.
#[derive(Debug)]
pub struct FloodError(String);

impl FloodError {
    fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for FloodError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for FloodError {}

/// Where a flood stands.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// What it does: `connect`, `reply`, `hold`, `check` or `close`.
    pub phase: &'static str,
    /// For how long it has done that.
    pub elapsed: Duration,
    /// The ledger, all workers together; its stages sum to what was planned.
    pub counts: Counts,
}

/// Runs a flood to its end. `observe` is called about ten times a second; when `interrupted` becomes true, what is open
/// is closed, and the report says how far it came.
///
/// # Errors
/// [`FloodError`] when it cannot begin: too few ports or descriptors, a thread that the system refuses.
pub fn run(
    config: &Config,
    interrupted: &AtomicBool,
    observe: &mut dyn FnMut(&Progress),
) -> Result<Report, FloodError> {
    let routes = Routes::plan(config)?;
    let plan = plan_workers(config.connections as usize)?;
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let active = cores.min(plan.reactors);
    let orders = Arc::new(Orders {
        routes,
        targets: config.targets.clone(),
        payload_bytes: config.payload_bytes,
        compression: config.compression,
        messages: config.messages,
        window: (config.in_flight as usize / active).max(1),
        rate: config.rate.map(|rate| f64::from(rate) / active as f64),
        reply_timeout_s: config.reply_timeout_s,
        is_ours: AtomicBool::new(false),
    });
    let crew = Crew::start(config, plan, &orders, active)?;
    let view = ServerView::new(config, orders);
    Flood { config, crew, view, interrupted, observe }.run()
}

fn plan_workers(connections: usize) -> Result<Plan, FloodError> {
    let table =
        fd_table::raise_limit().map_err(|error| FloodError::new(format!("cannot raise RLIMIT_NOFILE: {error}")))?;
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let wanted =
        Wanted { max_connections: Some(connections), reactors: None, cores, table, listeners: 0, hashed: false };
    Plan::new(wanted).map_err(|impossible| {
        let needed = match impossible {
            Impossible::TableTooSmall { needed } | Impossible::TooFewReactors { needed } => needed,
        };
        FloodError::new(format!(
            "RLIMIT_NOFILE is {table}, which leaves no room for connections; raise it to {needed} or more (ulimit -n)"
        ))
    })
}

/// The workers, as their coordinator holds them.
struct Crew {
    mailboxes: Vec<Mailbox<Order>>,
    boards: Vec<Arc<Board>>,
    threads: Vec<JoinHandle<()>>,
    done: Receiver<Done>,
    /// How many work at a time, in phases that load the server: as many as there are cores. The tables of the others
    /// wait full or empty, and do not take the cache from those that work.
    active: usize,
}

impl Crew {
    fn start(config: &Config, plan: Plan, orders: &Arc<Orders>, active: usize) -> Result<Self, FloodError> {
        let (done_sender, done) = channel();
        let (news, heard) = channel();
        let mut crew = Self { mailboxes: Vec::new(), boards: Vec::new(), threads: Vec::new(), done, active };
        let count = plan.reactors as u64;
        let share = |worker: u64| (u64::from(config.connections) * worker / count) as u32;
        let deadlines = Deadlines {
            connect_s: config.connect_timeout_s,
            // The flood asks its own questions, and is no judge of a server that is silent when not asked.
            ping_s: u32::MAX,
            idle_s: u32::MAX,
            ..Deadlines::default()
        };
        let limits = Limits {
            max_message_bytes: (config.payload_bytes as u64).max(1 << 20),
            max_control_frames_per_s: u16::MAX,
            ..Limits::default()
        };
        for _ in 0..count {
            let mailbox = Mailbox::new();
            crew.mailboxes
                .push(mailbox.map_err(|error| FloodError::new(format!("cannot make a wake-up: eventfd: {error}")))?);
        }
        for worker in 0..count {
            let board = Arc::new(Board::default());
            let planned = share(worker)..share(worker + 1);
            let driver = Worker::new(Arc::clone(orders), Arc::clone(&board), done_sender.clone(), planned);
            let settings = Settings {
                limits,
                deadlines,
                compression: config.compression.unwrap_or_default(),
                ..Settings::new(plan.per_reactor, Quota::new(plan.max_connections))
            };
            crew.boards.push(board);
            let mailbox = crew.mailboxes[worker as usize].clone();
            let start = Start { driver, settings, mailbox, own_table: plan.own_tables };
            crew.threads.push(start.spawn(worker, news.clone(), done_sender.clone())?);
        }
        drop(news);
        for _ in 0..count {
            let begun = heard.recv().map_err(|_| FloodError::new("a worker ended before it began"))?;
            begun.map_err(FloodError::new)?;
        }
        Ok(crew)
    }

    fn counts(&self) -> Counts {
        let mut sum = Counts::default();
        for board in &self.boards {
            sum.add(&board.read());
        }
        sum
    }

    fn order(&self, worker: usize, order: Order) {
        // A worker that cannot be woken has ended, which its silence shows.
        let _ = self.mailboxes[worker].send(order);
    }
}

/// What a worker's thread is started with.
struct Start {
    driver: Worker,
    settings: Settings,
    mailbox: Mailbox<Order>,
    own_table: bool,
}

impl Start {
    fn spawn(
        self,
        worker: u64,
        news: Sender<Result<(), String>>,
        done: Sender<Done>,
    ) -> Result<JoinHandle<()>, FloodError> {
        let body = move || {
            let reactor = self.reactor();
            // A coordinator that has gone wants no news.
            let _ = news.send(reactor.as_ref().map(drop).map_err(String::clone));
            drop(news);
            if let Err(error) = reactor.map_or(Ok(()), Reactor::run) {
                let _ = done.send(Done::Failed(error));
            }
        };
        let builder = thread::Builder::new().name(format!("flood-{worker}")).stack_size(256 << 10);
        builder
            .spawn(body)
            .map_err(|error| FloodError::new(format!("cannot start worker {worker}: {error}; raise RLIMIT_NPROC")))
    }

    /// On the worker's own thread, with a table of its own first.
    fn reactor(self) -> Result<Reactor<Worker>, String> {
        if self.own_table {
            sys::unshare_files()
                .map_err(|error| format!("cannot give a worker a descriptor table of its own: {error}"))?;
        }
        Reactor::new(self.driver, self.settings, Arc::new(Counters::default()), self.mailbox)
            .map_err(|error| format!("cannot make a worker's reactor: epoll: {error}"))
    }
}

/// The coordinator.
struct Flood<'a> {
    config: &'a Config,
    crew: Crew,
    view: ServerView<'a>,
    interrupted: &'a AtomicBool,
    observe: &'a mut dyn FnMut(&Progress),
}

impl Flood<'_> {
    fn run(mut self) -> Result<Report, FloodError> {
        let memory_before = Memory::read(None);
        self.view.begin();
        let cpu_before = own_cpu();
        let connect = self.phase("connect", Phase::Connect)?;
        let reply = self.phase("reply", Phase::Reply)?;
        let client_cpu = own_cpu().since(&cpu_before);
        let server_cpu = self.view.cpu_since_begin();
        let hold = self.hold();
        let counts = self.crew.counts();
        let open = [Stage::Open, Stage::Answered, Stage::Held].map(|stage| counts.in_stage(stage)).iter().sum();
        let memory_now = Memory::read(None);
        let client = SideMemory {
            user_bytes_per_connection: memory_now.user_bytes_per_connection(&memory_before, open),
            kernel_bytes_per_connection: memory_now.kernel_bytes_per_socket(&memory_before),
        };
        let server = self.view.memory(open);
        let check = self.phase("check", Phase::Check)?;
        let close = self.close()?;
        let results = self.finish()?;
        let mut report = self.report(results, [connect, reply, hold, check]);
        report.close_seconds = close.as_secs_f64();
        report.memory = Sides { server, client };
        report.cpu = Sides { server: server_cpu, client: Some(client_cpu) };
        Ok(report)
    }

    fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    fn look(&mut self, phase: &'static str, began: Instant) {
        let counts = self.crew.counts();
        (self.observe)(&Progress { phase, elapsed: began.elapsed(), counts });
    }

    /// Has every worker do one phase, as many at a time as there are cores.
    fn phase(&mut self, name: &'static str, phase: Phase) -> Result<Duration, FloodError> {
        let began = Instant::now();
        if self.is_interrupted() && phase != Phase::Close {
            return Ok(Duration::ZERO);
        }
        let mut waiting: VecDeque<usize> = (0..self.crew.mailboxes.len()).collect();
        let mut left = waiting.len();
        for worker in waiting.drain(..self.crew.active) {
            self.crew.order(worker, Order::Begin(phase));
        }
        let mut next_look = began;
        while left > 0 {
            match self.crew.done.recv_timeout(next_look.saturating_duration_since(Instant::now())) {
                Ok(Done::Phase(done)) if done == phase => {
                    left -= 1;
                    if let Some(worker) = waiting.pop_front() {
                        self.crew.order(worker, Order::Begin(phase));
                    }
                }
                Ok(Done::Failed(error)) => return Err(failed(&error)),
                // From a phase that was interrupted.
                Ok(Done::Phase(_) | Done::All(_)) => {}
                Err(RecvTimeoutError::Timeout) => {
                    next_look += LOOK_EVERY;
                    self.look(name, began);
                    if self.is_interrupted() && phase != Phase::Close {
                        break;
                    }
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.look(name, began);
        Ok(began.elapsed())
    }

    fn hold(&mut self) -> Duration {
        let began = Instant::now();
        if self.is_interrupted() {
            return Duration::ZERO;
        }
        let share = self.config.trickle_per_s / self.crew.mailboxes.len() as f64;
        for worker in 0..self.crew.mailboxes.len() {
            self.crew.order(worker, Order::Begin(Phase::Hold(share)));
        }
        let length = Duration::from_secs_f64(self.config.hold_s);
        while began.elapsed() < length && !self.is_interrupted() {
            thread::sleep(LOOK_EVERY.min(length.saturating_sub(began.elapsed())));
            self.look("hold", began);
        }
        for worker in 0..self.crew.mailboxes.len() {
            self.crew.order(worker, Order::Rest);
        }
        began.elapsed()
    }

    fn close(&mut self) -> Result<Duration, FloodError> {
        if self.is_interrupted() {
            for worker in 0..self.crew.mailboxes.len() {
                self.crew.order(worker, Order::Interrupt);
            }
        }
        self.phase("close", Phase::Close)
    }

    fn finish(&mut self) -> Result<Vec<Results>, FloodError> {
        for worker in 0..self.crew.mailboxes.len() {
            self.crew.order(worker, Order::Finish);
        }
        let mut results = Vec::new();
        while results.len() < self.crew.mailboxes.len() {
            match self.crew.done.recv() {
                Ok(Done::All(one)) => results.push(*one),
                Ok(Done::Failed(error)) => return Err(failed(&error)),
                Ok(Done::Phase(_)) => {}
                Err(_) => break,
            }
        }
        for thread in self.crew.threads.drain(..) {
            let _ = thread.join();
        }
        Ok(results)
    }

    fn report(&self, results: Vec<Results>, took: [Duration; 4]) -> Report {
        let mut counts = Counts::default();
        let mut lost_by_cause = BTreeMap::new();
        let mut sums = [histogram(), histogram(), histogram(), histogram()];
        for one in &results {
            counts.add(&one.ledger.counts);
            add_causes(&mut lost_by_cause, &one.ledger.lost_by_cause);
            for (sum, part) in sums.iter_mut().zip([&one.connect, &one.reply, &one.hold, &one.alive]) {
                // All have the same bounds, so adding cannot fail.
                let _ = sum.add(part);
            }
        }
        let connections = Connections::of(u64::from(self.config.connections), &counts);
        let urls: Vec<String> = self.config.targets.iter().map(ToString::to_string).collect();
        Report {
            schema: SCHEMA,
            target: urls.join(" "),
            connections,
            lost_by_cause,
            connect: report::Phase::of(&sums[0], took[0]),
            reply: report::Phase::of(&sums[1], took[1]),
            hold: report::Phase::of(&sums[2], took[2]),
            alive: report::Phase::of(&sums[3], took[3]),
            close_seconds: 0.0,
            replies: counts.replies,
            reply_check: if results.iter().all(|one| one.by_content) { "content" } else { "status" },
            memory: Sides::default(),
            cpu: Sides::default(),
            workers: results.len(),
            ok: connections.complete(),
        }
    }
}

fn failed(error: &std::io::Error) -> FloodError {
    FloodError::new(format!("a worker's reactor failed: {error}"))
}

fn own_cpu() -> Cpu {
    let (user, system) = sys::cpu_time();
    Cpu { user_s: user.as_secs_f64(), system_s: system.as_secs_f64() }
}
