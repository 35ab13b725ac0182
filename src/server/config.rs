//! The settings of a server, and their checks.

use super::hook::Hook;
use crate::net::conn::QueueLimits;
use crate::net::listener::MAX_KEEPALIVE_S;
use crate::net::listener::{Endpoint, SocketBuffers};
use crate::net::pool::RING_BYTES;
use crate::net::reactor::{MAX_ACCEPTS_PER_TURN, MAX_EVENTS_PER_TURN, QUEUE_GRACE_S};
use crate::net::sources::SourcePrefixes;
use crate::net::sweep::Deadlines;
use crate::proto::http_write::{field_line, is_token};
use crate::proto::session::Limits;
use crate::proto::upgrade::Policy;
use std::fmt;

/// The bounds of [`Config::read_buffer_bytes`]: a page, and what a reactor can process in one iteration.
const MIN_READ_BUFFER_BYTES: usize = 4 << 10;
const MAX_READ_BUFFER_BYTES: usize = 16 << 20;

/// The maximum of [`Config::max_long_files`]: half of the reserve of a descriptor table.
const MAX_LONG_FILES: u32 = 32;

/// The protocol of a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1 and WebSocket.
    #[default]
    Ws,
    /// Raw TCP: all input is echoed, without framing.
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

/// Calls a macro with all settings of a server except `listen`: the documentation, name, type and default of each.
macro_rules! for_each_setting {
    ($declare:ident) => {
        $declare! {
            /// The protocol.
            protocol: Protocol = Protocol::default(),
            /// The maximum number of connections; `None` for as many as one descriptor table holds.
            max_connections: Option<usize> = None,
            /// The maximum number of connections of one source. Further ones get 503 with Retry-After, are closed when they
            /// are accepted, and do not count as connections. The largest value means no limit. Connections over unix
            /// sockets have no source.
            max_connections_per_source: u32 = u32::MAX,
            /// The number of bits of an IPv4 address that identify a source: 1 to 32.
            source_prefix_v4: u32 = SourcePrefixes::default().v4,
            /// The number of bits of an IPv6 address that identify a source: 1 to 128. A host usually has all addresses of a
            /// /64.
            source_prefix_v6: u32 = SourcePrefixes::default().v6,
            /// The number of reactors; `None` for as many as cores, or as many tables as the connections need.
            reactors: Option<usize> = None,
            /// The limits of messages and request heads.
            limits: Limits = Limits::default(),
            /// The limits of the output that is queued for a connection; at least the longest message fits. The overflow policy
            /// of the route decides what happens beyond.
            queue: QueueLimits = QueueLimits::default(),
            /// How many seconds a queue may be over these limits before [`super::Overflow::Close`] closes the connection. A
            /// healthy client receives a burst in that time. 0 closes at once.
            queue_grace_s: u32 = QUEUE_GRACE_S,
            /// The deadlines of connections.
            deadlines: Deadlines = Deadlines::default(),
            /// The policy for upgrades: origins, subprotocols, compression.
            upgrade: Policy = Policy::default(),
            /// Sees each valid upgrade request, and may refuse it.
            hook: Option<Hook> = None,
            /// The maximum number of upgrades per second and reactor, shared fairly among sources. Further ones get 503 with
            /// Retry-After. The largest value means no limit.
            max_upgrades_per_s: u32 = u32::MAX,
            /// The maximum number of files over 64 KiB that a reactor sends at a time, 1 to 32: each takes a descriptor of its
            /// reserve. A source gets at most half of what is free; further requests get 503 with Retry-After.
            max_long_files: u32 = MAX_LONG_FILES,
            /// Fields that are added to every HTTP response, including that to an upgrade; each is `Name: value`.
            response_fields: Vec<String> = Vec::new(),
            /// The maximum number of bytes that are read from a connection before others are processed. Each reactor has one
            /// buffer of this size, or a few.
            read_buffer_bytes: usize = RING_BYTES,
            /// The maximum number of messages and requests of one connection that are processed before those of others.
            max_events_per_turn: u32 = MAX_EVENTS_PER_TURN,
            /// The maximum number of connections that are accepted from one listener before other work is done.
            max_accepts_per_turn: u32 = MAX_ACCEPTS_PER_TURN,
            /// The maximum number of bytes that all connections together keep: queued output, partial input, and the windows
            /// of compression. At 80 % of it, the oldest unfinished messages and requests are ended, and new connections get
            /// 503. At 100 %, nothing more is queued or lent, and the connections that keep most are reset.
            /// `None` for a quarter of the memory of this host, its control group or RLIMIT_AS.
            max_buffer_bytes: Option<u64> = None,
            /// The sizes of the kernel's buffers of a TCP connection.
            socket_buffers: SocketBuffers = SocketBuffers::default(),
            /// Seconds of silence after which the kernel probes the peer of a raw TCP connection (SO_KEEPALIVE, tcp(7)), three
            /// times within half of that: 1 to 32,767. WebSockets are pinged instead, and requests have deadlines.
            tcp_keepalive_s: u32 = 60,
            /// The maximum age of the document of [`super::Server::stats`], in milliseconds. 0 makes it for each request.
            stats_max_age_ms: u32 = 250,
            /// The number of seconds over which [`super::Handle::drain`] closes the connections.
            drain_s: u32 = 30,
            /// The number of seconds of a drain or a stop after which the remaining connections are reset.
            drain_hard_s: u32 = 60,
        }
    };
}

