//! One worker of the flood: the driver of one reactor, with its share of the connections.

mod connect;
mod for_each_open;
mod pauses;
mod phase;
mod rate;
mod receive;
mod request_reply;

use super::command::{Command, PhaseTask, Results, Samples, WorkerConfig, WorkerEvent};
use super::latency::Measure;
use super::ledger::{DROPPED, INTERRUPTED, Ledger, NOT_STARTED, RESET, SharedCounts, Stage, WRONG_REPLY};
use super::page::Page;
use super::payload::Payload;
use super::target::Scheme;
use crate::net::conn::{Cause, Conn, Deadline};
use crate::net::counters::Counters;
use crate::net::driver::Driver;
use crate::net::reactor::Core;
use crate::proto::session::{Event, MessageKind};
use crate::proto::upgrade::{ClientHandshake, Rejected};
use pauses::Pauses;
use phase::{Receivers, SendSchedule};
use std::collections::TryReserveError;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

/// The state of one connection, 20 bytes.
#[derive(Debug, Default)]
pub(super) struct Peer {
    /// When the current wait began, in microseconds since the worker's epoch; wraps after 71 minutes.
    since_us: u32,
    /// A value of the current phase: messages left to send, messages received, or the due time of the last message.
    of_phase: u32,
    number: u32,
    /// Bytes of the current reply received so far.
    received: u32,
    sequence: u16,
    stage: Stage,
    flags: PeerFlags,
}

/// A set of flags of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct PeerFlags(u8);

impl PeerFlags {
    /// A reply is outstanding.
    const AWAITS: Self = Self(1);
    /// The connection counts toward the window.
    const COUNTED: Self = Self(1 << 1);
    /// A storm has reset this connection before.
    const AGAIN: Self = Self(1 << 2);
    /// All its messages were answered in an earlier phase.
    const ANSWERED: Self = Self(1 << 3);
    /// It was alive at the end of an earlier hold.
    const HELD: Self = Self(1 << 4);
    /// It reads slowly in this phase.
    const SLOW: Self = Self(1 << 5);
    /// It reads again after a slow phase; a ping was sent whose pong follows the unread data.
    const CATCHES_UP: Self = Self(1 << 6);
    /// The connection has started, or has finished, its part of the phase.
    const STARTED: Self = Self(1 << 7);
    /// The flags that survive a reset by a storm.
    const LASTING: Self = Self(Self::ANSWERED.0 | Self::HELD.0);
}

impl Peer {
    fn has(&self, flags: PeerFlags) -> bool {
        self.flags.0 & flags.0 != 0
    }

    fn set(&mut self, flags: PeerFlags) {
        self.flags.0 |= flags.0;
    }

    /// Clears flags; returns whether any of them was set.
    fn take(&mut self, flags: PeerFlags) -> bool {
        let had = self.has(flags);
        self.flags.0 &= !flags.0;
        had
    }

    fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open | Stage::Answered | Stage::Held)
    }
}

/// Returns whether the connection with this number is in a sample of the given share. Among the first N numbers exactly
/// `share * N` are, rounded down, for every N.
fn in_sample(number: u32, share: f64) -> bool {
    // 0.29 * 100 is slightly less than 29 in floating point; the factor makes up for that.
    let up_to = |number: f64| (number * share * (1.0 + 4.0 * f64::EPSILON)).floor();
    up_to(f64::from(number) + 1.0) > up_to(f64::from(number))
}

/// The driver of one worker.
#[derive(Debug)]
pub(super) struct Worker {
    config: Arc<WorkerConfig>,
    shared_counts: Arc<SharedCounts>,
    events: Sender<WorkerEvent>,
    /// Numbers of the connections that have not been opened yet.
    planned: std::ops::Range<u32>,
    /// How many connections this worker has begun to open.
    begun: u32,
    /// Connections that a storm has reset, with the flags that survive.
    dropped: Vec<(u32, PeerFlags)>,
    /// How many connections are scheduled to be reset by a storm.
    dropping: usize,
    task: Option<(usize, PhaseTask)>,
    task_began: Instant,
    /// Paced actions of this phase so far: connects begun, messages sent or closes begun.
    paced: u64,
    in_window: usize,
    cursor: usize,
    schedule: SendSchedule,
    receivers: Receivers,
    pauses: Pauses,
    is_published: bool,
    /// The flood was interrupted: open connections are closed and no more are opened.
    is_interrupted: bool,
    epoch: Instant,
    payload: Payload,
    /// The expected content of the page of each target.
    pages: Vec<Page>,
    samples: Box<Samples>,
    ledger: Ledger,
}

