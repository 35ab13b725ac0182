//! How a server starts: descriptor tables first, then listeners, then all of them or none.

use super::app::App;
use super::config::{Config, Protocol};
use super::error::StartError;
use super::handle::Handle;
use super::mail::Command;
use super::post::MailBatch;
use super::routes::Routes;
use super::slot::HandlerSlot;
use super::socket_files::SocketFiles;
use super::status::ServerState;
use crate::net::counters::Counters;
use crate::net::fd_table::{self, Plan, PlanError, PlanRequest};
use crate::net::listener::{self, Endpoint, SocketBuffers};
use crate::net::mailbox::Mailbox;
use crate::net::reactor::{ConnectionLimit, MemoryLimit, Reactor, Settings};
use crate::net::room::{Need, NoRoom};
use crate::net::slots::Slots;
use crate::net::sources::PerSourceLimit;
use crate::net::sys;
use crate::net::thread::{Failure, MakeError, Thread};
use crate::proto::heap::MAPPED_FROM_BYTES;
use crate::proto::http_write::has_field;
use crate::proto::session::Session;
use crate::stats::{Memory, address_space_limit_bytes, memory_limit_bytes};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Starts all reactors; when it returns, every endpoint accepts connections.
pub(super) fn start(config: &Config, routes: Routes) -> Result<Handle, StartError> {
    let response_fields = config.check()?;
    sys::check_random().map_err(|error| StartError::System("there are no random numbers: getrandom", error))?;
    sys::set_up_heap(MAPPED_FROM_BYTES, address_space_limit_bytes().is_some());
    let plan = plan(config)?;
    room(config, plan)?;
    let mut files = SocketFiles::default();
    let unix = listen_unix(&config.listen, &mut files)?;
    let settings = settings(config, plan, response_fields);
    let shared = Arc::new(share(config, plan, &settings));
    let mailbox = |_| Mailbox::new().map_err(|error| StartError::System("cannot make a wake-up: eventfd", error));
    let mailboxes: Arc<[_]> = (0..plan.reactors).map(mailbox).collect::<Result<Vec<_>, _>>()?.into();
    let starter = Starter {
        config,
        plan,
        shared: Arc::clone(&shared),
        routes: Arc::new(routes),
        settings,
        mailboxes: Arc::clone(&mailboxes),
    };
    let (news, heard) = channel();
    let mut threads = Vec::new();
    let mut orders = Vec::new();
    for index in 0..plan.reactors {
        let (order, ordered) = channel();
        orders.push(order);
        threads.push(starter.spawn(index, &unix, ordered, news.clone())?);
    }
    drop(news);
    // Only when every thread has left the table of this one may descriptors be made here that they shall not have.
    for _ in 0..plan.reactors {
        expect_news(&heard)?;
    }
    let (endpoints, reservations) = reserve(&config.listen)?;
    let addresses: Arc<[SocketAddr]> = reservations.iter().map(|reserved| reserved.address).collect();
    for order in &orders {
        // A thread that is gone has sent why, and that is read below.
        let _ = order.send(Arc::clone(&addresses));
    }
    let all_listen = (0..plan.reactors).try_for_each(|_| expect_news(&heard));
    if all_listen.is_err() {
        // Those that do listen shall not go on without the others.
        for mailbox in &*mailboxes {
            let _ = mailbox.send(Command::Stop);
        }
    }
    all_listen?;
    let _ = shared.at_ready.set(Memory::read(None));
    let (threads, files) = (Arc::new(Mutex::new(threads)), Arc::new(Mutex::new(files)));
    #[cfg(feature = "log")]
    super::report::started(&endpoints, plan);
    Ok(Handle { plan, endpoints: endpoints.into(), mailboxes, shared, threads, files })
}

/// Whether memory is enough for the plan.
fn room(config: &Config, plan: Plan) -> Result<(), StartError> {
    let need = Need {
        reactors: plan.reactors,
        cores: thread::available_parallelism().map_or(1, usize::from),
        per_reactor: plan.per_reactor,
        connections: plan.max_connections,
        record_bytes: Slots::<HandlerSlot>::record_bytes(),
        ring_bytes: config.read_buffer_bytes,
    };
    need.check().map_err(|NoRoom(needed_bytes)| StartError::Memory {
        connections: plan.max_connections,
        reactors: plan.reactors,
        needed_bytes,
    })
}

