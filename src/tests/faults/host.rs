//! The server under the hostile kernel, what was injected, and what has to be true when all clients are gone.

use crate::peer::{Failed, Outcome, PATIENCE, Peer, ensure, wrong};
use crate::plan::Plan;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const BINARY: &str = env!("CARGO_BIN_EXE_steadfast");

/// The names of what is injected, in the order of the library's report.
pub(crate) const KINDS: [&str; 16] = [
    "again",
    "storm",
    "shorten",
    "eintr",
    "reset",
    "accept_error",
    "accept_aborted",
    "enospc",
    "single",
    "shuffle",
    "duplicate",
    "spurious",
    "delay",
    "clock",
    "owed",
    "paid",
];
const COUNTS: usize = 32;

/// Compiles the library, once for each run of the tests.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tests/faults/kernel.c");
        let built = scratch("kernel").with_extension("so");
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-o"]).arg(&built).arg(source).arg("-ldl");
        assert!(cc.status().expect("a C compiler (cc)").success(), "the fault library does not compile");
        built
    })
}

/// A path of its own below target/.
pub(crate) fn scratch(name: &str) -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("faults-{}-{number}-{name}", std::process::id()))
}

/// What the library has injected into one process.
#[derive(Debug)]
pub(crate) struct Report(PathBuf);

impl Report {
    fn new() -> Self {
        let path = scratch("report");
        File::create(&path).expect("a file");
        Self(path)
    }

    fn bytes(&self) -> Vec<u8> {
        fs::read(&self.0).expect("a report")
    }

    /// How often each kind was injected.
    pub(crate) fn count(&self, kind: &str) -> u64 {
        let at = KINDS.iter().position(|name| *name == kind).expect("a kind");
        self.bytes().get(at * 8..at * 8 + 8).map_or(0, |word| u64::from_ne_bytes(word.try_into().expect("eight bytes")))
    }

    /// The clients' ports of the connections that were ended.
    pub(crate) fn fatal(&self) -> BTreeSet<u16> {
        let bytes = self.bytes();
        let Some(entries) = bytes.get(COUNTS * 8..) else { return BTreeSet::new() };
        let (count, entries) = entries.split_at(8);
        let count = u64::from_ne_bytes(count.try_into().expect("eight bytes")) as usize;
        entries.chunks_exact(4).take(count).map(|entry| u16::from_ne_bytes([entry[0], entry[1]])).collect()
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// `steadfast` under the library.
fn hostile(faults: &str, report: &Report, is_small: bool) -> Command {
    // A table for each reactor, where one is too small.
    let limit = if is_small { "ulimit -n 128\n" } else { "" };
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("{limit}export LD_PRELOAD=\"$1\"; shift; exec \"$0\" \"$@\""));
    command.arg(BINARY).arg(library()).env("FAULTS", faults).env("FAULTS_REPORT", &report.0).stdin(Stdio::null());
    command
}

/// A server.
#[derive(Debug)]
pub(crate) struct Serve {
    child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) report: Report,
    /// Descriptors of each thread, which may have a table of its own, before there was a connection.
    descriptors: BTreeMap<String, usize>,
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Serve {
    pub(crate) fn start(plan: &Plan, arguments: &[&str]) -> Outcome<Self> {
        let report = Report::new();
        let mut command = hostile(&plan.server, &report, plan.has_own_tables);
        // A lost edge must not be covered by a deadline.
        command.args(["serve", "--listen", "127.0.0.1:0", "--head-timeout-s", "600"]);
        command.args(["--close-timeout-s", "600", "--stalled-timeout-s", "600", "--keep-alive-timeout-s", "600"]);
        // As many reactors as that takes, with a table each.
        command.args(if plan.has_own_tables { ["--max-connections", "64"] } else { ["--reactors", "2"] });
        command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("a child");
        let mut address = None;
        for line in BufReader::new(child.stdout.take().expect("its stdout")).lines().map_while(Result::ok) {
            if let Some(rest) = line.strip_prefix("listening on ") {
                address = rest.split(' ').next().and_then(|address| address.parse().ok());
            }
            if line == "ready" {
                break;
            }
        }
        let Some(address) = address else {
            let said = child.wait_with_output().expect("what it said");
            return wrong(format!("did not start: {}", String::from_utf8_lossy(&said.stderr)));
        };
        let mut serve = Self { child, address, report, descriptors: BTreeMap::new() };
        serve.descriptors = serve.open();
        Ok(serve)
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("sh").args(["-c", "kill -s \"$0\" \"$1\"", name, &pid]).status();
        assert!(sent.expect("a shell").success(), "SIG{name} to {pid}");
    }

    /// How many descriptors each thread has open.
    fn open(&self) -> BTreeMap<String, usize> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).into_iter().flatten().flatten();
        let count = |task: &fs::DirEntry| fs::read_dir(task.path().join("fd")).map_or(0, Iterator::count);
        tasks.map(|task| (task.file_name().to_string_lossy().into_owned(), count(&task))).collect()
    }

    /// The threads of the start that have another number of descriptors now; others come and go.
    fn leaks(&self) -> Vec<(String, usize, usize)> {
        let now = self.open();
        let both = self.descriptors.iter().map(|(task, &before)| (task, before, now.get(task).copied()));
        both.filter_map(|(task, before, now)| Some((task.clone(), before, now.filter(|&now| now != before)?))).collect()
    }

    /// `/stats`, over a connection of its own; again where that is reset.
    pub(crate) fn stats(&self) -> Outcome<Value> {
        let ask = || {
            let mut peer = Peer::connect(self.address)?;
            peer.send(b"GET /stats HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")?;
            let length = peer.response()?.length;
            let body = peer.read(length)?;
            serde_json::from_slice(&body).map_err(|error| Failed::Wrong(format!("/stats: {error}")))
        };
        for _ in 0..50 {
            match ask() {
                Err(Failed::Ended(_)) => {}
                answered => return answered,
            }
        }
        wrong("/stats is not answered")
    }

    /// Waits until everything that connections had is given back, and stops the server.
    pub(crate) fn finish(self) -> Outcome<Report> {
        let since = Instant::now();
        loop {
            let stats = self.stats()?;
            let number = |part: &str, name: &str| stats[part][name].as_u64().unwrap_or(u64::MAX);
            let left = number("connections", "now");
            // The one that asks; and another that did, and whose end has not been heard of.
            let is_idle = left == 1 && number("messages", "queued") == 0;
            let sum = ["delivered", "dropped", "queued"].iter().map(|name| number("messages", name)).sum::<u64>();
            if is_idle {
                ensure(number("messages", "out") == sum, || format!("out is not the sum: {}", stats["messages"]))?;
                break;
            }
            ensure(since.elapsed() < PATIENCE, || format!("HUNG: {left} connections: {}", stats["counters"]))?;
            std::thread::sleep(Duration::from_millis(5));
        }
        while !self.leaks().is_empty() {
            ensure(since.elapsed() < PATIENCE, || format!("descriptors before and now: {:?}", self.leaks()))?;
            std::thread::sleep(Duration::from_millis(5));
        }
        self.signal("TERM");
        self.stopped()
    }

    /// Waits for the end of a server that was told to stop: it has to be a clean one.
    pub(crate) fn stopped(mut self) -> Outcome<Report> {
        self.ended()?;
        Ok(std::mem::replace(&mut self.report, Report::new()))
    }

    fn ended(&mut self) -> Outcome {
        let since = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("its status") {
                break status;
            }
            ensure(since.elapsed() < PATIENCE, || "HUNG: the server does not stop".into())?;
            std::thread::sleep(Duration::from_millis(2));
        };
        let mut said = String::new();
        self.child.stderr.take().expect("its stderr").read_to_string(&mut said).expect("text");
        ensure(status.success() && said.is_empty(), || format!("the server ended with {status}: {said}"))
    }
}

