//! What one thread may ask of a reactor: a list under a lock, and one wake-up for all that is put there meanwhile.

use super::sys;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Debug)]
struct Inner<M> {
    /// `None` when the reactor has ended.
    commands: Mutex<Option<Vec<M>>>,
    eventfd: File,
}

/// Sends to one reactor, from any thread.
///
/// Its eventfd(2) is made before the reactors have descriptor tables of their own, so that it has the same number in
/// all of them: one descriptor of each table for every reactor.
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
    /// An empty mailbox, for the reactor that is made with it.
    ///
    /// # Errors
    /// As eventfd(2).
    pub fn new() -> io::Result<Self> {
        let eventfd = File::from(sys::eventfd()?);
        Ok(Self { inner: Arc::new(Inner { commands: Mutex::new(Some(Vec::new())), eventfd }) })
    }

    /// Puts a command in; the reactor reads it in its next turn. One for a reactor that has ended is dropped.
    ///
    /// # Errors
    /// When the reactor cannot be woken, as write(2) on its eventfd.
    pub fn send(&self, command: M) -> io::Result<()> {
        self.put(|commands| commands.push(command))
    }

    /// Puts all of `more` in, in order, with one wake-up at most.
    ///
    /// # Errors
    /// As [`Mailbox::send`].
    pub fn send_all(&self, more: &mut Vec<M>) -> io::Result<()> {
        if more.is_empty() {
            return Ok(());
        }
        let sent = self.put(|commands| commands.append(more));
        more.clear(); // for a reactor that has ended
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
            // The counter is full after 2^64 - 2 commands that were each the first: start again, and wake.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                eventfd.read_exact(&mut [0; 8])?;
                eventfd.write(&1_u64.to_ne_bytes()).map(drop)
            }
            rung => rung.map(drop),
        }
    }

    /// What epoll watches, edge-triggered: each wake is an edge, so it need not be read.
    pub(super) fn eventfd(&self) -> RawFd {
        self.inner.eventfd.as_raw_fd()
    }

    pub(super) fn take(&self) -> Vec<M> {
        self.lock().as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Nobody reads any more: what is here is dropped, and what comes.
    pub(super) fn close(&self) {
        *self.lock() = None;
    }
}
