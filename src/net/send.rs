//! What goes out: with one call for a turn, from the ring where it lies there, and through the queue where the socket
//! will not take it.

use super::connection::Connection;
use super::context::Context;
use super::counters::Counters;
use super::sys;
use super::write_queue::{self, Content, Overflow, Pushed, Topic, WriteQueue};
use crate::proto::close::CloseCode;
use crate::proto::extension::NegotiatedCompression;
use crate::proto::frame::{self, Opcode};
use crate::proto::session::MessageKind;
use std::io;
use std::ops::Range;
use std::os::fd::BorrowedFd;

/// From this length on a message moves into the queue.
const MOVED_FROM_BYTES: usize = 64 << 10;

/// How it went with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Nothing waits before it: it goes to the socket with what else this turn sends there. Should the socket not take all
    /// of that, the rest waits, and is counted as queued.
    Sent,
    /// The socket is full, and the message waits for it in order.
    Queued,
    /// It will not be sent: the connection is closing or gone, or its queue is full and the policy says so.
    Dropped,
}

/// A message that lies in the ring, and is sent from there.
#[derive(Debug)]
pub(super) struct InPlace {
    pub(super) kind: MessageKind,
    pub(super) payload: Range<usize>,
}

/// Sends what the socket takes: nothing, if it is full.
#[inline(always)]
pub(super) fn send_some(socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    match sys::send(socket, bytes) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        sent => sent,
    }
}

/// Sends what stands in `out`, and forgets it there; what the socket refuses goes into the queue.
#[inline(always)]
pub(super) fn send_or_keep<S>(connection: &mut Connection<S>, context: &mut Context) -> io::Result<()> {
    if connection.has_queue() {
        append(connection, context);
        return Ok(());
    }
    let sent = match send_some(connection.socket(), &context.output.bytes) {
        Ok(sent) => sent,
        Err(error) => {
            lose(context);
            return Err(error);
        }
    };
    let Context { output, counters, .. } = context;
    counters.bytes_out.add(sent as u64);
    counters.messages_out.add(u64::from(output.messages));
    if sent < output.bytes.len() {
        keep(connection, context, sent);
    } else {
        counters.messages_delivered.add(u64::from(output.messages));
    }
    context.output.clear();
    Ok(())
}

/// Queues what the socket did not take of what was gathered. A large message that is all of it moves into the queue: a copy
/// would take as much memory again for a moment, beyond what connections may keep.
#[cold]
fn keep<S>(connection: &mut Connection<S>, context: &mut Context, sent: usize) {
    let topic = topic_of(connection.session().compression());
    let output = &mut context.output;
    let is_alone = output.messages == 1 && output.head_bytes == 0 && output.bytes.len() >= MOVED_FROM_BYTES;
    let mut queue = WriteQueue::new(context.now.tick);
    if is_alone && write_queue::is_one_frame(&output.bytes) {
        queue.queue_unsent_frame(std::mem::take(&mut output.bytes), sent, topic);
    } else {
        let delivered = queue.queue_unsent(&output.bytes, output.head_bytes, sent, topic);
        context.counters.messages_delivered.add(u64::from(delivered));
    }
    connection.set_queue(queue);
}

/// Behind what waits already goes what has to, a pong or a Close or an answer; and what was sent in one go with a message that
/// the socket would not take from where it lay.
#[cold]
fn append<S>(connection: &mut Connection<S>, context: &mut Context) {
    let topic = topic_of(connection.session().compression());
    let Some(queue) = connection.queue_mut() else { return };
    let Context { output, counters, .. } = context;
    counters.messages_out.add(u64::from(output.messages));
    queue.queue_unsent(&output.bytes, output.head_bytes, 0, topic);
    output.clear();
}

/// What was to be sent is lost with its connection.
#[cold]
pub(super) fn lose(context: &mut Context) {
    let Context { output, counters, .. } = context;
    counters.messages_out.add(u64::from(output.messages));
    counters.messages_dropped.add(u64::from(output.messages));
    output.clear();
}

/// What a message that was gathered is to a policy.
fn topic_of(agreed: NegotiatedCompression) -> Topic {
    if agreed.is_on() && agreed.own_takeover() { Topic::Required } else { Topic::None }
}

