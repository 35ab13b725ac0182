//! What the handlers of one reactor share: its topics, its letters to other reactors, the time.

use super::id::ConnectionId;
use super::mail::{Command, Envelope};
use super::message::Message;
use super::status::ServerState;
use super::timers::Timers;
use super::topics::Topics;
use super::waiting::Waiting;
use crate::net::counters::Counters;
use crate::net::sys;
use crate::proto::close::CloseCode;
use crate::proto::shared_frame::SharedFrame;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a reactor has for all its handlers.
pub(super) struct ReactorState {
    pub(super) shared: Arc<ServerState>,
    /// The number of this reactor.
    pub(super) index: u16,
    pub(super) topics: Topics,
    /// To be posted when the turn is over: to all other reactors, and to one.
    pub(super) broadcasts: Vec<Command>,
    pub(super) letters: Vec<Envelope>,
    /// By their places in the slab.
    pub(super) waiting: HashMap<usize, Waiting>,
    pub(super) timers: Timers,
    pub(super) wake_at: Option<Instant>,
    /// What makes the stamps of our pings unlike any number that a peer would choose.
    ping_key: u64,
}

impl fmt::Debug for ReactorState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReactorState").field("index", &self.index).finish_non_exhaustive()
    }
}

impl ReactorState {
    pub(super) fn new(shared: Arc<ServerState>, index: u16) -> Self {
        let mut key = [0; 8];
        sys::random(&mut key);
        Self {
            shared,
            index,
            topics: Topics::default(),
            broadcasts: Vec::new(),
            letters: Vec::new(),
            waiting: HashMap::new(),
            timers: Timers::default(),
            wake_at: None,
            ping_key: u64::from_ne_bytes(key),
        }
    }

    /// What this reactor counts.
    pub(super) fn counters(&self) -> &Counters {
        &self.shared.counters[usize::from(self.index)]
    }

    /// What stands in a ping, so that its pong tells how long it took: microseconds since the server started.
    pub(super) fn ping_stamp(&self) -> [u8; 8] {
        (self.shared.started.elapsed().as_micros() as u64 ^ self.ping_key).to_be_bytes()
    }

    /// How long ago that was; `None` for a pong that answers no such ping.
    pub(super) fn round_trip(&self, payload: &[u8]) -> Option<Duration> {
        let sent = Duration::from_micros(u64::from_be_bytes(payload.try_into().ok()?) ^ self.ping_key);
        self.shared.started.elapsed().checked_sub(sent)
    }
}

/// What a reactor lends to a handler: what it may do there for others than the connection at hand.
#[derive(Debug)]
pub struct ReactorContext<'a> {
    pub(super) reactor: &'a mut ReactorState,
    /// Whose handler has it.
    pub(super) route: u16,
    /// The index of the connection that the call is for, if it is for one.
    pub(super) connection: Option<usize>,
}

