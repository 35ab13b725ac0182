//! `steadfast serve`.

use super::compression::CompressionArgs;
use clap::{Args as ClapArgs, ValueEnum, value_parser};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io::Write;
use std::process::ExitCode;
use std::thread;
use steadfast::net::listener::{Endpoint, SocketBuffers};
use steadfast::net::sweep::Deadlines;
use steadfast::proto::http::HeadLimits;
use steadfast::proto::session::Limits;
use steadfast::proto::upgrade::{Origins, Policy};
use steadfast::server::{Config, Protocol, Server};

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ProtocolArg {
    Ws,
    Tcp,
}

#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// Where to listen: ADDRESS:PORT, ADDRESS:FIRST-LAST or unix:PATH; may be repeated
    #[arg(long, value_name = "WHERE", default_value = "127.0.0.1:8080")]
    listen: Vec<Endpoint>,
    /// ws: HTTP/1.1 and WebSocket; tcp: whatever comes is sent back
    #[arg(long, value_enum, default_value = "ws")]
    protocol: ProtocolArg,
    /// The most connections in all [default: what one descriptor table holds]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    max_connections: Option<u32>,
    /// Threads with an epoll instance each [default: cores, or as many tables as the connections need]
    #[arg(long, value_name = "N", value_parser = value_parser!(u16).range(1..=4096))]
    reactors: Option<u16>,
    /// Pages that may connect: same, any, or an origin such as https://example.org; may be repeated
    #[arg(long, value_name = "ORIGIN", default_value = "same")]
    origin: Vec<String>,
    /// Subprotocol that is spoken here, the best first; may be repeated [default: none]
    #[arg(long, value_name = "NAME")]
    subprotocol: Vec<String>,
    /// Field for every HTTP answer, as 'Name: value'; may be repeated
    #[arg(long, value_name = "FIELD")]
    response_header: Vec<String>,
    #[command(flatten)]
    compression: CompressionArgs,
    #[command(flatten)]
    limits: LimitArgs,
    /// SO_SNDBUF of a TCP connection [default: the kernel's]
    #[arg(long, value_name = "BYTES", value_parser = value_parser!(u32).range(4096..=1 << 30), help_heading = "Limits")]
    socket_send_buffer_bytes: Option<u32>,
    /// SO_RCVBUF of a TCP connection [default: the kernel's]
    #[arg(long, value_name = "BYTES", value_parser = value_parser!(u32).range(4096..=1 << 30), help_heading = "Limits")]
    socket_receive_buffer_bytes: Option<u32>,
}

