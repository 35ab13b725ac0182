//! The programs under test: a server in this process, the binary as a child, and what it says.

use crate::wire::PATIENCE;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use steadfast::server::demo::DemoRoutes;
use steadfast::server::{Config, Deadlines, Endpoint, Handle, Server};

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_steadfast");

/// A server in this process, on a port of its own; it is stopped when the test is over.
#[derive(Debug)]
pub(crate) struct Local {
    pub(crate) server: Handle,
    pub(crate) address: SocketAddr,
    /// Whether handlers may panic; elsewhere an assertion in one of them must not be lost.
    pub(crate) may_panic: bool,
}

impl Local {
    /// With the routes of `steadfast serve`.
    pub(crate) fn start(config: Config) -> Self {
        Self::serve(DemoRoutes::default().add_to(Server::from(config)))
    }

    /// With those that it has. Its counters are read as they are at each request.
    pub(crate) fn serve(server: Server) -> Self {
        let server = server.stats_max_age_ms(0_u32);
        let server = server.listen("127.0.0.1:0").expect("an endpoint").spawn().expect("a server");
        let Some(Endpoint::Tcp(addresses)) = server.endpoints().first() else { panic!("no address") };
        let address = addresses[0];
        Self { server, address, may_panic: false }
    }

    /// Waits for the end of a server that was asked to stop.
    pub(crate) fn join(&self) {
        let (done, ended) = channel();
        let server = self.server.clone();
        thread::spawn(move || done.send(server.join()));
        ended.recv_timeout(PATIENCE).expect("the server ends").expect("and without an error");
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.server.stop();
        if !thread::panicking() {
            self.join();
            assert!(self.may_panic || self.server.counters().handler_panics == 0, "a handler panicked");
        }
    }
}

/// The defaults, with a close that does not keep a test from ending.
pub(crate) fn quick() -> Config {
    Config { deadlines: Deadlines { close_s: 1, ..Deadlines::default() }, ..Config::default() }
}

/// `steadfast`, with a shell's `setup` such as `ulimit -n 64` in front of it.
pub(crate) fn steadfast(setup: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("{setup}\nexec \"$0\" \"$@\"")).arg(BINARY).args(arguments);
    command.stdin(Stdio::null());
    command
}

/// A child that ends with its test.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    out: Receiver<String>,
    err: Receiver<String>,
}

/// What a child said when it had ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) out: Vec<String>,
    pub(crate) err: Vec<String>,
}

impl Ended {
    pub(crate) fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| panic!("ended by a signal: {self:?}"))
    }
}

impl Running {
    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a child");
        let out = lines(child.stdout.take().expect("its stdout"));
        let err = lines(child.stderr.take().expect("its stderr"));
        Self { child, out, err }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its next line on stdout, until it has closed that.
    pub(crate) fn next_line(&mut self) -> Option<String> {
        match self.out.recv_timeout(PATIENCE) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => {
                panic!("says nothing; stderr: {:?}", self.err.try_iter().collect::<Vec<_>>())
            }
        }
    }

    /// The first line on stderr that begins with `start`.
    pub(crate) fn error_line(&mut self, start: &str) -> String {
        loop {
            let line = self.err.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("no line {start:?}: {error}"));
            if line.starts_with(start) {
                return line;
            }
        }
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("sh").args(["-c", "kill -s \"$0\" \"$1\"", name, &pid]).status();
        assert!(sent.expect("a shell").success(), "SIG{name} to {pid}");
    }

    /// Waits for its end, which it comes to by itself or by a signal sent before.
    pub(crate) fn ended(mut self) -> Ended {
        let (out, err) = (rest(&self.out), rest(&self.err));
        // Its streams are closed, so it has ended or is about to.
        Ended { status: self.child.wait().expect("its status"), out, err }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only for a child that has been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    // Read to the end, wanted or not: a full pipe would block the child.
    thread::spawn(move || {
        BufReader::new(stream).lines().map_while(Result::ok).try_for_each(|line| sender.send(line)).ok()
    });
    receiver
}

fn rest(lines: &Receiver<String>) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        match lines.recv_timeout(PATIENCE) {
            Ok(line) => all.push(line),
            Err(RecvTimeoutError::Disconnected) => return all,
            Err(RecvTimeoutError::Timeout) => panic!("does not end; it said {all:?}"),
        }
    }
}

/// Runs `steadfast` to its end.
pub(crate) fn run(setup: &str, arguments: &[&str]) -> Ended {
    Running::spawn(steadfast(setup, arguments)).ended()
}

/// Whether strace(1) is there and may trace.
pub(crate) fn has_strace() -> bool {
    let probe = Command::new("strace").args(["-o", "/dev/null", "true"]).stderr(Stdio::null()).status();
    let works = probe.is_ok_and(|status| status.success());
    if !works {
        println!("skipped: strace is not here, or may not trace");
    }
    works
}

/// `steadfast serve`, from `ready` on.
#[derive(Debug)]
pub(crate) struct Serve {
    pub(crate) running: Running,
    /// What it said before it was ready: where it listens, and which limits differ.
    pub(crate) said: Vec<String>,
}

impl Serve {
    /// On a port of 127.0.0.1 that the kernel chooses.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_under("", arguments)
    }

    /// The same, with counters that are read as they are at each request.
    pub(crate) fn start_counting() -> Self {
        Self::start(&["--stats-max-age-ms", "0"])
    }

    pub(crate) fn start_under(setup: &str, arguments: &[&str]) -> Self {
        Self::of(steadfast(setup, &[&["serve", "--listen", "127.0.0.1:0"], arguments].concat()))
    }

    /// The server that `command` starts.
    pub(crate) fn of(command: Command) -> Self {
        Self::try_of(command).unwrap_or_else(|ended| panic!("it did not start: {ended:?}"))
    }

    /// The server that `command` starts, or what it said instead.
    pub(crate) fn try_of(command: Command) -> Result<Self, Ended> {
        let mut running = Running::spawn(command);
        let mut said = Vec::new();
        loop {
            match running.next_line() {
                Some(line) if line == "ready" => return Ok(Self { running, said }),
                Some(line) => said.push(line),
                None => return Err(running.ended()),
            }
        }
    }

    /// Its first address.
    pub(crate) fn address(&self) -> SocketAddr {
        let words = self.said[0].strip_prefix("listening on ").and_then(|rest| rest.split_once(' '));
        words.and_then(|(address, _)| address.parse().ok()).unwrap_or_else(|| panic!("{:?}", self.said))
    }

    /// Asks it to stop, and waits until it has, without an error.
    pub(crate) fn stop(self) {
        self.running.signal("TERM");
        let ended = self.running.ended();
        assert_eq!((ended.code(), ended.err.len()), (0, 0), "{ended:?}");
    }
}

/// A directory that is gone when the test is over.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// In the system's place for such: the path of a unix socket is at most 107 bytes long.
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("steadfast-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).expect("a directory");
        Self(path)
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("a path of text")
}
