//! A server that runs, as all threads may have it.

use super::id::ConnectionId;
use super::mail::{Command, Receipt, SendError};
use super::message::Message;
use super::socket_files::SocketFiles;
use super::status::ServerState;
use crate::net::counters::Totals;
use crate::net::fd_table::Plan;
use crate::net::listener::Endpoint;
use crate::net::mailbox::Mailbox;
use crate::net::thread;
use crate::proto::close::CloseCode;
use crate::proto::shared_frame;
use std::io;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// A server that runs. Its clones are the same server; it runs on when all of them are gone.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(super) plan: Plan,
    pub(super) endpoints: Arc<[Endpoint]>,
    pub(super) mailboxes: Arc<[Mailbox<Command>]>,
    pub(super) shared: Arc<ServerState>,
    pub(super) threads: Arc<Mutex<Vec<JoinHandle<()>>>>,
    pub(super) files: Arc<Mutex<SocketFiles>>,
}

impl Handle {
    /// What it planned.
    pub fn plan(&self) -> Plan {
        self.plan
    }

    /// Where it listens, with the ports that the kernel chose.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    fn all(&self, mail: &Command) {
        for mailbox in &*self.mailboxes {
            // A reactor that cannot be woken has ended already.
            let _ = mailbox.send(mail.clone());
        }
    }

    /// Removes the files of the unix sockets, and tells all reactors to stop.
    fn leave(&self, mail: &Command) {
        // While their sockets are open no other file can have their inodes, so each is known for what it is.
        drop(std::mem::take(&mut *self.files.lock().unwrap_or_else(PoisonError::into_inner)));
        self.all(mail);
    }

    /// Stops accepting, closes every WebSocket with 1001, and ends when the last connection has. Those that do not close are
    /// reset after `drain_hard_s`.
    pub fn stop(&self) {
        #[cfg(feature = "log")]
        super::report::stopping();
        self.leave(&Command::Stop);
    }

    /// The same without haste: the connections are closed one after the other over `drain_s`, so that they do not all come
    /// back at once, and those who do not close are not waited for beyond `drain_hard_s`.
    pub fn drain(&self) {
        #[cfg(feature = "log")]
        super::report::draining();
        self.leave(&Command::Drain);
    }

    /// Waits until all reactors have ended. One that cannot go on ends the others, as [`Handle::stop`] does.
    ///
    /// # Errors
    /// Names the first reactor that could not go on, and says why: an error of epoll_wait(2), or a panic. A panic of a
    /// handler is none, see [`super::Handler`]. [`io::ErrorKind::Deadlock`] on the thread of a reactor of this process, such
    /// as in a handler, at once: that reactor would wait for itself.
    pub fn join(&self) -> io::Result<()> {
        if thread::is_reactor() {
            return Err(io::Error::new(
                io::ErrorKind::Deadlock,
                "a reactor's thread cannot wait for the end of a server",
            ));
        }
        // Other callers of `join` wait as long.
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        #[cfg(feature = "log")]
        let is_first = !threads.is_empty();
        for thread in threads.drain(..) {
            if thread.join().is_err() {
                let _ = self.shared.failure.set((io::ErrorKind::Other, "a reactor's thread panicked".into()));
            }
        }
        #[cfg(feature = "log")]
        if is_first {
            super::report::ended();
        }
        match self.shared.failure.get() {
            Some((kind, text)) => Err(io::Error::new(*kind, text.as_str())),
            None => Ok(()),
        }
    }

    /// Sends a message to one connection. The receipt tells what came of it: a connection that has gone is an error, and no
    /// other one gets the message.
    pub fn send<'m>(&self, to: ConnectionId, message: impl Into<Message<'m>>) -> Receipt {
        let message = message.into();
        let (told, receipt) = Receipt::new();
        let (kind, payload) = (message.kind(), message.payload().into());
        let mail = Command::Send { to: to.within, kind, payload, from: None, receipt: Some(told) };
        if let Some(mailbox) = self.mailboxes.get(usize::from(to.reactor)) {
            let _ = mailbox.send(mail); // the receipt tells of one that has ended
        }
        receipt
    }

    /// Starts the close handshake with one connection; nothing, if it has gone.
    pub fn close(&self, id: ConnectionId, code: CloseCode, reason: &str) {
        if let Some(mailbox) = self.mailboxes.get(usize::from(id.reactor)) {
            let _ = mailbox.send(Command::Close { id: id.within, code, reason: reason.into() });
        }
    }

    /// Sends a message to all who have subscribed to `topic`, as [`super::ReactorContext::publish`] does.
    pub fn publish<'m>(&self, topic: &str, message: impl Into<Message<'m>>) {
        let message = message.into();
        let message = Arc::new(shared_frame::SharedFrame::new(message.kind(), message.payload()));
        self.all(&Command::Publish { topic: topic.into(), message });
    }

    /// Returns the number of receivers of `topic` at all reactors: WebSockets that have subscribed to it, and requests that
    /// wait for its next message.
    ///
    /// Each reactor counts its own when it comes to it, so the sum is exact if none subscribes or leaves meanwhile. It costs a
    /// message to each reactor and back, and no connection is looked at.
    ///
    /// # Errors
    /// [`SendError::Stopped`] when a reactor has ended, and [`SendError::OnReactorThread`] in a handler, which has
    /// [`super::ReactorContext::receivers`].
    ///
    /// ```
    /// use steadfast::server::Server;
    ///
    /// let server = Server::new().listen("127.0.0.1:0")?.spawn()?;
    /// assert_eq!(server.receivers("news"), Ok(0));
    /// server.stop();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn receivers(&self, topic: &str) -> Result<usize, SendError> {
        if thread::is_reactor() {
            return Err(SendError::OnReactorThread);
        }
        let (count, counts) = sync_channel(self.mailboxes.len());
        self.all(&Command::CountReceivers { topic: topic.into(), count });
        let mut sum = 0;
        for _ in &*self.mailboxes {
            sum += counts.recv().map_err(|_| SendError::Stopped)?;
        }
        Ok(sum)
    }

    /// Returns the number of reactors, each of which has a thread.
    pub fn reactors(&self) -> usize {
        self.mailboxes.len()
    }

    /// What all reactors have counted by now.
    pub fn counters(&self) -> Totals {
        self.shared.counters.iter().map(|counters| counters.totals()).sum()
    }
}
