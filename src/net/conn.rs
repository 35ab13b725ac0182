//! A connection as its driver uses it, for the length of one call.

use super::connection::{Connection, Flags};
use super::context::{Context, LEAST_FRAME_BYTES};
use super::send::{self, InPlace, Policy};
use super::slots::ConnectionId;
use super::sources::{Source, SourcePrefixes};
use super::sys;
use super::write_queue::{Content, FilePart, Pushed};
use crate::proto::close::CloseCode;
use crate::proto::frame::Role;
use crate::proto::http_write::{HttpResponse, RequestInfo};
use crate::proto::session::{MessageKind, Output, Session, State};
use crate::proto::shared_frame::SharedFrame;
use crate::proto::upgrade::{ClientHandshake, ServerHandshake};
use socket2::{SockAddr, SockRef};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;

pub use super::cause::{Cause, Deadline, Reason};
pub use super::send::Sent;
pub use super::write_queue::{Overflow, QueueLimits, Topic};

/// From this length on, a copy costs more than a call of its own to send.
const IN_PLACE_BYTES: usize = 2048;

/// Returns where in the ring a payload is that can be sent from there: the header of a server is shorter than that of
/// the frame which was received, and replaces it. Only while no other output waits, which has to be sent first.
#[inline(never)]
fn offset_in_ring(payload: &[u8], start: usize, end: usize, session: &Session, out: &Output) -> Option<usize> {
    let address = payload.as_ptr() as usize;
    let fits = (start..end).contains(&address)
        && out.bytes.is_empty()
        && session.role() == Role::Server
        && session.state() == State::Open;
    fits.then(|| address - start)
}

/// The content of a response, from a file.
#[derive(Debug)]
pub struct FileContent {
    /// The file, which is sent from its beginning.
    pub file: File,
    /// How many bytes of it are sent.
    pub bytes: u64,
    /// Dropped when the file is closed.
    pub lease: Arc<()>,
}

/// A connection, lent to its driver for the length of one call.
#[derive(Debug)]
pub struct Conn<'a, S> {
    pub(super) id: ConnectionId,
    pub(super) connection: &'a mut Connection<S>,
    pub(super) context: &'a mut Context,
    /// The addresses of the ring that is read in this turn, and the message that is to be sent from there.
    pub(super) lent: Range<usize>,
    pub(super) in_place: Option<InPlace>,
}

/// Lends a connection to its driver.
#[inline(always)]
pub(super) fn conn<'a, S>(
    connection: &'a mut Connection<S>,
    context: &'a mut Context,
    id: ConnectionId,
    lent: Range<usize>,
) -> Conn<'a, S> {
    let check_from_bytes = if !connection.has_queue() { context.queueing.check_from_bytes } else { 0 };
    context.output.check_from_bytes = check_from_bytes;
    Conn { id, connection, context, lent, in_place: None }
}

