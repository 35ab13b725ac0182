//! The command line: flags into plain configurations, one file a command. Text for people lives here only.

mod compression;
mod connect;
mod doctor;
mod escape;
mod flood;
mod report;
mod serve;

use clap::{Parser, Subcommand};
use std::fmt::Display;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use steadfast::client::BadSetting;
use steadfast::net::room;

/// What was asked cannot be done: a flag out of range, an address in use, a limit too low.
const EXIT_USAGE: u8 = 2;

#[derive(Debug, Parser)]
#[command(
    name = "steadfast",
    version,
    about = "Holds a million WebSocket connections on one Linux host, and proves it"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve HTTP/1.1 and WebSocket, or raw TCP, to as many connections as asked for
    Serve(serve::Args),
    /// Open connections to any server, check every reply, hold, close, and account for each
    Flood(flood::Args),
    /// Show, judge and merge the reports of floods
    Report(report::Args),
    /// Talk to a WebSocket server: lines are sent as messages, and what comes is shown
    Connect(connect::Args),
    /// Tell how many connections this host holds, what stops it there, and what would change that
    Doctor(doctor::Args),
}

/// The stack of the thread that does all the work; what it does not touch costs nothing.
const STACK_BYTES: usize = 2 << 20;

/// Runs in a thread of its own, since RLIMIT_STACK (ulimit -s) may leave the first one too little.
pub(crate) fn start() -> ExitCode {
    room::save_address_space();
    match thread::Builder::new().name("steadfast".into()).stack_size(STACK_BYTES).spawn(run) {
        // A panic has said what it was; the binary has ended by then.
        Ok(running) => running.join().unwrap_or(ExitCode::FAILURE),
        Err(error) => refuse(&format_args!(
            "cannot start a thread with a stack of {} MiB: {error}; raise RLIMIT_AS (ulimit -v) or RLIMIT_NPROC (ulimit -u)",
            STACK_BYTES >> 20
        )),
    }
}

/// Parses the command line and does what it says.
fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // Help and version are no errors, and are printed as they are.
        Err(error) if !error.use_stderr() => error.exit(),
        Err(error) => return refuse(&one_line(&error.to_string())),
    };
    match cli.command {
        Command::Serve(args) => serve::run(args),
        Command::Flood(args) => flood::run(args),
        Command::Report(args) => report::run(args),
        Command::Connect(args) => connect::run(args),
        Command::Doctor(args) => doctor::run(args),
    }
}

/// What was wrong, without the usage that follows it.
fn one_line(error: &str) -> String {
    let lines =
        error.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"));
    let words: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    let text = words.join(" ");
    text.strip_prefix("error: ").unwrap_or(&text).to_owned() + "; --help tells what there is"
}

/// The flag of a client's request that is wrong, by its name.
fn setting(bad: &BadSetting) -> String {
    match bad {
        BadSetting::Field(field, bad) => format!("--header {field:?}: {bad}"),
        BadSetting::Origin(_) | BadSetting::TwoOrigins => format!("--origin: {bad}"),
        BadSetting::Subprotocol(_) => format!("--subprotocol: {bad}"),
    }
}

/// Reads a file of at most `most` bytes. A name may be that of a device, which has no end.
fn read_bounded(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::other(format!("it is longer than {most} bytes")));
    }
    Ok(bytes)
}

/// One clear line on stderr, and the exit code for what cannot be done as asked.
fn refuse(error: &dyn Display) -> ExitCode {
    complain(error);
    ExitCode::from(EXIT_USAGE)
}

fn complain(error: &dyn Display) {
    tell(&format_args!("steadfast: {error}"));
}

/// Writes one line to stderr, in one piece. All that is said there passes here, and what comes from elsewhere is escaped;
/// that stderr is closed is no reason to end.
fn tell(line: &dyn Display) {
    let line = escape::escaped(&line.to_string());
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}
