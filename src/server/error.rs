//! Why a server does not start, or does not run on.

use super::pattern::RouteError;
use crate::net::fd_table::RESERVE;
use crate::net::room::NoRoom;
use crate::proto::http_write::BadField;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Returns the name of a field of [`super::Config`] for an error, such as that of a flag.
type Names<'a> = &'a dyn Fn(&'static str) -> String;

/// A field of [`super::Config`] with a value that a server cannot start with.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SettingError {
    /// A number is out of its range.
    OutOfRange {
        /// The field, as a path from [`super::Config`]: `max_long_files`, `upgrade.compression.level`.
        field: &'static str,
        /// Its value.
        value: u64,
        /// The smallest value that it can have.
        min: u64,
        /// The largest one.
        max: u64,
    },
    /// `upgrade.subprotocols` has a name that is no token (RFC 9110 section 5.6.2).
    Subprotocol(String),
    /// `upgrade.origins` lists a text that is no origin.
    Origin(String),
    /// `upgrade.hosts` has a text that is no host.
    Host(String),
    /// `response_fields` has a text that cannot be a field of a response.
    ResponseField(String, BadField),
    /// `deadlines.ping_s` is not below `deadlines.idle_s`: connections would be closed before they are pinged.
    PingInterval {
        /// The interval of pings, in seconds.
        ping_s: u32,
        /// The idle timeout, in seconds.
        idle_s: u32,
    },
    /// `drain_hard_s` is below `drain_s`: connections would be reset before it is their turn to be closed.
    Drain {
        /// The time over which a drain closes connections, in seconds.
        drain_s: u32,
        /// The time after which the rest is reset, in seconds.
        drain_hard_s: u32,
    },
    /// `queue.max_queued_bytes` is below `limits.max_message_bytes`: the echo of one message would not fit.
    Queue {
        /// The limit of a queue.
        max_queued_bytes: u64,
        /// The limit of a message.
        max_message_bytes: u64,
    },
    /// `max_buffer_bytes` is below three times `limits.max_message_bytes`: a message of that length and the response to it would
    /// not fit.
    Buffers {
        /// The limit of what all connections keep.
        max_buffer_bytes: u64,
        /// The limit of a message.
        max_message_bytes: u64,
    },
}

impl SettingError {
    fn text(&self, name: Names<'_>) -> String {
        match self {
            Self::OutOfRange { field, value, min, max } => {
                format!("{} {value} is out of range; expected {min} to {max}", name(field))
            }
            Self::Subprotocol(wrong) => format!(
                "{} {wrong:?} is no token of RFC 9110; expected one such as chat or v2.example.org",
                name("upgrade.subprotocols")
            ),
            Self::Origin(wrong) => format!(
                "{} {wrong:?} is no origin that a browser would send; expected same or any, alone, or one such as \
                 https://example.org, http://10.0.0.1:8080, https://*.example.org or null",
                name("upgrade.origins")
            ),
            Self::Host(wrong) => format!(
                "{} {wrong:?} is no host; expected a name or an address, perhaps with a port, such as example.org or \
                 [::1]:8080",
                name("upgrade.hosts")
            ),
            Self::ResponseField(field, bad) => format!("{} {field:?}: {bad}", name("response_fields")),
            Self::PingInterval { ping_s, idle_s } => format!(
                "a ping interval of {ping_s} s ({}) is no shorter than the idle timeout of {idle_s} s ({}): connections \
                 would be closed before they are pinged; expected an interval of at most {} s, or a longer timeout",
                name("deadlines.ping_s"),
                name("deadlines.idle_s"),
                idle_s.saturating_sub(1)
            ),
            Self::Drain { drain_s, drain_hard_s } => format!(
                "a drain that closes connections over {drain_s} s ({0}) ends after {drain_hard_s} s ({1}): the rest would \
                 be reset; expected {1} to be at least {0}",
                name("drain_s"),
                name("drain_hard_s")
            ),
            Self::Queue { max_queued_bytes, max_message_bytes } => format!(
                "{} {max_queued_bytes} is below {} {max_message_bytes}: the echo of one message would not fit; expected at \
                 least as much",
                name("queue.max_queued_bytes"),
                name("limits.max_message_bytes")
            ),
            Self::Buffers { max_buffer_bytes, max_message_bytes } => format!(
                "{} {max_buffer_bytes} is below three times {} {max_message_bytes}: such a message and its echo would not \
                 fit; expected more, for every message that is under way",
                name("max_buffer_bytes"),
                name("limits.max_message_bytes")
            ),
        }
    }
}

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(&of_config))
    }
}

