//! One worker of the flood: the driver of one reactor, with its share of the connections.

mod connect;
mod pauses;
mod phase;
mod rate;
mod receive;
mod talk;
mod walk;

use super::latency::Measure;
use super::ledger::{DROPPED, INTERRUPTED, Ledger, NOT_STARTED, RESET, SharedCounts, Stage, WRONG_REPLY};
use super::orders::{Command, PhaseTask, Results, Samples, WorkerConfig, WorkerEvent};
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

/// What the flood keeps for a connection: 20 bytes.
#[derive(Debug, Default)]
pub(super) struct Peer {
    /// When what it waits for began, in microseconds that wrap after 71 minutes.
    since_us: u32,
    /// What the phase keeps: messages that are left to it, or that it has received, or when the last one was due.
    of_phase: u32,
    number: u32,
    /// Bytes of a reply that have come.
    received: u32,
    sequence: u16,
    stage: Stage,
    marks: PeerFlags,
}

/// A set of yes-or-no facts about a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct PeerFlags(u8);

impl PeerFlags {
    /// A message is unanswered.
    const AWAITS: Self = Self(1);
    /// It takes a place in the window.
    const COUNTED: Self = Self(1 << 1);
    /// A storm has dropped it before.
    const AGAIN: Self = Self(1 << 2);
    /// It was answered in full before.
    const ANSWERED: Self = Self(1 << 3);
    /// It was alive at the end of a hold before.
    const HELD: Self = Self(1 << 4);
    /// It reads slowly.
    const SLOW: Self = Self(1 << 5);
    /// It did, and reads again: a ping of ours is behind what it left unread.
    const CATCHES_UP: Self = Self(1 << 6);
    /// It has begun with what the phase is about, or it is done with it.
    const STARTED: Self = Self(1 << 7);
    /// What outlives a storm.
    const LASTING: Self = Self(Self::ANSWERED.0 | Self::HELD.0);
}

impl Peer {
    fn has(&self, marks: PeerFlags) -> bool {
        self.marks.0 & marks.0 != 0
    }

    fn set(&mut self, marks: PeerFlags) {
        self.marks.0 |= marks.0;
    }

    /// Takes marks away; whether one of them was there.
    fn take(&mut self, marks: PeerFlags) -> bool {
        let had = self.has(marks);
        self.marks.0 &= !marks.0;
        had
    }

    fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open | Stage::Answered | Stage::Held)
    }
}

/// Whether the connection with this number belongs to a part of them: of all numbers up to any, exactly that part does.
fn belongs(number: u32, share: f64) -> bool {
    // 0.29 of 100 is less than 29 as doubles have it, by less than this.
    let up_to = |number: f64| (number * share * (1.0 + 4.0 * f64::EPSILON)).floor();
    up_to(f64::from(number) + 1.0) > up_to(f64::from(number))
}

/// The driver of one worker.
#[derive(Debug)]
pub(super) struct Worker {
    orders: Arc<WorkerConfig>,
    board: Arc<SharedCounts>,
    done: Sender<WorkerEvent>,
    /// Numbers of connections that are not begun.
    planned: std::ops::Range<u32>,
    /// How many are begun.
    begun: u32,
    /// Those that a storm has dropped, and what outlives it.
    dropped: Vec<(u32, PeerFlags)>,
    /// Those that it is about to.
    dropping: usize,
    work: Option<(usize, PhaseTask)>,
    work_began: Instant,
    /// Connects begun, messages trickled or closes asked for, in this phase.
    paced: u64,
    in_window: usize,
    cursor: usize,
    timetable: SendSchedule,
    receivers: Receivers,
    pauses: Pauses,
    shown: bool,
    /// What is open is closed, at once, and nothing is opened any more.
    is_interrupted: bool,
    epoch: Instant,
    payload: Payload,
    /// What the pages of the targets look like.
    pages: Vec<Page>,
    samples: Box<Samples>,
    ledger: Ledger,
}

