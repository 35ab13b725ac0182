//! What threads ask of a reactor, and what they hear of it.

use crate::net::conn::Sent;
use crate::net::slots::ConnectionId;
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
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gone => "the connection has gone",
            Self::Stopped => "the server has ended",
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

    /// Waits until the reactor has taken the message up. Not for handlers: a reactor that waits for itself waits for ever.
    ///
    /// # Errors
    /// [`SendError`]: then no one gets it, and no one else.
    pub fn wait(self) -> Result<Sent, SendError> {
        self.0.recv().unwrap_or(Err(SendError::Stopped))
    }
}