impl ReactorContext<'_> {
    /// Returns the number of this reactor, from 0 on. What is to be done once for all of a server is done at reactor 0.
    pub fn reactor(&self) -> usize {
        usize::from(self.reactor.index)
    }

    /// Returns the number of the server's reactors, each of which has an instance of every handler.
    pub fn reactors(&self) -> usize {
        self.reactor.shared.plan.reactors
    }

    /// Returns the number of receivers of `topic` at this reactor: WebSockets that have subscribed to it, and requests that
    /// wait for its next message. The number is exact, and costs one look into a table. Other reactors have others:
    /// [`super::Handle::receivers`] asks all of them.
    pub fn receivers(&self, topic: &str) -> usize {
        self.reactor.topics.members(topic)
    }

    /// Sends a message to all who have subscribed to `topic` by now, whichever reactor they are at; it is encoded once for
    /// all, and compressed once for all who agreed upon the same window. Each receiver gets what one reactor published in the
    /// order in which it did.
    ///
    /// It is sent when this turn is over; and as it may go to many, others have their turns in between. What waits for that
    /// at a reactor is bounded, to 1,024 messages, 16 MiB and 262,144 deliveries, of which one topic has half: beyond that a
    /// message is dropped, and counted for each receiver. Returns whether this reactor has taken it; the others tell by their
    /// counters alone.
    pub fn publish<'m>(&mut self, topic: &str, message: impl Into<Message<'m>>) -> bool {
        let message = shared(&message.into());
        self.broadcast(topic, &message);
        self.publish_here(topic, &message, None)
    }

    /// Publishes a message as [`ReactorContext::publish`] does, but not to the connection that the call is for. In calls that
    /// are for no connection, as [`super::Handler::tick`], it goes to all.
    ///
    /// ```
    /// use steadfast::server::{Handler, Message, Peer};
    ///
    /// /// What one connection draws, the others see.
    /// struct Whiteboard;
    ///
    /// impl Handler for Whiteboard {
    ///     fn message(&mut self, peer: &mut Peer, stroke: Message) {
    ///         peer.subscribe("strokes");
    ///         peer.publish_to_others("strokes", stroke);
    ///     }
    /// }
    /// ```
    pub fn publish_to_others<'m>(&mut self, topic: &str, message: impl Into<Message<'m>>) -> bool {
        let message = shared(&message.into());
        self.broadcast(topic, &message);
        self.publish_here(topic, &message, self.connection)
    }

    /// Publishes a message as [`ReactorContext::publish`] does, but to the receivers at this reactor alone. Other reactors are
    /// not woken.
    ///
    /// It is for what every reactor publishes by itself, as from its [`super::Handler::tick`]:
    ///
    /// ```
    /// use steadfast::server::{Handler, Message, Peer, ReactorContext};
    ///
    /// /// Tells each connection how many others its reactor has.
    /// struct Crowd;
    ///
    /// impl Handler for Crowd {
    ///     fn message(&mut self, peer: &mut Peer, _message: Message) {
    ///         peer.subscribe("crowd");
    ///     }
    ///
    ///     fn tick(&mut self, context: &mut ReactorContext) {
    ///         let text = context.receivers("crowd").to_string();
    ///         context.publish_local("crowd", &text);
    ///     }
    /// }
    /// ```
    pub fn publish_local<'m>(&mut self, topic: &str, message: impl Into<Message<'m>>) -> bool {
        self.publish_here(topic, &shared(&message.into()), None)
    }

    /// Hands a message to all other reactors.
    fn broadcast(&mut self, topic: &str, message: &Arc<SharedFrame>) {
        if self.reactors() > 1 {
            self.reactor.broadcasts.push(Command::Publish { topic: topic.into(), message: Arc::clone(message) });
        }
    }

    /// Queues a message for the receivers at this reactor. Returns whether there was room for it.
    fn publish_here(&mut self, topic: &str, message: &Arc<SharedFrame>, except: Option<usize>) -> bool {
        let lost = self.reactor.topics.publish(topic, message, except);
        self.reactor.shared.count_lost(self.reactor.index, lost);
        lost == 0
    }

    /// Sends a message to one connection, wherever it is. If it is gone, [`super::Handler::undelivered`] is called, and no other
    /// connection gets the message.
    pub fn send_to<'m>(&mut self, to: ConnectionId, message: impl Into<Message<'m>>) {
        let message = message.into();
        let from = Some((self.reactor.index, self.route));
        let mail = Command::Send {
            to: to.within,
            kind: message.kind(),
            payload: message.payload().into(),
            from,
            receipt: None,
        };
        self.reactor.letters.push(Envelope { reactor: to.reactor, mail });
    }

    /// Starts the close handshake with one connection, wherever it is; nothing, if it is gone.
    pub fn close_other(&mut self, id: ConnectionId, code: CloseCode, reason: &str) {
        let mail = Command::Close { id: id.within, code, reason: reason.into() };
        self.reactor.letters.push(Envelope { reactor: id.reactor, mail });
    }

    /// Has [`super::Handler::tick`] called in so long, or before.
    pub fn wake_after(&mut self, wait: Duration) {
        // So long that the clock has no such time is never.
        let Some(at) = Instant::now().checked_add(wait) else { return };
        self.reactor.wake_at = Some(self.reactor.wake_at.map_or(at, |known| known.min(at)));
    }
}

/// Encodes a message for many receivers.
fn shared(message: &Message<'_>) -> Arc<SharedFrame> {
    Arc::new(SharedFrame::new(message.kind(), message.payload()))
}
