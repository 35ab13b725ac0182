//! The command line: turns flags into configurations, one file for each command. Texts for people are only here.

mod compression;
mod connect;
mod doctor;
mod flood;
mod io;
mod report;
mod serve;

use clap::{Parser, Subcommand};
use io::refuse;
use std::process::ExitCode;
use std::thread;
use steadfast::server::save_address_space;

#[derive(Debug, Parser)]
#[command(
    name = "steadfast",
    version,
    about = "Holds a million WebSocket connections on one Linux host, and checks each of them"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve HTTP/1.1 and WebSocket, or raw TCP
    Serve(serve::Args),
    /// Open connections to any server, check every reply, hold and close them, and account for each
    Flood(flood::Args),
    /// Show, check and merge the reports of floods
    Report(report::Args),
    /// Connect to a WebSocket server: send lines as messages, and print received messages
    Connect(connect::Args),
    /// Report how many connections this host holds, which limit stops it there, and how to raise it
    Doctor(doctor::Args),
}

/// The stack of the main thread; untouched pages take no memory.
const STACK_BYTES: usize = 2 << 20;

/// Runs the program in a thread of its own, since RLIMIT_STACK (ulimit -s) may leave the initial thread too little
/// stack.
pub(crate) fn start() -> ExitCode {
    save_address_space();
    match thread::Builder::new().name("steadfast".into()).stack_size(STACK_BYTES).spawn(run) {
        // After a panic the process has ended already, with a message.
        Ok(running) => running.join().unwrap_or(ExitCode::FAILURE),
        Err(error) => refuse(&format_args!(
            "cannot start a thread with a stack of {} MiB: {error}; raise RLIMIT_AS (ulimit -v) or RLIMIT_NPROC (ulimit -u)",
            STACK_BYTES >> 20
        )),
    }
}

/// Parses the command line and runs the command.
fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // Help and version are not errors, and are printed as they are.
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

/// Returns the error on one line, without the usage that follows it.
fn one_line(error: &str) -> String {
    let lines =
        error.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"));
    let words: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    let text = words.join(" ");
    text.strip_prefix("error: ").unwrap_or(&text).to_owned() + "; see --help"
}
