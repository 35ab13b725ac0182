//! The state of a reactor without its driver: the connections, and what can be done to them outside their turns.

use super::clock::Clock;
use super::conn::{Cause, Conn};
use super::connection::{Connection, Flags};
use super::context::{Context, Input, Queueing};
use super::counters::Counters;
use super::memory::MemoryUse;
use super::pings::Pings;
use super::pool::Pool;
use super::progress::Progress;
use super::refusal::Refusals;
use super::send::send_or_keep;
use super::settings::Settings;
use super::slots::{ConnectionId, Slots};
use super::sources::Source;
use super::sweep::{self, Due, NextDue};
use super::write_queue::WriteQueue;
use super::{conn, sys};
use crate::proto::deflate::Deflate;
use crate::proto::mask::RandomSource;
use crate::proto::ring::Ring;
use crate::proto::session::{Output, Session, State};
use mio::unix::SourceFd;
use mio::{Interest, Poll};
use socket2::{SockAddr, SockRef, Socket};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use super::clock::Now;

#[derive(Debug)]
pub(super) struct Listener {
    pub(super) socket: OwnedFd,
    pub(super) session: fn() -> Session,
    /// The queue of the listener may hold connections. Edge-triggered epoll reports that once, and would not report it
    /// again after EMFILE.
    pub(super) ready: bool,
}

/// The state of a reactor without its driver, which works on it.
#[derive(Debug)]
pub struct Core<S> {
    pub(super) poll: Poll,
    pub(super) slots: Slots<S>,
    pub(super) context: Context,
    pub(super) input: Input,
    pub(super) partial_input: HashMap<ConnectionId, Ring>,
    pub(super) ready: VecDeque<ConnectionId>,
    pub(super) needs_finish: Vec<ConnectionId>,
    pub(super) to_free: Vec<ConnectionId>,
    pub(super) clock: Clock,
    /// The tick until which the limit on control frames is raised, and the limit that was set.
    pub(super) catches_up: Option<(u32, u16)>,
    pub(super) pings: Pings,
    pub(super) next_due: NextDue,
    pub(super) listeners: Vec<Listener>,
    /// The sources of connections, if their number is limited.
    pub(super) sources: HashMap<ConnectionId, Source>,
    /// The progress of connections that did not close in time but still acknowledge what was sent to them.
    pub(super) closing: HashMap<ConnectionId, Progress>,
    pub(super) refusals: Refusals,
    pub(super) memory: MemoryUse,
    /// Accepting failed, or no place is free: it is tried again after a tick, or when a descriptor is freed.
    pub(super) accept_paused: bool,
    pub(super) wake_at: Option<Instant>,
    pub(super) stopped: bool,
    /// The driver has more to do than it did in the last iteration.
    pub(super) is_busy: bool,
    /// The number of connections that wait for connect(2). It is 0 for a server, which then need not look for them.
    pub(super) connecting: usize,
}

impl<S> Core<S> {
    pub(super) fn new(poll: Poll, settings: Settings, counters: Arc<Counters>) -> Self {
        let clock = Clock::new(Instant::now());
        let mut output = Output::new(RandomSource::new(sys::random));
        output.deflate = Deflate::new(&settings.compression);
        output.default_headers.fields.clone_from(&settings.response_fields);
        let queueing = Queueing::new(settings.queue, settings.queue_grace_s);
        Self {
            poll,
            slots: Slots::with_capacity(settings.max_connections),
            input: Input { pool: Pool::new(settings.read_buffer_bytes), message: Vec::new() },
            partial_input: HashMap::new(),
            ready: VecDeque::new(),
            needs_finish: Vec::new(),
            to_free: Vec::new(),
            pings: Pings::new(&settings.deadlines),
            next_due: NextDue::default(),
            catches_up: None,
            listeners: Vec::new(),
            sources: HashMap::new(),
            closing: HashMap::new(),
            refusals: Refusals::default(),
            memory: MemoryUse::new(Arc::clone(&settings.memory_limit)),
            accept_paused: false,
            wake_at: None,
            stopped: false,
            is_busy: true, // the driver's first turn comes at once
            connecting: 0,
            context: Context { output, counters, settings, queueing, now: clock.now },
            clock,
        }
    }

    /// Returns the time of this iteration.
    #[inline]
    pub fn now(&self) -> Now {
        self.context.now
    }

    /// Returns the number of connections, including those that are connecting.
    pub fn connections(&self) -> usize {
        self.slots.len()
    }

    /// Returns the end of the indexes that may be in use; see [`Core::at`].
    pub fn end_index(&self) -> usize {
        self.slots.end_index()
    }

    /// Returns the id and the state of the connection at an index of the slab, if it is connected.
    pub fn at(&mut self, index: usize) -> Option<(ConnectionId, &mut S)> {
        let (id, connection) = self.slots.at(index)?;
        if connection.is_freed() || connection.is_connecting() {
            return None;
        }
        Some((id, connection.state_mut()))
    }

