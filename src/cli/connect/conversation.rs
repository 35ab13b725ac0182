//! The conversation: sends lines and prints messages, until one side closes.
//!
//! One thread waits for the socket, the input, the signals and the clock at once. Input is read only as fast as the
//! peer accepts it: while much is queued, the input is not read.

use super::words;
use crate::cli::io::tell;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};
use steadfast::client::{Client, Ending, Heard};
use steadfast::proto::close::{CloseCode, CloseStatus};
use steadfast::proto::session::MessageKind;
use steadfast::server::http_date;

/// How long the peer may take to answer our Close, and to close the connection after it.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

/// After the input has ended, how long to wait for the pong without any progress.
const PONG_WAIT: Duration = Duration::from_secs(5);

/// The same after the pong, for replies: many servers send a pong before they have processed earlier messages.
const ANSWER_WAIT: Duration = Duration::from_secs(1);

/// While more than this is queued, nothing is added.
const QUEUED_BYTES: usize = 1 << 20;

/// The most bytes of one read of the input.
const INPUT_BYTES: usize = 64 << 10;

/// The most events that are printed before the clock, the signals and the input are checked again.
const EVENTS_PER_ITERATION: usize = 64;

/// The most pings whose pongs are awaited; if the peer answers none, the oldest is forgotten.
const MAX_PINGS: usize = 64;

/// The payload of the ping after the last line: its pong shows that everything before it has been read.
const LAST_PING: &[u8] = b"end of input";

/// What is sent besides the input, and how lines are sent.
pub(super) struct Plan {
    pub(super) kind: MessageKind,
    pub(super) ping: Option<Duration>,
    pub(super) every: Option<Duration>,
}

/// Something that is due at a fixed interval.
struct Ticker {
    every: Duration,
    next: Instant,
}

impl Ticker {
    fn new(every: Duration) -> Self {
        Self { every, next: Instant::now() + every }
    }

    /// Returns whether it is due; missed times are skipped.
    fn is_due(&mut self, now: Instant) -> bool {
        let due = now >= self.next;
        if due {
            self.next = (self.next + self.every).max(now);
        }
        due
    }
}

/// The input, as lines of any length.
struct Lines {
    file: File,
    /// The beginning of a line whose end has not been read.
    part: Vec<u8>,
    /// The number of lines so far.
    count: u64,
}

/// The stage of the conversation.
enum Stage {
    Open,
    /// The input has ended; its replies are awaited.
    Ending {
        since: Instant,
        has_pong: bool,
    },
    /// Our Close has been sent.
    Closing {
        until: Instant,
    },
}

pub(super) struct Conversation {
    client: Client,
    signals: UnixStream,
    /// The input; `None` once it has ended.
    input: Option<Lines>,
    kind: MessageKind,
    ping: Option<Ticker>,
    every: Option<Ticker>,
    /// The numbers of pings, and when each was sent.
    pings: VecDeque<(u64, Instant)>,
    pings_sent: u64,
    lines_sent: u64,
    messages_received: u64,
    stage: Stage,
    /// stdout is closed.
    is_mute: bool,
    /// Everything has succeeded so far.
    is_complete: bool,
}

impl Conversation {
    pub(super) fn new(client: Client, signals: UnixStream, plan: &Plan) -> Self {
        let mut conversation = Self {
            client,
            signals,
            input: None,
            kind: plan.kind,
            ping: plan.ping.map(Ticker::new),
            every: plan.every.map(Ticker::new),
            pings: VecDeque::new(),
            pings_sent: 0,
            lines_sent: 0,
            messages_received: 0,
            stage: Stage::Open,
            is_mute: false,
            is_complete: true,
        };
        // Not through std's buffer: poll(2) does not know what is in it.
        match io::stdin().as_fd().try_clone_to_owned() {
            Ok(fd) => conversation.input = Some(Lines { file: File::from(fd), part: Vec::new(), count: 0 }),
            Err(error) => conversation.end_of_input(Some(&error)),
        }
        conversation
    }

