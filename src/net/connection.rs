//! The record of one connection. Its fields are changed in this file alone, by methods that keep [`Connection::check`]
//! true.

use super::cause::Cause;
use super::write_queue::{Overflow, WriteQueue};
use crate::proto::session::Session;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The phase of a connection's life; the phases exclude each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Bytes go both ways, as far as the session permits it.
    Open,
    /// connect(2) is in progress.
    Connecting,
    /// Nothing more is sent. Received bytes are discarded until the peer closes.
    Draining,
    /// The connection is freed after the batch of events, which may still contain its id.
    Freed,
}

/// A set of facts about a connection, each of which is true or not on its own. They are packed because a million idle
/// connections cost what a million records cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flags(u16);

impl Flags {
    /// The peer sent urgent data. A read stops before it (recv(2)), so only `WouldBlock` says that everything has been
    /// read.
    pub(super) const URGENT: Self = Self(1);
    /// The socket may have bytes that epoll will not report again.
    pub(super) const READABLE: Self = Self(1 << 1);
    /// The connection is on the reactor's ready list.
    pub(super) const READY: Self = Self(1 << 2);
    /// The reactor keeps a ring with bytes of this connection that have not been parsed.
    pub(super) const PARTIAL_INPUT: Self = Self(1 << 3);
    /// The peer has sent FIN: the socket is read until it reports the end of the stream.
    pub(super) const PEER_CLOSED: Self = Self(1 << 4);
    /// A ping of ours has not been answered.
    pub(super) const PINGED: Self = Self(1 << 5);
    /// The connection is between two HTTP requests: the next has not begun.
    pub(super) const KEEP_ALIVE_IDLE: Self = Self(1 << 6);
    /// The connection is on the list of those to finish before the reactor sleeps.
    pub(super) const NEEDS_FINISH: Self = Self(1 << 7);
    /// A request waits for [`super::conn::Conn::respond`]: the connection is not read, and no deadline applies.
    pub(super) const AWAITING_RESPONSE: Self = Self(1 << 8);
    /// The driver has paused reading until [`super::conn::Conn::resume`], and no deadline applies.
    pub(super) const READ_PAUSED: Self = Self(1 << 9);
    /// The queue has data that no call has tried to send.
    pub(super) const UNSENT_DATA: Self = Self(1 << 10);
    /// The connection keeps bytes, which [`super::memory`] counts.
    pub(super) const KEEPS: Self = Self(1 << 11);
    /// The connection is not read.
    pub(super) const WAITS: Self = Self(Self::AWAITING_RESPONSE.0 | Self::READ_PAUSED.0);
    /// An event requires more than reading.
    const SPECIAL: Self = Self(Self::READY.0 | Self::WAITS.0 | Self::PARTIAL_INPUT.0 | Self::KEEPS.0);
    /// The two bits of the [`Phase`]: a byte of its own would make the record eight bytes longer.
    const PHASE_SHIFT: u32 = 12;
    const PHASE: Self = Self(3 << Self::PHASE_SHIFT);
    /// The two bits of the [`Overflow`].
    const OVERFLOW_SHIFT: u32 = 14;

