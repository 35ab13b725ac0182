//! What a driver (the server's, the flood's) sees of a reactor: the events of a connection, and what it may do to it.

use super::counters::Counters;
use super::reactor::Core;
use super::slots::ConnectionId;
use crate::proto::answer::{Answer, Asked};
use crate::proto::close::{CloseCode, Fault};
use crate::proto::extension::Agreed;
use crate::proto::frame::Role;
use crate::proto::http::HeadError;
use crate::proto::session::{Event, MessageKind, Output, Session, State};
use crate::proto::upgrade::{Acceptance, Opening, Rejected};
use std::ops::Range;

/// Which deadline a connection missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Deadline {
    /// To connect, and to be upgraded.
    Connect,
    /// To send a whole request: its head in so many seconds, its content at no less than so many bytes in each.
    Head,
    /// To send another request.
    KeepAlive,
    /// To show life.
    Idle,
    /// To answer a Close, or to close.
    Close,
    /// To take a byte of what is queued for it.
    Stalled,
    /// To answer a message; a driver's own.
    Reply,
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The close handshake, with the peer's code.
    Closed(CloseCode),
    /// We answered a request with `Connection: close`.
    Answered,
    /// The peer closed where its protocol allows it.
    EndOfStream,
    /// The peer closed without a Close, or in the middle of something.
    Abrupt,
    /// recv(2) or send(2) failed: errno.
    Io(u16),
    /// connect(2) failed: errno.
    Connect(u16),
    /// A limit of this host: errno of the call that hit it.
    Local(u16),
    /// It missed a deadline.
    Deadline(Deadline),
    /// It broke RFC 6455.
    Fault(Fault),
    /// Its head could not be taken.
    BadHead(HeadError),
    /// The server did not upgrade.
    Rejected(Rejected),
    /// The driver gave it up, for a reason of its own.
    Driver(u8),
}

/// Decides what connections are for. One instance belongs to one reactor and runs on its thread alone.
pub trait Driver {
    /// What each connection carries; `()` costs nothing.
    type State: Default;
    /// What other threads may send to it.
    type Mail: Send + 'static;

