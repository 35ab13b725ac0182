//! What one thread may ask of a reactor: a list under a lock, and one wake-up for all that is put there meanwhile.

use super::sys;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Arc, Mutex, PoisonError};

#[derive(Debug)]
struct Shared<M> {
    letters: Mutex<Vec<M>>,
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
        Ok(Self { shared: Arc::new(Shared { letters: Mutex::new(Vec::new()), bell }) })
    }

    /// Puts a letter in; the reactor reads it in its next turn.
    ///
    /// # Errors
    /// When the reactor cannot be woken, as write(2) on its eventfd.
    pub fn send(&self, letter: M) -> io::Result<()> {
        let mut letters = self.shared.letters.lock().unwrap_or_else(PoisonError::into_inner);
        let first = letters.is_empty();
        letters.push(letter);
        drop(letters);
        // Whoever found letters there knows that the reactor is already on its way.
        if first { self.ring() } else { Ok(()) }
    }

    /// Puts all of `more` in, in order, with one wake-up at the most.
    ///
    /// # Errors
    /// As [`Mailbox::send`].
    pub fn send_all(&self, more: &mut Vec<M>) -> io::Result<()> {
        if more.is_empty() {
            return Ok(());
        }
        let mut letters = self.shared.letters.lock().unwrap_or_else(PoisonError::into_inner);
        let first = letters.is_empty();
        letters.append(more);
        drop(letters);
        if first { self.ring() } else { Ok(()) }
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
        std::mem::take(&mut *self.shared.letters.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