impl std::error::Error for SettingError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::ResponseField(_, bad) => Some(bad),
            _ => None,
        }
    }
}

/// Why a server did not start. The text has what was asked, what was found, and what to do.
///
/// ```
/// use steadfast::server::{Server, SettingError, StartError};
///
/// let error = Server::new().max_long_files(99_u32).spawn().expect_err("32 at most");
/// assert!(matches!(error, StartError::Setting(SettingError::OutOfRange { value: 99, max: 32, .. })));
/// assert_eq!(error.to_string(), "Config::max_long_files 99 is out of range; expected 1 to 32");
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// A setting is invalid.
    Setting(SettingError),
    /// The path of a route is wrong.
    Route(RouteError),
    /// A descriptor table has no room for a connection beside the listeners.
    Table {
        /// RLIMIT_NOFILE.
        limit: usize,
        /// The number of listeners, each of which takes a descriptor.
        listeners: usize,
        /// The limit that would do.
        needed: usize,
    },
    /// `reactors` cannot hold `max_connections`.
    Reactors {
        /// The number of reactors that was asked for.
        reactors: usize,
        /// RLIMIT_NOFILE, which bounds the descriptor table of each.
        limit: usize,
        /// The number of reactors that would do.
        needed: usize,
    },
    /// The process may not have the memory that the connections and reactors need.
    Memory {
        /// The number of connections.
        connections: usize,
        /// The number of reactors.
        reactors: usize,
        /// The bytes that are needed at the start.
        needed_bytes: usize,
    },
    /// An address cannot be listened on.
    Listen(SocketAddr, io::Error),
    /// The path of a unix socket cannot be listened on.
    ListenUnix(PathBuf, io::Error),
    /// The folder of [`super::Server::files`] cannot be opened.
    Folder(PathBuf, io::Error),
    /// A reactor cannot have a descriptor table of its own (unshare(2), CLONE_FILES).
    OwnTable(io::Error),
    /// The thread of a reactor cannot be started (pthread_create(3)).
    Thread {
        /// The number of the reactor, from 0 on.
        reactor: usize,
        /// The number of reactors.
        reactors: usize,
        /// Why.
        error: io::Error,
    },
    /// A reactor cannot be made: the call that failed, and why.
    Reactor {
        /// The number of the reactor, from 0 on.
        reactor: usize,
        /// The call.
        call: String,
        /// Why it failed.
        error: io::Error,
    },
    /// The thread of a reactor ended, by a panic, before the reactor ran. The text says what is known.
    Ended(String),
    /// The system has not what every server needs: what, and why.
    System(&'static str, io::Error),
}