impl Worker {
    pub(super) fn new(
        orders: Arc<WorkerConfig>,
        board: Arc<SharedCounts>,
        counters: Arc<Counters>,
        done: Sender<WorkerEvent>,
        planned: std::ops::Range<u32>,
    ) -> Result<Self, TryReserveError> {
        let ledger = Ledger::new(planned.len() as u64);
        board.show(ledger.counts);
        let payload = Payload::new(orders.sizes.clone())?;
        let pages = orders.targets.iter().map(|_| Page::default()).collect();
        let epoch = Instant::now();
        Ok(Self {
            orders,
            board,
            done,
            planned,
            begun: 0,
            dropped: Vec::new(),
            dropping: 0,
            work: None,
            work_began: epoch,
            paced: 0,
            in_window: 0,
            cursor: 0,
            timetable: SendSchedule::default(),
            receivers: Receivers::default(),
            pauses: Pauses::new(counters),
            shown: true,
            is_interrupted: false,
            epoch,
            payload,
            pages,
            samples: Box::default(),
            ledger,
        })
    }

    fn work(&self) -> Option<PhaseTask> {
        self.work.map(|(_, work)| work)
    }

    /// As a connection keeps an instant.
    fn stamp_us(&self, now: Instant) -> u32 {
        now.saturating_duration_since(self.epoch).as_micros() as u32
    }

    /// For how long a connection has waited for what it waits for.
    fn waited_us(&self, peer: &Peer, now: Instant) -> u64 {
        u64::from(self.stamp_us(now).wrapping_sub(peer.since_us))
    }

    fn measure(&mut self, measure: Measure, us: u64) {
        self.samples.latencies.record(measure, us);
    }

    fn shift(&mut self, peer: &mut Peer, to: Stage) {
        self.ledger.shift(peer.stage, to);
        peer.stage = to;
        self.shown = false;
    }

    fn leave_window(&mut self, peer: &mut Peer) {
        if peer.take(PeerFlags::COUNTED) {
            self.in_window -= 1;
        }
    }

    fn scheme(&self, number: u32) -> Scheme {
        self.orders.targets[self.orders.routes.of(number).target].scheme
    }

    /// How many more paced actions are due by now, at `per_second`.
    fn due(&self, core: &Core<Peer>, per_second: f64) -> u64 {
        let elapsed = core.now().instant.saturating_duration_since(self.work_began).as_secs_f64();
        ((elapsed * per_second) as u64).saturating_add(1).saturating_sub(self.paced)
    }

    /// Sleeps no longer than until the next paced action is due.
    fn wake_for_next(&self, core: &mut Core<Peer>, per_second: f64) {
        // A rate may be so low that its next action is due beyond the end of all clocks.
        let due = Duration::try_from_secs_f64(self.paced as f64 / per_second).ok();
        if let Some(at) = due.and_then(|due| self.work_began.checked_add(due)) {
            core.wake_at(at);
        }
    }

    fn begin(&mut self, core: &mut Core<Peer>, serial: usize, work: PhaseTask) {
        self.work = Some((serial, work));
        self.work_began = Instant::now();
        self.paced = 0;
        self.cursor = 0;
        match work {
            PhaseTask::Rate(_) => self.make_timetable(core),
            PhaseTask::Receive { slow, .. } => self.begin_to_receive(core, slow),
            PhaseTask::Storm { share } => self.drop_some(core, share),
            _ => {}
        }
    }

    /// Does what there is to do; whether the phase is over.
    fn go_on(&mut self, core: &mut Core<Peer>, work: PhaseTask) -> bool {
        match work {
            PhaseTask::Connect { until, per_s } => self.connect_more(core, until, per_s),
            PhaseTask::Storm { .. } => self.reconnect(core),
            PhaseTask::Rate(pace) => self.keep_pace(core, pace),
            PhaseTask::Receive { messages, .. } => self.receive(core, messages),
            PhaseTask::Hold { per_s } => {
                if per_s > 0.0 {
                    self.trickle(core, per_s);
                }
                false
            }
            // A connection in its close still takes its place; the slab is empty when the last has ended.
            PhaseTask::Close { per_s } => {
                let per_s = per_s.filter(|_| !self.is_interrupted);
                self.walk(core, work, per_s) && core.connections() == 0
            }
            PhaseTask::Reply { .. } | PhaseTask::Check => self.walk(core, work, None),
        }
    }

    /// What lasts until it is told otherwise is over, but for those who have yet to catch up.
    fn rest(&mut self, core: &mut Core<Peer>) {
        match self.work() {
            Some(PhaseTask::Receive { .. }) => self.stop_receiving(core),
            Some(PhaseTask::Hold { .. }) => self.report(),
            _ => {}
        }
    }

    /// The phase is over.
    fn report(&mut self) {
        if let Some((serial, _)) = self.work.take() {
            self.show_samples();
            self.show();
            let _ = self.done.send(WorkerEvent::Phase(serial));
        }
    }

