//! What threads ask of a reactor, and what they hear of it.

use crate::net::conn::Sent;
use crate::net::slots::ConnectionId;
use crate::net::thread;
use crate::proto::close::CloseCode;
use crate::proto::session::MessageKind;
use crate::proto::shared_frame::SharedFrame;
use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// What may be asked of a reactor.
#[derive(Clone, Debug)]
pub(super) enum Command {
    /// To stop accepting, to close all, to end.
    Stop,
    /// The same over some time.
    Drain,
    /// Sends a message; the receipt gets the outcome.
    Send {
        to: ConnectionId,
        kind: MessageKind,
        payload: Box<[u8]>,
        /// The reactor and the route of a handler who wants to know when it cannot be sent.
        from: Option<(u16, u16)>,
        receipt: Option<SyncSender<Result<Sent, SendError>>>,
    },
    /// To tell a handler that a connection was gone.
    Undelivered { to: super::id::ConnectionId, route: u16 },
    /// To start a close handshake.
    Close { id: ConnectionId, code: CloseCode, reason: Box<str> },
    /// To send a message to the members of a topic.
    Publish { topic: Arc<str>, message: Arc<SharedFrame> },
    /// Asks for the number of the members of a topic.
    CountReceivers { topic: Arc<str>, count: SyncSender<usize> },
}

/// Mail with its address.
#[derive(Debug)]
pub(super) struct Envelope {
    pub(super) reactor: u16,
    pub(super) mail: Command,
}

/// Why a message could not be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// The connection has gone, or is about to.
    Gone,
    /// The server has ended.
    Stopped,
    /// The message is on its way, and its receipt was waited for on the thread of a reactor, which may be the one that is to
    /// send it.
    OnReactorThread,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gone => "the connection has gone",
            Self::Stopped => "the server has ended",
            Self::OnReactorThread => {
                "a receipt cannot be waited for on a reactor's thread; drop it, or wait on another thread"
            }
        })
    }
}

impl std::error::Error for SendError {}

/// The outcome of a message that was handed to another thread. The message is sent even if its receipt is dropped.
#[derive(Debug)]
#[must_use = "to be waited for, or dropped on purpose"]
pub struct Receipt(Receiver<Result<Sent, SendError>>);

impl Receipt {
    pub(super) fn new() -> (SyncSender<Result<Sent, SendError>>, Self) {
        let (told, heard) = sync_channel(1);
        (told, Self(heard))
    }

    /// Waits until the reactor has sent the message, queued it or dropped it.
    ///
    /// # Errors
    /// [`SendError::Gone`] and [`SendError::Stopped`]: no connection gets the message. [`SendError::OnReactorThread`] in a
    /// handler, or in another call on the thread of a reactor of this process: the outcome stays unknown, and the reactor does
    /// not wait, since it could wait for itself for ever.
    ///
    /// ```
    /// use steadfast::server::{ConnectionId, Handle, SendError};
    ///
    /// /// Sends an alarm, and returns whether the connection still exists.
    /// fn alarm(server: &Handle, to: ConnectionId) -> bool {
    ///     server.send(to, "alarm").wait() != Err(SendError::Gone)
    /// }
    /// ```
    pub fn wait(self) -> Result<Sent, SendError> {
        if thread::is_reactor() {
            return Err(SendError::OnReactorThread);
        }
        self.0.recv().unwrap_or(Err(SendError::Stopped))
    }
}