impl StartError {
    /// Returns the text of the error with the name that `name` has for each field of [`super::Config`]: for programs that set
    /// them by flags, or from a file. `Display` writes `Config::` and the field.
    ///
    /// ```
    /// use steadfast::server::Server;
    ///
    /// let error = Server::new().drain_s(90_u32).spawn().expect_err("longer than drain_hard_s");
    /// let text = error.with_names(&|field| format!("[server] {field}"));
    /// assert!(text.contains("over 90 s ([server] drain_s)"), "{text}");
    /// ```
    pub fn with_names(&self, name: &dyn Fn(&'static str) -> String) -> String {
        match self {
            Self::Setting(error) => error.text(name),
            Self::Route(error) => error.to_string(),
            Self::Table { limit, listeners, needed } => format!(
                "RLIMIT_NOFILE is {limit}, and {listeners} listeners with a reserve of {RESERVE} leave no room for \
                 connections; raise it to {needed} or more (ulimit -n), or listen on fewer ports"
            ),
            Self::Reactors { reactors, limit, needed } => format!(
                "{} {reactors} hold too few connections under RLIMIT_NOFILE {limit}; {needed} reactors would do, or leave \
                 the number to the server",
                name("reactors")
            ),
            Self::Memory { connections, reactors, needed_bytes } => {
                format!("{connections} connections in {reactors} reactors: {}", NoRoom(*needed_bytes))
            }
            Self::Listen(address, error) => format!("cannot listen on {address}: {error}{}", hint(error.kind())),
            Self::ListenUnix(path, error) => format!("cannot listen on unix:{}: {error}", path.display()),
            Self::Folder(path, error) => format!("cannot serve the folder {}: {error}", path.display()),
            Self::OwnTable(error) => format!(
                "cannot give a reactor a descriptor table of its own: unshare(CLONE_FILES): {error}; a seccomp filter may \
                 forbid it: raise RLIMIT_NOFILE instead, or ask for fewer {}",
                name("max_connections")
            ),
            Self::Thread { reactor, reactors, error } => {
                format!("cannot start thread {} of {reactors} reactors: {error}; raise RLIMIT_NPROC", reactor + 1)
            }
            Self::Reactor { reactor, call, error } => format!("reactor {reactor}: {call}: {error}"),
            Self::Ended(text) => text.clone(),
            Self::System(what, error) => format!("{what}: {error}"),
        }
    }
}

/// What to do about an address that cannot be listened on.
fn hint(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::AddrInUse => "; stop what listens there, or choose another port",
        io::ErrorKind::AddrNotAvailable => "; choose an address of this host",
        io::ErrorKind::PermissionDenied => "; ports below 1024 need CAP_NET_BIND_SERVICE",
        _ => "",
    }
}

fn of_config(field: &'static str) -> String {
    format!("Config::{field}")
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.with_names(&of_config))
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Setting(error) => Some(error),
            Self::Route(error) => Some(error),
            Self::Listen(_, error)
            | Self::ListenUnix(_, error)
            | Self::Folder(_, error)
            | Self::OwnTable(error)
            | Self::Thread { error, .. }
            | Self::Reactor { error, .. }
            | Self::System(_, error) => Some(error),
            Self::Table { .. } | Self::Reactors { .. } | Self::Memory { .. } | Self::Ended(_) => None,
        }
    }
}

impl From<SettingError> for StartError {
    fn from(error: SettingError) -> Self {
        Self::Setting(error)
    }
}

/// Why a server that a program runs to its end did not start, or did not end as it was told to.
#[derive(Debug)]
#[non_exhaustive]
pub enum RunError {
    /// It did not start.
    Start(StartError),
    /// A reactor could not go on, and the others have ended. See [`super::Handle::join`].
    Reactor(io::Error),
    /// Signals cannot be caught (sigaction(2)).
    Signals(io::Error),
    /// A second signal asked for the end at once: connections may still be open.
    Interrupted,
    /// The caller is a reactor's thread, such as a handler, which must not wait for a server.
    OnReactorThread,
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(error) => error.fmt(f),
            Self::Reactor(error) => error.fmt(f),
            Self::Signals(error) => write!(f, "cannot handle signals: {error}"),
            Self::Interrupted => f.write_str("a second signal ended the server before its connections were closed"),
            Self::OnReactorThread => f.write_str("a reactor's thread cannot wait for a server; expected spawn"),
        }
    }
}

impl std::error::Error for RunError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Start(error) => Some(error),
            Self::Reactor(error) | Self::Signals(error) => Some(error),
            Self::Interrupted | Self::OnReactorThread => None,
        }
    }
}

impl From<StartError> for RunError {
    fn from(error: StartError) -> Self {
        Self::Start(error)
    }
}
