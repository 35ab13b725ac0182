//! The reactor: one thread, one epoll instance, one slab. It waits, hands each connection its turn, and flushes,
//! frees and sweeps before it sleeps again.

use super::counters::Counters;
use super::link::{Cause, Driver, Link};
use super::mailbox::Mailbox;
use super::pool::Pool;
use super::slots::{ConnectionId, Flags, Outbox, Slots};
use super::sweep::{Deadlines, Sweep, TICK_MS};
use super::sys;
use super::turn::{self, Tools, errno};
use super::{ending, outgoing};
use crate::proto::mask::RandomSource;
use crate::proto::ring::Ring;
use crate::proto::session::{Limits, Output, Session};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use socket2::{SockAddr, SockRef, Socket};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Connections accepted from one listener in one turn.
const TURN_ACCEPTS: usize = 64;

/// Tokens of the reactor's own: connections leave the highest bit free.
const WAKER: Token = Token(usize::MAX);
const LISTENERS: usize = 1 << 63;

/// How many connections all reactors of a plan may hold together; exactly so many fit.
#[derive(Debug)]
pub struct Quota {
    used: AtomicUsize,
    max: usize,
}

impl Quota {
    /// Room for `max` connections.
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { used: AtomicUsize::new(0), max })
    }

    /// Takes up to `wanted` places; gives how many it got.
    fn take(&self, wanted: usize) -> usize {
        let before = self.used.fetch_add(wanted, Ordering::Relaxed);
        let got = self.max.saturating_sub(before).min(wanted);
        self.give_back(wanted - got);
        got
    }

    fn give_back(&self, places: usize) {
        if places > 0 {
            self.used.fetch_sub(places, Ordering::Relaxed);
        }
    }
}

/// What a reactor works by.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What a peer may make grow.
    pub limits: Limits,
    /// How long it may take.
    pub deadlines: Deadlines,
    /// The most connections that this reactor takes: what its descriptor table holds.
    pub max_connections: usize,
    /// The most that all reactors take together.
    pub quota: Arc<Quota>,
}

/// The time, read once a turn.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// As a point in time.
    pub instant: Instant,
    /// Ticks since the reactor began.
    pub tick: u32,
    /// Seconds since the reactor began.
    pub second: u32,
}

#[derive(Debug)]
struct Listener {
    socket: OwnedFd,
    session: fn() -> Session,
    /// Its queue may not be empty. Edge-triggered epoll says so once: after EMFILE it would never say it again.
    ready: bool,
}

/// Everything of a reactor but its driver; the driver works on it.
#[derive(Debug)]
pub struct Core<S> {
    poll: Poll,
    pub(super) slots: Slots<S>,
    pub(super) pool: Pool,
    pub(super) held: HashMap<ConnectionId, Ring>,
    ready: VecDeque<ConnectionId>,
    dirty: Vec<ConnectionId>,
    doomed: Vec<ConnectionId>,
    pub(super) out: Output,
    pub(super) message: Vec<u8>,
    pub(super) counters: Arc<Counters>,
    pub(super) settings: Settings,
    pub(super) now: Now,
    started: Instant,
    listeners: Vec<Listener>,
    /// Accepting failed or is full: until a tick passes or a descriptor is freed.
    accept_paused: bool,
    wake_at: Option<Instant>,
    stopped: bool,
    /// How many connections wait for connect(2); a server has none, and need not look.
    connecting: usize,
}

/// A reactor with its driver.
#[derive(Debug)]
pub struct Reactor<D: Driver> {
    core: Core<D::State>,
    driver: D,
    mailbox: Mailbox<D::Mail>,
    sweep: Sweep,
}

impl<D: Driver> Reactor<D> {
    /// A reactor of the calling thread, with that thread's descriptor table.
    ///
    /// # Errors
    /// As epoll_create1(2) and epoll_ctl(2).
    pub fn new(driver: D, settings: Settings, counters: Arc<Counters>, mailbox: Mailbox<D::Mail>) -> io::Result<Self> {
        let poll = Poll::new()?;
        poll.registry().register(&mut SourceFd(&mailbox.bell()), WAKER, Interest::READABLE)?;
        let instant = Instant::now();
        let core = Core {
            poll,
            slots: Slots::with_capacity(settings.max_connections),
            pool: Pool::default(),
            held: HashMap::new(),
            ready: VecDeque::new(),
            dirty: Vec::new(),
            doomed: Vec::new(),
            out: Output::new(RandomSource::new(sys::random)),
            message: Vec::new(),
            counters,
            settings,
            now: Now { instant, tick: 0, second: 0 },
            started: instant,
            listeners: Vec::new(),
            accept_paused: false,
            wake_at: None,
            stopped: false,
            connecting: 0,
        };
        Ok(Self { core, driver, mailbox, sweep: Sweep::default() })
    }

