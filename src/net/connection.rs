//! The record of one connection.

use super::cause::Cause;
use super::outbox::{Outbox, Overflow};
use crate::proto::session::Session;
use std::os::fd::OwnedFd;

/// A set of yes-or-no facts about a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flags(u16);

impl Flags {
    /// The peer sent urgent data: a read stops in front of it (recv(2)), so only `WouldBlock` says that all has been read.
    pub(super) const URGENT: Self = Self(1);
    /// connect(2) is under way.
    pub(super) const CONNECTING: Self = Self(1 << 1);
    /// The socket may have bytes that no edge will announce again.
    pub(super) const UNDRAINED: Self = Self(1 << 2);
    /// On the reactor's ready list.
    pub(super) const READY: Self = Self(1 << 3);
    /// A ring with unparsed bytes waits in [`super::reactor::Core`].
    pub(super) const HOLDS_RING: Self = Self(1 << 4);
    /// The peer has sent FIN: reading goes on until it shows.
    pub(super) const PEER_CLOSED: Self = Self(1 << 5);
    /// Nothing more is sent; what comes is discarded until the peer closes.
    pub(super) const LINGERS: Self = Self(1 << 6);
    /// A ping of ours is unanswered.
    pub(super) const PINGED: Self = Self(1 << 7);
    /// Between HTTP requests: the next has not begun.
    pub(super) const BETWEEN: Self = Self(1 << 8);
    /// To be freed when the batch is done.
    pub(super) const DOOMED: Self = Self(1 << 9);
    /// Whose turn is not simply to talk.
    pub(super) const SPECIAL: Self =
        Self(Self::READY.0 | Self::WAITS.0 | Self::HOLDS_RING.0 | Self::LINGERS.0 | Self::DOOMED.0 | Self::KEEPS.0);
    /// On the list of those to be ended before sleeping.
    pub(super) const DIRTY: Self = Self(1 << 10);
    /// A request waits for its answer: nothing is read.
    pub(super) const WAITS: Self = Self(1 << 11);
    /// Its outbox has something that nobody has tried to send.
    pub(super) const FRESH: Self = Self(1 << 13);
    /// It keeps bytes, which [`super::memory`] counts.
    pub(super) const KEEPS: Self = Self(1 << 12);
    /// The two bits of its [`Overflow`].
    const OVERFLOW_SHIFT: u32 = 14;

    /// Whether any of `other` is set.
    #[inline]
    pub(super) fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Sets all of `other`.
    #[inline]
    pub(super) fn set(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// What happens to a message when the queue is full.
    pub(super) fn overflow(self) -> Overflow {
        match self.0 >> Self::OVERFLOW_SHIFT {
            0 => Overflow::Close,
            1 => Overflow::DropNewest,
            2 => Overflow::DropOldest,
            _ => Overflow::KeepLatest,
        }
    }

    pub(super) fn set_overflow(&mut self, overflow: Overflow) {
        self.0 = self.0 & !(3 << Self::OVERFLOW_SHIFT) | (overflow as u16) << Self::OVERFLOW_SHIFT;
    }

    /// Clears all of `other`.
    #[inline]
    pub(super) fn clear(&mut self, other: Self) {
        self.0 &= !other.0;
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
    pub(super) socket: OwnedFd,
    pub(super) generation: u32,
    pub(super) session: Session,
    pub(super) outbox: Option<Box<Outbox>>,
    /// When it last showed life, or since when a deadline runs.
    pub(super) stamp_tick: u32,
    pub(super) flags: Flags,
    /// Why it ends, once that is known.
    pub(super) cause: Option<Cause>,
    /// The driver's own.
    pub(super) state: S,
}

impl<S> Connection<S> {
    /// Whether it keeps anything, or did when that was last counted.
    #[inline(always)]
    pub(super) fn keeps_any(&self) -> bool {
        self.outbox.is_some() || self.session.has_partial() || self.flags.has(Flags::KEEPS)
    }
}