    fn show_samples(&mut self) {
        // A coordinator that has gone wants no results.
        let _ = self.done.send(WorkerEvent::Samples(std::mem::take(&mut self.samples)));
    }

    fn show(&mut self) {
        if !std::mem::replace(&mut self.shown, true) {
            self.board.show(self.ledger.counts);
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
        self.shown = false;
        self.stop_receiving(core);
        // What is open is closed at once, and does not wait for answers first.
        for index in 0..core.end_index() {
            if let Some((_, peer)) = core.at(index)
                && peer.is_open()
            {
                self.leave_window(peer);
            }
        }
        if !matches!(self.work(), Some(PhaseTask::Close { .. })) {
            self.work = None;
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
        let WorkerConfig { routes, targets, compression, subprotocols, fields, .. } = &*self.orders;
        let route = routes.of(conn.state().number);
        let path = &targets[route.target].path;
        let compression = compression.as_ref();
        conn.upgrade(&ClientHandshake { host: &route.host, path, subprotocols, compression, fields });
    }

    fn message(&mut self, conn: &mut Conn<'_, Peer>, _kind: MessageKind, payload: &[u8]) {
        // A server may say more than it was asked.
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
            Event::Data(bytes) => self.piece(conn, bytes),
            Event::Response(head) if head.status != 200 => conn.end(Cause::Rejected(Rejected::Status(head.status))),
            Event::Response(head) if head.fields.server == Some(b"steadfast") => {
                self.orders.is_ours.store(true, Ordering::Relaxed);
            }
            Event::Body(bytes) => self.body(conn, bytes),
            Event::ResponseEnd => self.body_end(conn),
            Event::Pong(_) => self.caught_up(conn.state()),
            _ => {}
        }
    }

    fn ended(&mut self, conn: &mut Conn<'_, Peer>, cause: Cause) {
        let peer = conn.state();
        self.left_timetable(peer);
        self.leave_window(peer);
        self.shown = false;
        self.pages[self.orders.routes.of(peer.number).target].forget(peer.number);
        self.left_receivers(peer);
        if cause == DROPPED {
            self.dropping -= 1;
            if self.is_interrupted {
                return self.ledger.lose(peer.stage, INTERRUPTED);
            }
            self.shift(peer, Stage::Planned);
            self.dropped.push((peer.number, PeerFlags(peer.marks.0 & PeerFlags::LASTING.0)));
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
            let most_us = u64::from(self.orders.reply_timeout_s) * 1_000_000;
            if waited_us <= most_us {
                return;
            }
            // While this reactor did not run, no reply could be heard.
            let now_us = self.stamp_us(now);
            self.pauses.note(now_us);
            if waited_us.saturating_sub(self.pauses.within_us(waited_us, now_us)) > most_us {
                conn.end(Cause::Deadline(Deadline::Reply));
            }
        }
    }

    fn command(&mut self, core: &mut Core<Peer>, order: Command) {
        match order {
            Command::Begin(serial, work) => self.begin(core, serial, work),
            Command::Rest => self.rest(core),
            Command::Sample => self.show_samples(),
            Command::Interrupt => self.interrupt(core),
            Command::Reset => {
                core.reset_all(RESET);
                core.stay_awake(); // the driver sees that they are gone in the next iteration
            }
            Command::Finish => {
                let by_content = self.pages.iter().all(Page::is_compared);
                let results = Results { ledger: std::mem::take(&mut self.ledger), by_content };
                self.show_samples();
                let _ = self.done.send(WorkerEvent::All(Box::new(results)));
                core.stop();
            }
        }
    }

    fn end_iteration(&mut self, core: &mut Core<Peer>) {
        self.pauses.note(self.stamp_us(core.now().instant));
        let over = self.work().is_some_and(|work| self.go_on(core, work));
        if over {
            self.report();
        }
        self.show();
    }
}

#[cfg(test)]
mod tests {
    use super::belongs;

    #[test]
    fn exactly_the_share_belongs() {
        for all in [1, 7, 100, 999, 10_000_u32] {
            for thousandths in 0..=1000_u32 {
                let share = f64::from(thousandths) / 1000.0;
                let members = (0..all).filter(|number| belongs(*number, share)).count() as u64;
                assert_eq!(members, u64::from(all) * u64::from(thousandths) / 1000, "{share} of {all}");
            }
        }
        assert!((99_999_990..100_000_000).all(|number| belongs(number, 1.0) && !belongs(number, 0.0)));
    }
}
