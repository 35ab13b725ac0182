//! `steadfast serve`.

use super::compression::CompressionArgs;
use super::io::{complain, refuse};
use clap::{Args as ClapArgs, ValueEnum, value_parser};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use steadfast::proto::http::HeadLimits;
use steadfast::proto::session::Limits;
use steadfast::proto::upgrade::{Origins, Policy};
use steadfast::server::demo::DemoRoutes;
use steadfast::server::{
    Config, Deadlines, Endpoint, Handle, Overflow, Protocol, QueueLimits, RunError, Server, SocketBuffers, StopSignals,
};

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ProtocolArg {
    Ws,
    Tcp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OverflowArg {
    Close,
    DropNewest,
    DropOldest,
    KeepLatest,
}

impl From<OverflowArg> for Overflow {
    fn from(arg: OverflowArg) -> Self {
        match arg {
            OverflowArg::Close => Self::Close,
            OverflowArg::DropNewest => Self::DropNewest,
            OverflowArg::DropOldest => Self::DropOldest,
            OverflowArg::KeepLatest => Self::KeepLatest,
        }
    }
}

impl From<ProtocolArg> for Protocol {
    fn from(arg: ProtocolArg) -> Self {
        match arg {
            ProtocolArg::Ws => Self::Ws,
            ProtocolArg::Tcp => Self::Tcp,
        }
    }
}

#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// Address to listen on: ADDRESS:PORT, ADDRESS:FIRST-LAST, unix:PATH or unix:@NAME; may be repeated
    #[arg(long, value_name = "WHERE", default_value = "127.0.0.1:8080")]
    listen: Vec<Endpoint>,
    /// ws: HTTP/1.1 and WebSocket; tcp: every byte received is sent back
    #[arg(long, value_enum, default_value = "ws")]
    protocol: ProtocolArg,
    /// Most connections in total [default: what one descriptor table holds]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    max_connections: Option<u32>,
    /// Threads, each with its own epoll instance [default: cores, or as many as the connections need descriptor tables]
    #[arg(long, value_name = "N", value_parser = value_parser!(u16).range(1..=4096))]
    reactors: Option<u16>,
    /// Origins of web pages that may connect: same, any, or an origin such as https://example.org or
    /// https://*.example.org for all subdomains; may be repeated
    #[arg(long, value_name = "ORIGIN", default_value = "same")]
    origin: Vec<String>,
    /// Name of this server, against DNS rebinding: requests for other names are answered 421; may be repeated [default:
    /// any]
    #[arg(long, value_name = "NAME[:PORT]")]
    host: Vec<String>,
    /// Subprotocol that the server supports; may be repeated, in order of preference [default: none]
    #[arg(long, value_name = "NAME")]
    subprotocol: Vec<String>,
    /// Additional field for every HTTP response, as 'Name: value'; may be repeated
    #[arg(long, value_name = "FIELD")]
    response_header: Vec<String>,
    /// Interval at which /push sends the time
    #[arg(long, value_name = "SECONDS", default_value = "3", value_parser = interval)]
    push_interval: Duration,
    /// Folder whose files are served at all paths without another use [default: none]
    #[arg(long = "static", value_name = "DIR")]
    static_files: Option<PathBuf>,
    #[command(flatten)]
    compression: CompressionArgs,
    #[command(flatten)]
    limits: LimitArgs,
    /// What to do on /broadcast and /chat when the queue of a connection is full
    #[arg(long, value_enum, default_value = "close", help_heading = "Limits")]
    overflow: OverflowArg,
    /// Memory for all connections together: queues, partial messages, compression windows. Near the limit new clients
    /// get 503 and the oldest unfinished messages end; at the limit the connections that keep most are reset [default:
    /// a quarter of the memory of the host, its control group or RLIMIT_AS]
    #[arg(long, value_name = "BYTES", value_parser = value_parser!(u64).range(1 << 20..), help_heading = "Limits")]
    max_buffer_bytes: Option<u64>,
    /// SO_SNDBUF of a TCP connection [default: the kernel's]
    #[arg(long, value_name = "BYTES", value_parser = value_parser!(u32).range(4096..=1 << 30), help_heading = "Limits")]
    socket_send_buffer_bytes: Option<u32>,
    /// SO_RCVBUF of a TCP connection [default: the kernel's]
    #[arg(long, value_name = "BYTES", value_parser = value_parser!(u32).range(4096..=1 << 30), help_heading = "Limits")]
    socket_receive_buffer_bytes: Option<u32>,
}

