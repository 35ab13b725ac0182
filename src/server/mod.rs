//! The server: reactors by plan, listeners, the routes, counters anyone may read, and a stop that says good-bye.

mod app;
mod hook;
mod page;
mod status;

pub use hook::{Hook, Refused};

use crate::net::counters::Counters;
use crate::net::fd_table::{self, Impossible, Plan, RESERVE, Wanted};
use crate::net::listener::{self, Endpoint, SocketBuffers};
use crate::net::mailbox::Mailbox;
use crate::net::pool::RING_BYTES;
use crate::net::reactor::{Quota, Reactor, Settings};
use crate::net::sweep::Deadlines;
use crate::net::sys;
use crate::proto::answer::{field_line, is_token};
use crate::proto::session::{Limits, Session};
use crate::proto::upgrade::Policy;
use crate::stats::Memory;
use app::{App, Mail};
use status::Shared;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

/// Bounds of [`Config::read_buffer_bytes`]: no less than a page, and no more than what a reactor can touch in a turn.
const MIN_READ_BUFFER_BYTES: usize = 4 << 10;
const MAX_READ_BUFFER_BYTES: usize = 16 << 20;

/// What the server speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1 and WebSocket.
    #[default]
    Ws,
    /// Whatever comes is sent back, without framing.
    Tcp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ws => "ws",
            Self::Tcp => "tcp",
        })
    }
}

/// What a server is asked to be. The default listens nowhere.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen.
    pub listen: Vec<Endpoint>,
    /// What to speak.
    pub protocol: Protocol,
    /// The most connections in all; `None` for as many as one descriptor table holds.
    pub max_connections: Option<usize>,
    /// The number of reactors; `None` for as many as cores, or as many tables as the connections need.
    pub reactors: Option<usize>,
    /// What a peer may make grow.
    pub limits: Limits,
    /// How long it may take.
    pub deadlines: Deadlines,
    /// What is granted to those who ask for an upgrade: origins, subprotocols, compression.
    pub upgrade: Policy,
    /// Sees each of them, and may refuse.
    pub hook: Option<Hook>,
    /// Upgrades of one reactor in a second; more are answered 503 with Retry-After. The largest value is "no limit".
    pub max_upgrades_per_s: u32,
    /// Fields for every HTTP answer, that to an upgrade too, each as `Name: value`.
    pub response_fields: Vec<String>,
    /// What a connection may read in one turn; each reactor has a buffer of this size, or a few.
    pub read_buffer_bytes: usize,
    /// The kernel's buffers of a TCP connection.
    pub socket_buffers: SocketBuffers,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            protocol: Protocol::default(),
            max_connections: None,
            reactors: None,
            limits: Limits::default(),
            deadlines: Deadlines::default(),
            upgrade: Policy::default(),
            hook: None,
            max_upgrades_per_s: u32::MAX,
            response_fields: Vec::new(),
            read_buffer_bytes: RING_BYTES,
            socket_buffers: SocketBuffers::default(),
        }
    }
}

impl Config {
    /// What a mistake in the policy would only show when a connection comes.
    fn check(&self) -> Result<String, StartError> {
        if let Some(name) = self.upgrade.subprotocols.iter().find(|name| !is_token(name)) {
            return Err(StartError(format!(
                "--subprotocol {name:?} is no token of RFC 9110; right would be one such as chat or v2.example.org"
            )));
        }
        if let Some(wrong) = self.upgrade.origins.first_wrong() {
            return Err(StartError(format!(
                "--origin {wrong:?} is no origin that a browser would send; right would be same or any, alone, or one such \
                 as https://example.org or http://10.0.0.1:8080"
            )));
        }
        if let Some(compression) = &self.upgrade.compression
            && (!(8..=15).contains(&compression.max_window_bits) || !(1..=9).contains(&compression.level))
        {
            return Err(StartError("compression takes 8 to 15 bits for a window, and a level from 1 to 9".into()));
        }
        if !(MIN_READ_BUFFER_BYTES..=MAX_READ_BUFFER_BYTES).contains(&self.read_buffer_bytes) {
            return Err(StartError(format!(
                "a read buffer of {} bytes is out of range; right would be {MIN_READ_BUFFER_BYTES} to \
                 {MAX_READ_BUFFER_BYTES}",
                self.read_buffer_bytes
            )));
        }
        let line =
            |text: &String| field_line(text).map_err(|bad| StartError(format!("--response-header {text:?}: {bad}")));
        self.response_fields.iter().map(line).collect()
    }
}

/// Whether a field line is that of Server.
fn is_server(line: &str) -> bool {
    line.split_once(':').is_some_and(|(name, _)| name.eq_ignore_ascii_case("server"))
}

/// Why a server did not start: what was asked, what was found, what to do.
#[derive(Debug)]
pub struct StartError(String);

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

