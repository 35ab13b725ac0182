//! `steadfast flood`.

use super::compression::CompressionArgs;
use clap::{Args as ClapArgs, value_parser};
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::fs;
use std::io::{IsTerminal, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};
use steadfast::flood::ledger::{STAGES, Stage};
use steadfast::flood::report::{Phase, Report};
use steadfast::flood::target::Target;
use steadfast::flood::{self, Config, Progress};

/// How often a plain line tells where the flood stands, where there is no terminal to draw a bar on.
const LINE_EVERY: Duration = Duration::from_secs(2);

#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// ws://HOST:PORT/PATH, http://HOST:PORT/PATH or tcp://HOST:PORT; a port may be a range FIRST-LAST
    #[arg(value_name = "URL", required = true)]
    targets: Vec<Target>,
    /// How many connections to open
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = value_parser!(u32).range(1..=100_000_000))]
    connections: u32,
    /// Connects a second [default: as fast as they are accepted]
    #[arg(long, value_name = "PER_SECOND", value_parser = value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// The most connects, replies and closes under way at a time
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = value_parser!(u32).range(1..=1_000_000))]
    in_flight: u32,
    /// Length of a message
    #[arg(long, value_name = "BYTES", default_value_t = 20, value_parser = value_parser!(u32).range(1..=1 << 30))]
    payload: u32,
    /// Messages of each connection before the hold, one after the other
    #[arg(long, value_name = "K", default_value_t = 1)]
    messages: u16,
    /// How long to hold all connections
    #[arg(long, value_name = "SECONDS", default_value_t = 0.0, value_parser = seconds)]
    hold: f64,
    /// Messages a second, over all connections, while they are held
    #[arg(long, value_name = "PER_SECOND", default_value_t = 1000.0, value_parser = per_second)]
    trickle: f64,
    /// Address to connect from, or a range FIRST-LAST; may be repeated [default: as many of 127.0.0.0/8 as it takes]
    #[arg(long, value_name = "ADDRESS", value_parser = source)]
    source: Vec<Sources>,
    /// Time to connect and be upgraded
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = value_parser!(u32).range(1..=86_400))]
    connect_timeout_s: u32,
    /// Time to answer a message
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = value_parser!(u32).range(1..=3_600))]
    reply_timeout_s: u32,
    /// Process on this host whose memory and CPU time are the server's [default: /stats is asked, if it is ours]
    #[arg(long, value_name = "PID")]
    server_pid: Option<u32>,
    /// Write the report there, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    compression: CompressionArgs,
}

#[derive(Clone, Debug)]
struct Sources(Vec<IpAddr>);

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.0..=1e9).contains(&value) => Ok(value),
        _ => Err("right would be a number from 0 to 1000000000, such as 30 or 0.5".into()),
    }
}

fn per_second(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value == 0.0 || (0.001..=1e9).contains(&value) => Ok(value),
        _ => Err("right would be 0, or a number from 0.001 to 1000000000".into()),
    }
}

fn source(text: &str) -> Result<Sources, String> {
    let right = || "right would be an address such as 10.0.0.1, or a range 10.0.0.1-10.0.0.9".to_owned();
    let Some((first, last)) = text.split_once('-') else {
        return text.parse().map(|one| Sources(vec![one])).map_err(|_| right());
    };
    let first: Ipv4Addr = first.parse().map_err(|_| right())?;
    let last: Ipv4Addr = last.parse().map_err(|_| right())?;
    let range = u32::from(first)..=u32::from(last);
    if range.is_empty() || range.end() - range.start() > 0xffff {
        return Err(format!("the range has to go up, by at most 65535 addresses; {}", right()));
    }
    Ok(Sources(range.map(|address| IpAddr::V4(address.into())).collect()))
}

pub(super) fn run(args: Args) -> ExitCode {
    if let [first, rest @ ..] = &args.targets[..]
        && let Some(other) = rest.iter().find(|target| target.scheme != first.scheme)
    {
        return super::refuse(&format!(
            "{first} and {other} differ in their scheme; right would be one scheme for all"
        ));
    }
    // Found out before the flood, not after it.
    if let Some(path) = &args.json
        && let Err(error) = fs::write(path, "")
    {
        return super::refuse(&format!("--json {}: {error}; name a file that can be written", path.display()));
    }
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // The first one closes and reports; the second one, which finds the flag set, means now.
        let registered = signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&interrupted))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&interrupted)));
        if let Err(error) = registered {
            return super::refuse(&format!("cannot handle signals: {error}"));
        }
    }
    let config = Config {
        targets: args.targets,
        connections: args.connections,
        rate: args.rate,
        in_flight: args.in_flight,
        payload_bytes: args.payload as usize,
        compression: args.compression.into_settings(),
        messages: args.messages,
        hold_s: args.hold,
        trickle_per_s: args.trickle,
        sources: args.source.into_iter().flat_map(|sources| sources.0).collect(),
        connect_timeout_s: args.connect_timeout_s,
        reply_timeout_s: args.reply_timeout_s,
        server_pid: args.server_pid,
    };
    let mut display = Display::new(&config);
    let report = match flood::run(&config, &interrupted, &mut |progress| display.show(progress)) {
        Ok(report) => report,
        Err(error) => return super::refuse(&error),
    };
    display.clear();
    if let Some(path) = &args.json {
        let written = serde_json::to_string_pretty(&report)
            .map_err(std::io::Error::other)
            .and_then(|text| fs::write(path, text + "\n"));
        if let Err(error) = written {
            super::complain(&format!("--json {}: {error}", path.display()));
            return ExitCode::FAILURE;
        }
    }
    // The report is written; a terminal that has gone does not change how the flood went.
    let _ = std::io::stdout().write_all(table(&report).as_bytes());
    if report.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A bar on a terminal, a line every other second elsewhere; both on stderr.