/// Declares [`Config`].
macro_rules! declare_config {
    ($($(#[doc = $doc:literal])* $name:ident: $type:ty = $default:expr,)*) => {
        /// The settings of a server. The default listens nowhere.
        #[derive(Clone, Debug)]
        pub struct Config {
            /// Where to listen.
            pub listen: Vec<Endpoint>,
            $($(#[doc = $doc])* pub $name: $type,)*
        }

        impl Default for Config {
            fn default() -> Self {
                Self { listen: Vec::new(), $($name: $default,)* }
            }
        }
    };
}

for_each_setting!(declare_config);
pub(super) use for_each_setting;

impl Config {
    pub(super) fn source_prefixes(&self) -> SourcePrefixes {
        SourcePrefixes { v4: self.source_prefix_v4, v6: self.source_prefix_v6 }
    }

    /// Checks all settings, and returns the lines of the response fields. A mistake is found at start, and not when the
    /// first connection arrives.
    pub(super) fn check(&self) -> Result<String, StartError> {
        if let Some(name) = self.upgrade.subprotocols.iter().find(|name| !is_token(name)) {
            return Err(StartError(format!(
                "--subprotocol {name:?} is no token of RFC 9110; expected one such as chat or v2.example.org"
            )));
        }
        if let Some(wrong) = self.upgrade.origins.first_wrong() {
            return Err(StartError(format!(
                "--origin {wrong:?} is no origin that a browser would send; expected same or any, alone, or one such \
                 as https://example.org, http://10.0.0.1:8080, https://*.example.org or null"
            )));
        }
        if let Some(wrong) = self.upgrade.first_wrong_host() {
            return Err(StartError(format!(
                "--host {wrong:?} is no host; expected a name or an address, perhaps with a port, such as example.org or [::1]:8080"
            )));
        }
        if let Some(compression) = &self.upgrade.compression
            && (!(8..=15).contains(&compression.max_window_bits) || !(1..=9).contains(&compression.level))
        {
            return Err(StartError("compression takes 8 to 15 bits for a window, and a level from 1 to 9".into()));
        }
        self.check_ranges()?;
        self.check_pairs()?;
        let line =
            |text: &String| field_line(text).map_err(|bad| StartError(format!("--response-header {text:?}: {bad}")));
        self.response_fields.iter().map(line).collect()
    }

    /// Checks the range of each number.
    fn check_ranges(&self) -> Result<(), StartError> {
        if !(MIN_READ_BUFFER_BYTES..=MAX_READ_BUFFER_BYTES).contains(&self.read_buffer_bytes) {
            return Err(StartError(format!(
                "a read buffer of {} bytes is out of range; expected {MIN_READ_BUFFER_BYTES} to \
                 {MAX_READ_BUFFER_BYTES}",
                self.read_buffer_bytes
            )));
        }
        if self.max_events_per_turn == 0 || self.max_accepts_per_turn == 0 {
            return Err(StartError("a turn has at least one event, and one accept".into()));
        }
        let SourcePrefixes { v4, v6 } = self.source_prefixes();
        for (flag, prefix, max) in [("--source-prefix-v4", v4, 32), ("--source-prefix-v6", v6, 128)] {
            if !(1..=max).contains(&prefix) {
                return Err(StartError(format!("{flag} {prefix} is out of range; expected 1 to {max}")));
            }
        }
        if !(1..=MAX_LONG_FILES).contains(&self.max_long_files) {
            let files = self.max_long_files;
            return Err(StartError(format!(
                "--max-long-files {files} is out of range; expected 1 to {MAX_LONG_FILES}"
            )));
        }
        if !(1..=MAX_KEEPALIVE_S).contains(&self.tcp_keepalive_s) {
            return Err(StartError(format!(
                "--tcp-keepalive-s {} is out of range; expected 1 to {MAX_KEEPALIVE_S}",
                self.tcp_keepalive_s
            )));
        }
        Ok(())
    }

    /// Checks for settings that contradict each other.
    fn check_pairs(&self) -> Result<(), StartError> {
        if let Some(contradiction) = self.deadlines.contradiction() {
            return Err(StartError(contradiction));
        }
        if self.drain_hard_s < self.drain_s {
            return Err(StartError(format!(
                "a drain that closes connections over {} s (--drain-s) ends after {} s (--drain-hard-s): the rest would be \
                 reset; expected a --drain-hard-s of at least --drain-s",
                self.drain_s, self.drain_hard_s
            )));
        }
        let (queued, message) = (self.queue.max_queued_bytes, self.limits.max_message_bytes);
        if (queued as u64) < message {
            return Err(StartError(format!(
                "--max-queued-bytes {queued} is below --max-message-bytes {message}: the echo of one message would not fit; \
                 expected at least as much"
            )));
        }
        if let Some(buffers) = self.max_buffer_bytes.filter(|&buffers| buffers < message) {
            return Err(StartError(format!(
                "--max-buffer-bytes {buffers} is below --max-message-bytes {message}: not one such message would fit; expected \
                 more, for every message that is under way"
            )));
        }
        Ok(())
    }
}

/// Whether a field line has the name Server.
pub(super) fn is_server(line: &str) -> bool {
    line.split_once(':').is_some_and(|(name, _)| name.eq_ignore_ascii_case("server"))
}

/// Why a server did not start: what was asked, what was found, what to do.
#[derive(Debug)]
pub struct StartError(pub(super) String);

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}
