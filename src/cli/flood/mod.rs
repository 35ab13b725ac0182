//! `steadfast flood`.

mod display;

use super::compression::CompressionArgs;
use super::io::read_bounded;
use super::io::{refuse, setting, tell};
use super::report::OutputArgs;
use clap::{Args as ClapArgs, value_parser};
use display::Display;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::{self, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use steadfast::flood::scenario::{Phase, Scenario};
use steadfast::flood::sizes::Sizes;
use steadfast::flood::target::Target;
use steadfast::flood::{self, Config, Shard};
use steadfast::proto::upgrade::request_lines;
use steadfast::server::http_date;

/// A start further in the past than this is taken for a mistake.
const MOST_LATE: Duration = Duration::from_secs(3600);

/// The exit code that a shell reports for a program that SIGINT has ended.
const EXIT_INTERRUPTED: i32 = 130;

/// The longest scenario file; a thousand phases take a tenth of this.
const MAX_SCENARIO_BYTES: u64 = 1 << 20;

#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// ws://HOST:PORT/PATH, http://HOST:PORT/PATH or tcp://HOST:PORT; a port may be a range FIRST-LAST
    #[arg(value_name = "URL", required = true)]
    targets: Vec<Target>,
    /// Connections to open
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = value_parser!(u32).range(1..=100_000_000))]
    connections: u32,
    /// Phase of the scenario, such as 'ramp over_s=10' or 'rate per_s=1 for_s=60'; repeat it for each phase, in order:
    /// ramp, reply, hold, check, rate, receive, slow, storm, drain
    #[arg(long, value_name = "PHASE", conflicts_with_all = ["connect_rate", "messages", "hold", "trickle"])]
    phase: Vec<Phase>,
    /// File with the scenario in TOML: a [[phase]] for each phase, with e.g. do = 'ramp', over_s = 10
    #[arg(long, value_name = "FILE", conflicts_with_all = ["phase", "connect_rate", "messages", "hold", "trickle"])]
    scenario: Option<PathBuf>,
    /// Connects per second [default: as fast as they are accepted]
    #[arg(long, value_name = "PER_SECOND", value_parser = value_parser!(u32).range(1..))]
    connect_rate: Option<u32>,
    /// Most connects, replies and closes in progress at a time
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = value_parser!(u32).range(1..=1_000_000))]
    in_flight: u32,
    /// Length of the messages: 20, a range 20-2000, exp:MEAN, or lengths with weights 64:90,4096:10
    #[arg(long, value_name = "BYTES", default_value = "20")]
    payload: Sizes,
    /// Messages on each connection before the hold, one after the other
    #[arg(long, value_name = "K", default_value_t = 1)]
    messages: u16,
    /// Time to hold all connections
    #[arg(long, value_name = "SECONDS", default_value_t = 0.0, value_parser = seconds)]
    hold: f64,
    /// Messages per second, over all connections, during the hold
    #[arg(long, value_name = "PER_SECOND", default_value_t = 1000.0, value_parser = per_second)]
    trickle: f64,
    /// Address to connect from, or a range FIRST-LAST; may be repeated [default: as many of 127.0.0.0/8 as needed]
    #[arg(long, value_name = "ADDRESS", value_parser = source)]
    source: Vec<Sources>,
    /// Time to connect and upgrade
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = value_parser!(u32).range(1..=86_400))]
    connect_timeout_s: u32,
    /// Time until a reply
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = value_parser!(u32).range(1..=3_600))]
    reply_timeout_s: u32,
    /// Longest reply of an http:// target; a longer one ends its connection
    #[arg(long, value_name = "BYTES", default_value_t = 16 << 20, value_parser = value_parser!(u32).range(1..=1 << 30))]
    max_reply_bytes: u32,
    /// Time to close connections after Ctrl-C; then they are reset, as all are after a second Ctrl-C
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = value_parser!(u32).range(0..=86_400))]
    interrupt_s: u32,
    /// Server process on this host, whose memory and CPU time are read [default: ask /stats, if it is a Steadfast
    /// server]
    #[arg(long, value_name = "PID")]
    server_pid: Option<u32>,
    /// Subprotocol to offer; may be repeated, in order of preference
    #[arg(long, value_name = "NAME")]
    subprotocol: Vec<String>,
    /// Origin, as a web page would send it
    #[arg(long, value_name = "ORIGIN")]
    origin: Option<String>,
    /// Additional field for each request, as 'Name: value'; may be repeated
    #[arg(long, value_name = "FIELD")]
    header: Vec<String>,
    /// Part of the flood that this host runs, such as 1/4; --connections and rates are those of all hosts
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
    /// Time to start, so that all shards start together: seconds since 1970, or 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = start_at)]
    start_at: Option<SystemTime>,
    /// Allow targets that are neither loopback nor private addresses: they are mine
    #[arg(long)]
    i_own_this_host: bool,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    compression: CompressionArgs,
}

#[derive(Clone, Debug)]
struct Sources(Vec<IpAddr>);

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.0..=1e9).contains(&value) => Ok(value),
        _ => Err("expected a number from 0 to 1000000000, such as 30 or 0.5".into()),
    }
}

fn per_second(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value == 0.0 || (0.001..=1e9).contains(&value) => Ok(value),
        _ => Err("expected 0, or a number from 0.001 to 1000000000".into()),
    }
}

