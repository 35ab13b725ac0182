//! The reactor: one thread, one epoll instance, one slab. In each iteration it waits for events, serves the
//! connections, and finishes, frees and sweeps before it waits again.

pub use super::core::Core;
pub use super::limits::ConnectionLimit;
pub use super::memory_limit::MemoryLimit;
pub use super::settings::{MAX_ACCEPTS_PER_TURN, MAX_EVENTS_PER_TURN, QUEUE_GRACE_S, Settings};

use super::conn::{self, Cause};
use super::connection::Flags;
use super::core::Listener;
use super::counters::Counters;
use super::driver::Driver;
use super::mailbox::Mailbox;
use super::slots::ConnectionId;
use super::sweep::{MAX_PINGS, Sweep};
use super::{closing, pressure, process, send, sys};
use crate::proto::session::{Session, State};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use socket2::SockRef;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;

/// Tokens of the reactor itself: those of connections leave the highest bit free.
const WAKER: Token = Token(usize::MAX);
const LISTENERS: usize = 1 << 63;

/// A reactor is busy if it does this much work in a round of the sweep, which takes a second.
const BUSY_WORK: u64 = 256;

/// A reactor with its driver.
#[derive(Debug)]
pub struct Reactor<D: Driver> {
    core: Core<D::State>,
    driver: D,
    mailbox: Mailbox<D::Command>,
    sweep: Sweep,
    /// The work that had been done when the last round ended.
    worked: u64,
}

impl<D: Driver> Drop for Reactor<D> {
    /// Returns what the reactor shares with others, however it ends, even by a panic; no thread waits for ever for a
    /// reply to a command.
    fn drop(&mut self) {
        self.mailbox.close();
        self.core.context.settings.connection_limit.give_back(self.core.slots.len());
        for (_, source) in self.core.sources.drain() {
            self.core.context.settings.source_limit.leave(source);
        }
    }
}

impl<D: Driver> Reactor<D> {
    /// Creates a reactor for the calling thread, with the descriptor table of that thread.
    ///
    /// # Errors
    /// As epoll_create1(2) and epoll_ctl(2).
    pub fn new(
        driver: D,
        settings: Settings,
        counters: Arc<Counters>,
        mailbox: Mailbox<D::Command>,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        poll.registry().register(&mut SourceFd(&mailbox.eventfd()), WAKER, Interest::READABLE)?;
        let core = Core::new(poll, settings, counters);
        Ok(Self { core, driver, mailbox, sweep: Sweep::default(), worked: 0 })
    }

