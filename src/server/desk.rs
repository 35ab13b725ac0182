//! What the handlers of one reactor share: its topics, its letters to other reactors, the time.

use super::app::Seat;
use super::guard;
use super::handler::Message;
use super::mail::{Letter, Mail};
use super::routes::{Response, Wanted};
use super::status::Shared;
use super::topics::Topics;
use crate::net::counters::Counters;
use crate::net::reactor::Core;
use crate::net::{slots, sys};
use crate::proto::answer::{Answer, Asked};
use crate::proto::close::CloseCode;
use crate::proto::shared;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Names one connection of a server. A later one in its place has another name, until two thousand million others have come
/// to the same reactor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId {
    pub(super) reactor: u16,
    pub(super) within: slots::ConnectionId,
}

/// A request that waits for what is published next.
pub(super) struct Waiting {
    pub(super) asked: Asked,
    pub(super) since: Instant,
    pub(super) like: Response,
    pub(super) wanted: Option<Wanted>,
    pub(super) id: slots::ConnectionId,
}

/// What a reactor has for all its handlers.
pub(super) struct Common {
    pub(super) shared: Arc<Shared>,
    pub(super) reactor: u16,
    pub(super) topics: Topics,
    /// To be posted when the turn is over: to all other reactors, and to one.
    pub(super) broadcasts: Vec<Mail>,
    pub(super) letters: Vec<Letter>,
    /// By their places in the slab.
    pub(super) waiting: HashMap<usize, Waiting>,
    pub(super) wake_at: Option<Instant>,
    /// What makes the stamps of our pings unlike any number that a peer would choose.
    ping_key: u64,
}

impl Waiting {
    /// Answers the request if it is still waiting.
    pub(super) fn answer(&self, core: &mut Core<Seat>, status: u16, body: &[u8], says_server: bool, close: bool) {
        let more_fields = self.like.all_fields(says_server);
        let answer = Answer { status, content_type: &self.like.content_type, more_fields: &more_fields, body, close };
        core.with(self.id, |link| {
            if link.is_deferred() {
                link.answer(&answer, self.asked);
            }
        });
    }

    /// Answers it with a message, if that is one that it waits for, and with 500 if finding that out panics; returns whether it
    /// has its answer.
    pub(super) fn take(&self, core: &mut Core<Seat>, payload: &[u8], shared: &Shared, counters: &Counters) -> bool {
        let wants = self.wanted.as_ref().map_or(Some(true), |wanted| guard::count(counters, || wanted(payload)));
        match wants {
            Some(true) => self.answer(core, self.like.status, payload, shared.says_server, false),
            Some(false) => return false,
            None => self.answer(core, 500, b"", shared.says_server, true),
        }
        true
    }
}

impl fmt::Debug for Common {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Common").field("reactor", &self.reactor).finish_non_exhaustive()
    }
}

impl Common {
    pub(super) fn new(shared: Arc<Shared>, reactor: u16) -> Self {
        let mut key = [0; 8];
        sys::random(&mut key);
        Self {
            shared,
            reactor,
            topics: Topics::default(),
            broadcasts: Vec::new(),
            letters: Vec::new(),
            waiting: HashMap::new(),
            wake_at: None,
            ping_key: u64::from_ne_bytes(key),
        }
    }

    /// What this reactor counts.
    pub(super) fn counters(&self) -> &Counters {
        &self.shared.counters[usize::from(self.reactor)]
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

/// The desk of a reactor: what a handler may do there for others than the connection at hand.
#[derive(Debug)]
pub struct Desk<'a> {
    pub(super) common: &'a mut Common,
    /// Whose handler has it.
    pub(super) route: u16,
}

impl Desk<'_> {
    /// Which reactor this is, from 0 on. What is to be done once for all of a server is done at reactor 0.
    pub fn reactor(&self) -> usize {
        usize::from(self.common.reactor)
    }

    /// Sends a message to all who have subscribed to `topic` by now, whichever reactor they are at; it is encoded once for
    /// all, and compressed once for all who agreed upon the same window. Each receiver gets what one reactor published in the
    /// order in which it did.
    ///
    /// It is sent when this turn is over; and as it may go to many, others have their turns in between. What waits for that
    /// at a reactor is bounded, to 1,024 messages, 16 MiB and 262,144 deliveries, of which one topic has half: beyond that a
    /// message is dropped, and counted for each receiver. Gives whether this reactor has taken it; the others tell by their
    /// counters alone.
    pub fn publish<'m>(&mut self, topic: &str, message: impl Into<Message<'m>>) -> bool {
        let message = message.into();
        let message = Arc::new(shared::Shared::new(message.kind(), message.payload()));
        if self.common.shared.plan.reactors > 1 {
            self.common.broadcasts.push(Mail::Publish { topic: topic.into(), message: Arc::clone(&message) });
        }
        let lost = self.common.topics.publish(topic, &message);
        self.common.shared.count_lost(self.common.reactor, lost);
        lost == 0
    }

    /// Sends a message to one connection, wherever it is. If it is gone, [`super::Handler::undelivered`] is called, and no other
    /// connection gets the message.
    pub fn send_to<'m>(&mut self, to: ConnectionId, message: impl Into<Message<'m>>) {
        let message = message.into();
        let from = Some((self.common.reactor, self.route));
        let mail =
            Mail::Send { to: to.within, kind: message.kind(), payload: message.payload().into(), from, receipt: None };
        self.common.letters.push(Letter { reactor: to.reactor, mail });
    }

    /// Starts the close handshake with one connection, wherever it is; nothing, if it is gone.
    pub fn close_other(&mut self, id: ConnectionId, code: CloseCode, reason: &str) {
        let mail = Mail::Close { id: id.within, code, reason: reason.into() };
        self.common.letters.push(Letter { reactor: id.reactor, mail });
    }

    /// Has [`super::Handler::tick`] called in so long, or before.
    pub fn wake_after(&mut self, wait: Duration) {
        // So long that the clock has no such time is never.
        let Some(at) = Instant::now().checked_add(wait) else { return };
        self.common.wake_at = Some(self.common.wake_at.map_or(at, |known| known.min(at)));
    }
}
