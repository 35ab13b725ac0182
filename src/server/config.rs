//! The settings of a server, and their checks.

use super::error::SettingError;
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
const MIN_READ_BUFFER_BYTES: u64 = 4 << 10;
const MAX_READ_BUFFER_BYTES: u64 = 16 << 20;

/// Most of [`Config::reactors`].
const MAX_REACTORS: u64 = 4096;

/// The maximum of [`Config::max_long_files`]: half of the reserve of a descriptor table.
const MAX_LONG_FILES: u32 = 32;

/// How many of the longest messages [`Config::max_buffer_bytes`] has to hold: one that arrives, the response to it, and what
/// the limit reserves.
pub(super) const BUFFERS_PER_MESSAGE: u64 = 3;

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
            /// of compression; at least three times the longest message. A sixteenth of it, and up to 512 KiB more, are
            /// reserved for what cannot be counted. At 80 % of the rest, the oldest unfinished messages and requests are
            /// ended, and new connections get 503. At 100 %, nothing more is queued or lent, and the connections that keep
            /// most are reset. `None` for a quarter of the memory of this host, its control group or RLIMIT_AS.
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
    pub(super) fn check(&self) -> Result<String, SettingError> {
        if let Some(name) = self.upgrade.subprotocols.iter().find(|name| !is_token(name)) {
            return Err(SettingError::Subprotocol(name.clone()));
        }
        if let Some(wrong) = self.upgrade.origins.first_wrong() {
            return Err(SettingError::Origin(wrong.to_owned()));
        }
        if let Some(wrong) = self.upgrade.first_wrong_host() {
            return Err(SettingError::Host(wrong.to_owned()));
        }
        self.check_ranges()?;
        self.check_pairs()?;
        let line = |text: &String| field_line(text).map_err(|bad| SettingError::ResponseField(text.clone(), bad));
        self.response_fields.iter().map(line).collect()
    }

    /// Checks the range of each number.
    fn check_ranges(&self) -> Result<(), SettingError> {
        let compression = self.upgrade.compression.unwrap_or_default();
        let ranges = [
            ("max_connections", self.max_connections.unwrap_or(1) as u64, 1, u32::MAX.into()),
            ("reactors", self.reactors.unwrap_or(1) as u64, 1, MAX_REACTORS),
            ("upgrade.compression.max_window_bits", compression.max_window_bits.into(), 8, 15),
            ("upgrade.compression.level", compression.level.into(), 1, 9),
            ("read_buffer_bytes", self.read_buffer_bytes as u64, MIN_READ_BUFFER_BYTES, MAX_READ_BUFFER_BYTES),
            ("max_events_per_turn", self.max_events_per_turn.into(), 1, u32::MAX.into()),
            ("max_accepts_per_turn", self.max_accepts_per_turn.into(), 1, u32::MAX.into()),
            ("source_prefix_v4", self.source_prefix_v4.into(), 1, 32),
            ("source_prefix_v6", self.source_prefix_v6.into(), 1, 128),
            ("max_long_files", self.max_long_files.into(), 1, MAX_LONG_FILES.into()),
            ("tcp_keepalive_s", self.tcp_keepalive_s.into(), 1, MAX_KEEPALIVE_S.into()),
        ];
        for (field, value, min, max) in ranges {
            if !(min..=max).contains(&value) {
                return Err(SettingError::OutOfRange { field, value, min, max });
            }
        }
        Ok(())
    }

    /// Checks for settings that contradict each other.
    fn check_pairs(&self) -> Result<(), SettingError> {
        let Deadlines { ping_s, idle_s, .. } = self.deadlines;
        if self.deadlines.contradict() {
            return Err(SettingError::PingInterval { ping_s, idle_s });
        }
        let (drain_s, drain_hard_s) = (self.drain_s, self.drain_hard_s);
        if drain_hard_s < drain_s {
            return Err(SettingError::Drain { drain_s, drain_hard_s });
        }
        let (max_queued_bytes, max_message_bytes) = (self.queue.max_queued_bytes as u64, self.limits.max_message_bytes);
        if max_queued_bytes < max_message_bytes {
            return Err(SettingError::Queue { max_queued_bytes, max_message_bytes });
        }
        if let Some(max_buffer_bytes) =
            self.max_buffer_bytes.filter(|&buffers| buffers / BUFFERS_PER_MESSAGE < max_message_bytes)
        {
            return Err(SettingError::Buffers { max_buffer_bytes, max_message_bytes });
        }
        Ok(())
    }
}