    /// Accepts connections from `socket`, which listens and does not block; each connection begins with `session`.
    ///
    /// # Errors
    /// As epoll_ctl(2).
    pub fn listen(&mut self, socket: OwnedFd, session: fn() -> Session) -> io::Result<()> {
        let token = Token(LISTENERS | self.core.listeners.len());
        self.core.poll.registry().register(&mut SourceFd(&socket.as_raw_fd()), token, Interest::READABLE)?;
        self.core.listeners.push(Listener { socket, session, ready: false });
        self.core.write_date();
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
            let timeout = self.core.wait_exactly(timeout);
            match self.core.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            // This comes before any time is noted: a reactor that had nothing to do has slept for many ticks.
            let ticks = self.core.read_clock();
            if !events.is_empty() || !self.core.ready.is_empty() {
                self.core.next_due.reset();
            }
            for event in &events {
                self.dispatch(event);
            }
            self.finish_iteration(ticks);
            if self.core.stopped && self.core.slots.is_empty() && !self.core.is_busy {
                return Ok(());
            }
        }
    }

    /// Returns how many messages and requests were received, and how many connections were opened and ended, so far.
    fn work(&self) -> u64 {
        let counters = &self.core.context.counters;
        [&counters.messages_in, &counters.requests, &counters.opened, &counters.ended]
            .iter()
            .fold(0, |sum, counter| sum.wrapping_add(counter.value()))
    }

    #[inline]
    fn dispatch(&mut self, event: &mio::event::Event) {
        let token = event.token();
        if token == WAKER {
            for command in self.mailbox.take() {
                self.driver.command(&mut self.core, command);
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
                process::on_event(&mut self.core, &mut self.driver, id, event);
            }
        }
    }

    /// Handles the outcome of connect(2) (its manual page, EINPROGRESS).
    fn connect_event(&mut self, id: ConnectionId, event: &mio::event::Event) {
        let Some(connection) = self.core.slots.get(id) else { return };
        if event.is_error() || event.is_read_closed() {
            let error = SockRef::from(&connection.socket()).take_error().ok().flatten();
            let code = error.map_or(0, |error| sys::error_code(&error));
            if code != 0 {
                return self.core.schedule_free(id, Cause::Connect(code));
            }
        }
        if event.is_writable() {
            connection.connected(self.core.context.now.tick);
            self.core.connecting -= 1;
            self.core.context.counters.opened.add(1);
            let driver = &mut self.driver;
            self.core.with(id, |conn| driver.connected(conn));
            if event.is_readable() || event.is_read_closed() {
                // The server sends first, or has closed already: this edge reports that too, and no other one will.
                self.core.mark_readable(id, event.is_read_closed());
            }
        }
    }

    /// Finishes an iteration after the events of a batch: serves the ready list, accepts, sweeps, frees, and calls the
    /// driver.
    fn finish_iteration(&mut self, ticks: u32) {
        pressure::relieve(&mut self.core, &mut self.driver, ticks);
        for _ in 0..self.core.ready.len() {
            let Some(id) = self.core.ready.pop_front() else { break };
            if let Some(connection) = self.core.slots.get(id) {
                connection.clear(Flags::READY);
                process::serve(&mut self.core, &mut self.driver, id);
            }
        }
        for at in 0..self.core.listeners.len() {
            self.accept(at);
        }
        if ticks > 0 || self.sweep.is_behind() {
            self.sweep(ticks);
        }
        closing::finish_pending(&mut self.core);
        // The driver has to be told of the last connection's end before the reactor sleeps, perhaps for ever; what the
        // driver then does may end other connections.
        self.free_scheduled();
        self.driver.end_iteration(&mut self.core);
        closing::finish_pending(&mut self.core);
        if !self.core.to_free.is_empty() {
            self.free_scheduled();
            self.core.stay_awake();
        }
        if self.core.slots.is_empty() {
            self.core.end_round(); // there is no connection to visit
        }
    }

    /// Visits the connections that are due for a visit, unless nothing is due for any of them. The number of visits in
    /// one iteration is bounded; the rest follow in the next iteration, after the work that peers wait for.
    fn sweep(&mut self, ticks: u32) {
        let end_index = self.core.slots.end_index();
        if self.core.next_due.is_after(self.core.context.now.tick) {
            self.sweep.rest();
            self.core.pings.skip_round(self.core.context.now.tick);
            if cfg!(debug_assertions) {
                self.core.check_rest();
            }
            return;
        }
        self.sweep.pass(end_index, ticks);
        let slice = self.sweep.next(end_index);
        if slice.start == 0 {
            self.core.next_due.begin_round();
        }
        let (mut cursor, mut pings) = (slice.start, 0);
        while cursor < slice.end && pings < MAX_PINGS {
            pings += usize::from(closing::visit(&mut self.core, &mut self.driver, cursor));
            cursor += 1;
        }
        if self.sweep.visited(slice.start, cursor, end_index) {
            let work = self.work();
            self.core.pings.is_yielding = work.wrapping_sub(self.worked) >= BUSY_WORK;
            self.worked = work;
            self.core.end_round();
        }
        if self.sweep.is_behind() {
            self.core.stay_awake();
        }
    }

    fn accept(&mut self, at: usize) {
        let core = &mut self.core;
        if core.accept_paused || core.stopped || !core.listeners[at].ready {
            return;
        }
        let room = core.context.settings.max_connections.saturating_sub(core.slots.len());
        let places = core.context.settings.connection_limit.take(room.min(core.context.settings.max_accepts_per_turn));
        if places == 0 {
            core.context.counters.accept_paused_full.add(1);
            core.accept_paused = true;
            return;
        }
        let is_tight = core.memory.is_tight();
        let mut accepted = 0;
        // A refused connection takes no place, but counts for the budget of this iteration.
        for _ in 0..self.core.context.settings.max_accepts_per_turn {
            if accepted == places {
                break;
            }
            let listener = &mut self.core.listeners[at];
            match sys::accept(listener.socket.as_fd()) {
                Ok(socket) => {
                    let session = (listener.session)();
                    if is_tight {
                        self.core.context.counters.memory_refused.add(1);
                        self.refuse(socket, &session, "This server is short of memory; retry later.\n");
                    } else {
                        accepted += usize::from(self.open(socket, session));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    listener.ready = false;
                    break;
                }
                // accept(2): the error was pending on the new connection, and has gone with it.
                Err(error) if sys::is_of_the_peer(&error) => {}
                // EMFILE, ENFILE, ENOBUFS, ENOMEM, or the error of a filter: trying again at once would not help.
                Err(_) => {
                    self.core.context.counters.accept_paused_error.add(1);
                    self.core.accept_paused = true;
                    break;
                }
            }
        }
        self.core.context.settings.connection_limit.give_back(places - accepted);
    }

    /// Adds a connection, unless its source has too many; returns whether it took a place. The connection is served at
    /// once, since often its request has arrived, and is registered with epoll only if it stays.
    #[inline]
    fn open(&mut self, socket: OwnedFd, session: Session) -> bool {
        let mut source = None;
        if self.core.context.settings.source_limit.is_limited() {
            // A connection without an address, as over a unix socket, has no source.
            source = self.core.context.settings.source_limit.prefixes().source_of_socket(&socket);
            if source.is_some_and(|source| !self.core.context.settings.source_limit.enter(source)) {
                self.core.context.counters.over_source_limit.add(1);
                let max = self.core.context.settings.source_limit.max();
                let reason = format!(
                    "Your address has as many connections as it may have here ({max}); close one, or retry later.\n"
                );
                self.refuse(socket, &session, &reason);
                return false;
            }
        }
        self.core.next_due.reset();
        let id = self.core.slots.insert(socket, session, self.core.context.now.tick, D::State::default());
        self.core.context.counters.opened.add(1);
        if let Some(source) = source {
            self.core.sources.insert(id, source);
        }
        process::serve(&mut self.core, &mut self.driver, id);
        self.core.register(id);
        true
    }

    /// Refuses a connection. One without a protocol is closed without a response.
    #[cold]
    fn refuse(&mut self, socket: OwnedFd, session: &Session, reason: &str) {
        let core = &mut self.core;
        if session.state() == State::Raw {
            return;
        }
        core.context.counters.refused(503);
        // The time is random, so that clients that are refused together do not come back together.
        let retry_after_s = 1 + u32::from(u8::from_ne_bytes(core.context.output.random.take())) % 10;
        core.refusals.refuse(
            socket,
            (reason, retry_after_s),
            &core.context.output.default_headers,
            core.context.now.tick,
        );
    }

    fn free_scheduled(&mut self) {
        // A driver may end other connections in `ended`.
        while let Some(id) = self.core.to_free.pop() {
            let Some(mut connection) = self.core.slots.remove(id) else { continue };
            if connection.has(Flags::PARTIAL_INPUT) {
                self.core.partial_input.remove(&id);
            }
            if connection.has(Flags::KEEPS) {
                self.core.forget(id);
            }
            if !self.core.sources.is_empty()
                && let Some(source) = self.core.sources.remove(&id)
            {
                self.core.context.settings.source_limit.leave(source);
            }
            if !self.core.closing.is_empty() {
                self.core.closing.remove(&id);
            }
            let cause = connection.cause().unwrap_or(Cause::Abrupt);
            self.core.context.counters.ended.add(1);
            match cause {
                Cause::Abrupt => self.core.context.counters.ended_abruptly.add(1),
                Cause::Io(_) => self.core.context.counters.ended_by_error.add(1),
                Cause::Deadline(_) => self.core.context.counters.ended_by_deadline.add(1),
                _ => {}
            }
            send::discard(&mut connection, &self.core.context.counters);
            connection.session_mut().abandon();
            let mut conn = conn::conn(&mut connection, &mut self.core.context, id, 0..0);
            self.driver.ended(&mut conn, cause);
            self.core.context.output.clear();
            drop(connection);
            self.core.context.settings.connection_limit.give_back(1);
            self.core.accept_paused = false;
        }
    }
}
