#![doc = include_str!("README.md")]
//!
//! # Where to start
//!
//! [`Server`] and [`Handler`], with [`Peer`], [`Message`] and [`Handle`]; [`Config`] has every setting, [`Hook`] and
//! [`Server::upgrade`] decide about upgrades, [`Overflow`] about slow consumers.

mod accept;
mod admission;
mod app;
mod config;
mod context;
pub mod demo;
mod drain;
mod error;
mod files;
mod guard;
mod handle;
mod handler;
mod hook;
mod id;
mod instance;
mod leases;
mod mail;
mod message;
mod params;
mod pattern;
mod post;
mod refuse;
mod refused;
#[cfg(feature = "log")]
mod report;
mod request;
mod response;
mod routes;
mod send_file;
mod setters;
#[cfg(feature = "signals")]
mod signals;
mod slot;
mod socket_files;
mod start;
mod status;
mod status_code;
mod timers;
mod topics;
mod waiting;

pub use crate::net::conn::{Overflow, QueueLimits, Sent};
pub use crate::net::counters::Totals;
pub use crate::net::date::format as http_date;
pub use crate::net::deadlines::Deadlines;
pub use crate::net::fd_table::{Plan, PlanError, PlanRequest};
pub use crate::net::listener::{BadEndpoint, Endpoint, SocketBuffers};
pub use crate::net::room::save_address_space;
pub use crate::proto::close::{CloseCode, CloseStatus, InvalidCloseCode};
pub use config::{Config, Protocol};
pub use context::ReactorContext;
pub use error::{RunError, SettingError, StartError};
pub use handle::Handle;
pub use handler::{Closed, Handler, Peer};
pub use hook::Hook;
pub use id::ConnectionId;
pub use mail::{Receipt, SendError};
pub use message::Message;
pub use pattern::RouteError;
pub use refused::Refused;
pub use request::Request;
pub use response::{Next, Reply, Response};
#[cfg(feature = "signals")]
pub use signals::StopSignals;
pub use status_code::{InvalidStatus, StatusCode};

use crate::net::thread;
use files::Files;
use routes::{Get, Routes};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

/// A server that has not been started: its settings, and what its paths do.
///
/// # Paths
///
/// A path of a route is one of three kinds, and a request gets the first that it fits:
///
/// 1. a path without parameters, as `/rooms/lobby`;
/// 2. a path with parameters, as `/rooms/{room}/messages`: a parameter is one whole segment, and is not empty. The value is
///    [`Request::param`]. Of several such paths the one comes first that has a word where the other one has its first parameter;
/// 3. a path that ends with an asterisk, as `/files/*` or `/{user}/files/*`: all paths that begin like it. The longest is tried
///    first. What the asterisk stands for is the parameter `*`.
///
/// The path of a request is taken without its query, and characters that need no percent-encoding are decoded first: `/p%6Fll`
/// is `/poll`, see [`Request::normal_path`]. An encoded slash does not separate segments, and segments of dots are not resolved.
///
/// The same path may have a handler of WebSockets, an answer to GET and one to POST, each once. A mistake in a path is a
/// [`RouteError`] when the server is started.
#[derive(Debug, Default)]
pub struct Server {
    config: Config,
    routes: Routes,
}

impl From<Config> for Server {
    fn from(config: Config) -> Self {
        Self { config, routes: Routes::default() }
    }
}

impl Server {
    /// A server that listens nowhere and has no path.
    pub fn new() -> Self {
        Self::default()
    }

    /// Listens at `ADDRESS:PORT`, `ADDRESS:FIRST-LAST`, `unix:PATH` or `unix:@NAME` too; with port 0 the kernel chooses, see
    /// [`Handle::endpoints`].
    ///
    /// # Errors
    /// [`BadEndpoint`] for a text that is none.
    pub fn listen(mut self, endpoint: &str) -> Result<Self, BadEndpoint> {
        self.config.listen.push(endpoint.parse()?);
        Ok(self)
    }

