//! What a server is asked to be.

use super::hook::Hook;
use crate::net::conn::QueueLimits;
use crate::net::listener::MAX_KEEPALIVE_S;
use crate::net::listener::{Endpoint, SocketBuffers};
use crate::net::pool::RING_BYTES;
use crate::net::reactor::{QUEUE_GRACE_S, TURN_ACCEPTS, TURN_EVENTS};
use crate::net::sources::SourcePrefixes;
use crate::net::sweep::Deadlines;
use crate::proto::http_write::{field_line, is_token};
use crate::proto::session::Limits;
use crate::proto::upgrade::Policy;
use std::fmt;

/// Bounds of [`Config::read_buffer_bytes`]: no less than a page, and no more than what a reactor can touch in a turn.
const MIN_READ_BUFFER_BYTES: usize = 4 << 10;
const MAX_READ_BUFFER_BYTES: usize = 16 << 20;

/// Most of [`Config::max_long_files`]: half of the reserve of a descriptor table.
const MAX_LONG_FILES: u32 = 32;

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

/// Calls a macro with all settings of a server but where it listens: what each means, its name, its type and its default.
macro_rules! for_each_setting {
    ($declare:ident) => {
        $declare! {
            /// What to speak.
            protocol: Protocol = Protocol::default(),
            /// The most connections in all; `None` for as many as one descriptor table holds.
            max_connections: Option<usize> = None,
            /// The most connections of one source; more are answered 503 with Retry-After and closed when they are
            /// accepted, and take no place. The largest value is "no limit". Connections over unix sockets have no source.
            max_connections_per_source: u32 = u32::MAX,
            /// Bits of an IPv4 address that make a source: 1 to 32.
            source_prefix_v4: u32 = SourcePrefixes::default().v4,
            /// Bits of an IPv6 address that make a source: 1 to 128. A host is usually given a /64, and has all addresses
            /// in it.
            source_prefix_v6: u32 = SourcePrefixes::default().v6,
            /// The number of reactors; `None` for as many as cores, or as many tables as the connections need.
            reactors: Option<usize> = None,
            /// What a peer may make grow.
            limits: Limits = Limits::default(),
            /// What may wait for a connection that takes no more, and never less than the longest message; what happens
            /// beyond it is for each route to say.
            queue: QueueLimits = QueueLimits::default(),
            /// How long a queue may be over these limits before [`super::Overflow::Close`] closes the connection: the time
            /// in which a healthy client takes a burst. 0 closes at once.
            queue_grace_s: u32 = QUEUE_GRACE_S,
            /// How long a peer may take.
            deadlines: Deadlines = Deadlines::default(),
            /// What is granted to those who ask for an upgrade: origins, subprotocols, compression.
            upgrade: Policy = Policy::default(),
            /// Sees each of them, and may refuse.
            hook: Option<Hook> = None,
            /// Upgrades of one reactor in a second, shared fairly among sources; more are answered 503 with Retry-After.
            /// The largest value is "no limit".
            max_upgrades_per_s: u32 = u32::MAX,
            /// Files longer than 64 KiB that a reactor sends at a time, 1 to 32: each takes a descriptor of its reserve. A
            /// source has at most half of what the others leave; more are answered 503 with Retry-After.
            max_long_files: u32 = MAX_LONG_FILES,
            /// Fields for every HTTP answer, that to an upgrade too, each as `Name: value`.
            response_fields: Vec<String> = Vec::new(),
            /// What a connection may read in one turn; each reactor has a buffer of this size, or a few.
            read_buffer_bytes: usize = RING_BYTES,
            /// Messages and requests of one connection that are handed on in one turn of its reactor; then others have theirs.
            max_events_per_turn: u32 = TURN_EVENTS,
            /// Connections that are accepted from one listener in one turn.
            max_accepts_per_turn: u32 = TURN_ACCEPTS,
            /// Bytes that all connections together keep: what is queued or received in part, and the windows of
            /// compression. At four fifths of it the oldest unfinished messages and requests end, and new connections are
            /// answered 503; at all of it nothing more is queued or lent, and the connections that keep most are reset.
            /// `None` for a quarter of what this host, its control group or RLIMIT_AS has.
            max_buffer_bytes: Option<u64> = None,
            /// The kernel's buffers of a TCP connection.
            socket_buffers: SocketBuffers = SocketBuffers::default(),
            /// Seconds of silence after which the kernel asks whether the peer of a raw TCP connection is still there
            /// (SO_KEEPALIVE), three times within half of that: 1 to 32,767. WebSockets are pinged instead, and requests
            /// have deadlines.
            tcp_keepalive_s: u32 = 60,
            /// How old the document of [`super::Server::stats`] may be, in milliseconds: it is made anew at most so often.
            /// 0 makes it for each request.
            stats_max_age_ms: u32 = 250,
            /// Over how many seconds [`super::Handle::drain`] closes the connections.
            drain_s: u32 = 30,
            /// After how many seconds of a drain or a stop the connections that do not close are reset.
            drain_hard_s: u32 = 60,
        }
    };
}

/// Declares [`Config`].
macro_rules! declare_config {
    ($($(#[doc = $doc:literal])* $name:ident: $type:ty = $default:expr,)*) => {
        /// What a server is asked to be. The default listens nowhere.
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

    /// What a mistake in the policy would only show when a connection comes.
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

    /// Numbers that are out of range by themselves.
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

    /// Numbers that defeat each other.
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

/// Whether a field line is that of Server.
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