impl Worker {
    pub(super) fn new(
        config: Arc<WorkerConfig>,
        shared_counts: Arc<SharedCounts>,
        counters: Arc<Counters>,
        events: Sender<WorkerEvent>,
        planned: std::ops::Range<u32>,
    ) -> Result<Self, TryReserveError> {
        let ledger = Ledger::new(planned.len() as u64);
        shared_counts.publish(ledger.counts);
        let payload = Payload::new(config.sizes.clone())?;
        let pages = config.targets.iter().map(|_| Page::default()).collect();
        let epoch = Instant::now();
        Ok(Self {
            config,
            shared_counts,
            events,
            planned,
            begun: 0,
            dropped: Vec::new(),
            dropping: 0,
            task: None,
            task_began: epoch,
            paced: 0,
            in_window: 0,
            cursor: 0,
            schedule: SendSchedule::default(),
            receivers: Receivers::default(),
            pauses: Pauses::new(counters),
            is_published: true,
            is_interrupted: false,
            epoch,
            payload,
            pages,
            samples: Box::default(),
            ledger,
        })
    }

    fn task(&self) -> Option<PhaseTask> {
        self.task.map(|(_, task)| task)
    }

    /// Converts an instant to the form that [`Peer`] stores.
    fn stamp_us(&self, now: Instant) -> u32 {
        now.saturating_duration_since(self.epoch).as_micros() as u32
    }

    /// Returns how long the current wait of a connection has lasted.
    fn waited_us(&self, peer: &Peer, now: Instant) -> u64 {
        u64::from(self.stamp_us(now).wrapping_sub(peer.since_us))
    }

    fn measure(&mut self, measure: Measure, us: u64) {
        self.samples.latencies.record(measure, us);
    }

    fn shift(&mut self, peer: &mut Peer, to: Stage) {
        self.ledger.shift(peer.stage, to);
        peer.stage = to;
        self.is_published = false;
    }

    fn leave_window(&mut self, peer: &mut Peer) {
        if peer.take(PeerFlags::COUNTED) {
            self.in_window -= 1;
        }
    }

    fn scheme(&self, number: u32) -> Scheme {
        self.config.targets[self.config.routes.of(number).target].scheme
    }

    /// Returns how many more paced actions are due by now, at `per_second`.
    fn due(&self, core: &Core<Peer>, per_second: f64) -> u64 {
        let elapsed = core.now().instant.saturating_duration_since(self.task_began).as_secs_f64();
        ((elapsed * per_second) as u64).saturating_add(1).saturating_sub(self.paced)
    }

    /// Wakes the reactor when the next paced action is due.
    fn wake_for_next(&self, core: &mut Core<Peer>, per_second: f64) {
        // At a very low rate the next action may be due later than an `Instant` can hold.
        let due = Duration::try_from_secs_f64(self.paced as f64 / per_second).ok();
        if let Some(at) = due.and_then(|due| self.task_began.checked_add(due)) {
            core.wake_at(at);
        }
    }

    fn begin(&mut self, core: &mut Core<Peer>, serial: usize, task: PhaseTask) {
        self.task = Some((serial, task));
        self.task_began = Instant::now();
        self.paced = 0;
        self.cursor = 0;
        match task {
            PhaseTask::Rate(_) => self.make_schedule(core),
            PhaseTask::Receive { slow, .. } => self.begin_to_receive(core, slow),
            PhaseTask::Storm { share } => self.drop_some(core, share),
            _ => {}
        }
    }