    /// Accepts from `socket`, which listens and does not block; each connection begins with `session`.
    ///
    /// # Errors
    /// As epoll_ctl(2).
    pub fn listen(&mut self, socket: OwnedFd, session: fn() -> Session) -> io::Result<()> {
        let token = Token(LISTENERS | self.core.listeners.len());
        self.core.poll.registry().register(&mut SourceFd(&socket.as_raw_fd()), token, Interest::READABLE)?;
        self.core.listeners.push(Listener { socket, session, ready: false });
        Ok(())
    }

    /// Runs until the driver stops it and the last connection has ended.
    ///
    /// # Errors
    /// As epoll_wait(2).
    pub fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        loop {
            let timeout = self.core.timeout();
            match self.core.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            self.core.read_clock();
            for event in &events {
                self.dispatch(event);
            }
            self.turn();
            if self.core.stopped && self.core.slots.is_empty() {
                return Ok(());
            }
        }
    }

    #[inline]
    fn dispatch(&mut self, event: &mio::event::Event) {
        let token = event.token();
        if token == WAKER {
            for mail in self.mailbox.take() {
                self.driver.mail(&mut self.core, mail);
            }
        } else if token.0 & LISTENERS != 0 {
            if let Some(listener) = self.core.listeners.get_mut(token.0 & !LISTENERS) {
                listener.ready = true;
            }
        } else {
            let id = ConnectionId::of_token(token);
            if self.core.connecting > 0 && self.core.is_connecting(id) {
                self.connect_event(id, event);
            } else {
                turn::on_event(&mut self.core, &mut self.driver, id, event);
            }
        }
    }

    /// connect(2) has an outcome (its manual page, EINPROGRESS).
    fn connect_event(&mut self, id: ConnectionId, event: &mio::event::Event) {
        let Some(connection) = self.core.slots.get(id) else { return };
        if event.is_error() || event.is_read_closed() {
            let error = SockRef::from(&connection.socket).take_error().ok().flatten();
            let code = error.map_or(0, |error| errno(&error));
            if code != 0 {
                return self.core.doom(id, Cause::Connect(code));
            }
        }
        if event.is_writable() {
            connection.flags.clear(Flags::CONNECTING);
            self.core.connecting -= 1;
            self.core.counters.opened.add(1);
            connection.stamp_tick = self.core.now.tick;
            let driver = &mut self.driver;
            self.core.with(id, |link| driver.connected(link));
        }
    }

    /// What follows the events of a batch: the ready list, accept, deadlines; then flush, free, and the driver's own turn.
    fn turn(&mut self) {
        for _ in 0..self.core.ready.len() {
            let Some(id) = self.core.ready.pop_front() else { break };
            if let Some(connection) = self.core.slots.get(id) {
                connection.flags.clear(Flags::READY);
                turn::serve(&mut self.core, &mut self.driver, id);
            }
        }
        for at in 0..self.core.listeners.len() {
            self.accept(at);
        }
        let ticks = self.core.pass_ticks();
        if ticks > 0 && !self.core.slots.is_empty() {
            for index in self.sweep.next(self.core.slots.end_index(), ticks) {
                ending::visit(&mut self.core, &mut self.driver, index);
            }
        }
        self.core.flush_dirty();
        // The driver has to see the last connection gone before the reactor sleeps, perhaps for ever; what it then does
        // may end others.
        loop {
            self.free_doomed();
            self.driver.turn(&mut self.core);
            self.core.flush_dirty();
            if self.core.doomed.is_empty() {
                break;
            }
        }
    }

    fn accept(&mut self, at: usize) {
        let core = &mut self.core;
        if core.accept_paused || core.stopped || !core.listeners[at].ready {
            return;
        }
        let room = core.settings.max_connections.saturating_sub(core.slots.len());
        let places = core.settings.quota.take(room.min(TURN_ACCEPTS));
        if places == 0 {
            core.counters.accept_paused_full.add(1);
            core.accept_paused = true;
            return;
        }
        let mut accepted = 0;
        while accepted < places {
            let listener = &mut self.core.listeners[at];
            match sys::accept(listener.socket.as_fd()) {
                Ok(socket) => {
                    accepted += 1;
                    let session = (listener.session)();
                    self.welcome(socket, session);
                }
                Err(error) => match error.raw_os_error() {
                    Some(libc::EAGAIN) => {
                        listener.ready = false;
                        break;
                    }
                    Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => {
                        self.core.counters.accept_paused_error.add(1);
                        self.core.accept_paused = true;
                        break;
                    }
                    // accept(2): errors that are already pending on the new connection are to be treated like EAGAIN
                    // by retrying; they take the connection out of the queue, so this ends.
                    _ => {}
                },
            }
        }
        self.core.settings.quota.give_back(places - accepted);
    }

    /// A connection's first turn comes at once: often the request is there. Then it is registered, if it stays.
    #[inline]
    fn welcome(&mut self, socket: OwnedFd, session: Session) {
        let id = self.core.slots.insert(socket, session, self.core.now.tick, D::State::default());
        self.core.counters.opened.add(1);
        turn::serve(&mut self.core, &mut self.driver, id);
        self.core.register(id);
    }

    fn free_doomed(&mut self) {
        // What a driver does in `ended` may doom more.
        while let Some(id) = self.core.doomed.pop() {
            let Some(mut connection) = self.core.slots.remove(id) else { continue };
            if connection.flags.has(Flags::HOLDS_RING) {
                self.core.held.remove(&id);
            }
            if connection.flags.has(Flags::CONNECTING) {
                self.core.connecting -= 1;
            }
            let cause = connection.cause.unwrap_or(Cause::Abrupt);
            self.core.counters.ended.add(1);
            match cause {
                Cause::Abrupt => self.core.counters.ended_abruptly.add(1),
                Cause::Io(_) => self.core.counters.ended_by_error.add(1),
                _ => {}
            }
            self.driver.ended(id, &mut connection.state, cause);
            drop(connection);
            self.core.settings.quota.give_back(1);
            self.core.accept_paused = false;
        }
    }
}