/// A server that runs.
#[derive(Debug)]
pub struct Server {
    plan: Plan,
    endpoints: Vec<Endpoint>,
    mailboxes: Vec<Mailbox<Mail>>,
    threads: Mutex<Vec<JoinHandle<io::Result<()>>>>,
    files: Mutex<SocketFiles>,
}

impl Server {
    /// Starts all reactors; when it returns, every endpoint accepts connections.
    ///
    /// Where the plan gives each reactor a descriptor table of its own, that is a copy of the caller's: what the program
    /// has open now stays open in it, and its peer sees no end when the program closes it. Start the server first.
    ///
    /// # Errors
    /// [`StartError`]: an address in use, a limit too low, a thread or descriptor that the system refuses.
    ///
    /// ```
    /// use steadfast::server::{Config, Server};
    /// let listen = vec!["127.0.0.1:0".parse()?];
    /// let server = Server::start(Config { listen, ..Config::default() })?;
    /// server.stop();
    /// server.join()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn start(config: Config) -> Result<Self, StartError> {
        let response_fields = config.check()?;
        let plan = plan(&config)?;
        let mut files = SocketFiles::default();
        let unix = listen_unix(&config.listen, &mut files)?;
        let shared = Arc::new(Shared {
            counters: (0..plan.reactors).map(|_| Arc::new(Counters::default())).collect(),
            plan,
            protocol: config.protocol,
            upgrade: config.upgrade.clone(),
            hook: config.hook.clone(),
            max_upgrades_per_s: config.max_upgrades_per_s,
            says_server: !response_fields.lines().any(is_server),
            started: Instant::now(),
            at_ready: OnceLock::new(),
        });
        let settings = Settings {
            limits: config.limits,
            deadlines: config.deadlines,
            max_connections: plan.per_reactor,
            quota: Quota::new(plan.max_connections),
            read_buffer_bytes: config.read_buffer_bytes,
            compression: config.upgrade.compression.unwrap_or_default(),
            response_fields,
        };
        let starter = Starter { config: &config, plan, shared: Arc::clone(&shared), settings };
        let mailbox =
            |_| Mailbox::new().map_err(|error| StartError(format!("cannot make a wake-up: eventfd: {error}")));
        let mailboxes = (0..plan.reactors).map(mailbox).collect::<Result<Vec<_>, _>>()?;
        let (news, heard) = channel();
        let mut threads = Vec::new();
        let mut orders = Vec::new();
        for (index, mailbox) in mailboxes.iter().enumerate() {
            let (order, ordered) = channel();
            orders.push(order);
            threads.push(starter.spawn(index, mailbox.clone(), &unix, ordered, news.clone())?);
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
            for mailbox in &mailboxes {
                let _ = mailbox.send(Mail::Stop);
            }
        }
        all_listen?;
        let _ = shared.at_ready.set(Memory::read(None));
        Ok(Self { plan, endpoints, mailboxes, threads: Mutex::new(threads), files: Mutex::new(files) })
    }

    /// What it planned.
    pub fn plan(&self) -> Plan {
        self.plan
    }

    /// Where it listens, with the ports that the kernel chose.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// Stops accepting, closes every WebSocket with 1001, and ends when the last connection has.
    pub fn stop(&self) {
        for mailbox in &self.mailboxes {
            // A reactor that cannot be woken has ended already.
            let _ = mailbox.send(Mail::Stop);
        }
        drop(std::mem::take(&mut *self.files.lock().unwrap_or_else(PoisonError::into_inner)));
    }

    /// Waits until all reactors have ended.
    ///
    /// # Errors
    /// What epoll_wait(2) told the first one that failed.
    pub fn join(&self) -> io::Result<()> {
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            thread.join().map_err(|_| io::Error::other("a reactor panicked"))??;
        }
        Ok(())
    }
}

/// What a reactor's thread reports twice: that it has its table, that it listens; or why it could not.
type News = Result<(), StartError>;

fn expect_news(heard: &Receiver<News>) -> News {
    heard.recv().unwrap_or_else(|_| Err(StartError("a reactor's thread ended before it was ready".into())))
}

/// The files of our unix sockets: gone when the server stops, and when it never starts.
#[derive(Debug, Default)]
struct SocketFiles(Vec<PathBuf>);

impl Drop for SocketFiles {
    fn drop(&mut self) {
        for path in &self.0 {
            let _ = std::fs::remove_file(path);
        }
    }
}

fn listen_unix(endpoints: &[Endpoint], files: &mut SocketFiles) -> Result<Vec<Arc<OwnedFd>>, StartError> {
    let mut sockets = Vec::new();
    for endpoint in endpoints {
        let Endpoint::Unix(path) = endpoint else { continue };
        let socket = listener::listen_unix(path)
            .map_err(|error| StartError(format!("cannot listen on unix:{}: {error}", path.display())))?;
        files.0.push(path.clone());
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
            let reserved = listener::reserve(address).map_err(|error| {
                let todo = match error.kind() {
                    io::ErrorKind::AddrInUse => "; stop what listens there, or choose another port",
                    io::ErrorKind::AddrNotAvailable => "; choose an address of this host",
                    io::ErrorKind::PermissionDenied => "; ports below 1024 need CAP_NET_BIND_SERVICE",
                    _ => "",
                };
                StartError(format!("cannot listen on {address}: {error}{todo}"))
            })?;
            real.push(reserved.address);
            reservations.push(reserved);
        }
        found.push(Endpoint::Tcp(real));
    }
    Ok((found, reservations))
}