    /// Advances the current phase; returns whether it is complete.
    fn step(&mut self, core: &mut Core<Peer>, task: PhaseTask) -> bool {
        match task {
            PhaseTask::Connect { until, per_s } => self.connect_more(core, until, per_s),
            PhaseTask::Storm { .. } => self.reconnect(core),
            PhaseTask::Rate(params) => self.run_schedule(core, params),
            PhaseTask::Receive { messages, .. } => self.receive(core, messages),
            PhaseTask::Hold { per_s } => {
                if per_s > 0.0 {
                    self.trickle(core, per_s);
                }
                false
            }
            // A closing connection still occupies its slot; the slab is empty when the last one has ended.
            PhaseTask::Close { per_s } => {
                let per_s = per_s.filter(|_| !self.is_interrupted);
                self.for_each_open(core, task, per_s) && core.connections() == 0
            }
            PhaseTask::Reply { .. } | PhaseTask::Check => self.for_each_open(core, task, None),
        }
    }

    /// Ends a phase that has no end of its own. Slow readers first read the rest of their input.
    fn stop_phase(&mut self, core: &mut Core<Peer>) {
        match self.task() {
            Some(PhaseTask::Receive { .. }) => self.stop_receiving(core),
            Some(PhaseTask::Hold { .. }) => self.report(),
            _ => {}
        }
    }

    /// Reports to the coordinator that the phase is complete.
    fn report(&mut self) {
        if let Some((serial, _)) = self.task.take() {
            self.send_samples();
            self.publish_counts();
            let _ = self.events.send(WorkerEvent::Phase(serial));
        }
    }

    fn send_samples(&mut self) {
        // The coordinator may have ended already; then nothing needs the results.
        let _ = self.events.send(WorkerEvent::Samples(std::mem::take(&mut self.samples)));
    }

    fn publish_counts(&mut self) {
        if !std::mem::replace(&mut self.is_published, true) {
            self.shared_counts.publish(self.ledger.counts);
        }
    }

    fn interrupt(&mut self, core: &mut Core<Peer>) {
        self.is_interrupted = true;
        for _ in std::mem::take(&mut self.planned) {
            self.ledger.lose(Stage::Planned, NOT_STARTED);
        }
        for _ in std::mem::take(&mut self.dropped) {
            self.ledger.lose(Stage::Planned, INTERRUPTED);
        }
        self.is_published = false;
        self.stop_receiving(core);
        // Open connections are closed without waiting for their replies.
        for index in 0..core.end_index() {
            if let Some((_, peer)) = core.at(index)
                && peer.is_open()
            {
                self.leave_window(peer);
            }
        }
        if !matches!(self.task(), Some(PhaseTask::Close { .. })) {
            self.task = None;
        }
        core.schedule_free_all(INTERRUPTED, |peer| matches!(peer.stage, Stage::Connecting | Stage::Upgrading));
    }
}

impl Driver for Worker {
    type State = Peer;
    type Command = Command;

    const IS_SWEPT: bool = true;

    fn connected(&mut self, conn: &mut Conn<'_, Peer>) {
        if self.scheme(conn.state().number) != Scheme::Ws {
            return self.opened(conn);
        }
        self.shift(conn.state(), Stage::Upgrading);
        let WorkerConfig { routes, targets, compression, subprotocols, fields, .. } = &*self.config;
        let route = routes.of(conn.state().number);
        let path = &targets[route.target].path;
        let compression = compression.as_ref();
        conn.upgrade(&ClientHandshake { host: &route.host, path, subprotocols, compression, fields });
    }

    fn message(&mut self, conn: &mut Conn<'_, Peer>, _kind: MessageKind, payload: &[u8]) {
        // A server may send messages without being asked.
        if !conn.state().has(PeerFlags::AWAITS) {
            self.unasked(conn, payload);
        } else if payload == self.payload.make(conn.state().number, conn.state().sequence) {
            self.replied(conn);
        } else {
            conn.end(WRONG_REPLY);
        }
    }

