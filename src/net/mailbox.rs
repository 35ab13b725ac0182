//! What one thread may ask of a reactor: a list under a lock, and one wake-up for all that is put there meanwhile.

use super::sys;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Debug)]
struct Shared<M> {
    /// `None` when the reactor has ended.
    letters: Mutex<Option<Vec<M>>>,
    bell: File,
}

/// Sends to one reactor, from any thread.
///
/// Its eventfd(2) is made before the reactors have descriptor tables of their own, so that it has the same number in
/// all of them: one descriptor of each table for every reactor.
#[derive(Debug)]
pub struct Mailbox<M> {
    shared: Arc<Shared<M>>,
}

impl<M> Clone for Mailbox<M> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<M> Mailbox<M> {
    /// An empty mailbox, for the reactor that is made with it.
    ///
    /// # Errors
    /// As eventfd(2).
    pub fn new() -> io::Result<Self> {
        let bell = File::from(sys::eventfd()?);
        Ok(Self { shared: Arc::new(Shared { letters: Mutex::new(Some(Vec::new())), bell }) })
    }

    /// Puts a letter in; the reactor reads it in its next turn. One for a reactor that has ended is dropped.
    ///
    /// # Errors
    /// When the reactor cannot be woken, as write(2) on its eventfd.
    pub fn send(&self, letter: M) -> io::Result<()> {
        self.put(|letters| letters.push(letter))
    }

    /// Puts all of `more` in, in order, with one wake-up at most.
    ///
    /// # Errors
    /// As [`Mailbox::send`].
    pub fn send_all(&self, more: &mut Vec<M>) -> io::Result<()> {
        if more.is_empty() {
            return Ok(());
        }
        let sent = self.put(|letters| letters.append(more));
        more.clear(); // for a reactor that has ended
        sent
    }

    fn put(&self, put: impl FnOnce(&mut Vec<M>)) -> io::Result<()> {
        let mut lock = self.lock();
        let Some(letters) = lock.as_mut() else { return Ok(()) };
        let first = letters.is_empty();
        put(letters);
        drop(lock);
        // If commands were there already, the reactor has been woken.
        if first { self.ring() } else { Ok(()) }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Vec<M>>> {
        self.shared.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self) -> io::Result<()> {
        let mut bell = &self.shared.bell;
        match bell.write(&1_u64.to_ne_bytes()) {
            // The counter is full after 2^64 - 2 letters that were each the first: start again, and ring.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                bell.read_exact(&mut [0; 8])?;
                bell.write(&1_u64.to_ne_bytes()).map(drop)
            }
            rung => rung.map(drop),
        }
    }

    /// What epoll watches, edge-triggered: each ring is an edge, so it need not be read.
    pub(super) fn bell(&self) -> RawFd {
        self.shared.bell.as_raw_fd()
    }

    pub(super) fn take(&self) -> Vec<M> {
        self.lock().as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Nobody reads any more: what is here is dropped, and what comes.
    pub(super) fn close(&self) {
        *self.lock() = None;
    }
}