/// What a flood under the library came to.
#[derive(Debug)]
pub(crate) struct Flooded {
    pub(crate) lost: usize,
    pub(crate) report: Report,
    said: String,
}

/// Runs `steadfast flood` to its end.
pub(crate) fn flood(plan: &Plan, serve: &Serve, path: &str, arguments: &[&str]) -> Outcome<Flooded> {
    let (report, file) = (Report::new(), scratch("json"));
    let mut command = hostile(&plan.client, &report, false);
    command.args(["flood", &format!("ws://{}{path}", serve.address), "--json"]).arg(&file).args(arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("a child");
    let since = Instant::now();
    while child.try_wait().expect("its status").is_none() {
        if since.elapsed() > 2 * PATIENCE {
            let _ = child.kill();
            return wrong(format!("HUNG: the flood; {:?}", child.wait_with_output()));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().expect("what it said");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let text = fs::read(&file).unwrap_or_default();
    let _ = fs::remove_file(&file);
    let json: Value = match serde_json::from_slice(&text) {
        Ok(json) => json,
        Err(error) => return wrong(format!("the flood wrote no report: {error}: {said}")),
    };
    let lost = json["connections"]["lost"].as_u64().unwrap_or(u64::MAX) as usize;
    ensure(plan.is_fatal || output.status.success(), || format!("the flood says {}: {said}", json["lost_by_cause"]))?;
    let mut causes = json["lost_by_cause"].as_object().into_iter().flatten();
    let is_wrong =
        causes.any(|(cause, _)| ["wrong reply", "protocol error", "timeout"].iter().any(|bad| cause.starts_with(bad)));
    ensure(!is_wrong, || format!("wrong or hung: {}: {said}", json["lost_by_cause"]))?;
    Ok(Flooded { lost, report, said: format!("{}: {said}", json["lost_by_cause"]) })
}

impl Flooded {
    /// As many were lost as one of both sides was made to lose, at most.
    pub(crate) fn judge(&self, serve: &Serve) -> Outcome {
        let fatal = self.report.fatal().union(&serve.report.fatal()).count();
        ensure(self.lost <= fatal, || format!("{} lost, {fatal} of them by the library: {}", self.lost, self.said))
    }
}
