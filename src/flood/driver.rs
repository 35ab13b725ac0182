//! One worker of the flood: the driver of one reactor, with its share of the connections.

use super::ledger::{Board, INTERRUPTED, Ledger, NOT_STARTED, Stage, WRONG_REPLY};
use super::orders::{Done, Order, Orders, Phase, Results};
use super::page::Page;
use super::payload::Payload;
use super::target::Scheme;
use crate::net::link::{Cause, Deadline, Driver, Link};
use crate::net::reactor::Core;
use crate::net::sys::error_code;
use crate::proto::close::CloseCode;
use crate::proto::session::{Event, MessageKind, Session, State};
use crate::proto::upgrade::{Opening, Rejected};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

/// What the flood keeps for a connection: 20 bytes.
#[derive(Debug, Default)]
pub(super) struct Peer {
    /// When what it waits for began, in microseconds that wrap after 71 minutes.
    since_us: u32,
    number: u32,
    /// Bytes of a reply that have come.
    received: u32,
    sequence: u16,
    stage: Stage,
    /// A message is unanswered.
    awaits: bool,
    /// It takes a place in the window.
    counted: bool,
}

/// The driver of one worker.
#[derive(Debug)]
pub(super) struct Worker {
    orders: Arc<Orders>,
    board: Arc<Board>,
    done: Sender<Done>,
    /// Numbers of connections that are not begun.
    planned: std::ops::Range<u32>,
    phase: Option<Phase>,
    phase_began: Instant,
    /// Connects begun, or messages trickled, in this phase.
    paced: u64,
    in_window: usize,
    cursor: usize,
    shown: bool,
    epoch: Instant,
    payload: Payload,
    /// What the pages of the targets look like.
    pages: Vec<Page>,
    results: Box<Results>,
}

impl Worker {
    pub(super) fn new(
        orders: Arc<Orders>,
        board: Arc<Board>,
        done: Sender<Done>,
        planned: std::ops::Range<u32>,
    ) -> Self {
        let ledger = Ledger::new(planned.len() as u64);
        board.show(ledger.counts);
        let payload = Payload::new(orders.payload_bytes);
        let pages = orders.targets.iter().map(|_| Page::default()).collect();
        let results = Results::new(ledger);
        let epoch = Instant::now();
        Self {
            orders,
            board,
            done,
            planned,
            phase: None,
            phase_began: epoch,
            paced: 0,
            in_window: 0,
            cursor: 0,
            shown: true,
            epoch,
            payload,
            pages,
            results: Box::new(results),
        }
    }

    fn now_us(&self) -> u32 {
        self.epoch.elapsed().as_micros() as u32
    }

    fn shift(&mut self, peer: &mut Peer, to: Stage) {
        self.results.ledger.shift(peer.stage, to);
        peer.stage = to;
        self.shown = false;
    }

    fn leave_window(&mut self, peer: &mut Peer) {
        if std::mem::take(&mut peer.counted) {
            self.in_window -= 1;
        }
    }

    fn scheme(&self, number: u32) -> Scheme {
        self.orders.targets[self.orders.routes.of(number).target].scheme
    }

    /// How many more paced actions are due by now, at `per_second`.
    fn due(&self, core: &Core<Peer>, per_second: f64) -> u64 {
        let elapsed = core.now().instant.saturating_duration_since(self.phase_began).as_secs_f64();
        ((elapsed * per_second) as u64 + 1).saturating_sub(self.paced)
    }

    /// Sleeps no longer than until the next paced action is due.
    fn wake_for_next(&self, core: &mut Core<Peer>, per_second: f64) {
        core.wake_at(self.phase_began + Duration::from_secs_f64(self.paced as f64 / per_second));
    }