fn share(config: &Config, plan: Plan, settings: &Settings) -> ServerState {
    ServerState {
        buffers: Arc::clone(&settings.memory_limit),
        counters: (0..plan.reactors).map(|_| Arc::new(Counters::default())).collect(),
        plan,
        protocol: config.protocol,
        upgrade: config.upgrade.clone(),
        hook: config.hook.clone(),
        max_upgrades_per_s: config.max_upgrades_per_s,
        max_long_files: config.max_long_files,
        source_prefixes: config.source_prefixes(),
        drain: (Duration::from_secs(config.drain_s.into()), Duration::from_secs(config.drain_hard_s.into())),
        says_server: !has_field(&settings.response_fields, "server"),
        started: Instant::now(),
        instance: sys::random_number(),
        at_ready: OnceLock::new(),
        stats_max_age: Duration::from_millis(config.stats_max_age_ms.into()),
        stats: Mutex::default(),
        failure: OnceLock::new(),
    }
}

fn settings(config: &Config, plan: Plan, response_fields: String) -> Settings {
    let max_buffer_bytes = config.max_buffer_bytes.unwrap_or_else(|| memory_limit_bytes() / 4);
    Settings {
        limits: config.limits,
        deadlines: config.deadlines,
        max_connections: plan.per_reactor,
        connection_limit: ConnectionLimit::new(plan.max_connections),
        source_limit: PerSourceLimit::new(config.max_connections_per_source, config.source_prefixes()),
        memory_limit: MemoryLimit::new(max_buffer_bytes),
        read_buffer_bytes: config.read_buffer_bytes,
        max_events_per_turn: config.max_events_per_turn as usize,
        max_accepts_per_turn: config.max_accepts_per_turn as usize,
        compression: config.upgrade.compression.unwrap_or_default(),
        response_fields,
        queue: config.queue,
        queue_grace_s: config.queue_grace_s,
    }
}

/// What a reactor's thread reports twice: that it has its table, that it listens; or why it could not.
type News = Result<(), StartError>;

fn expect_news(heard: &Receiver<News>) -> Result<(), StartError> {
    heard.recv().unwrap_or_else(|_| Err(StartError::Ended("a reactor's thread ended before it was ready".into())))
}

fn listen_unix(endpoints: &[Endpoint], files: &mut SocketFiles) -> Result<Vec<Arc<OwnedFd>>, StartError> {
    let mut sockets = Vec::new();
    for endpoint in endpoints {
        let Endpoint::Unix(path) = endpoint else { continue };
        let (socket, file) =
            listener::listen_unix(path).map_err(|error| StartError::ListenUnix(path.clone(), error))?;
        if let Some(file) = file {
            files.add(file);
        }
        sockets.push(Arc::new(socket));
    }
    Ok(sockets)
}

fn reserve(endpoints: &[Endpoint]) -> Result<(Vec<Endpoint>, Vec<listener::Reservation>), StartError> {
    let mut reservations = Vec::new();
    let mut found = Vec::new();
    for endpoint in endpoints {
        let Endpoint::Tcp(addresses) = endpoint else {
            found.push(endpoint.clone());
            continue;
        };
        let mut real = Vec::new();
        for &address in addresses {
            let reserved = listener::reserve(address).map_err(|error| StartError::Listen(address, error))?;
            real.push(reserved.address);
            reservations.push(reserved);
        }
        found.push(Endpoint::Tcp(real));
    }
    Ok((found, reservations))
}

fn plan(config: &Config) -> Result<Plan, StartError> {
    let table = fd_table::raise_limit().map_err(|error| StartError::System("cannot raise RLIMIT_NOFILE", error))?;
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let ports = |endpoint: &Endpoint| match endpoint {
        Endpoint::Tcp(addresses) => addresses.len(),
        Endpoint::Unix(_) => 1,
    };
    let listeners = config.listen.iter().map(ports).sum();
    let hashed = config.listen.iter().any(|endpoint| matches!(endpoint, Endpoint::Tcp(_)));
    let (max_connections, reactors) = (config.max_connections, config.reactors);
    Plan::new(PlanRequest { max_connections, reactors, cores, table, listeners, hashed }).map_err(|impossible| {
        match impossible {
            PlanError::TableTooSmall { needed } => StartError::Table { limit: table, listeners, needed },
            PlanError::TooFewReactors { needed } => {
                StartError::Reactors { reactors: reactors.unwrap_or_default(), limit: table, needed }
            }
        }
    })
}

/// What the threads are started with.
struct Starter<'a> {
    config: &'a Config,
    plan: Plan,
    shared: Arc<ServerState>,
    routes: Arc<Routes>,
    settings: Settings,
    mailboxes: Arc<[Mailbox<Command>]>,
}