    #[inline]
    fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl std::ops::BitOr for Flags {
    type Output = Self;

    #[inline]
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The record of one connection: all that an idle one costs in user space. A test holds it to one cache line.
#[derive(Debug)]
pub(super) struct Connection<S> {
    socket: OwnedFd,
    generation: u32,
    session: Session,
    /// What the socket has not taken yet; there is no empty queue.
    queue: Option<Box<WriteQueue>>,
    /// When the peer was last active, or since when a deadline runs.
    last_active_tick: u32,
    flags: Flags,
    /// Why the connection ends, once that is known.
    cause: Option<Cause>,
    /// The driver's state.
    state: S,
}

impl<S> Connection<S> {
    /// Creates the record of a connected socket, with the generation of its slot.
    #[inline]
    pub(super) fn new(socket: OwnedFd, session: Session, generation: u32, now_tick: u32, state: S) -> Self {
        Self {
            socket,
            generation,
            session,
            queue: None,
            last_active_tick: now_tick,
            flags: Flags::default(),
            cause: None,
            state,
        }
    }

    /// Returns the generation, which tells the connections of a slot apart.
    #[inline]
    pub(super) fn generation(&self) -> u32 {
        self.generation
    }

    #[inline(always)]
    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    #[inline(always)]
    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    #[inline(always)]
    pub(super) fn session_mut(&mut self) -> &mut Session {
        &mut self.session
    }

    /// Replaces the session: a client that has connected begins its handshake.
    pub(super) fn set_session(&mut self, session: Session) {
        self.session = session;
    }

    #[inline]
    pub(super) fn state(&self) -> &S {
        &self.state
    }

    #[inline(always)]
    pub(super) fn state_mut(&mut self) -> &mut S {
        &mut self.state
    }

    /// Returns whether any of `flags` is set.
    #[inline(always)]
    pub(super) fn has(&self, flags: Flags) -> bool {
        self.flags.has(flags)
    }

    /// Sets all of `flags`.
    #[inline(always)]
    pub(super) fn set(&mut self, flags: Flags) {
        self.flags.0 |= flags.0;
    }

    /// Clears all of `flags`.
    #[inline(always)]
    pub(super) fn clear(&mut self, flags: Flags) {
        self.flags.0 &= !flags.0;
    }

    pub(super) fn flags(&self) -> Flags {
        self.flags
    }

    /// Whether an event means more than that there is something to read.
    #[inline(always)]
    pub(super) fn is_special(&self) -> bool {
        self.flags.has(Flags::SPECIAL | Flags::PHASE)
    }

    /// Returns what happens to a message when the queue is full.
    pub(super) fn overflow(&self) -> Overflow {
        match self.flags.0 >> Flags::OVERFLOW_SHIFT {
            0 => Overflow::Close,
            1 => Overflow::DropNewest,
            2 => Overflow::DropOldest,
            _ => Overflow::KeepLatest,
        }
    }

    pub(super) fn set_overflow(&mut self, overflow: Overflow) {
        let bits = self.flags.0 & !(3 << Flags::OVERFLOW_SHIFT);
        self.flags.0 = bits | (overflow as u16) << Flags::OVERFLOW_SHIFT;
    }

    #[inline]
    fn phase(&self) -> Phase {
        match self.flags.0 >> Flags::PHASE_SHIFT & 3 {
            0 => Phase::Open,
            1 => Phase::Connecting,
            2 => Phase::Draining,
            _ => Phase::Freed,
        }
    }

    fn set_phase(&mut self, phase: Phase) {
        self.flags.0 = self.flags.0 & !Flags::PHASE.0 | (phase as u16) << Flags::PHASE_SHIFT;
    }

    #[inline]
    pub(super) fn is_connecting(&self) -> bool {
        self.phase() == Phase::Connecting
    }

    #[inline]
    pub(super) fn is_draining(&self) -> bool {
        self.phase() == Phase::Draining
    }

    #[inline]
    pub(super) fn is_freed(&self) -> bool {
        self.phase() == Phase::Freed
    }

    /// Notes that connect(2) has been called.
    pub(super) fn connecting(&mut self) {
        self.set_phase(Phase::Connecting);
    }

    /// Notes that connect(2) has succeeded.
    pub(super) fn connected(&mut self, now_tick: u32) {
        self.set_phase(Phase::Open);
        self.last_active_tick = now_tick;
    }

    /// Begins to discard input until the peer closes, for which it has as long as a close may take.
    pub(super) fn drain(&mut self, now_tick: u32) {
        debug_assert!(self.queue.is_none() && self.phase() == Phase::Open, "{:?}", self.phase());
        self.set_phase(Phase::Draining);
        self.last_active_tick = now_tick;
    }

    /// Schedules the connection to be freed, for `cause`; returns whether it was not scheduled before. An error of the
    /// socket does not replace the cause that led to it.
    pub(super) fn free(&mut self, cause: Cause) -> bool {
        if self.phase() == Phase::Freed {
            return false;
        }
        self.set_phase(Phase::Freed);
        self.cause = match (self.cause, cause) {
            (Some(known), Cause::Io(_)) => Some(known),
            _ => Some(cause),
        };
        true
    }

    pub(super) fn cause(&self) -> Option<Cause> {
        self.cause
    }

    /// Ends the connection when its queue is empty: for `cause`, unless there is a cause already.
    #[inline]
    pub(super) fn end_with(&mut self, cause: Cause) {
        self.cause.get_or_insert(cause);
    }

    /// Ends the connection for `cause` when its queue is empty.
    #[inline]
    pub(super) fn ended_with(&mut self, cause: Cause) {
        self.cause = Some(cause);
    }

    /// Returns when the peer was last active, or since when a deadline runs.
    #[inline(always)]
    pub(super) fn last_active_tick(&self) -> u32 {
        self.last_active_tick
    }

    /// Notes activity, or that another deadline runs from now on.
    #[inline(always)]
    pub(super) fn touch(&mut self, now_tick: u32) {
        self.last_active_tick = now_tick;
    }

    #[inline(always)]
    pub(super) fn has_queue(&self) -> bool {
        self.queue.is_some()
    }

    #[inline]
    pub(super) fn queue(&self) -> Option<&WriteQueue> {
        self.queue.as_deref()
    }

    #[inline]
    pub(super) fn queue_mut(&mut self) -> Option<&mut WriteQueue> {
        self.queue.as_deref_mut()
    }

    /// Returns the socket, and the queue if there is one.
    pub(super) fn socket_and_queue(&mut self) -> (BorrowedFd<'_>, Option<&mut WriteQueue>) {
        (self.socket.as_fd(), self.queue.as_deref_mut())
    }

    /// Returns the queue, which is created at `now_tick` if there is none.
    pub(super) fn queue_or_new(&mut self, now_tick: u32) -> &mut WriteQueue {
        self.queue.get_or_insert_with(|| Box::new(WriteQueue::new(now_tick)))
    }

    #[cold]
    pub(super) fn set_queue(&mut self, queue: WriteQueue) {
        debug_assert!(self.queue.is_none());
        self.queue = Some(Box::new(queue));
    }

    #[inline]
    pub(super) fn take_queue(&mut self) -> Option<Box<WriteQueue>> {
        self.queue.take()
    }

    /// Drops the queue, which is empty.
    pub(super) fn drop_queue(&mut self) {
        self.queue = None;
    }

    /// Returns whether the connection keeps any memory, or did when that was last counted.
    #[inline(always)]
    pub(super) fn keeps_any(&self) -> bool {
        self.queue.is_some() || self.session.has_partial() || self.flags.has(Flags::KEEPS)
    }

    /// Checks, in debug builds, what holds between two events.
    pub(super) fn check(&self) {
        debug_assert!(self.queue.as_ref().is_none_or(|queue| !queue.is_empty()), "an empty queue exists");
        debug_assert!(self.phase() != Phase::Draining || self.queue.is_none(), "nothing more is sent");
        debug_assert!(self.phase() != Phase::Freed || self.cause.is_some(), "it ends for a reason");
        debug_assert!(!self.flags.has(Flags::UNSENT_DATA) || self.queue.is_some(), "what is unsent is queued");
    }
}
