//! A client for Autobahn|Testsuite's fuzzing server: an ordinary driver of an ordinary reactor, which echoes.
//!
//! ```text
//! autobahn_client ADDRESS AGENT [takeover]
//! ```
//!
//! It asks how many cases there are, opens one connection after the other for each of them, sends back every message
//! until the connection ends, and at last has the server write its reports. What a case was worth the server judges.

use socket2::SockAddr;
use std::env;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use steadfast::net::conn::{Cause, Conn};
use steadfast::net::counters::Counters;
use steadfast::net::driver::Driver;
use steadfast::net::mailbox::Mailbox;
use steadfast::net::reactor::{ConnectionLimit, Core, Reactor, Settings};
use steadfast::net::sweep::Deadlines;
use steadfast::proto::extension::Compression;
use steadfast::proto::session::{Event, Limits, MessageKind, Session};
use steadfast::proto::upgrade::ClientHandshake;

/// What one connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Count,
    Case(u32),
    Report,
    End,
}

struct Client {
    address: SocketAddr,
    agent: String,
    compression: Compression,
    /// The last case, once the server has said how many it has.
    last: u32,
    step: Step,
    /// Whether the server has said how many cases it has.
    counted: bool,
    failures: Sender<String>,
}

impl Client {
    fn path(&self) -> String {
        let agent = &self.agent;
        match self.step {
            Step::Count => "/getCaseCount".to_owned(),
            Step::Case(case) => format!("/runCase?case={case}&agent={agent}"),
            Step::Report | Step::End => format!("/updateReports?agent={agent}"),
        }
    }

    fn after(&self, step: Step) -> Step {
        match step {
            Step::Count if self.last > 0 => Step::Case(1),
            Step::Case(case) if case < self.last => Step::Case(case + 1),
            Step::Count | Step::Case(_) => Step::Report,
            Step::Report | Step::End => Step::End,
        }
    }

    fn give_up(&mut self, why: String) {
        self.step = Step::End;
        // Whoever does not listen any more has ended already.
        let _ = self.failures.send(why);
    }
}

impl Driver for Client {
    type State = ();
    type Command = ();

    fn connected(&mut self, conn: &mut Conn<'_, ()>) {
        let (host, path) = (self.address.to_string(), self.path());
        let compression = Some(&self.compression);
        conn.upgrade(&ClientHandshake { host: &host, path: &path, compression, ..ClientHandshake::default() });
    }

    fn message(&mut self, conn: &mut Conn<'_, ()>, kind: MessageKind, payload: &[u8]) {
        match self.step {
            Step::Case(_) => drop(conn.echo(kind, payload)),
            Step::Count => match std::str::from_utf8(payload).ok().and_then(|text| text.trim().parse().ok()) {
                Some(cases) => {
                    self.last = cases;
                    self.counted = true;
                }
                None => self.give_up(format!("{payload:?} is no number of cases")),
            },
            Step::Report | Step::End => {}
        }
    }

    fn event(&mut self, _link: &mut Conn<'_, ()>, _event: Event<'_>) {}

    fn ended(&mut self, _link: &mut Conn<'_, ()>, cause: Cause) {
        println!("{:?}: {cause:?}", self.step);
        match (self.step, cause) {
            // Without a server there is no next case; every other end is what a case may be about.
            (step, Cause::Connect(_) | Cause::Local(_)) => self.give_up(format!("{step:?}: {cause:?}")),
            (Step::Count, _) if !self.counted => self.give_up(format!("no number of cases: {cause:?}")),
            (Step::Report, cause) if !matches!(cause, Cause::Closed(_)) => {
                self.give_up(format!("no reports: {cause:?}"))
            }
            (step, _) => self.step = self.after(step),
        }
    }

    fn end_iteration(&mut self, core: &mut Core<()>) {
        if core.connections() > 0 {
            return;
        }
        if self.step == Step::End {
            return core.stop();
        }
        if let Err(error) = core.connect(&SockAddr::from(self.address), None, Session::raw(), ()) {
            self.give_up(format!("{:?}: {error}", self.step));
            core.stop();
        }
    }
}

/// The suite sends messages of 16 MiB, and one in 65,537 fragments, the last of them empty.
fn settings(compression: Compression) -> Settings {
    let limits = Limits { max_message_bytes: 16 << 20, max_fragments: (1 << 16) + 1, ..Limits::default() };
    // A ping of ours would be taken for an answer; and the server is silent while it writes its reports.
    let deadlines = Deadlines { connect_s: 300, ping_s: u32::MAX, idle_s: u32::MAX, ..Deadlines::default() };
    Settings { limits, deadlines, compression, ..Settings::new(1, ConnectionLimit::new(1)) }
}

fn run(address: &str, agent: &str, context_takeover: bool) -> Result<(), String> {
    let address = address.parse().map_err(|error| format!("{address:?} is no ADDRESS:PORT: {error}"))?;
    let (failures, failed) = channel();
    let agent = agent.to_owned();
    // All that can be compressed is: the suite's messages are short.
    let compression = Compression { context_takeover, min_message_bytes: 1, ..Compression::default() };
    let client = Client { address, agent, compression, last: 0, step: Step::Count, counted: false, failures };
    let mailbox = Mailbox::new().map_err(|error| format!("cannot make a wake-up: {error}"))?;
    // A reactor without connections sleeps until it has mail.
    mailbox.send(()).map_err(|error| format!("cannot ring: {error}"))?;
    let reactor = Reactor::new(client, settings(compression), Arc::new(Counters::default()), mailbox);
    reactor.and_then(Reactor::run).map_err(|error| format!("epoll: {error}"))?;
    failed.try_recv().map_or(Ok(()), Err)
}

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let (address, agent, takeover) = match &args[..] {
        [address, agent] => (address, agent, false),
        [address, agent, word] if word == "takeover" => (address, agent, true),
        _ => {
            eprintln!("autobahn_client ADDRESS AGENT [takeover]");
            return ExitCode::from(2);
        }
    };
    match run(address, agent, takeover) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("autobahn_client: {why}");
            ExitCode::FAILURE
        }
    }
}