/// Sends a message from where it lies in `input`: its header goes over that of the frame it came in.
pub(super) fn send_in_place<S>(
    connection: &mut Connection<S>,
    input: &mut [u8],
    message: InPlace,
    context: &Context,
) -> io::Result<()> {
    let counters = &context.counters;
    let first = 0x80 | Opcode::from(message.kind) as u8;
    let (header, header_bytes) = frame::encode_header(first, 0, message.payload.len());
    let start = message.payload.start - header_bytes;
    input[start..message.payload.start].copy_from_slice(&header[..header_bytes]);
    let frame = &input[start..message.payload.end];
    counters.messages_out.add(1);
    let sent = match send_some(connection.socket(), frame) {
        Ok(sent) => sent,
        Err(error) => {
            counters.messages_dropped.add(1);
            return Err(error);
        }
    };
    counters.bytes_out.add(sent as u64);
    if sent < frame.len() {
        let mut queue = WriteQueue::new(context.now.tick);
        queue.queue_unsent(frame, 0, sent, Topic::None);
        connection.set_queue(queue);
    } else {
        counters.messages_delivered.add(1);
    }
    Ok(())
}

/// Puts a message into a queue, whatever waits there.
pub(super) fn admit(queue: &mut WriteQueue, content: Content, counters: &Counters) {
    counters.messages_out.add(1);
    queue.queue_unchecked(content, Topic::None);
}

/// What is to happen to a message if the queue is full.
#[derive(Clone, Copy, Debug)]
pub(super) struct Policy {
    pub(super) overflow: Overflow,
    /// Of [`Overflow::KeepLatest`].
    pub(super) topic: Topic,
}

/// Puts a message into a queue, by the policy of its connection. One that is too many for [`Overflow::Close`] is
/// dropped, and all that waits with it; the caller closes. That policy promises that no message is missing: where memory is
/// used up it goes on, and those who keep most end.
pub(super) fn enqueue(queue: &mut WriteQueue, content: Content, policy: Policy, context: &Context) -> Pushed {
    let Policy { overflow, topic } = policy;
    let Context { queueing, counters, now, .. } = context;
    counters.messages_out.add(1);
    let is_graced =
        overflow == Overflow::Close && queueing.grace_ticks > 0 && !queue.is_overdue(now.tick, queueing.grace_ticks);
    let limits = if is_graced { queueing.limits.in_grace() } else { queueing.limits };
    let pushed = match overflow {
        Overflow::DropNewest | Overflow::DropOldest | Overflow::KeepLatest if queueing.is_full => Pushed::Dropped,
        _ => queue.try_queue(content, topic, limits, overflow),
    };
    if is_graced {
        queue.note_limits(queueing.limits, now.tick);
    }
    let dropped = match pushed {
        Pushed::Queued { dropped } => dropped,
        Pushed::Dropped => {
            counters.messages_dropped.add(1);
            0
        }
        Pushed::Overflowed => {
            counters.messages_dropped.add(1);
            return overflowed(queue, counters);
        }
    };
    counters.messages_dropped.add(u64::from(dropped));
    pushed
}

/// What waits is dropped, and the caller closes the connection.
pub(super) fn overflowed(queue: &mut WriteQueue, counters: &Counters) -> Pushed {
    counters.closed_slow.add(1);
    counters.messages_dropped.add(u64::from(queue.drop_waiting()));
    Pushed::Overflowed
}

/// What the close handshake says to those who do not keep up.
pub(super) const SLOW: (CloseCode, &str) = (CloseCode::POLICY, "too slow for what it is sent");

pub(super) fn took(queue: &mut WriteQueue, sent: usize, counters: &Counters) {
    counters.bytes_out.add(sent as u64);
    if let Some(part) = queue.file() {
        part.left_bytes -= sent as u64;
        if part.left_bytes == 0 {
            queue.file_sent();
        }
        return;
    }
    let delivered = u64::from(queue.took(sent));
    counters.messages_delivered.add(delivered);
}

/// The connection ends: what waits for it is dropped.
pub(super) fn discard<S>(connection: &mut Connection<S>, counters: &Counters) {
    if let Some(queue) = connection.take_queue() {
        let dropped = queue.messages() as u64;
        counters.messages_dropped.add(dropped);
    }
}