    fn connect_more(&mut self, core: &mut Core<Peer>) -> bool {
        let mut due = self.orders.rate.map_or(u64::MAX, |rate| self.due(core, rate));
        // What fails at once takes no place, and nothing would bring the worker back for the rest.
        while due > 0 && self.in_window < self.orders.window {
            let Some(number) = self.planned.next() else { break };
            due -= 1;
            self.paced += 1;
            self.connect(core, number);
        }
        if let Some(rate) = self.orders.rate
            && !self.planned.is_empty()
        {
            self.wake_for_next(core, rate);
        }
        self.planned.is_empty() && self.in_window == 0
    }

    fn connect(&mut self, core: &mut Core<Peer>, number: u32) {
        let session = match self.scheme(number) {
            Scheme::Http => Session::http_client(),
            Scheme::Ws | Scheme::Tcp => Session::raw(),
        };
        let route = self.orders.routes.of(number);
        let peer = Peer { since_us: self.now_us(), number, counted: true, stage: Stage::Connecting, ..Peer::default() };
        self.shown = false;
        match core.connect(&route.destination, route.source.as_ref(), session, peer) {
            Ok(_) => {
                self.in_window += 1;
                self.results.ledger.shift(Stage::Planned, Stage::Connecting);
            }
            Err(error) => {
                let code = error_code(&error);
                // Unix sockets and some addresses refuse at once; all else is a limit of this side.
                let refused = error.kind() == io::ErrorKind::ConnectionRefused;
                let cause = if refused { Cause::Connect(code) } else { Cause::Local(code) };
                self.results.ledger.lose(Stage::Planned, cause);
            }
        }
    }

    fn opened(&mut self, link: &mut Link<'_, Peer>) {
        let took_us = self.now_us().wrapping_sub(link.state().since_us);
        self.results.connect.saturating_record(u64::from(took_us));
        self.shift(link.state(), Stage::Open);
        self.leave_window(link.state());
    }

    /// Begins to wait for the answer to one more message.
    fn send(&mut self, link: &mut Link<'_, Peer>) {
        let peer = link.state();
        peer.awaits = true;
        peer.received = 0;
        peer.since_us = self.now_us();
        let (number, sequence) = (peer.number, peer.sequence);
        let route = self.orders.routes.of(number);
        match self.orders.targets[route.target].scheme {
            Scheme::Ws => drop(link.send(MessageKind::Binary, self.payload.make(number, sequence))),
            Scheme::Tcp => link.send_raw(self.payload.make(number, sequence)),
            Scheme::Http => {
                self.pages[route.target].begin(number);
                link.request(&route.host, &self.orders.targets[route.target].path);
            }
        }
    }

    /// A right answer is complete.
    fn replied(&mut self, link: &mut Link<'_, Peer>) {
        let took_us = u64::from(self.now_us().wrapping_sub(link.state().since_us));
        link.state().awaits = false;
        link.state().sequence = link.state().sequence.wrapping_add(1);
        self.results.ledger.counts.replies += 1;
        self.shown = false;
        match self.phase {
            Some(Phase::Reply) if link.state().stage == Stage::Open => {
                self.results.reply.saturating_record(took_us);
                if link.state().sequence < self.orders.messages {
                    return self.send(link);
                }
                self.shift(link.state(), Stage::Answered);
            }
            Some(Phase::Check) => {
                self.results.alive.saturating_record(took_us);
                self.shift(link.state(), Stage::Held);
            }
            _ => self.results.hold.saturating_record(took_us),
        }
        self.leave_window(link.state());
    }

    /// A piece of a reply that comes as a stream.
    fn piece(&mut self, link: &mut Link<'_, Peer>, bytes: &[u8]) {
        if !link.state().awaits {
            return link.end(WRONG_REPLY);
        }
        let from = link.state().received as usize;
        let wanted = self.payload.make(link.state().number, link.state().sequence);
        if wanted.get(from..from + bytes.len()) != Some(bytes) {
            return link.end(WRONG_REPLY);
        }
        link.state().received += bytes.len() as u32;
        if link.state().received as usize == wanted.len() {
            self.replied(link);
        }
    }