    /// Lends a connection to `work` outside of its turn, and sends its output at once. Returns `None` if the connection
    /// is gone.
    pub fn with<R>(&mut self, id: ConnectionId, work: impl FnOnce(&mut Conn<'_, S>) -> R) -> Option<R> {
        self.next_due.reset();
        let connection = self.slots.get(id).filter(|connection| !connection.is_freed())?;
        let (state_before, waited) = (connection.session().state(), connection.has(Flags::WAITS));
        let mut conn = conn::conn(connection, &mut self.context, id, 0..0);
        let result = work(&mut conn);
        if connection.session().state() != state_before {
            connection.touch(self.context.now.tick); // another deadline runs
        }
        if !self.context.output.bytes.is_empty()
            && let Err(error) = send_or_keep(connection, &mut self.context)
        {
            self.schedule_free(id, Cause::Io(sys::error_code(&error)));
            return Some(result);
        }
        self.after_callback(id, waited);
        Some(result)
    }

    /// Follows up on a call of the driver outside of a turn: schedules the next step of a connection that has ended
    /// or whose request has its response, and counts the memory that it keeps.
    fn after_callback(&mut self, id: ConnectionId, waited: bool) {
        let Some(connection) = self.slots.get(id) else { return };
        let answered = waited && !connection.has(Flags::WAITS);
        let keeps = connection.keeps_any();
        if answered {
            connection.touch(self.context.now.tick);
            if connection.session().state() == State::Closed {
                connection.end_with(Cause::ResponseSent);
            } else {
                connection.set(Flags::KEEP_ALIVE_IDLE);
            }
        }
        if connection.cause().is_some() && !connection.has(Flags::NEEDS_FINISH) {
            connection.set(Flags::NEEDS_FINISH);
            self.needs_finish.push(id);
        } else if answered && !connection.has_queue() {
            self.make_ready(id);
        }
        if keeps {
            self.account(id, false);
        }
    }

    /// Has the reactor call its driver again at once, after the other connections had their turns.
    pub fn stay_awake(&mut self) {
        self.is_busy = true;
    }

    /// Opens a connection to `target`, bound to `source` if there is one. The driver is told of the outcome by
    /// [`super::driver::Driver::connected`] or [`super::driver::Driver::ended`].
    ///
    /// # Errors
    /// As socket(2), bind(2), connect(2) and epoll_ctl(2): then there is no connection, and the driver is not called.
    pub fn connect(
        &mut self,
        target: &SockAddr,
        source: Option<&SockAddr>,
        session: Session,
        state: S,
    ) -> io::Result<ConnectionId> {
        let socket = Socket::new(target.domain(), socket2::Type::STREAM.nonblocking().cloexec(), None)?;
        if let Some(source) = source {
            if source.as_socket().is_some_and(|source| source.port() > 0) {
                // Connections to other destinations may have the same port, and an earlier one may be in TIME_WAIT.
                socket.set_reuse_address(true)?;
            } else {
                sys::set_bind_address_no_port(socket.as_fd())?;
            }
            socket.bind(source)?;
        }
        if let Err(error) = socket.connect(target)
            && error.raw_os_error() != Some(libc::EINPROGRESS)
        {
            return Err(error);
        }
        self.next_due.reset();
        let id = self.slots.insert(socket.into(), session, self.context.now.tick, state);
        if let Some(connection) = self.slots.get(id) {
            connection.connecting();
            if let Err(error) = watch(&self.poll, id, connection) {
                self.slots.remove(id);
                return Err(error);
            }
            self.connecting += 1;
        }
        Ok(id)
    }

    /// Notes that a connection which has just connected has something to read, perhaps the end of the stream.
    pub(super) fn mark_readable(&mut self, id: ConnectionId, peer_closed: bool) {
        if let Some(connection) = self.slots.get(id) {
            connection.set(Flags::READABLE);
            if peer_closed {
                connection.set(Flags::PEER_CLOSED);
            }
        }
        self.make_ready(id);
    }

    pub(super) fn is_connecting(&mut self, id: ConnectionId) -> bool {
        self.slots.get(id).is_some_and(|connection| connection.is_connecting())
    }

    /// Schedules a connection to be freed after the batch of events, which may still contain its id.
    pub fn schedule_free(&mut self, id: ConnectionId, cause: Cause) {
        self.next_due.reset();
        let Some(connection) = self.slots.get(id) else { return };
        let was_connecting = connection.is_connecting();
        if connection.free(cause) {
            self.connecting -= usize::from(was_connecting);
            self.to_free.push(id);
        }
    }

    /// Schedules all connections, connected or not, to be freed whose state `which` accepts.
    pub fn schedule_free_all(&mut self, cause: Cause, which: impl Fn(&S) -> bool) {
        for index in 0..self.slots.end_index() {
            let Some((id, connection)) = self.slots.at(index) else { continue };
            if which(connection.state()) {
                self.schedule_free(id, cause);
            }
        }
    }

    /// Resets all connections, so that the kernel keeps nothing of what it still had to send.
    pub fn reset_all(&mut self, cause: Cause) {
        for index in 0..self.slots.end_index() {
            if let Some((id, _)) = self.slots.at(index) {
                self.reset(id, cause);
            }
        }
    }

    /// Resets a connection (socket(7), SO_LINGER of no time), so that the kernel keeps nothing of it.
    pub fn reset(&mut self, id: ConnectionId, cause: Cause) {
        if let Some(connection) = self.slots.get(id) {
            let _ = SockRef::from(&connection.socket()).set_linger(Some(Duration::ZERO));
        }
        self.schedule_free(id, cause);
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
            && !connection.has(Flags::READY)
            && !connection.is_freed()
        {
            connection.set(Flags::READY);
            self.ready.push_back(id);
        }
    }

    #[inline]
    pub(super) fn register(&mut self, id: ConnectionId) {
        let Some(connection) = self.slots.get(id) else { return };
        if connection.is_freed() {
            return;
        }
        if let Err(error) = watch(&self.poll, id, connection) {
            // ENOSPC, fs.epoll.max_user_watches; ENOMEM.
            self.context.counters.accept_paused_error.add(1);
            self.schedule_free(id, Cause::Local(sys::error_code(&error)));
        }
    }

    /// Checks, in debug builds, that `out` = `delivered` + `dropped` + the messages in all queues.
    pub(super) fn check(&mut self) {
        for index in 0..self.slots.end_index() {
            if let Some((_, connection)) = self.slots.at(index) {
                connection.check();
            }
        }
        let queues =
            (0..self.slots.end_index()).filter_map(|at| self.slots.at(at)?.1.queue().map(WriteQueue::messages));
        let queued: usize = queues.sum();
        debug_assert_eq!(queued as u64, self.context.counters.totals().messages_queued, "messages_queued");
        self.check_lists();
    }

    /// Checks that each list has the connections whose records say that they are on it, and no other.
    fn check_lists(&mut self) {
        let (mut ready, mut needs_finish, mut to_free, mut connecting, mut partial_input) = (0, 0, 0, 0, 0);
        for index in 0..self.slots.end_index() {
            let Some((_, connection)) = self.slots.at(index) else { continue };
            ready += usize::from(connection.has(Flags::READY));
            needs_finish += usize::from(connection.has(Flags::NEEDS_FINISH));
            to_free += usize::from(connection.is_freed());
            connecting += usize::from(connection.is_connecting());
            partial_input += usize::from(connection.has(Flags::PARTIAL_INPUT));
        }
        let slots = &mut self.slots;
        let mut live = |id: &ConnectionId, flag| usize::from(slots.get(*id).is_some_and(|found| found.has(flag)));
        let on_lists = (
            self.ready.iter().map(|id| live(id, Flags::READY)).sum::<usize>(),
            self.needs_finish.iter().map(|id| live(id, Flags::NEEDS_FINISH)).sum::<usize>(),
            self.partial_input.keys().map(|id| live(id, Flags::PARTIAL_INPUT)).sum::<usize>(),
        );
        debug_assert_eq!(on_lists, (ready, needs_finish, partial_input), "ready, to be finished, with partial input");
        debug_assert_eq!(self.partial_input.len(), partial_input, "input of a connection that is gone");
        debug_assert_eq!((self.to_free.len(), self.connecting), (to_free, connecting), "to be freed, connecting");
        debug_assert!(self.sources.len() <= slots.len() && self.closing.len() <= slots.len(), "of one that is gone");
    }

    /// Checks, in debug builds, that nothing is due for any connection while the sweep rests.
    pub(super) fn check_rest(&mut self) {
        let (now_tick, deadlines) = (self.context.now.tick, self.context.settings.deadlines);
        for index in 0..self.slots.end_index() {
            let Some((id, connection)) = self.slots.at(index) else { continue };
            let due = sweep::due(connection, now_tick, &deadlines);
            let may_be_pinged = matches!(due, Due::Silent(age_ticks) if self.pings.may(age_ticks));
            debug_assert!(
                !may_be_pinged && !matches!(due, Due::Missed(_)),
                "{id:?}: {due:?}, {:?}",
                connection.flags()
            );
        }
    }

    /// Ends a round of the sweep, which has visited all connections.
    pub(super) fn end_round(&mut self) {
        if cfg!(debug_assertions) {
            self.check();
        }
        self.pings.end_round(self.context.now.tick);
        self.next_due.end_round();
    }
}

/// Registers a connection with epoll for both directions, for its whole life.
fn watch<S>(poll: &Poll, id: ConnectionId, connection: &mut Connection<S>) -> io::Result<()> {
    let interest = Interest::READABLE | Interest::WRITABLE | Interest::PRIORITY;
    poll.registry().register(&mut SourceFd(&connection.socket().as_raw_fd()), id.token(), interest)
}