fn plan(config: &Config) -> Result<Plan, StartError> {
    let table = fd_table::raise_limit().map_err(|error| StartError(format!("cannot raise RLIMIT_NOFILE: {error}")))?;
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let ports = |endpoint: &Endpoint| match endpoint {
        Endpoint::Tcp(addresses) => addresses.len(),
        Endpoint::Unix(_) => 1,
    };
    let listeners = config.listen.iter().map(ports).sum();
    let hashed = config.listen.iter().any(|endpoint| matches!(endpoint, Endpoint::Tcp(_)));
    let (max_connections, reactors) = (config.max_connections, config.reactors);
    Plan::new(Wanted { max_connections, reactors, cores, table, listeners, hashed }).map_err(|impossible| {
        StartError(match impossible {
            Impossible::TableTooSmall { needed } => format!(
                "RLIMIT_NOFILE is {table}, and {listeners} listeners with a reserve of {RESERVE} leave no room for \
                 connections; raise it to {needed} or more (ulimit -n), or listen on fewer ports"
            ),
            Impossible::TooFewReactors { needed } => format!(
                "--reactors {} hold too few connections under RLIMIT_NOFILE {table}; {needed} reactors would do, or \
                 leave the option out",
                reactors.unwrap_or_default()
            ),
        })
    })
}

/// What the threads are started with.
struct Starter<'a> {
    config: &'a Config,
    plan: Plan,
    shared: Arc<Shared>,
    settings: Settings,
}

impl Starter<'_> {
    fn spawn(
        &self,
        index: usize,
        mailbox: Mailbox<Mail>,
        unix: &[Arc<OwnedFd>],
        ordered: Receiver<Arc<[SocketAddr]>>,
        news: Sender<News>,
    ) -> Result<JoinHandle<io::Result<()>>, StartError> {
        let settings = self.settings.clone();
        let socket_buffers = self.config.socket_buffers;
        let session: fn() -> Session = match self.config.protocol {
            Protocol::Ws => Session::server,
            Protocol::Tcp => Session::raw,
        };
        let (shared, own_table, unix) = (Arc::clone(&self.shared), self.plan.own_tables, unix.to_vec());
        let start = Start { shared, index, settings, socket_buffers, session, own_table, mailbox, unix, ordered };
        let body = move || match start.reactor(&news) {
            Ok(reactor) => {
                let _ = news.send(Ok(()));
                drop(news);
                reactor.run()
            }
            Err(error) => {
                let _ = news.send(Err(error));
                Ok(())
            }
        };
        // A reactor nests a dozen calls, not a thousand; what it does not touch of the stack costs nothing.
        let builder = thread::Builder::new().name(format!("reactor-{index}")).stack_size(256 << 10);
        builder.spawn(body).map_err(|error| {
            StartError(format!(
                "cannot start thread {} of {} reactors: {error}; raise RLIMIT_NPROC",
                index + 1,
                self.plan.reactors
            ))
        })
    }
}

/// What one reactor's thread is started with.
struct Start {
    shared: Arc<Shared>,
    index: usize,
    settings: Settings,
    socket_buffers: SocketBuffers,
    session: fn() -> Session,
    own_table: bool,
    mailbox: Mailbox<Mail>,
    unix: Vec<Arc<OwnedFd>>,
    ordered: Receiver<Arc<[SocketAddr]>>,
}

impl Start {
    /// On the reactor's own thread, with a table of its own first, since that copies what is open.
    fn reactor(self, news: &Sender<News>) -> Result<Reactor<App>, StartError> {
        let Self { shared, index, session, .. } = self;
        if self.own_table {
            sys::unshare_files().map_err(|error| {
            StartError(format!(
                "cannot give a reactor a descriptor table of its own: unshare(CLONE_FILES): {error}; a seccomp filter \
                 may forbid it: raise RLIMIT_NOFILE instead, or ask for fewer --max-connections"
            ))
        })?;
        }
        let _ = news.send(Ok(()));
        let failed = |what: &str, error: io::Error| StartError(format!("reactor {index}: {what}: {error}"));
        let addresses = self.ordered.recv().map_err(|_| StartError("the start was given up".into()))?;
        let counters = Arc::clone(&shared.counters[index]);
        let mut reactor = Reactor::new(App::new(shared), self.settings, counters, self.mailbox)
            .map_err(|error| failed("epoll", error))?;
        for &address in &*addresses {
            let socket = listener::listen_tcp(address, self.socket_buffers)
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