    pub(super) fn run(mut self) -> ExitCode {
        loop {
            for _ in 0..EVENTS_PER_ITERATION {
                match self.client.receive(Duration::ZERO) {
                    Some(Heard::Ended(ending)) => return self.ended(&ending),
                    Some(received) => self.show(received),
                    None => break,
                }
            }
            let now = Instant::now();
            self.tick(now);
            if self.deadline().is_some_and(|deadline| now >= deadline)
                && let Some(code) = self.give_up()
            {
                return code;
            }
            let listens = matches!(self.stage, Stage::Open) && self.client.queued_bytes() < QUEUED_BYTES;
            let input = self.input.as_ref().filter(|_| listens).map(|lines| lines.file.as_fd());
            let others: Vec<BorrowedFd<'_>> = [Some(self.signals.as_fd()), input].into_iter().flatten().collect();
            match self.client.wait(&others, self.until_next(now)) {
                Ok(ready) => {
                    if ready[0] {
                        self.interrupted();
                    }
                    if ready.get(1) == Some(&true) {
                        self.read_input();
                    }
                }
                Err(error) => {
                    tell(&format_args!("steadfast: {error}"));
                    return ExitCode::FAILURE;
                }
            }
        }
    }

    /// Returns when the current wait is given up.
    fn deadline(&self) -> Option<Instant> {
        match self.stage {
            Stage::Open => None,
            Stage::Ending { since, has_pong } => {
                let wait = if has_pong { ANSWER_WAIT } else { PONG_WAIT };
                // While the peer accepts output it is making progress; control frames from it do not count as replies.
                let at_work = (self.client.queued_bytes() > 0).then(|| self.client.last_progress());
                Some(at_work.map_or(since, |at| at.max(since)) + wait)
            }
            Stage::Closing { until } => Some(until),
        }
    }

    fn until_next(&self, now: Instant) -> Duration {
        let tickers = [&self.ping, &self.every].into_iter().flatten().map(|ticker| ticker.next);
        let open = matches!(self.stage, Stage::Open);
        let next = tickers.filter(|_| open).chain(self.deadline()).min();
        next.map_or(Duration::MAX, |next| next.saturating_duration_since(now))
    }

    /// Sends what is due by the clock.
    fn tick(&mut self, now: Instant) {
        if !matches!(self.stage, Stage::Open) {
            return;
        }
        let room = self.client.queued_bytes() < QUEUED_BYTES;
        if self.ping.as_mut().is_some_and(|ping| ping.is_due(now)) && room {
            self.pings_sent += 1;
            self.pings.push_back((self.pings_sent, Instant::now()));
            if self.pings.len() > MAX_PINGS {
                self.pings.pop_front();
            }
            self.client.ping(self.pings_sent.to_string().as_bytes());
        }
        if self.every.as_mut().is_some_and(|every| every.is_due(now)) && room {
            self.client.send(self.kind, http_date(SystemTime::now()).unwrap_or_default().as_bytes());
        }
    }

