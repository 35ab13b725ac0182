//! What one thread may ask of a reactor: a list under a lock, and one wake-up for all that is put there meanwhile.

use mio::Waker;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

#[derive(Debug)]
struct Shared<M> {
    letters: Mutex<Vec<M>>,
    waker: Waker,
}

/// Sends to one reactor, from any thread.
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
    pub(super) fn new(waker: Waker) -> Self {
        Self { shared: Arc::new(Shared { letters: Mutex::new(Vec::new()), waker }) }
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
        if first { self.shared.waker.wake() } else { Ok(()) }
    }

    pub(super) fn take(&self) -> Vec<M> {
        std::mem::take(&mut *self.shared.letters.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