struct Display {
    bar: Option<ProgressBar>,
    planned: u64,
    hold_s: f64,
    last_line: Option<Instant>,
    phase: &'static str,
}

impl Display {
    fn new(config: &Config) -> Self {
        let planned = u64::from(config.connections);
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(planned);
            // The template is a constant, and known to be right.
            if let Ok(style) = ProgressStyle::with_template("{wide_bar} {msg}") {
                bar.set_style(style);
            }
            bar
        });
        Self { bar, planned, hold_s: config.hold_s, last_line: None, phase: "" }
    }

    fn show(&mut self, progress: &Progress) {
        let new_phase = self.phase != progress.phase;
        self.phase = progress.phase;
        let counts = &progress.counts;
        let (done, what) = match progress.phase {
            "connect" => (counts.opened, "opened"),
            "reply" => (counts.answered, "answered"),
            "check" => (counts.held, "alive"),
            "close" => (counts.in_stage(Stage::Closed), "closed"),
            _ => (progress.elapsed.as_secs_f64() as u64, "seconds held"),
        };
        let elapsed_s = progress.elapsed.as_secs_f64();
        let rate = if elapsed_s > 0.0 { (done as f64 / elapsed_s) as u64 } else { 0 };
        let open = self.planned
            - counts.in_stage(Stage::Planned)
            - counts.in_stage(Stage::Closed)
            - counts.in_stage(Stage::Lost);
        let lost = counts.in_stage(Stage::Lost);
        let held = format!("{} held, {} lost", HumanCount(open), HumanCount(lost));
        if let Some(bar) = &self.bar {
            let (length, of) = match progress.phase {
                "hold" => (self.hold_s.ceil() as u64, format!("{done} of {} s", self.hold_s)),
                _ => (self.planned, format!("{} {what}, {}/s", HumanCount(done), HumanCount(rate))),
            };
            bar.update(|state| {
                state.set_len(length);
                state.set_pos(done);
            });
            bar.set_message(format!("{}: {of}; {held}", progress.phase));
            return;
        }
        if !new_phase && self.last_line.is_some_and(|last| last.elapsed() < LINE_EVERY) {
            return;
        }
        self.last_line = Some(Instant::now());
        let stages: Vec<String> = STAGES
            .iter()
            .zip(counts.stages)
            .filter(|(_, count)| *count > 0)
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        super::tell(&format!("{} {elapsed_s:.1} s: {done} {what}; {}", progress.phase, stages.join(", ")));
    }

    fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn table(report: &Report) -> String {
    let connections = &report.connections;
    let mut text = format!("target       {}\n", report.target);
    let counts = [
        ("planned", connections.planned),
        ("opened", connections.opened),
        ("answered", connections.answered),
        ("held", connections.held),
        ("closed", connections.closed),
        ("lost", connections.lost),
    ];
    for (name, count) in counts {
        text += &format!("{name:<12} {:>12}\n", HumanCount(count).to_string());
    }
    for (cause, count) in &report.lost_by_cause {
        text += &format!("  {:>10} {cause}\n", HumanCount(*count).to_string());
    }
    text += "\n             seconds  per second        p50        p90        p99      p99.9        max\n";
    let phases =
        [("connect", &report.connect), ("reply", &report.reply), ("hold", &report.hold), ("alive", &report.alive)];
    for (name, phase) in phases {
        text += &latency_line(name, phase);
    }
    text += &format!("close        {:>7.1}\n", report.close_seconds);
    let figure =
        |value: Option<f64>, unit: &str| value.map_or_else(|| "-".into(), |value| format!("{value:.0} {unit}"));
    text += "\neach connection         user space       kernel   CPU to the last reply\n";
    let opened = connections.opened.max(1) as f64;
    for (name, memory, cpu) in
        [("server", &report.memory.server, &report.cpu.server), ("client", &report.memory.client, &report.cpu.client)]
    {
        text += &format!(
            "  {name:<20} {:>12} {:>12}   {:>21}\n",
            figure(memory.user_bytes_per_connection, "B"),
            figure(memory.kernel_bytes_per_connection, "B"),
            figure(cpu.map(|cpu| cpu.total_s() * 1e6 / opened), "us"),
        );
    }
    text += &format!(
        "\n{} replies, each checked by {}; {} workers\n",
        HumanCount(report.replies),
        report.reply_check,
        report.workers
    );
    text += if report.ok {
        "all opened, answered, held and closed\n"
    } else {
        "NOT all opened, answered, held and closed\n"
    };
    text
}

fn latency_line(name: &str, phase: &Phase) -> String {
    let cell = |value: Option<u64>| match value {
        None => "-".to_owned(),
        Some(us) if us < 10_000 => format!("{us} us"),
        Some(us) if us < 10_000_000 => format!("{} ms", us / 1000),
        Some(us) => format!("{} s", us / 1_000_000),
    };
    format!(
        "{name:<12} {:>7.1} {:>11} {:>10} {:>10} {:>10} {:>10} {:>10}\n",
        phase.seconds,
        HumanCount(phase.per_second as u64).to_string(),
        cell(phase.p50_us),
        cell(phase.p90_us),
        cell(phase.p99_us),
        cell(phase.p99_9_us),
        cell(phase.max_us),
    )
}