    /// A piece of a page.
    fn body(&mut self, link: &mut Link<'_, Peer>, bytes: &[u8]) {
        let from = link.state().received as usize;
        link.state().received = link.state().received.saturating_add(bytes.len() as u32);
        let target = self.orders.routes.of(link.state().number).target;
        if !self.pages[target].piece(link.state().number, from, bytes) {
            link.end(WRONG_REPLY);
        }
    }

    fn body_end(&mut self, link: &mut Link<'_, Peer>) {
        let target = self.orders.routes.of(link.state().number).target;
        let right = self.pages[target].end(link.state().number, link.state().received as usize);
        if !right || !link.state().awaits {
            return link.end(WRONG_REPLY);
        }
        self.replied(link);
    }

    /// Goes on through the slab, as far as the window allows; whether the phase is over.
    fn walk(&mut self, core: &mut Core<Peer>, phase: Phase) -> bool {
        while self.in_window < self.orders.window && self.cursor < core.end_index() {
            let index = self.cursor;
            self.cursor += 1;
            let Some((id, peer)) = core.at(index) else { continue };
            let waits = peer.awaits;
            let wanted = match phase {
                Phase::Reply => peer.stage == Stage::Open,
                Phase::Check => matches!(peer.stage, Stage::Open | Stage::Answered),
                _ => peer.stage != Stage::Closing,
            };
            if !wanted {
                continue;
            }
            if phase == Phase::Reply && self.orders.messages == 0 {
                self.shift(peer, Stage::Answered);
                continue;
            }
            if phase != Phase::Close && self.in_window > 0 && self.is_learning(peer.number) {
                self.cursor = index; // the first pages come one at a time, to see whether they are all alike
                break;
            }
            // One that waits for a reply when the flood is interrupted has its place already.
            if !std::mem::replace(&mut peer.counted, true) {
                self.in_window += 1;
            }
            core.with(id, |link| match phase {
                Phase::Close => self.close(link),
                // A message of the trickle that is under way is as good a question.
                _ if waits => {}
                _ => self.send(link),
            });
        }
        self.cursor >= core.end_index() && self.in_window == 0
    }

    fn is_learning(&self, number: u32) -> bool {
        let target = self.orders.routes.of(number).target;
        self.orders.targets[target].scheme == Scheme::Http && self.pages[target].is_learning()
    }

    fn close(&mut self, link: &mut Link<'_, Peer>) {
        if link.session_state() == State::Closed {
            return; // it has ended already, and keeps its cause
        }
        let was_open = link.session_state() == State::Open;
        self.shift(link.state(), Stage::Closing);
        if was_open {
            link.close(CloseCode::NORMAL, "");
        } else {
            link.end(Cause::EndOfStream);
        }
    }

    fn trickle(&mut self, core: &mut Core<Peer>, per_second: f64) {
        let due = self.due(core, per_second);
        let places = core.end_index();
        self.paced += due;
        // Once around at most: when all wait for a reply, what is due is not sent.
        let (mut left, mut looked) = (due, 0);
        while left > 0 && looked < places {
            let index = self.cursor;
            self.cursor = (index + 1) % places;
            looked += 1;
            let Some((id, peer)) = core.at(index) else { continue };
            if !peer.awaits && matches!(peer.stage, Stage::Open | Stage::Answered) {
                core.with(id, |link| self.send(link));
                left -= 1;
                looked = 0;
            }
        }
        self.wake_for_next(core, per_second);
    }

    fn interrupt(&mut self, core: &mut Core<Peer>) {
        for _ in std::mem::take(&mut self.planned) {
            self.results.ledger.lose(Stage::Planned, NOT_STARTED);
        }
        core.doom_all(INTERRUPTED, |peer| matches!(peer.stage, Stage::Connecting | Stage::Upgrading));
    }
}

