//! Mailboxes: how other threads send commands to a reactor. A lock protects the list of commands, and one wake-up
//! serves all that arrive meanwhile.

use super::sys;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Debug)]
struct Inner<M> {
    /// The commands; `None` after the reactor has ended.
    commands: Mutex<Option<Vec<M>>>,
    eventfd: File,
}

/// The mailbox of one reactor, to which any thread can send.
///
/// Its eventfd(2) is created before the reactors have descriptor tables of their own, so that it has the same number in
/// all of them: each table has one descriptor for every reactor.
#[derive(Debug)]
pub struct Mailbox<M> {
    inner: Arc<Inner<M>>,
}

impl<M> Clone for Mailbox<M> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<M> Mailbox<M> {
    /// Creates an empty mailbox.
    ///
    /// # Errors
    /// As eventfd(2).
    pub fn new() -> io::Result<Self> {
        let eventfd = File::from(sys::eventfd()?);
        Ok(Self { inner: Arc::new(Inner { commands: Mutex::new(Some(Vec::new())), eventfd }) })
    }

    /// Sends a command, which the reactor handles in its next iteration. A command for a reactor that has ended is
    /// dropped.
    ///
    /// # Errors
    /// When the reactor cannot be woken, as write(2) on its eventfd.
    pub fn send(&self, command: M) -> io::Result<()> {
        self.put(|commands| commands.push(command))
    }

    /// Sends all of `more`, in order, with at most one wake-up.
    ///
    /// # Errors
    /// As [`Mailbox::send`].
    pub fn send_all(&self, more: &mut Vec<M>) -> io::Result<()> {
        if more.is_empty() {
            return Ok(());
        }
        let sent = self.put(|commands| commands.append(more));
        more.clear(); // where the reactor has ended, they are still here
        sent
    }

    fn put(&self, put: impl FnOnce(&mut Vec<M>)) -> io::Result<()> {
        let mut lock = self.lock();
        let Some(commands) = lock.as_mut() else { return Ok(()) };
        let first = commands.is_empty();
        put(commands);
        drop(lock);
        // If commands were there already, the reactor has been woken.
        if first { self.wake() } else { Ok(()) }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Vec<M>>> {
        self.inner.commands.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) -> io::Result<()> {
        let mut eventfd = &self.inner.eventfd;
        match eventfd.write(&1_u64.to_ne_bytes()) {
            // The counter of the eventfd is full: reset it, and write again.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                eventfd.read_exact(&mut [0; 8])?;
                eventfd.write(&1_u64.to_ne_bytes()).map(drop)
            }
            rung => rung.map(drop),
        }
    }

    /// Returns the descriptor for epoll to watch, edge-triggered: each wake-up is an edge, so it need not be read.
    pub(super) fn eventfd(&self) -> RawFd {
        self.inner.eventfd.as_raw_fd()
    }

    pub(super) fn take(&self) -> Vec<M> {
        self.lock().as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Closes the mailbox: drops all commands in it, and those that come later.
    pub(super) fn close(&self) {
        *self.lock() = None;
    }
}