    fn event(&mut self, conn: &mut Conn<'_, Peer>, event: Event<'_>) {
        match event {
            Event::Opened(_) => self.opened(conn),
            Event::Data(bytes) => self.on_data(conn, bytes),
            Event::Response(head) if head.status != 200 => conn.end(Cause::Rejected(Rejected::Status(head.status))),
            Event::Response(head) if head.fields.server == Some(b"steadfast") => {
                self.config.is_ours.store(true, Ordering::Relaxed);
            }
            Event::Body(bytes) => self.on_body(conn, bytes),
            Event::ResponseEnd => self.on_body_end(conn),
            Event::Pong(_) => self.caught_up(conn.state()),
            _ => {}
        }
    }

    fn ended(&mut self, conn: &mut Conn<'_, Peer>, cause: Cause) {
        let peer = conn.state();
        self.leave_schedule(peer);
        self.leave_window(peer);
        self.is_published = false;
        self.pages[self.config.routes.of(peer.number).target].forget(peer.number);
        self.leave_receivers(peer);
        if cause == DROPPED {
            self.dropping -= 1;
            if self.is_interrupted {
                return self.ledger.lose(peer.stage, INTERRUPTED);
            }
            self.shift(peer, Stage::Planned);
            self.dropped.push((peer.number, PeerFlags(peer.flags.0 & PeerFlags::LASTING.0)));
            return;
        }
        let as_asked = matches!(cause, Cause::Closed(_) | Cause::EndOfStream);
        if peer.stage == Stage::Closing && as_asked {
            self.shift(peer, Stage::Closed);
        } else {
            self.ledger.lose(peer.stage, cause);
        }
    }

    fn swept(&mut self, conn: &mut Conn<'_, Peer>) {
        if conn.state().has(PeerFlags(PeerFlags::AWAITS.0 | PeerFlags::CATCHES_UP.0)) {
            let now = Instant::now();
            let waited_us = self.waited_us(conn.state(), now);
            let most_us = u64::from(self.config.reply_timeout_s) * 1_000_000;
            if waited_us <= most_us {
                return;
            }
            // Time during which this reactor did not run is no silence of the server.
            let now_us = self.stamp_us(now);
            self.pauses.note(now_us);
            if waited_us.saturating_sub(self.pauses.within_us(waited_us, now_us)) > most_us {
                conn.end(Cause::Deadline(Deadline::Reply));
            }
        }
    }

    fn command(&mut self, core: &mut Core<Peer>, command: Command) {
        match command {
            Command::Begin(serial, task) => self.begin(core, serial, task),
            Command::StopPhase => self.stop_phase(core),
            Command::Sample => self.send_samples(),
            Command::Interrupt => self.interrupt(core),
            Command::Reset => {
                core.reset_all(RESET);
                core.stay_awake(); // the next iteration sees that the connections have ended
            }
            Command::Finish => {
                let by_content = self.pages.iter().all(Page::is_compared);
                let results = Results { ledger: std::mem::take(&mut self.ledger), by_content };
                self.send_samples();
                let _ = self.events.send(WorkerEvent::All(Box::new(results)));
                core.stop();
            }
        }
    }

    fn end_iteration(&mut self, core: &mut Core<Peer>) {
        self.pauses.note(self.stamp_us(core.now().instant));
        let over = self.task().is_some_and(|task| self.step(core, task));
        if over {
            self.report();
        }
        self.publish_counts();
    }
}

#[cfg(test)]
mod tests {
    use super::in_sample;

    #[test]
    fn exactly_the_share_belongs() {
        for all in [1, 7, 100, 999, 10_000_u32] {
            for thousandths in 0..=1000_u32 {
                let share = f64::from(thousandths) / 1000.0;
                let members = (0..all).filter(|number| in_sample(*number, share)).count() as u64;
                assert_eq!(members, u64::from(all) * u64::from(thousandths) / 1000, "{share} of {all}");
            }
        }
        assert!((99_999_990..100_000_000).all(|number| in_sample(number, 1.0) && !in_sample(number, 0.0)));
    }
}
