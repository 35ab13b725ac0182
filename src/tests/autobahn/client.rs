//! A client for Autobahn|Testsuite's fuzzing server: [`steadfast::client::Client`], which echoes.
//!
//! ```text
//! autobahn_client ADDRESS AGENT [takeover]
//! ```
//!
//! It asks for the number of cases, opens a connection for each of them in turn, sends back every message until the connection
//! ends, and finally has the server write its reports. The server judges each case.

use std::env;
use std::process::ExitCode;
use std::time::Duration;
use steadfast::client::{Client, Config, Ending, Heard};
use steadfast::proto::extension::Compression;
use steadfast::proto::session::{Limits, MessageKind};

/// The server is silent while it writes its reports.
const MAX_SILENCE: Duration = Duration::from_secs(300);

/// Time for the server to close a connection that has ended.
const MAX_FINISH: Duration = Duration::from_secs(5);

/// What all connections have in common.
struct Suite {
    address: String,
    agent: String,
    compression: Compression,
}

impl Suite {
    /// Opens a connection, passes each message to `on_message`, and returns how the connection ended.
    fn run(&self, path: &str, mut on_message: impl FnMut(&mut Client, MessageKind, Vec<u8>)) -> Result<Ending, String> {
        let failed = |error: &dyn std::fmt::Display| format!("{path}: {error}");
        let url = format!("ws://{}{path}", self.address).parse().map_err(|bad| failed(&bad))?;
        let config = Config {
            // The suite sends messages of 16 MiB, and one in 65,537 fragments, the last of them empty.
            limits: Limits { max_message_bytes: 16 << 20, max_fragments: (1 << 16) + 1, ..Limits::default() },
            compression: Some(self.compression),
            connect_timeout_s: MAX_SILENCE.as_secs() as u32,
            ..Config::to(url)
        };
        let mut client = Client::connect(&config).map_err(|error| failed(&error))?;
        loop {
            match client.receive(MAX_SILENCE) {
                Some(Heard::Message(kind, payload)) => on_message(&mut client, kind, payload),
                Some(Heard::Ping(_) | Heard::Pong(_)) => {}
                Some(Heard::Ended(ending)) => {
                    println!("{path}: {ending:?}");
                    client.finish(MAX_FINISH);
                    return Ok(ending);
                }
                None => return Err(failed(&"the server is silent")),
            }
        }
    }

    fn count(&self) -> Result<u32, String> {
        let mut text = String::new();
        self.run("/getCaseCount", |_, _, payload| text = String::from_utf8_lossy(&payload).into_owned())?;
        text.trim().parse().map_err(|error| format!("{text:?} is no number of cases: {error}"))
    }

    fn run_all(&self) -> Result<(), String> {
        let agent = &self.agent;
        for case in 1..=self.count()? {
            // However it ends: that may be what the case is about.
            self.run(&format!("/runCase?case={case}&agent={agent}"), |client, kind, payload| {
                client.send(kind, &payload);
            })?;
        }
        match self.run(&format!("/updateReports?agent={agent}"), |_, _, _| {})? {
            Ending::ByPeer { .. } => Ok(()),
            ending => Err(format!("no reports: {ending:?}")),
        }
    }
}

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let (address, agent, context_takeover) = match &args[..] {
        [address, agent] => (address, agent, false),
        [address, agent, word] if word == "takeover" => (address, agent, true),
        _ => {
            eprintln!("autobahn_client ADDRESS AGENT [takeover]");
            return ExitCode::from(2);
        }
    };
    // All that can be compressed is: the suite's messages are short.
    let compression = Compression { context_takeover, min_message_bytes: 1, ..Compression::default() };
    match (Suite { address: address.clone(), agent: agent.clone(), compression }).run_all() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("autobahn_client: {why}");
            ExitCode::FAILURE
        }
    }
}