    /// A connect(2) of ours succeeded.
    fn connected(&mut self, _link: &mut Link<'_, Self::State>) {}

    /// A message, whole. Apart from the other events, since it is the one that has to be fast.
    fn message(&mut self, link: &mut Link<'_, Self::State>, kind: MessageKind, payload: &[u8]);

    /// A session understood something that is no message.
    fn event(&mut self, link: &mut Link<'_, Self::State>, event: Event<'_>);

    /// A connection has ended; its slot is about to be freed.
    fn ended(&mut self, _id: ConnectionId, _state: &mut Self::State, _cause: Cause) {}

    /// A sweep passes an open connection, about once a second.
    fn swept(&mut self, _link: &mut Link<'_, Self::State>) {}

    /// A letter arrived in the mailbox.
    fn mail(&mut self, _core: &mut Core<Self::State>, _mail: Self::Mail) {}

    /// The events of a turn are handled, and the reactor is about to flush and sleep.
    fn turn(&mut self, _core: &mut Core<Self::State>) {}
}

/// From this length on a copy costs more than a call of its own to send.
const IN_PLACE_BYTES: usize = 2048;

/// A message that lies in the ring, and is sent from there.
#[derive(Debug)]
pub(super) struct InPlace {
    pub(super) kind: MessageKind,
    pub(super) payload: Range<usize>,
}

/// Where in the input a payload lies that can be sent from there: a server's header is shorter than that of the frame it
/// came in, and goes over it. Only while nothing else waits to be sent, since what was said before has to go first.
#[inline(never)]
fn lies_at(payload: &[u8], start: usize, end: usize, session: &Session, out: &Output) -> Option<usize> {
    let address = payload.as_ptr() as usize;
    let fits = (start..end).contains(&address)
        && out.bytes.is_empty()
        && session.role() == Role::Server
        && session.state() == State::Open;
    fits.then(|| address - start)
}

/// One connection, lent to its driver for the length of a call.
#[derive(Debug)]
pub struct Link<'a, S> {
    pub(super) id: ConnectionId,
    pub(super) session: &'a mut Session,
    pub(super) out: &'a mut Output,
    pub(super) cause: &'a mut Option<Cause>,
    pub(super) counters: &'a Counters,
    /// The addresses of the input that this turn reads, and what of it is to be sent from there.
    pub(super) lent: Range<usize>,
    pub(super) in_place: Option<InPlace>,
    /// What the driver keeps for this connection.
    pub state: &'a mut S,
}

impl<S> Link<'_, S> {
    /// Its name, good for as long as the reactor runs.
    #[inline]
    pub fn id(&self) -> ConnectionId {
        self.id
    }

    /// Where its session stands.
    #[inline]
    pub fn session_state(&self) -> State {
        self.session.state()
    }

    /// The compression that was agreed upon.
    #[inline]
    pub fn compression(&self) -> Agreed {
        self.session.compression()
    }

    /// Sends a message, compressed where that was agreed upon and is worth it; nothing if the connection is not open.
    /// What a turn sends goes out with one call.
    #[inline(always)]
    pub fn send(&mut self, kind: MessageKind, payload: &[u8]) {
        if !self.session.compression().is_on() {
            self.send_plain(kind, payload);
        } else if self.session.send(kind, payload, self.out) {
            self.counters.messages_out.add(1);
        }
    }

    /// Sends a message in the form in which the last one came: compressed as [`Link::send`] does, or as it is.
    #[inline(always)]
    pub fn echo(&mut self, kind: MessageKind, payload: &[u8]) {
        if self.session.compression().came_compressed() {
            self.send(kind, payload);
        } else {
            self.send_plain(kind, payload);
        }
    }

    /// Sends a message as it is, whatever was agreed upon.
    #[inline(always)]
    pub fn send_plain(&mut self, kind: MessageKind, payload: &[u8]) {
        if payload.len() >= IN_PLACE_BYTES
            && self.in_place.is_none()
            && let Some(from) = lies_at(payload, self.lent.start, self.lent.end, self.session, self.out)
        {
            self.in_place = Some(InPlace { kind, payload: from..from + payload.len() });
            self.counters.messages_out.add(1);
        } else if self.session.send_plain(kind, payload, self.out) {
            self.counters.messages_out.add(1);
        }
    }

    /// Sends bytes as they are, without a protocol.
    #[inline]
    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.out.bytes.extend_from_slice(bytes);
        self.counters.messages_out.add(1);
    }

    /// Sends a ping of at most 125 bytes.
    pub fn ping(&mut self, payload: &[u8]) {
        if self.session.ping(payload, self.out) {
            self.counters.pings_out.add(1);
        }
    }

    /// Starts the close handshake.
    pub fn close(&mut self, code: CloseCode, reason: &str) {
        self.session.close(code, reason, self.out);
    }

    /// Answers a request.
    pub fn answer(&mut self, answer: &Answer<'_>, asked: Asked) {
        self.counters.refused(answer.status);
        self.session.answer(answer, asked, self.out);
    }

    /// Has a client that asked with `Expect: 100-continue` send the content of its request.
    pub fn proceed(&mut self) {
        self.session.proceed(self.out);
    }

    /// Answers a request with 101: the connection becomes a WebSocket.
    #[inline]
    pub fn accept(&mut self, acceptance: &Acceptance<'_>) {
        self.session.accept(acceptance, self.out);
        self.counters.upgraded.add(1);
    }

    /// Makes this connection a WebSocket client, and sends its request.
    pub fn upgrade(&mut self, opening: &Opening<'_>) {
        *self.session = Session::websocket_client(opening, self.out);
    }

    /// A fresh random byte.
    pub fn random_byte(&mut self) -> u8 {
        u8::from_ne_bytes(self.out.random.take())
    }

    /// Sends a GET; for a session of [`Session::http_client`].
    pub fn request(&mut self, host: &str, path: &str) {
        self.session.request(host, path, self.out);
    }

    /// Ends the connection when what is queued has gone; for `cause`, unless one is known already.
    pub fn end(&mut self, cause: Cause) {
        self.cause.get_or_insert(cause);
        self.session.abandon();
    }
}