/// Parses an interval from a millisecond to a day.
fn interval(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.001..=86_400.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "expected a number from 0.001 to 86400".to_owned())
}

/// Declares the flags of all limits, with defaults from the library, and the line that lists changed ones.
macro_rules! limits {
    ($($(#[$meta:meta])* $flag:ident: $type:ty { $($path:tt)+ } $range:expr, $name:literal;)*) => {
        #[derive(Debug, ClapArgs)]
        #[command(next_help_heading = "Limits")]
        struct LimitArgs {
            $($(#[$meta])*
            #[arg(long, value_name = $name, default_value_t = Defaults::default().$($path)+, value_parser = value_parser!($type).range($range))]
            $flag: $type,)*
        }

        impl LimitArgs {
            fn into_settings(self) -> Defaults {
                let mut settings = Defaults::default();
                $(settings.$($path)+ = self.$flag;)*
                settings
            }

            fn changed(&self) -> Vec<String> {
                let defaults = Defaults::default();
                let mut lines = Vec::new();
                $(if self.$flag != defaults.$($path)+ {
                    let default = limit_text(defaults.$($path)+);
                    lines.push(format!("{} {} (default {default})", stringify!($flag), self.$flag));
                })*
                lines
            }
        }
    };
}

/// Formats a limit; the largest number of 32 bits is none.
fn limit_text(limit: impl Into<u64>) -> String {
    let limit = limit.into();
    if limit == u64::from(u32::MAX) { "no limit".to_owned() } else { limit.to_string() }
}

/// The library's limits, in the types of the command line.
#[derive(Clone, Copy)]
struct Defaults {
    line_bytes: u64,
    head_bytes: u64,
    read_buffer_bytes: u64,
    max_upgrades_per_s: u32,
    max_connections_per_source: u32,
    max_long_files: u32,
    source_prefix_v4: u32,
    source_prefix_v6: u32,
    drain_s: u32,
    drain_hard_s: u32,
    tcp_keepalive_s: u32,
    stats_max_age_ms: u32,
    max_events_per_turn: u32,
    max_accepts_per_turn: u32,
    socket_notsent_lowat_bytes: u32,
    queued_bytes: u64,
    queued_messages: u64,
    queue_grace_s: u32,
    limits: Limits,
    deadlines: Deadlines,
}

impl Default for Defaults {
    fn default() -> Self {
        let limits = Limits::default();
        let config = Config::default();
        Self {
            line_bytes: limits.head.max_request_line_bytes as u64,
            head_bytes: limits.head.max_head_bytes as u64,
            read_buffer_bytes: config.read_buffer_bytes as u64,
            max_upgrades_per_s: config.max_upgrades_per_s,
            max_connections_per_source: config.max_connections_per_source,
            max_long_files: config.max_long_files,
            source_prefix_v4: config.source_prefix_v4,
            source_prefix_v6: config.source_prefix_v6,
            drain_s: config.drain_s,
            drain_hard_s: config.drain_hard_s,
            tcp_keepalive_s: config.tcp_keepalive_s,
            stats_max_age_ms: config.stats_max_age_ms,
            max_events_per_turn: config.max_events_per_turn,
            max_accepts_per_turn: config.max_accepts_per_turn,
            socket_notsent_lowat_bytes: config.socket_buffers.notsent_lowat_bytes,
            queued_bytes: config.queue.max_queued_bytes as u64,
            queued_messages: config.queue.max_queued_messages as u64,
            queue_grace_s: config.queue_grace_s,
            limits,
            deadlines: Deadlines::default(),
        }
    }
}

limits! {
    /// Longest request line; a longer one is answered 414
    max_request_line_bytes: u64 { line_bytes } 16..=1 << 20, "BYTES";
    /// Longest request head; a longer one is answered 431
    max_head_bytes: u64 { head_bytes } 64..=1 << 24, "BYTES";
    /// Longest body of a request; a longer one is answered 413
    max_body_bytes: u64 { limits.max_body_bytes } 0..=1 << 40, "BYTES";
    /// Most files longer than 64 KiB that each reactor sends at a time, at most half of the free places to one source;
    /// others are answered 503 with Retry-After
    max_long_files: u32 { max_long_files } 1..=32, "N";
    /// Most upgrades per second of each reactor, shared fairly among sources; others are answered 503 with Retry-After
    /// [default: no limit]
    #[arg(hide_default_value = true)]
    max_upgrades_per_s: u32 { max_upgrades_per_s } 1.., "N";
    /// Most connections of each source; others are answered 503 with Retry-After, closed at once, and take no place
    /// [default: no limit]
    #[arg(hide_default_value = true)]
    max_connections_per_source: u32 { max_connections_per_source } 1.., "N";
    /// Prefix length that identifies an IPv4 source
    source_prefix_v4: u32 { source_prefix_v4 } 1..=32, "BITS";
    /// Prefix length that identifies an IPv6 source
    source_prefix_v6: u32 { source_prefix_v6 } 1..=128, "BITS";
    /// Most bytes queued for a connection, at least --max-message-bytes; see --overflow
    max_queued_bytes: u64 { queued_bytes } 1..=1 << 40, "BYTES";
    /// Most messages queued for a connection
    max_queued_messages: u64 { queued_messages } 1..=1 << 40, "N";
    /// Time that a queue may exceed these limits, up to 16 times, before --overflow close closes
    queue_grace_s: u32 { queue_grace_s } 0..=3600, "SECONDS";
    /// TCP_NOTSENT_LOWAT: unsent bytes that the kernel may buffer for a connection; 0 is no limit
    socket_notsent_lowat_bytes: u32 { socket_notsent_lowat_bytes } 0..=1 << 30, "BYTES";
    /// Longest time that /stats is cached; 0 makes it anew for each request
    stats_max_age_ms: u32 { stats_max_age_ms } 0..=60_000, "MS";
    /// Time over which SIGQUIT closes the connections, one after the other
    drain_s: u32 { drain_s } 0..=86_400, "SECONDS";
    /// Time after which connections that have not closed are reset, after any signal that ends the server
    drain_hard_s: u32 { drain_hard_s } 0..=86_400, "SECONDS";
    /// Longest frame, message and decompressed message; a longer one closes with 1009
    max_message_bytes: u64 { limits.max_message_bytes } 1..=1 << 40, "BYTES";
    /// Most fragments of a message; more close with 1008
    max_fragments: u32 { limits.max_fragments } 1.., "N";
    /// Most pings, pongs and closes per second; more close with 1008
    max_control_frames_per_s: u16 { limits.max_control_frames_per_s } 1.., "N";
    /// Time for a complete request head; then 408
    head_timeout_s: u32 { deadlines.head_s } 1..=86_400, "SECONDS";
    /// Least bytes per second of a request body, on average after that time; then 408
    min_body_bytes_per_s: u32 { deadlines.min_body_bytes_per_s } 1.., "BYTES";
    /// Time for a complete message; then 1008
    message_timeout_s: u32 { deadlines.message_s } 1..=86_400, "SECONDS";
    /// Least bytes per second of a message, on average after that time; then 1008
    min_message_bytes_per_s: u32 { deadlines.min_message_bytes_per_s } 1.., "BYTES";
    /// Time between requests; then the connection is closed
    keep_alive_timeout_s: u32 { deadlines.keep_alive_s } 1..=86_400, "SECONDS";
    /// Silence after which a WebSocket is pinged at the latest; it may be pinged from half of it on
    ping_interval_s: u32 { deadlines.ping_s } 1..=4_000_000, "SECONDS";
    /// Silence after which a WebSocket is closed with 1001; the time beyond --ping-interval-s counts from an unanswered
    /// ping
    idle_timeout_s: u32 { deadlines.idle_s } 1..=4_000_000, "SECONDS";
    /// Time for the peer's Close and its FIN; then reset
    close_timeout_s: u32 { deadlines.close_s } 1..=86_400, "SECONDS";
    /// Time without an acknowledged byte while output is queued; then reset
    stalled_timeout_s: u32 { deadlines.stalled_s } 1..=86_400, "SECONDS";
    /// Least bytes per second of queued output that the peer acknowledges, on average after that time; then reset
    min_send_bytes_per_s: u32 { deadlines.min_send_bytes_per_s } 1.., "BYTES";
    /// Silence after which the kernel probes the peer of a raw TCP connection (SO_KEEPALIVE)
    tcp_keepalive_s: u32 { tcp_keepalive_s } 1..=32_767, "SECONDS";
    /// Most messages and requests of one connection before others are served
    max_events_per_turn: u32 { max_events_per_turn } 1..=1 << 20, "N";
    /// Most connections accepted from a listener before others are served
    max_accepts_per_turn: u32 { max_accepts_per_turn } 1..=1 << 20, "N";
    /// Most bytes read from one connection before others are served
    read_buffer_bytes: u64 { read_buffer_bytes } 4096..=16 << 20, "BYTES";
}

fn origins(list: Vec<String>) -> Origins {
    match list.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["same"] => Origins::Same,
        ["any"] => Origins::Any,
        // Each origin is checked when the server starts.
        _ => Origins::Listed(list),
    }
}

impl Args {
    /// Returns the settings that differ from their defaults, as text.
    fn changed(&self) -> Vec<String> {
        let mut changed = self.limits.changed();
        changed.extend(self.compression.changed());
        for (name, bytes) in [
            ("socket_send_buffer_bytes", self.socket_send_buffer_bytes),
            ("socket_receive_buffer_bytes", self.socket_receive_buffer_bytes),
        ] {
            changed.extend(bytes.map(|bytes| format!("{name} {bytes} (default the kernel's)")));
        }
        let quarter = |bytes| format!("max_buffer_bytes {bytes} (default a quarter of the memory)");
        changed.extend(self.max_buffer_bytes.map(quarter));
        if self.overflow != OverflowArg::Close {
            let value = self.overflow.to_possible_value();
            changed.extend(value.map(|value| format!("overflow {} (default close)", value.get_name())));
        }
        let origins = origins(self.origin.clone());
        changed.extend((origins != Origins::default()).then(|| format!("origin {origins} (default same)")));
        changed.extend((!self.host.is_empty()).then(|| format!("host {} (default any)", self.host.join(" "))));
        changed
    }

    fn demo(&self) -> DemoRoutes {
        let leaves_index = self.static_files.as_ref().is_some_and(|folder| folder.join("index.html").is_file());
        DemoRoutes { push_interval: self.push_interval, overflow: self.overflow.into(), leaves_index }
    }

    fn into_config(self) -> Config {
        let settings = self.limits.into_settings();
        let head = HeadLimits {
            max_request_line_bytes: settings.line_bytes as usize,
            max_head_bytes: settings.head_bytes as usize,
        };
        let origins = origins(self.origin);
        Config {
            listen: self.listen,
            protocol: self.protocol.into(),
            max_connections: self.max_connections.map(|max| max as usize),
            max_connections_per_source: settings.max_connections_per_source,
            max_long_files: settings.max_long_files,
            source_prefix_v4: settings.source_prefix_v4,
            source_prefix_v6: settings.source_prefix_v6,
            reactors: self.reactors.map(usize::from),
            limits: Limits { head, ..settings.limits },
            queue: QueueLimits {
                max_queued_bytes: settings.queued_bytes as usize,
                max_queued_messages: settings.queued_messages as usize,
            },
            queue_grace_s: settings.queue_grace_s,
            deadlines: settings.deadlines,
            upgrade: Policy {
                origins,
                hosts: self.host,
                subprotocols: self.subprotocol,
                compression: self.compression.into_settings(),
                ..Policy::default()
            },
            max_upgrades_per_s: settings.max_upgrades_per_s,
            response_fields: self.response_header,
            read_buffer_bytes: settings.read_buffer_bytes as usize,
            max_buffer_bytes: self.max_buffer_bytes,
            socket_buffers: SocketBuffers {
                send_bytes: self.socket_send_buffer_bytes.unwrap_or(0),
                receive_bytes: self.socket_receive_buffer_bytes.unwrap_or(0),
                notsent_lowat_bytes: settings.socket_notsent_lowat_bytes,
            },
            drain_s: settings.drain_s,
            drain_hard_s: settings.drain_hard_s,
            tcp_keepalive_s: settings.tcp_keepalive_s,
            stats_max_age_ms: settings.stats_max_age_ms,
            max_events_per_turn: settings.max_events_per_turn,
            max_accepts_per_turn: settings.max_accepts_per_turn,
            ..Config::default()
        }
    }
}

pub(super) fn run(args: Args) -> ExitCode {
    let (changed, protocol) = (args.changed(), args.protocol.into());
    // Before the first thread starts, so that no signal meets its default action.
    let signals = match StopSignals::catch() {
        Ok(signals) => signals,
        Err(error) => return refuse(&format!("cannot handle signals: {error}")),
    };
    super::doctor::warn_server(args.max_connections, args.reactors);
    let (demo, folder) = (args.demo(), args.static_files.clone());
    let server = demo.add_to(Server::from(args.into_config()));
    let server = match folder {
        Some(folder) => match server.files("/*", &folder) {
            Ok(server) => server,
            Err(error) => {
                let flag = format!("--static {}", folder.display());
                return refuse(&format!("{flag}: {error}; expected a folder that this user can read"));
            }
        },
        None => server,
    };
    match server.spawn() {
        Ok(server) => {
            announce(&server, protocol, &changed);
            wait(&server, signals)
        }
        Err(error) => refuse(&error.with_names(&flag)),
    }
}

/// The flag that sets a field of the server's configuration.
fn flag(field: &'static str) -> String {
    let name = match field {
        "upgrade.subprotocols" => "subprotocol",
        "upgrade.origins" => "origin",
        "upgrade.hosts" => "host",
        "upgrade.compression.max_window_bits" => "compression-window-bits",
        "upgrade.compression.level" => "compression-level",
        "response_fields" => "response-header",
        "deadlines.ping_s" => "ping-interval-s",
        "deadlines.idle_s" => "idle-timeout-s",
        _ => field.rsplit('.').next().unwrap_or(field),
    };
    format!("--{}", name.replace('_', "-"))
}

/// Waits for the end of the server.
fn wait(server: &Handle, signals: StopSignals) -> ExitCode {
    match signals.join(server) {
        Ok(()) => ExitCode::SUCCESS,
        Err(RunError::Interrupted) => ExitCode::from(130), // as a shell has it: 128 and SIGINT
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn announce(server: &Handle, protocol: Protocol, changed: &[String]) {
    let plan = server.plan();
    let places: Vec<String> = server.endpoints().iter().map(ToString::to_string).collect();
    let tables = if plan.own_tables { ", a descriptor table for each" } else { "" };
    let mut lines = format!(
        "listening on {} ({protocol}) with {} reactors for {} connections{tables}\n",
        places.join(" "),
        plan.reactors,
        plan.max_connections
    );
    if !changed.is_empty() {
        lines += &format!("limits: {}\n", changed.join(", "));
    }
    lines += "ready\n";
    // The server runs even if stdout is closed.
    let _ = std::io::stdout().write_all(lines.as_bytes());
}
