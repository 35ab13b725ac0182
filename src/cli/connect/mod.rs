//! `steadfast connect`: flags, errors and signals. The conversation itself is in `conversation`.

mod conversation;
mod words;

use super::compression::CompressionArgs;
use super::io::{refuse, setting, tell};
use clap::{Args as ClapArgs, value_parser};
use conversation::{Conversation, Plan};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::pipe;
use std::io::{self, IsTerminal};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use steadfast::client::{Client, Config, ConnectError, Url};
use steadfast::proto::session::{Limits, MessageKind};

#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// ws://HOST:PORT/PATH
    url: Url,
    /// Subprotocol to offer; may be repeated, in order of preference [default: none]
    #[arg(long, value_name = "NAME")]
    subprotocol: Vec<String>,
    /// Additional field for the request, as 'Name: value'; may be repeated
    #[arg(long, value_name = "FIELD")]
    header: Vec<String>,
    /// Origin, as a web page would send it, such as https://example.org [default: none is sent]
    #[arg(long, value_name = "ORIGIN")]
    origin: Option<String>,
    /// Send lines as binary messages
    #[arg(long)]
    binary: bool,
    /// Send a ping at this interval (1 second if none is given), and show how long each pong took
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "1",
        value_parser = ping_seconds)]
    ping: Option<Duration>,
    /// Send the time at this interval, and stay connected when the input has ended
    #[arg(long, value_name = "SECONDS", value_parser = every_seconds)]
    every: Option<Duration>,
    /// Longest frame, message and decompressed message; a longer one closes with 1009
    #[arg(long, value_name = "BYTES", default_value_t = Limits::default().max_message_bytes,
        value_parser = value_parser!(u64).range(1..=1 << 40))]
    max_message_bytes: u64,
    /// Time to connect and upgrade
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = value_parser!(u32).range(1..=86_400))]
    connect_timeout_s: u32,
    #[command(flatten)]
    compression: CompressionArgs,
}

fn ping_seconds(text: &str) -> Result<Duration, String> {
    // Pongs are control frames, and either side limits those per second.
    seconds(text, 0.1)
}

fn every_seconds(text: &str) -> Result<Duration, String> {
    seconds(text, 0.001)
}

fn seconds(text: &str, least: f64) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(value) if (least..=86_400.0).contains(&value) => Ok(Duration::from_secs_f64(value)),
        _ => Err(format!("expected a number from {least} to 86400, such as 1 or 0.5")),
    }
}

pub(super) fn run(args: Args) -> ExitCode {
    // Until the connection is open there is nothing to close, so the first signal ends the program; afterwards the
    // second one does.
    let now = Arc::new(AtomicBool::new(true));
    let signals = match signals(&now) {
        Ok(signals) => signals,
        Err(error) => return refuse(&format!("cannot handle signals: {error}")),
    };
    let config = Config {
        subprotocols: args.subprotocol,
        origin: args.origin,
        fields: args.header,
        compression: args.compression.into_settings(),
        limits: Limits { max_message_bytes: args.max_message_bytes, ..Limits::default() },
        connect_timeout_s: args.connect_timeout_s,
        ..Config::to(args.url)
    };
    let client = match Client::connect(&config) {
        Ok(client) => client,
        Err(ConnectError::Setting(bad)) => return refuse(&setting(&bad)),
        Err(error) => {
            tell(&format_args!("steadfast: {}: {}", config.url, words::not_connected(&error, &config)));
            return ExitCode::FAILURE;
        }
    };
    now.store(false, Ordering::Relaxed);
    let plan = Plan {
        kind: if args.binary { MessageKind::Binary } else { MessageKind::Text },
        ping: args.ping,
        every: args.every,
    };
    greet(&client, &config);
    Conversation::new(client, signals, &plan).run()
}

/// Returns a stream that receives a byte for each signal; a signal while `now` is set ends the process at once.
fn signals(now: &Arc<AtomicBool>) -> io::Result<UnixStream> {
    let (reader, writer) = UnixStream::pair()?;
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(now))?;
        signal_hook::flag::register(signal, Arc::clone(now))?;
        pipe::register(signal, writer.try_clone()?)?;
    }
    Ok(reader)
}

/// Prints what was negotiated, as far as something was offered.
fn greet(client: &Client, config: &Config) {
    tell(&format_args!("connected to {} at {}", config.url, client.peer()));
    if !config.subprotocols.is_empty() {
        let agreed = client.subprotocol().unwrap_or("none of those that were offered");
        tell(&format_args!("subprotocol: {agreed}"));
    }
    if config.compression.is_some() {
        tell(&format_args!("compression: {}", words::compression(client.compression())));
    }
    if io::stdin().is_terminal() {
        tell(&"each line is sent as a message; Ctrl-D or Ctrl-C closes");
    }
}