impl Driver for Worker {
    type State = Peer;
    type Mail = Order;

    fn connected(&mut self, link: &mut Link<'_, Peer>) {
        if self.scheme(link.state().number) != Scheme::Ws {
            return self.opened(link);
        }
        self.shift(link.state(), Stage::Upgrading);
        let route = self.orders.routes.of(link.state().number);
        let path = &self.orders.targets[route.target].path;
        let compression = self.orders.compression.as_ref();
        link.upgrade(&Opening { host: &route.host, path, compression, ..Opening::default() });
    }

    fn message(&mut self, link: &mut Link<'_, Peer>, _kind: MessageKind, payload: &[u8]) {
        if !link.state().awaits {
            return; // a server may say more than it was asked
        }
        if payload == self.payload.make(link.state().number, link.state().sequence) {
            self.replied(link);
        } else {
            link.end(WRONG_REPLY);
        }
    }

    fn event(&mut self, link: &mut Link<'_, Peer>, event: Event<'_>) {
        match event {
            Event::Opened(_) => self.opened(link),
            Event::Data(bytes) => self.piece(link, bytes),
            Event::Response(head) if head.status != 200 => link.end(Cause::Rejected(Rejected::Status(head.status))),
            Event::Response(head) if head.fields.server == Some(b"steadfast") => {
                self.orders.is_ours.store(true, Ordering::Relaxed);
            }
            Event::Body(bytes) => self.body(link, bytes),
            Event::ResponseEnd => self.body_end(link),
            _ => {}
        }
    }

    fn ended(&mut self, link: &mut Link<'_, Peer>, cause: Cause) {
        let peer = link.state();
        self.leave_window(peer);
        self.shown = false;
        self.pages[self.orders.routes.of(peer.number).target].forget(peer.number);
        let as_asked = matches!(cause, Cause::Closed(_) | Cause::EndOfStream);
        if peer.stage == Stage::Closing && as_asked {
            self.shift(peer, Stage::Closed);
        } else {
            self.results.ledger.lose(peer.stage, cause);
        }
    }

    fn swept(&mut self, link: &mut Link<'_, Peer>) {
        if link.state().awaits {
            let waited_us = self.now_us().wrapping_sub(link.state().since_us);
            if u64::from(waited_us) > u64::from(self.orders.reply_timeout_s) * 1_000_000 {
                link.end(Cause::Deadline(Deadline::Reply));
            }
        }
    }

    fn mail(&mut self, core: &mut Core<Peer>, order: Order) {
        match order {
            Order::Begin(phase) => {
                self.phase = Some(phase);
                self.phase_began = Instant::now();
                self.paced = 0;
                self.cursor = 0;
            }
            Order::Rest => self.phase = None,
            Order::Interrupt => self.interrupt(core),
            Order::Finish => {
                let empty = Results::new(Ledger::default());
                self.results.by_content = self.pages.iter().all(Page::is_compared);
                // A coordinator that has gone wants no results.
                let _ = self.done.send(Done::All(std::mem::replace(&mut self.results, Box::new(empty))));
                core.stop();
            }
        }
    }

    fn turn(&mut self, core: &mut Core<Peer>) {
        let over = match self.phase {
            None => false,
            Some(Phase::Connect) => self.connect_more(core),
            Some(Phase::Hold(per_second)) => {
                if per_second > 0.0 {
                    self.trickle(core, per_second);
                }
                false
            }
            // A connection in its close still takes its place; the slab is empty when the last has ended.
            Some(Phase::Close) => self.walk(core, Phase::Close) && core.connections() == 0,
            Some(phase) => self.walk(core, phase),
        };
        if !self.shown {
            self.shown = true;
            self.board.show(self.results.ledger.counts);
        }
        if over && let Some(phase) = self.phase.take() {
            let _ = self.done.send(Done::Phase(phase));
        }
    }
}