impl Starter<'_> {
    fn spawn(
        &self,
        index: usize,
        unix: &[Arc<OwnedFd>],
        ordered: Receiver<Arc<[SocketAddr]>>,
        news: Sender<News>,
    ) -> Result<JoinHandle<()>, StartError> {
        let start = Start {
            shared: Arc::clone(&self.shared),
            routes: Arc::clone(&self.routes),
            index,
            settings: self.settings.clone(),
            socket_buffers: self.config.socket_buffers,
            keepalive_s: (self.config.protocol == Protocol::Tcp).then_some(self.config.tcp_keepalive_s),
            session: match self.config.protocol {
                Protocol::Ws => Session::server,
                Protocol::Tcp => Session::raw,
            },
            mailboxes: Arc::clone(&self.mailboxes),
            unix: unix.to_vec(),
            ordered,
        };
        let (shared, mailboxes, has_table) = (Arc::clone(&self.shared), Arc::clone(&self.mailboxes), news.clone());
        let own_table = self.plan.own_tables;
        let thread = Thread { kind: "reactor", name: "reactor", index, own_table };
        let make = move || {
            let _ = has_table.send(Ok(()));
            start.reactor().map(|reactor| || reactor.run())
        };
        let started = thread.spawn(
            make,
            move |made| drop(news.send(made.map_err(cannot_make))),
            move |failure| fail(index, failure, &shared, &mailboxes),
        );
        let reactors = self.plan.reactors;
        started.map_err(|error| StartError::Thread { reactor: index, reactors, error })
    }
}

/// Why a thread has no reactor.
fn cannot_make(error: MakeError<StartError>) -> StartError {
    match error {
        MakeError::OwnTable(error) => StartError::OwnTable(error),
        MakeError::Make(error) => error,
        MakeError::Panic(text) => StartError::Ended(text),
    }
}

/// Ends the server after one of its reactors has failed: without that one, connections that the kernel gives to its listeners
/// would never be answered.
fn fail(index: usize, failure: Failure, shared: &ServerState, mailboxes: &[Mailbox<Command>]) {
    let (kind, text) = match failure {
        Failure::Wait(error) => (error.kind(), format!("reactor {index} cannot wait for events: epoll_wait: {error}")),
        Failure::Panic(text) => (io::ErrorKind::Other, text),
    };
    #[cfg(feature = "log")]
    super::report::reactor_failed(&text);
    let _ = shared.failure.set((kind, text)); // the first one says why the others have ended
    for mailbox in mailboxes {
        let _ = mailbox.send(Command::Stop);
    }
}

/// What one reactor's thread is started with.
struct Start {
    shared: Arc<ServerState>,
    routes: Arc<Routes>,
    index: usize,
    settings: Settings,
    socket_buffers: SocketBuffers,
    /// Where the protocol has no other sign of life.
    keepalive_s: Option<u32>,
    session: fn() -> Session,
    mailboxes: Arc<[Mailbox<Command>]>,
    unix: Vec<Arc<OwnedFd>>,
    ordered: Receiver<Arc<[SocketAddr]>>,
}

impl Start {
    /// On the reactor's own thread, which has its descriptor table.
    fn reactor(self) -> Result<Reactor<App>, StartError> {
        let Self { shared, routes, index, session, .. } = self;
        let failed =
            |call: &str, error: io::Error| StartError::Reactor { reactor: index, call: call.to_owned(), error };
        let addresses = self.ordered.recv().map_err(|_| StartError::Ended("the start was given up".into()))?;
        let counters = Arc::clone(&shared.counters[index]);
        let mailbox = self.mailboxes[index].clone();
        let app = App::new(shared, routes, MailBatch::new(index as u16, self.mailboxes));
        let mut reactor =
            Reactor::new(app, self.settings, counters, mailbox).map_err(|error| failed("epoll", error))?;
        for &address in &*addresses {
            let socket = listener::listen_tcp(address, self.socket_buffers, self.keepalive_s)
                .map_err(|error| failed(&format!("cannot listen on {address}"), error))?;
            reactor.listen(socket, session).map_err(|error| failed("epoll_ctl", error))?;
        }
        for socket in &self.unix {
            // All reactors accept from the one socket, each through a descriptor in its own table.
            let fd: BorrowedFd<'_> = socket.as_fd();
            let own = fd.try_clone_to_owned().map_err(|error| failed("dup of a unix listener", error))?;
            reactor.listen(own, session).map_err(|error| failed("epoll_ctl", error))?;
        }
        Ok(reactor)
    }
}

#[cfg(test)]
mod tests {
    use super::{HandlerSlot, Slots};

    #[test]
    fn record_of_an_idle_connection_has_48_bytes() {
        assert_eq!(Slots::<HandlerSlot>::record_bytes(), 48);
    }
}