fn start_at(text: &str) -> Result<SystemTime, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.0..1e11).contains(seconds));
    let time = match seconds {
        Some(seconds) => UNIX_EPOCH + Duration::from_secs_f64(seconds),
        None => humantime::parse_rfc3339(text)
            .map_err(|_| "expected seconds since 1970, such as $(($(date +%s) + 10)), or 2026-01-31T12:00:00Z")?,
    };
    // A shard that is a little late starts at once: a missing shard would be worse.
    if time + MOST_LATE < SystemTime::now() {
        let now = SystemTime::now();
        // A clock after the year 9999 has no such form.
        let now =
            http_date(now).map_or("a later year".to_owned(), |_| humantime::format_rfc3339_seconds(now).to_string());
        return Err(format!("that is long ago; it is {now}"));
    }
    Ok(time)
}

fn source(text: &str) -> Result<Sources, String> {
    let right = || "expected an address such as 10.0.0.1, or a range 10.0.0.1-10.0.0.9".to_owned();
    let Some((first, last)) = text.split_once('-') else {
        return text.parse().map(|one| Sources(vec![one])).map_err(|_| right());
    };
    let first: Ipv4Addr = first.parse().map_err(|_| right())?;
    let last: Ipv4Addr = last.parse().map_err(|_| right())?;
    let range = u32::from(first)..=u32::from(last);
    if range.is_empty() || range.end() - range.start() > 0xffff {
        return Err(format!("the range must be ascending and have at most 65536 addresses; {}", right()));
    }
    Ok(Sources(range.map(|address| IpAddr::V4(address.into())).collect()))
}

impl Args {
    /// Makes a scenario from the flags: connect, send, hold, check, close.
    fn scenario(&self) -> Result<Scenario, String> {
        if let Some(path) = &self.scenario {
            let wrong = |error: &dyn fmt::Display| format!("--scenario {}: {error}", path.display());
            let text = read_bounded(path, MAX_SCENARIO_BYTES).map_err(|error| wrong(&error))?;
            let text = String::from_utf8(text).map_err(|_| wrong(&"it is not UTF-8"))?;
            return text.parse().map_err(|error| wrong(&error));
        }
        if !self.phase.is_empty() {
            return Ok(Scenario { phases: self.phase.clone() });
        }
        let per_s = self.connect_rate.map(f64::from);
        Ok(Scenario {
            phases: vec![
                Phase::Ramp { connections: None, per_s, over_s: None, steps: None },
                Phase::Reply { messages: self.messages },
                Phase::Hold { for_s: self.hold, trickle_per_s: self.trickle },
                Phase::Check {},
                Phase::Drain { over_s: None },
            ],
        })
    }

    fn into_config(self) -> Result<Config, String> {
        request_lines(self.origin.as_deref(), &self.subprotocol, &self.header).map_err(|bad| setting(&bad))?;
        let scenario = self.scenario()?;
        scenario.planned(self.connections).map_err(|error| match &self.scenario {
            Some(path) => format!("--scenario {}: {error}", path.display()),
            None => format!("--phase: {error}"),
        })?;
        Ok(Config {
            scenario,
            in_flight: self.in_flight,
            payload: self.payload,
            compression: self.compression.into_settings(),
            subprotocols: self.subprotocol,
            origin: self.origin,
            fields: self.header,
            sources: self.source.into_iter().flat_map(|sources| sources.0).collect(),
            connect_timeout_s: self.connect_timeout_s,
            reply_timeout_s: self.reply_timeout_s,
            max_reply_bytes: self.max_reply_bytes,
            interrupt_s: self.interrupt_s,
            server_pid: self.server_pid,
            shard: self.shard,
            start_at: self.start_at,
            owns_targets: self.i_own_this_host,
            ..Config::new(self.targets, self.connections)
        })
    }
}

/// Counts signals: the first one closes connections and reports, the second one reports at once, the third one ends the
/// process.
fn count_interrupts() -> io::Result<Arc<AtomicU32>> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let interrupts = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&interrupts);
    let body = move || {
        for _ in signals.forever() {
            if counted.fetch_add(1, Ordering::Relaxed) >= 2 {
                process::exit(EXIT_INTERRUPTED);
            }
        }
    };
    thread::Builder::new().name("flood-signals".into()).stack_size(64 << 10).spawn(body)?;
    Ok(interrupts)
}

pub(super) fn run(args: Args) -> ExitCode {
    if let [first, rest @ ..] = &args.targets[..]
        && let Some(other) = rest.iter().find(|target| target.scheme != first.scheme)
    {
        return refuse(&format!("{first} and {other} differ in their scheme; expected one scheme for all"));
    }
    let output = args.output.clone();
    let config = match args.into_config() {
        Ok(config) => config,
        Err(error) => return refuse(&error),
    };
    // Checked before the flood, not after it. A scenario that cannot be planned is refused by the flood itself.
    if let Ok(scenario) = config.scenario.planned(config.connections)
        && let Err(error) = output.check(scenario.names().iter().map(String::as_str))
    {
        return refuse(&error);
    }
    if let Err(error) = output.try_files() {
        return refuse(&error);
    }
    let interrupts = match count_interrupts() {
        Ok(interrupts) => interrupts,
        Err(error) => return refuse(&format!("cannot handle signals: {error}")),
    };
    super::doctor::warn_client(&config);
    if let Some(start_at) = config.start_at {
        tell(&match SystemTime::now().duration_since(start_at) {
            Ok(late) => format!("steadfast: warning: starts {:.1} s late", late.as_secs_f64()),
            Err(_) => format!("starts at {}", humantime::format_rfc3339_millis(start_at)),
        });
    }
    let mut display = Display::new(&config);
    let report = match flood::run(&config, &interrupts, &mut |progress| display.show(progress)) {
        Ok(report) => report,
        Err(error) => return refuse(&error),
    };
    display.clear();
    output.conclude(report)
}