impl<S> Conn<'_, S> {
    /// Returns the driver's state of this connection.
    #[inline]
    pub fn state(&mut self) -> &mut S {
        self.connection.state_mut()
    }

    /// Returns the id of this connection, which no other connection of this reactor has.
    #[inline]
    pub fn id(&self) -> ConnectionId {
        self.id
    }

    /// Returns the state of the session.
    #[inline]
    pub fn session_state(&self) -> State {
        self.connection.session().state()
    }

    /// Sends a message, compressed where that was negotiated and is worth it. All that is sent in a turn goes to the
    /// kernel with one call.
    #[inline(always)]
    pub fn send(&mut self, kind: MessageKind, payload: &[u8]) -> Sent {
        if !self.connection.session().compression().is_on() {
            return self.send_plain(kind, payload);
        }
        if self.is_slow() {
            return self.send_slowly(kind, payload, true);
        }
        if self.connection.session_mut().send(kind, payload, &mut self.context.output) {
            Sent::Sent
        } else {
            self.drop_message()
        }
    }

    /// Sends a message in the form of the last one that was received: compressed as [`Conn::send`] does, or
    /// uncompressed.
    #[inline(always)]
    pub fn echo(&mut self, kind: MessageKind, payload: &[u8]) -> Sent {
        if self.connection.session().compression().came_compressed() {
            self.send(kind, payload)
        } else {
            self.send_plain(kind, payload)
        }
    }

    /// Sends a message uncompressed, whatever was negotiated.
    #[inline(always)]
    pub fn send_plain(&mut self, kind: MessageKind, payload: &[u8]) -> Sent {
        if self.is_slow() {
            return self.send_slowly(kind, payload, false);
        }
        if payload.len() >= IN_PLACE_BYTES
            && self.in_place.is_none()
            && let Some(from) =
                offset_in_ring(payload, self.lent.start, self.lent.end, self.connection.session(), &self.context.output)
        {
            self.in_place = Some(InPlace { kind, payload: from..from + payload.len() });
            Sent::Sent
        } else if self.connection.session_mut().send_plain(kind, payload, &mut self.context.output) {
            Sent::Sent
        } else {
            self.drop_message()
        }
    }

    /// Returns whether the limits have to be looked at before a message is appended to the output. This is one
    /// comparison, since it is made for every message; [`Conn::check_limits`] gives the exact answer.
    #[inline(always)]
    pub(super) fn is_slow(&self) -> bool {
        self.context.output.bytes.len() >= self.context.output.check_from_bytes
    }

    /// Returns whether output has to be sent or queued now, and sets the length of the output at which that is to be
    /// asked again.
    fn check_limits(&mut self) -> bool {
        let limits = &self.context.queueing.limits;
        let (bytes, messages) = (self.context.output.bytes.len(), self.context.output.messages as usize);
        if self.connection.has_queue() {
            self.context.output.check_from_bytes = 0;
            return true;
        }
        let left_messages = limits.max_queued_messages.saturating_sub(messages);
        self.context.output.check_from_bytes = bytes
            .saturating_add(left_messages.saturating_mul(LEAST_FRAME_BYTES))
            .min(self.context.queueing.gathered_bytes.saturating_add(1));
        bytes > self.context.queueing.gathered_bytes || left_messages == 0
    }

    /// Sends output that is more than may be gathered; returns whether the socket refused some of it.
    #[cold]
    pub(super) fn is_blocked(&mut self) -> bool {
        if self.check_limits() {
            self.flush_output();
        }
        self.connection.has_queue()
    }

    /// Sends the message that a call of the driver left in `input`, if there is one, before what else that call has
    /// sent.
    #[inline(always)]
    pub(super) fn send_from(&mut self, input: &mut [u8]) -> io::Result<()> {
        let Some(message) = self.in_place.take() else { return Ok(()) };
        let sent = send::send_in_place(self.connection, input, message, self.context);
        self.check_limits();
        sent
    }

    /// Sends or queues a message where more output has been gathered than may be, or the socket is full.
    #[inline(never)]
    fn send_slowly(&mut self, kind: MessageKind, payload: &[u8], compress: bool) -> Sent {
        if self.connection.session().state() != State::Open {
            return self.drop_message();
        }
        let is_first = !self.connection.has_queue();
        if self.check_limits() {
            self.flush_output();
        }
        let (agreed, overflow) = (self.connection.session().compression(), self.connection.overflow());
        let Some(queue) = self.connection.queue_mut() else {
            let sent = match compress {
                true => self.connection.session_mut().send(kind, payload, &mut self.context.output),
                false => self.connection.session_mut().send_plain(kind, payload, &mut self.context.output),
            };
            return if sent { Sent::Sent } else { self.drop_message() };
        };
        // A message that may be dropped must not be in the window that the peer shares (RFC 7692 section 7.2.3.2).
        let shared = SharedFrame::new(kind, payload);
        let frame = if compress { shared.frame_for(agreed, &mut self.context.output.deflate) } else { None };
        let content = Content::Own(frame.unwrap_or(shared.frame()).into());
        // The message with which the output of one call exceeds the limit is queued in any case; the policy applies to
        // those after it.
        if is_first {
            send::enqueue_unchecked(queue, content, &self.context.counters);
            return Sent::Queued;
        }
        let policy = Policy { overflow, topic: Topic::None };
        match send::enqueue(queue, content, policy, self.context) {
            Pushed::Queued { .. } => Sent::Queued,
            Pushed::Dropped => Sent::Dropped,
            Pushed::Overflowed => {
                self.close(send::TOO_SLOW.0, send::TOO_SLOW.1);
                Sent::Dropped
            }
        }
    }

    /// Sends the output of this turn so far.
    fn flush_output(&mut self) {
        // A message in the ring is sent first, after the call of the driver has returned. Until then, all output of
        // that call is gathered.
        if self.context.output.bytes.is_empty() || self.in_place.is_some() {
            return;
        }
        if let Err(error) = send::send_or_keep(self.connection, self.context) {
            self.end(Cause::Io(sys::error_code(&error)));
        }
        self.check_limits();
    }

    #[cold]
    fn drop_message(&mut self) -> Sent {
        self.context.counters.messages_out.add(1);
        self.context.counters.messages_dropped.add(1);
        Sent::Dropped
    }

    /// Sets what happens to a message when the queue of this connection is full.
    pub fn set_overflow(&mut self, overflow: Overflow) {
        self.connection.set_overflow(overflow);
    }

    /// Returns how many bytes and messages are queued because the socket is full.
    pub fn queued(&self) -> (usize, usize) {
        self.connection.queue().map_or((0, 0), |queue| (queue.bytes(), queue.messages()))
    }

    /// Returns the address of the peer; getpeername(2).
    ///
    /// # Errors
    /// As getpeername(2): `NotConnected` when the peer has gone.
    pub fn peer_address(&self) -> io::Result<SockAddr> {
        SockRef::from(&self.connection.socket()).peer_addr()
    }

    /// Returns the source of the connection; `None` where the peer has no address, or is gone.
    pub fn source(&self, prefixes: SourcePrefixes) -> Option<Source> {
        prefixes.source_of_socket(&self.connection.socket())
    }

    /// Returns how many bytes of HTTP the output of this turn begins with.
    pub fn response_bytes(&self) -> usize {
        self.context.output.head_bytes
    }

    /// Ends the connection after what has been sent; drops what is queued for a full socket.
    pub fn abort(&mut self) {
        if let Some(queue) = self.connection.queue_mut() {
            let dropped = u64::from(queue.drop_waiting());
            self.context.counters.messages_dropped.add(dropped);
            if queue.is_empty() {
                self.connection.drop_queue();
            }
        }
        self.end(Cause::Driver(Reason::Aborted));
    }

    /// Sends bytes without a protocol.
    #[inline]
    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.context.output.bytes.extend_from_slice(bytes);
        self.context.output.seal_head();
        self.context.counters.messages_out.add(1);
        self.context.counters.messages_delivered.add(1);
    }

    /// Sends a ping of at most 125 bytes.
    pub fn ping(&mut self, payload: &[u8]) {
        if self.connection.session_mut().ping(payload, &mut self.context.output) {
            self.context.counters.pings_out.add(1);
        }
    }

    /// Starts the close handshake.
    pub fn close(&mut self, code: CloseCode, reason: &str) {
        self.connection.session_mut().close(code, reason, &mut self.context.output);
    }

    /// Defers the response to the request that was just received: until [`Conn::respond`], the connection is not read
    /// and no deadline applies. If the client closes meanwhile, even if only its own direction, the connection ends.
    pub fn defer(&mut self) {
        self.connection.set(Flags::AWAITING_RESPONSE);
    }

    /// Returns whether a request waits for its response.
    pub fn is_deferred(&self) -> bool {
        self.connection.has(Flags::AWAITING_RESPONSE)
    }

    /// Sends the response to a request.
    pub fn respond(&mut self, response: &HttpResponse<'_>, asked: RequestInfo) {
        self.context.counters.refused(response.status);
        self.connection.clear(Flags::AWAITING_RESPONSE);
        self.connection.session_mut().respond(response, asked, &mut self.context.output);
    }

    /// Sends a response whose content is a file, in place of the body of `response`.
    pub fn respond_file(&mut self, response: &HttpResponse<'_>, asked: RequestInfo, content: FileContent) {
        self.connection.clear(Flags::AWAITING_RESPONSE);
        self.connection.session_mut().respond_head(response, asked, content.bytes, &mut self.context.output);
        if !asked.without_body {
            self.send_file(content);
        }
    }

    fn send_file(&mut self, content: FileContent) {
        let FileContent { file, bytes, lease } = content;
        if bytes == 0 {
            return;
        }
        self.flush_output();
        let queue = self.connection.queue_or_new(self.context.now.tick);
        queue.queue_control(Content::File(Box::new(FilePart { file, offset: 0, left_bytes: bytes, _lease: lease })));
        self.check_limits();
        // No event would begin to send it.
        self.connection.set(Flags::UNSENT_DATA);
    }

    /// Sends `100 Continue` to a client that asked with `Expect: 100-continue`, which then sends the content of its
    /// request.
    pub fn proceed(&mut self) {
        self.connection.session_mut().proceed(&mut self.context.output);
    }

    /// Accepts an upgrade with status 101: the connection becomes a WebSocket.
    #[inline]
    pub fn accept(&mut self, handshake: &ServerHandshake<'_>) {
        self.connection.session_mut().accept(handshake, &mut self.context.output);
        self.context.counters.upgraded.add(1);
    }

    /// Makes this connection a WebSocket client and sends its request for the upgrade.
    pub fn upgrade(&mut self, handshake: &ClientHandshake<'_>) {
        let session = Session::websocket_client(handshake, &mut self.context.output);
        self.connection.set_session(session);
    }

    /// Returns a fresh random byte.
    pub fn random_byte(&mut self) -> u8 {
        u8::from_ne_bytes(self.context.output.random.take())
    }

    /// Returns the date for a response that is made now; empty where the clock has none.
    pub fn date(&self) -> &str {
        &self.context.output.default_headers.date
    }

    /// Sends a GET, with more field lines, each with its CRLF; for a session of [`Session::http_client`].
    pub fn request(&mut self, host: &str, path: &str, fields: &str) {
        self.connection.session_mut().request(host, path, fields, &mut self.context.output);
    }

    /// Stops reading until [`Conn::resume`]: what the peer sends fills the kernel's buffers, and then TCP stops the
    /// peer. No deadline applies meanwhile, and it goes unnoticed if the peer closes.
    pub fn pause(&mut self) {
        self.connection.set(Flags::READ_PAUSED);
    }

    /// Resumes reading; to be called outside the turn of the connection.
    pub fn resume(&mut self) {
        self.connection.clear(Flags::READ_PAUSED);
    }

    /// Ends the connection when its queue is empty; for `cause`, unless there is a cause already.
    pub fn end(&mut self, cause: Cause) {
        self.connection.end_with(cause);
        self.connection.session_mut().abandon();
    }
}