    /// Handles the WebSockets of a path. `make` creates the handler, one instance on each reactor. A connection that does not
    /// keep up is closed; see [`Server::route_with`].
    #[must_use]
    pub fn route<S, H>(self, path: &str, make: impl Fn() -> H + Send + Sync + 'static) -> Self
    where
        S: Default + 'static,
        H: Handler<S>,
    {
        self.route_with(&[path], Overflow::Close, make)
    }

    /// Handles the WebSockets of several paths with the same handlers. `overflow` says what happens to a message for a connection
    /// that does not keep up.
    #[must_use]
    pub fn route_with<S, H>(
        mut self,
        paths: &[&str],
        overflow: Overflow,
        make: impl Fn() -> H + Send + Sync + 'static,
    ) -> Self
    where
        S: Default + 'static,
        H: Handler<S>,
    {
        self.routes.handle(paths, overflow, None, make);
        self
    }

    /// Handles the WebSockets of a path as [`Server::route`] does, but asks a hook first. The hook may refuse an upgrade, and what
    /// it returns otherwise is the state of the connection, [`Peer::state`], from [`Handler::opened`] on. So whatever it finds
    /// out, e.g. the user, reaches the handler with its type.
    ///
    /// The hook gets the request, with the parameters of the path, and the address of the peer, which is `None` for a unix
    /// socket. The rules for a [`Hook`] apply; if the server has one, that is asked before.
    ///
    /// ```
    /// use std::net::SocketAddr;
    /// use steadfast::server::{Handler, Message, Peer, Refused, Request, Server, StatusCode};
    ///
    /// #[derive(Default)]
    /// struct User {
    ///     name: String,
    /// }
    ///
    /// /// Finds out who asks for the upgrade.
    /// fn authenticate(request: &Request, _address: Option<SocketAddr>) -> Result<User, Refused> {
    ///     match request.cookie("session") {
    ///         Some("sesame") => Ok(User { name: "ada".into() }),
    ///         _ => Err(Refused::new(StatusCode::UNAUTHORIZED, "no session")),
    ///     }
    /// }
    ///
    /// struct Greeter;
    ///
    /// impl Handler<User> for Greeter {
    ///     fn opened(&mut self, peer: &mut Peer<User>, _request: &Request) {
    ///         let text = format!("hello, {}", peer.state.name);
    ///         peer.send(&text);
    ///     }
    ///
    ///     fn message(&mut self, _peer: &mut Peer<User>, _message: Message) {}
    /// }
    ///
    /// let server = Server::new().listen("127.0.0.1:0")?.route_hooked("/", authenticate, || Greeter);
    /// # Ok::<(), steadfast::server::BadEndpoint>(())
    /// ```
    #[must_use]
    pub fn route_hooked<S, H>(
        self,
        path: &str,
        hook: impl Fn(&Request<'_>, Option<SocketAddr>) -> Result<S, Refused> + Send + Sync + 'static,
        make: impl Fn() -> H + Send + Sync + 'static,
    ) -> Self
    where
        S: Default + 'static,
        H: Handler<S>,
    {
        self.route_hooked_with(&[path], Overflow::Close, hook, make)
    }

    /// Handles the WebSockets of several paths as [`Server::route_with`] does, and asks a hook first as [`Server::route_hooked`]
    /// does.
    #[must_use]
    pub fn route_hooked_with<S, H>(
        mut self,
        paths: &[&str],
        overflow: Overflow,
        hook: impl Fn(&Request<'_>, Option<SocketAddr>) -> Result<S, Refused> + Send + Sync + 'static,
        make: impl Fn() -> H + Send + Sync + 'static,
    ) -> Self
    where
        S: Default + 'static,
        H: Handler<S>,
    {
        self.routes.handle(paths, overflow, Some(Arc::new(hook)), make);
        self
    }

    /// Answers GET and HEAD of a path with what `respond` returns. It is called on the reactor's thread, and must not block.
    ///
    /// ```
    /// use steadfast::server::{Response, Server};
    /// Server::new().get("/hello", |request| Response::text(format!("hello, {} of {}", request.method(), request.path())));
    /// ```
    #[must_use]
    pub fn get<R: Into<Reply>>(
        mut self,
        path: &str,
        respond: impl Fn(&Request<'_>) -> R + Send + Sync + 'static,
    ) -> Self {
        self.routes.get(path, Get::Call(Arc::new(move |request| respond(request).into())));
        self
    }

    /// Answers POST of a path with what `respond` returns. The content of the request is [`Request::body`]. `respond` is called
    /// on the reactor's thread, and must not block.
    #[must_use]
    pub fn post<R: Into<Reply>>(
        mut self,
        path: &str,
        respond: impl Fn(&Request<'_>) -> R + Send + Sync + 'static,
    ) -> Self {
        self.routes.post(path, Arc::new(move |request| respond(request).into()));
        self
    }

    /// Answers GET and HEAD of a path with a constant response.
    ///
    /// If the path also has a handler of WebSockets, only requests that accept `text/html`, by name or as `text/*`, get the
    /// response; others get 426 (Upgrade Required). If it has none, a request that rules HTML out (`text/html;q=0`) gets 406
    /// (RFC 9110 section 12.5.1).
    #[must_use]
    pub fn get_static(mut self, path: &str, response: Response) -> Self {
        self.routes.get(path, Get::Static(response));
        self
    }

    /// Answers like [`Server::get_static`], but if the path also has a handler of WebSockets, every request that does not rule
    /// HTML out gets the response.
    #[must_use]
    fn front_page(mut self, path: &str, response: Response) -> Self {
        self.routes.get(path, Get::Front(response));
        self
    }

    /// Answers GET and HEAD of all below a path, as `/files/*`, with the files of a folder: with type, length and date of
    /// modification, `index.html` for a folder, and nothing that is outside of it or whose name begins with a dot. Of files longer
    /// than 64 KiB each reactor sends [`Config::max_long_files`] at a time, at most half of what is free to one source; more are
    /// answered 503.
    ///
    /// # Errors
    /// [`StartError`] when the folder cannot be opened.
    pub fn files(mut self, path: &str, folder: impl AsRef<Path>) -> Result<Self, StartError> {
        let folder = folder.as_ref();
        let files = Files::open(folder).map_err(|error| StartError::Folder(folder.to_owned(), error))?;
        self.routes.get(path, Get::Files(files));
        Ok(self)
    }

    /// Answers GET and HEAD of a path with what the server counts, as JSON.
    #[must_use]
    pub fn stats(mut self, path: &str) -> Self {
        self.routes.get(path, Get::Stats);
        self
    }

    /// Starts all reactors, each with a thread; when it returns, every endpoint accepts connections.
    ///
    /// Where the plan gives each reactor a descriptor table of its own, that is a copy of the caller's: what the program
    /// has open now stays open in it, and its peer sees no end when the program closes it. Start the server first.
    ///
    /// # Errors
    /// [`StartError`]: a path that is wrong (see [`RouteError`]), an address in use, a limit too low, a thread or descriptor that the system refuses.
    ///
    /// ```
    /// use steadfast::server::Server;
    /// let server = Server::new().listen("127.0.0.1:0")?.spawn()?;
    /// server.stop();
    /// server.join()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn spawn(self) -> Result<Handle, StartError> {
        self.routes.check().map_err(StartError::Route)?;
        start::start(&self.config, self.routes)
    }

    /// Starts, and waits until the server has ended.
    ///
    /// # Errors
    /// [`RunError::Start`] as [`Server::spawn`], and [`RunError::Reactor`] as [`Handle::join`]. [`RunError::OnReactorThread`]
    /// in a handler: the server does not start.
    pub fn run(self) -> Result<(), RunError> {
        if thread::is_reactor() {
            return Err(RunError::OnReactorThread);
        }
        self.spawn()?.join().map_err(RunError::Reactor)
    }

    /// Starts, waits until the server has ended, and ends it at a signal: SIGINT and SIGTERM stop it, as [`Handle::stop`], and
    /// SIGQUIT drains it, as [`Handle::drain`]. At a second signal this returns at once. [`StopSignals`] does it in steps, for
    /// a program that needs the [`Handle`].
    ///
    /// # Errors
    /// As [`Server::run`], [`RunError::Signals`] if the signals cannot be caught, and [`RunError::Interrupted`] after a second
    /// signal.
    ///
    /// ```no_run
    /// use steadfast::server::{Response, Server};
    ///
    /// let server = Server::new().listen("127.0.0.1:8080")?.get("/", |_| Response::text("hello"));
    /// server.run_until_signal()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "signals")]
    pub fn run_until_signal(self) -> Result<(), RunError> {
        if thread::is_reactor() {
            return Err(RunError::OnReactorThread);
        }
        let signals = StopSignals::catch().map_err(RunError::Signals)?;
        signals.join(&self.spawn()?)
    }
}