impl<S> Core<S> {
    /// The time of this turn.
    #[inline]
    pub fn now(&self) -> Now {
        self.now
    }

    /// How many connections there are, those that are connecting included.
    pub fn connections(&self) -> usize {
        self.slots.len()
    }

    /// How many connections have ended and are not yet freed: until then their places are taken.
    pub fn doomed(&self) -> usize {
        self.doomed.len()
    }

    /// One more than the highest place that may be taken; see [`Core::at`].
    pub fn end_index(&self) -> usize {
        self.slots.end_index()
    }

    /// The connection at a place of the slab that is connected, and its state.
    pub fn at(&mut self, index: usize) -> Option<(ConnectionId, &mut S)> {
        let (id, connection) = self.slots.at(index)?;
        if connection.flags.has(Flags::DOOMED | Flags::CONNECTING) {
            return None;
        }
        Some((id, &mut connection.state))
    }

    /// Works on a connection outside its own turn; what that sends is flushed once, before the reactor sleeps.
    /// Gives `None` if the connection is gone.
    pub fn with<R>(&mut self, id: ConnectionId, work: impl FnOnce(&mut Link<'_, S>) -> R) -> Option<R> {
        let connection = self.slots.get(id).filter(|connection| !connection.flags.has(Flags::DOOMED))?;
        let state_before = connection.session.state();
        let mut link = Link {
            id,
            session: &mut connection.session,
            out: &mut self.out,
            cause: &mut connection.cause,
            counters: &self.counters,
            lent: 0..0,
            in_place: None,
            state: &mut connection.state,
        };
        let result = work(&mut link);
        if connection.session.state() != state_before {
            connection.stamp_tick = self.now.tick; // another deadline runs
        }
        if !self.out.bytes.is_empty() {
            let tick = self.now.tick;
            let outbox =
                connection.outbox.get_or_insert_with(|| Box::new(Outbox { moved_tick: tick, ..Outbox::default() }));
            if outbox.bytes.is_empty() {
                std::mem::swap(&mut outbox.bytes, &mut self.out.bytes);
            } else {
                outbox.bytes.append(&mut self.out.bytes);
            }
        }
        let has_work = connection.outbox.is_some() || connection.cause.is_some();
        if has_work && !connection.flags.has(Flags::DIRTY) {
            connection.flags.set(Flags::DIRTY);
            self.dirty.push(id);
        }
        Some(result)
    }

    /// Opens a connection to `target`, bound to `source` if there is one; the driver hears of it in `connected` or
    /// `ended`.
    ///
    /// # Errors
    /// As socket(2), bind(2), connect(2) and epoll_ctl(2): then there is no connection, and nothing is heard of it.
    pub fn connect(
        &mut self,
        target: &SockAddr,
        source: Option<&SockAddr>,
        session: Session,
        state: S,
    ) -> io::Result<ConnectionId> {
        let socket = Socket::new(target.domain(), socket2::Type::STREAM.nonblocking().cloexec(), None)?;
        if let Some(source) = source {
            sys::set_bind_address_no_port(socket.as_fd())?;
            socket.bind(source)?;
        }
        if let Err(error) = socket.connect(target)
            && error.raw_os_error() != Some(libc::EINPROGRESS)
        {
            return Err(error);
        }
        let id = self.slots.insert(socket.into(), session, self.now.tick, state);
        if let Some(connection) = self.slots.get(id) {
            connection.flags.set(Flags::CONNECTING | Flags::REGISTERED);
            let interest = Interest::READABLE | Interest::WRITABLE;
            let registered =
                self.poll.registry().register(&mut SourceFd(&connection.socket.as_raw_fd()), id.token(), interest);
            if let Err(error) = registered {
                self.slots.remove(id);
                return Err(error);
            }
            self.connecting += 1;
        }
        Ok(id)
    }

    fn is_connecting(&mut self, id: ConnectionId) -> bool {
        self.slots.get(id).is_some_and(|connection| connection.flags.has(Flags::CONNECTING))
    }

    /// The connections, and what a turn works with beside them.
    #[inline]
    pub(super) fn split(&mut self) -> (&mut Slots<S>, Tools<'_>) {
        let tools = Tools {
            pool: &mut self.pool,
            out: &mut self.out,
            message: &mut self.message,
            counters: &self.counters,
            limits: &self.settings.limits,
            now: self.now,
        };
        (&mut self.slots, tools)
    }

    /// Marks a connection as ended; it is freed when the batch is done, since the batch may still speak of it.
    pub fn doom(&mut self, id: ConnectionId, cause: Cause) {
        if let Some(connection) = self.slots.get(id)
            && !connection.flags.has(Flags::DOOMED)
        {
            connection.flags.set(Flags::DOOMED);
            connection.cause = Some(cause);
            self.doomed.push(id);
        }
    }

    /// Dooms every connection, connected or not, that `which` picks by its state.
    pub fn doom_all(&mut self, cause: Cause, which: impl Fn(&S) -> bool) {
        for index in 0..self.slots.end_index() {
            let Some((id, connection)) = self.slots.at(index) else { continue };
            if which(&connection.state) {
                self.doom(id, cause);
            }
        }
    }

    /// Has the reactor wake up at `instant` at the latest, once.
    pub fn wake_at(&mut self, instant: Instant) {
        self.wake_at = Some(self.wake_at.map_or(instant, |at| at.min(instant)));
    }

    /// Stops accepting, closes the listeners, and ends the reactor when its last connection has ended.
    pub fn stop(&mut self) {
        self.stopped = true;
        self.listeners.clear();
    }

    pub(super) fn make_ready(&mut self, id: ConnectionId) {
        if let Some(connection) = self.slots.get(id)
            && !connection.flags.has(Flags::READY | Flags::DOOMED)
        {
            connection.flags.set(Flags::READY);
            self.ready.push_back(id);
        }
    }

    #[inline]
    fn register(&mut self, id: ConnectionId) {
        let Some(connection) = self.slots.get(id) else { return };
        if connection.flags.has(Flags::DOOMED | Flags::REGISTERED) {
            return;
        }
        connection.flags.set(Flags::REGISTERED);
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registered =
            self.poll.registry().register(&mut SourceFd(&connection.socket.as_raw_fd()), id.token(), interest);
        if let Err(error) = registered {
            // ENOSPC, fs.epoll.max_user_watches; ENOMEM.
            self.counters.accept_paused_error.add(1);
            self.doom(id, Cause::Local(errno(&error)));
        }
    }

    /// How long to sleep at the most.
    fn timeout(&self) -> Option<Duration> {
        let accepting = !self.accept_paused && self.listeners.iter().any(|listener| listener.ready);
        if !self.ready.is_empty() || accepting {
            return Some(Duration::ZERO);
        }
        let tick = (!self.slots.is_empty() || self.accept_paused).then(|| {
            let next_ms = (u64::from(self.now.tick) + 1) * TICK_MS;
            (self.started + Duration::from_millis(next_ms)).saturating_duration_since(self.now.instant)
        });
        let wake = self.wake_at.map(|at| at.saturating_duration_since(self.now.instant));
        match (tick, wake) {
            (Some(tick), Some(wake)) => Some(tick.min(wake)),
            (tick, wake) => tick.or(wake),
        }
    }

    fn read_clock(&mut self) {
        self.now.instant = Instant::now();
        if self.wake_at.is_some_and(|at| at <= self.now.instant) {
            self.wake_at = None;
        }
    }

    /// Moves the tick on to the clock; gives how many have passed.
    fn pass_ticks(&mut self) -> u32 {
        let elapsed_ms = (self.now.instant - self.started).as_millis() as u64;
        let tick = (elapsed_ms / TICK_MS) as u32;
        let passed = tick.wrapping_sub(self.now.tick);
        if passed > 0 {
            self.now.tick = tick;
            self.now.second = (elapsed_ms / 1000) as u32;
            self.accept_paused = false;
        }
        passed
    }

    fn flush_dirty(&mut self) {
        for id in std::mem::take(&mut self.dirty) {
            let Some(connection) = self.slots.get(id) else { continue };
            connection.flags.clear(Flags::DIRTY);
            if connection.outbox.is_some() {
                outgoing::flush(self, id);
            } else {
                ending::finish(self, id);
            }
        }
    }
}