/// Declares the flags of all limits, with their defaults taken from the library, and the line that tells which differ.
macro_rules! limits {
    ($($(#[doc = $doc:literal])* $flag:ident: $type:ty { $($path:tt)+ } $range:expr, $name:literal;)*) => {
        #[derive(Debug, ClapArgs)]
        #[command(next_help_heading = "Limits")]
        struct LimitArgs {
            $($(#[doc = $doc])*
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
                    lines.push(format!("{} {} (default {})", stringify!($flag), self.$flag, defaults.$($path)+));
                })*
                lines
            }
        }
    };
}

/// The library's limits, in the types of the command line.
#[derive(Clone, Copy)]
struct Defaults {
    line_bytes: u64,
    head_bytes: u64,
    read_buffer_bytes: u64,
    max_upgrades_per_s: u32,
    limits: Limits,
    deadlines: Deadlines,
}

impl Default for Defaults {
    fn default() -> Self {
        let limits = Limits::default();
        Self {
            line_bytes: limits.head.max_request_line_bytes as u64,
            head_bytes: limits.head.max_head_bytes as u64,
            read_buffer_bytes: Config::default().read_buffer_bytes as u64,
            max_upgrades_per_s: Config::default().max_upgrades_per_s,
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
    /// Longest content of a request; a longer one is answered 413
    max_body_bytes: u64 { limits.max_body_bytes } 0..=1 << 40, "BYTES";
    /// Upgrades of each reactor in a second; more are answered 503 with Retry-After
    max_upgrades_per_s: u32 { max_upgrades_per_s } 1.., "N";
    /// Longest frame, message and inflated message; a longer one closes with 1009
    max_message_bytes: u64 { limits.max_message_bytes } 1..=1 << 40, "BYTES";
    /// Most fragments of a message; more close with 1008
    max_fragments: u32 { limits.max_fragments } 1.., "N";
    /// Most pings, pongs and closes in a second; more close with 1008
    max_control_frames_per_s: u16 { limits.max_control_frames_per_s } 1.., "N";
    /// Time for a whole request head; then 408
    head_timeout_s: u32 { deadlines.head_s } 1..=86_400, "SECONDS";
    /// Least content of a request in a second, behind that time and on average; then 408
    min_body_bytes_per_s: u32 { deadlines.min_body_bytes_per_s } 1.., "BYTES";
    /// Time between requests; then closed
    keep_alive_timeout_s: u32 { deadlines.keep_alive_s } 1..=86_400, "SECONDS";
    /// Silence after which a WebSocket is pinged, give or take a tenth
    ping_interval_s: u32 { deadlines.ping_s } 1..=4_000_000, "SECONDS";
    /// Silence after which a WebSocket is taken for dead
    idle_timeout_s: u32 { deadlines.idle_s } 1..=4_000_000, "SECONDS";
    /// Time for the peer's Close and its FIN; then reset
    close_timeout_s: u32 { deadlines.close_s } 1..=86_400, "SECONDS";
    /// Time without a byte taken of what is queued; then reset
    stalled_timeout_s: u32 { deadlines.stalled_s } 1..=86_400, "SECONDS";
    /// Bytes that a connection may have read in its turn
    read_buffer_bytes: u64 { read_buffer_bytes } 4096..=16 << 20, "BYTES";
}

fn origins(list: Vec<String>) -> Origins {
    match list.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["same"] => Origins::Same,
        ["any"] => Origins::Any,
        // Each is judged when the server starts.
        _ => Origins::Listed(list),
    }
}

pub(super) fn run(args: Args) -> ExitCode {
    let mut changed = args.limits.changed();
    changed.extend(args.compression.changed());
    for (name, bytes) in [
        ("socket_send_buffer_bytes", args.socket_send_buffer_bytes),
        ("socket_receive_buffer_bytes", args.socket_receive_buffer_bytes),
    ] {
        changed.extend(bytes.map(|bytes| format!("{name} {bytes} (default the kernel's)")));
    }
    let settings = args.limits.into_settings();
    let head = HeadLimits {
        max_request_line_bytes: settings.line_bytes as usize,
        max_head_bytes: settings.head_bytes as usize,
    };
    let origins = origins(args.origin);
    changed.extend((origins != Origins::default()).then(|| format!("origin {origins} (default same)")));
    let upgrade = Policy { origins, subprotocols: args.subprotocol, compression: args.compression.into_settings() };
    let protocol = match args.protocol {
        ProtocolArg::Ws => Protocol::Ws,
        ProtocolArg::Tcp => Protocol::Tcp,
    };
    // Before the first thread, so that no signal finds the default disposition.
    let mut signals = match Signals::new([SIGINT, SIGTERM]) {
        Ok(signals) => signals,
        Err(error) => return super::refuse(&format!("cannot handle signals: {error}")),
    };
    let server = Server::start(Config {
        listen: args.listen,
        protocol,
        max_connections: args.max_connections.map(|max| max as usize),
        reactors: args.reactors.map(usize::from),
        limits: Limits { head, ..settings.limits },
        deadlines: settings.deadlines,
        upgrade,
        max_upgrades_per_s: settings.max_upgrades_per_s,
        response_fields: args.response_header,
        read_buffer_bytes: settings.read_buffer_bytes as usize,
        socket_buffers: SocketBuffers {
            send_bytes: args.socket_send_buffer_bytes.unwrap_or(0),
            receive_bytes: args.socket_receive_buffer_bytes.unwrap_or(0),
        },
        ..Config::default()
    });
    let server = match server {
        Ok(server) => server,
        Err(error) => return super::refuse(&error),
    };
    announce(&server, protocol, &changed);
    let signal_handle = signals.handle();
    thread::scope(|scope| {
        let stopper = &server;
        scope.spawn(move || {
            let mut signals = signals.forever();
            if signals.next().is_some() {
                stopper.stop();
            }
            if signals.next().is_some() {
                std::process::exit(130); // the second one means now
            }
        });
        // Reactors end only when they are stopped; then the thread above waits for a second signal in vain.
        let ended = server.join();
        signal_handle.close();
        match ended {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                super::complain(&error);
                ExitCode::FAILURE
            }
        }
    })
}

fn announce(server: &Server, protocol: Protocol, changed: &[String]) {
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
    // Whoever closed stdout does not want to know, and is served all the same.
    let _ = std::io::stdout().write_all(lines.as_bytes());
}
