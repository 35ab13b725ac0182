//! What a program is to its connections: a trait with a call for each thing that happens to one, and what it may do then.

use super::context::ReactorContext;
use super::id::ConnectionId;
use super::message::Message;
use super::request::Request;
use super::slot::HandlerSlot;
use crate::net::conn::{Conn, Sent};
use crate::proto::close::{CloseCode, CloseStatus};
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How a connection came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed<'a> {
    /// The code: the peer's if it sent a Close, that of its fault if it broke a rule, [`CloseStatus::ABNORMAL`] if the
    /// connection ended without a Close (RFC 6455 section 7.1.5).
    pub code: CloseStatus,
    /// The reason that stood beside it; where there was no Close, what is known of the end, in words, if it is anything.
    pub reason: &'a str,
    /// Whether both ends have said Close (RFC 6455 section 7.1.4).
    pub was_clean: bool,
}

/// What a program is to its connections. Each reactor makes an instance of its own and calls it on its one thread: no locks,
/// no `Sync`, not even `Send`. `S` is what it keeps for each connection; one with nothing to keep leaves it out, and pays
/// nothing for it.
///
/// All calls are made while the reactor waits: what takes longer than some microseconds belongs on another thread, which
/// sends its result by [`super::Handle::send`].
///
/// # Panics
///
/// A call that panics ends the connection that it was made for, with 1011, and no other one; the counter `handler_panics`
/// tells how often. [`Handler::closed`] is called for that connection as for any other. The instance is kept, as it was when it
/// panicked: it knows the connections that are open, which a new one would not. A handler whose own data may be left half
/// changed puts it right in `closed`, or checks it.
///
/// The same goes for the calls of a server that answer plain HTTP, [`super::Server::get`] and others, and for a
/// [`super::Hook`]: the request is answered with 500, and the connection closed.
///
/// All of this needs a program that unwinds, as Rust's do unless they are built with `panic = "abort"`: those end.
///
/// ```
/// use steadfast::server::{Handler, Message, Peer};
///
/// /// Counts what each connection says.
/// struct Counting;
///
/// impl Handler<u64> for Counting {
///     fn message(&mut self, peer: &mut Peer<u64>, _message: Message) {
///         *peer.state += 1;
///         let text = peer.state.to_string();
///         peer.send(&text);
///     }
/// }
/// ```
pub trait Handler<S: Default + 'static = ()>: 'static {
    /// Called once for each connection, when it is open: the answer to its request is written. What the handshake negotiated
    /// is [`Request::subprotocol`] and [`Request::compression`].
    fn opened(&mut self, _peer: &mut Peer<'_, '_, S>, _request: &Request<'_>) {}

    /// A message came, whole; it lies where it was received.
    fn message(&mut self, peer: &mut Peer<'_, '_, S>, message: Message<'_>);

    /// A pong came; with the time since the ping that it answers, if that was [`Peer::ping`] or one of the server's own.
    fn pong(&mut self, _peer: &mut Peer<'_, '_, S>, _round_trip: Option<Duration>) {}

    /// The socket of a connection was full, and has now taken all that waited.
    fn writable(&mut self, _peer: &mut Peer<'_, '_, S>) {}

    /// The time of [`Peer::set_timer`] is over.
    fn timer(&mut self, _peer: &mut Peer<'_, '_, S>) {}

    /// A connection that was open has ended: once for each. Its timer is cancelled. What is sent to it now is dropped.
    fn closed(&mut self, _peer: &mut Peer<'_, '_, S>, _closed: &Closed<'_>) {}

    /// Time passes: called when the reactor starts, four times a second while it has connections, and when it was asked for
    /// by [`ReactorContext::wake_after`].
    fn tick(&mut self, _context: &mut ReactorContext<'_>) {}

    /// A message of [`ReactorContext::send_to`] found its connection gone.
    fn undelivered(&mut self, _context: &mut ReactorContext<'_>, _to: ConnectionId) {}
}

/// One connection, lent to its handler for the length of a call, with the [`ReactorContext`] of its reactor.
///
/// The methods act on this connection, except [`Peer::publish`], [`Peer::publish_to_others`] and [`Peer::send_to`], which are those of the context. The
/// context and the state are fields, so that one call can use both.
///
/// ```
/// use steadfast::server::{Handler, Message, Peer};
///
/// /// Publishes each message to the room of its connection.
/// struct Rooms;
///
/// impl Handler<String> for Rooms {
///     fn message(&mut self, peer: &mut Peer<String>, message: Message) {
///         peer.context.publish(peer.state, message);
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Peer<'a, 'l, S = ()> {
    pub(super) conn: &'a mut Conn<'l, HandlerSlot>,
    /// What the handler may do on this reactor besides: publish, send to other connections, ask for ticks.
    pub context: ReactorContext<'a>,
    /// What the handler keeps for this connection.
    pub state: &'a mut S,
}

impl<S> Peer<'_, '_, S> {
    /// Its name, for [`ReactorContext::send_to`] and [`super::Handle::send`]; it is never given to another connection.
    pub fn id(&self) -> ConnectionId {
        ConnectionId { reactor: self.context.reactor.index, within: self.conn.id() }
    }

    /// Sends a message, compressed where that was agreed upon and is worth it. What is sent in one call of the handler, and
    /// in those for what else the peer has sent by now, goes to the kernel at once when they are done.
    #[inline]
    pub fn send<'m>(&mut self, message: impl Into<Message<'m>>) -> Sent {
        let message = message.into();
        self.conn.send(message.kind(), message.payload())
    }

    /// Sends a message in the form in which the last one came from there: compressed, or as it is.
    #[inline]
    pub fn echo(&mut self, message: Message<'_>) -> Sent {
        self.conn.echo(message.kind(), message.payload())
    }

    /// Starts the close handshake, with a reason that is cut to 123 bytes. Nothing is sent after the Close, and no further
    /// message of the peer is delivered.
    pub fn close(&mut self, code: CloseCode, reason: &str) {
        self.conn.close(code, reason);
    }

    /// Ends the connection without a Close, behind what was sent before; what waits for a full socket is dropped.
    pub fn abort(&mut self) {
        self.conn.abort();
    }

    /// Sends a ping whose pong tells how long it took: [`Handler::pong`] hears of it.
    pub fn ping(&mut self) {
        let stamp = self.context.reactor.ping_stamp();
        self.conn.ping(&stamp);
    }

    /// Has it receive what is published on `topic`; returns whether that is new.
    pub fn subscribe(&mut self, topic: &str) -> bool {
        self.context.reactor.topics.subscribe(self.conn.id().index(), topic)
    }

    /// Ends that; returns whether it had been so.
    pub fn unsubscribe(&mut self, topic: &str) -> bool {
        self.context.reactor.topics.unsubscribe(self.conn.id().index(), topic)
    }

    /// Publishes a message to all connections that have subscribed to `topic`, this one included if it has. See
    /// [`ReactorContext::publish`].
    pub fn publish<'m>(&mut self, topic: &str, message: impl Into<Message<'m>>) -> bool {
        self.context.publish(topic, message)
    }

    /// Publishes a message to all connections that have subscribed to `topic` but this one. See
    /// [`ReactorContext::publish_to_others`].
    pub fn publish_to_others<'m>(&mut self, topic: &str, message: impl Into<Message<'m>>) -> bool {
        self.context.publish_to_others(topic, message)
    }

    /// Sends a message to another connection. See [`ReactorContext::send_to`].
    pub fn send_to<'m>(&mut self, to: ConnectionId, message: impl Into<Message<'m>>) {
        self.context.send_to(to, message);
    }

    /// Has [`Handler::timer`] called once after `wait`, in place of what was set before. A connection has one timer.
    ///
    /// The reactor wakes up for it: it is called when the time is over, after the work that the reactor has at that moment, and
    /// never before. It counts the time of `CLOCK_MONOTONIC` (clock_gettime(2)), so also time in which the process was stopped:
    /// unlike a deadline of the server, it is then called late, once, when the process runs again. A `wait` that the clock
    /// cannot count to never ends. A connection without a timer costs nothing; one with a timer costs about 100 bytes, and
    /// setting it takes time that grows with the logarithm of the number of timers.
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use steadfast::server::{CloseCode, Handler, Message, Peer};
    ///
    /// /// Echoes, and closes a connection that has said nothing for a minute.
    /// struct Impatient;
    ///
    /// impl Handler for Impatient {
    ///     fn message(&mut self, peer: &mut Peer, message: Message) {
    ///         peer.set_timer(Duration::from_secs(60));
    ///         peer.send(message);
    ///     }
    ///
    ///     fn timer(&mut self, peer: &mut Peer) {
    ///         peer.close(CloseCode::TIMEOUT, "a minute without a message");
    ///     }
    /// }
    /// ```
    pub fn set_timer(&mut self, wait: Duration) {
        let (id, timers) = (self.conn.id(), &mut self.context.reactor.timers);
        match Instant::now().checked_add(wait) {
            Some(at) => timers.set(id, at),
            None => drop(timers.cancel(id)),
        }
    }

    /// Cancels the timer. Returns whether one was set.
    pub fn cancel_timer(&mut self) -> bool {
        self.context.reactor.timers.cancel(self.conn.id())
    }

    /// Bytes of the answer to the upgrade, while its request is told of.
    pub fn answer_bytes(&self) -> usize {
        self.conn.response_bytes()
    }

    /// How many bytes and messages wait because the socket takes no more.
    pub fn queued(&self) -> (usize, usize) {
        self.conn.queued()
    }

    /// The address of the peer; `None` for a unix socket.
    ///
    /// # Errors
    /// As getpeername(2): `NotConnected` when the peer has gone.
    pub fn peer_address(&self) -> io::Result<Option<SocketAddr>> {
        self.conn.peer_address().map(|address| address.as_socket())
    }
}