    fn read_input(&mut self) {
        let Some(lines) = &mut self.input else { return };
        let mut bytes = vec![0; INPUT_BYTES];
        let read = match lines.file.read(&mut bytes) {
            Ok(read) => read,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return,
            Err(error) => return self.end_of_input(Some(&error)),
        };
        let mut whole = Vec::new();
        for piece in bytes[..read].split_inclusive(|&byte| byte == b'\n') {
            lines.part.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                lines.part.pop();
                whole.push(std::mem::take(&mut lines.part));
            }
        }
        // The last line may lack a line end.
        if read == 0 && !lines.part.is_empty() {
            whole.push(std::mem::take(&mut lines.part));
        }
        for line in whole {
            self.send_line(&line);
        }
        if read == 0 {
            self.end_of_input(None);
        }
    }

    fn send_line(&mut self, line: &[u8]) {
        let number = self.input.as_mut().map_or(0, |lines| {
            lines.count += 1;
            lines.count
        });
        let is_text = self.kind == MessageKind::Text;
        let line = line.strip_suffix(b"\r").filter(|_| is_text).unwrap_or(line);
        match std::str::from_utf8(line) {
            Err(error) if is_text => {
                self.is_complete = false;
                tell(&format_args!(
                    "steadfast: line {number} is not sent: it is not UTF-8 from byte {} on; --binary sends bytes of any kind",
                    error.valid_up_to() + 1
                ));
            }
            _ => {
                self.client.send(self.kind, line);
                self.lines_sent += 1;
            }
        }
    }

    fn end_of_input(&mut self, error: Option<&io::Error>) {
        self.input = None;
        if let Some(error) = error {
            self.is_complete = false;
            tell(&format_args!("steadfast: the input cannot be read: {error}"));
        }
        if self.every.is_none() && matches!(self.stage, Stage::Open) {
            self.client.ping(LAST_PING);
            self.stage = Stage::Ending { since: Instant::now(), has_pong: false };
        }
    }

    fn interrupted(&mut self) {
        // Read all of them: they mean the same, and a second signal ends the process by itself.
        let _ = self.signals.read(&mut [0; 16]);
        self.close();
    }

    fn close(&mut self) {
        if !matches!(self.stage, Stage::Closing { .. }) {
            self.client.close(CloseCode::NORMAL, "");
            self.stage = Stage::Closing { until: Instant::now() + CLOSE_WAIT };
        }
    }

    /// Gives up waiting; returns the exit code if the program is to end.
    fn give_up(&mut self) -> Option<ExitCode> {
        if matches!(self.stage, Stage::Closing { .. }) {
            if self.is_mute {
                return Some(self.exit_code(true));
            }
            tell(&words::unanswered(CLOSE_WAIT.as_secs()));
            return Some(ExitCode::FAILURE);
        }
        if !matches!(self.stage, Stage::Ending { has_pong: true, .. }) {
            self.is_complete = false;
            tell(&format_args!(
                "steadfast: the peer has not answered the ping after the last line, and has been silent for {} s",
                PONG_WAIT.as_secs()
            ));
        }
        self.close();
        None
    }

    fn show(&mut self, received: Heard) {
        let line = match received {
            Heard::Message(kind, bytes) => {
                self.messages_received += 1;
                if let Stage::Ending { since, .. } = &mut self.stage {
                    *since = Instant::now();
                }
                words::message(kind, &bytes)
            }
            Heard::Ping(bytes) => words::ping(&bytes),
            Heard::Pong(bytes) if bytes == LAST_PING && matches!(self.stage, Stage::Ending { .. }) => {
                self.stage = Stage::Ending { since: Instant::now(), has_pong: true };
                return self.close_if_answered();
            }
            Heard::Pong(bytes) => match self.round_trip(&bytes) {
                Some(time) => format!("pong ({:.2} ms)", time.as_secs_f64() * 1e3),
                None => words::pong(&bytes),
            },
            Heard::Ended(_) => return,
        };
        self.print(line);
        self.close_if_answered();
    }

    /// Closes if all replies have probably arrived: the pong after the last line, and as many messages as lines were
    /// sent. With fewer messages, a moment of silence ends the wait.
    fn close_if_answered(&mut self) {
        let is_last = matches!(self.stage, Stage::Ending { has_pong: true, .. });
        if is_last && self.messages_received >= self.lines_sent {
            self.close();
        }
    }

    /// Returns how long ago the ping with this payload was sent.
    fn round_trip(&mut self, payload: &[u8]) -> Option<Duration> {
        let number: u64 = std::str::from_utf8(payload).ok()?.parse().ok()?;
        let at = self.pings.iter().position(|(sent, _)| *sent == number)?;
        // RFC 6455 section 5.5.3: a peer that has received several pings may answer only the last.
        self.pings.drain(..=at).next_back().map(|(_, sent)| sent.elapsed())
    }

    fn print(&mut self, mut line: String) {
        if self.is_mute {
            return;
        }
        line.push('\n');
        let mut stdout = io::stdout().lock();
        if let Err(error) = stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush()) {
            // stdout may be closed on purpose, e.g. by `head`.
            self.is_mute = true;
            if error.kind() != ErrorKind::BrokenPipe {
                self.is_complete = false;
                tell(&format_args!("steadfast: stdout: {error}"));
            }
            self.close();
        }
    }

    fn ended(mut self, ending: &Ending) -> ExitCode {
        if let Ending::ByPeer { code, reason } = ending {
            self.print(words::close(*code, reason));
        }
        if !self.is_mute {
            tell(&words::ending(ending, matches!(self.stage, Stage::Closing { .. })));
        }
        let status = ending.code();
        let is_good =
            status == CloseStatus::NO_STATUS || status == CloseCode::NORMAL || status == CloseCode::GOING_AWAY;
        let exit_code = self.exit_code(is_good || self.is_mute);
        self.client.finish(CLOSE_WAIT);
        exit_code
    }

    fn exit_code(&self, is_good: bool) -> ExitCode {
        if is_good && self.is_complete { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
