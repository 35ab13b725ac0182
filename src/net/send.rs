//! Sends output: with one call for a turn, from the ring where a message is there, and through the queue where the
//! socket is full.

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

/// From this length on, a message is moved into the queue and not copied.
const MOVED_FROM_BYTES: usize = 64 << 10;

/// The outcome of sending a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// No output was queued before it: it goes to the socket with the other output of this turn. If the socket does not
    /// take all of that, the rest is queued, and counted as queued.
    Sent,
    /// The socket is full, and the message is queued.
    Queued,
    /// The message will not be sent: the connection is closing or gone, or its queue is full and the policy drops it.
    Dropped,
}

/// A message in the ring, which is sent from there.
#[derive(Debug)]
pub(super) struct InPlace {
    pub(super) kind: MessageKind,
    pub(super) payload: Range<usize>,
}

/// Sends as much as the socket takes, which may be nothing.
#[inline(always)]
pub(super) fn send_some(socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    match sys::send(socket, bytes) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        sent => sent,
    }
}

/// Sends the output, and clears it; queues what the socket does not take.
#[inline(always)]
pub(super) fn send_or_keep<S>(connection: &mut Connection<S>, context: &mut Context) -> io::Result<()> {
    if connection.has_queue() {
        append(connection, context);
        return Ok(());
    }
    let sent = match send_some(connection.socket(), &context.output.bytes) {
        Ok(sent) => sent,
        Err(error) => {
            drop_output(context);
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

/// Queues the output that the socket did not take. A large message that is all of the output is moved into the queue: a
/// copy would for a moment take as much memory again, beyond what connections may keep.
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

/// Queues output after what is queued already: control frames and responses, and messages that were sent in one call
/// with one that the socket did not take from the ring.
#[cold]
fn append<S>(connection: &mut Connection<S>, context: &mut Context) {
    let topic = topic_of(connection.session().compression());
    let Some(queue) = connection.queue_mut() else { return };
    let Context { output, counters, .. } = context;
    counters.messages_out.add(u64::from(output.messages));
    queue.queue_unsent(&output.bytes, output.head_bytes, 0, topic);
    output.clear();
}

/// Drops the output of a connection that is lost.
#[cold]
pub(super) fn drop_output(context: &mut Context) {
    let Context { output, counters, .. } = context;
    counters.messages_out.add(u64::from(output.messages));
    counters.messages_dropped.add(u64::from(output.messages));
    output.clear();
}

/// Returns the topic under which gathered messages are queued.
fn topic_of(agreed: NegotiatedCompression) -> Topic {
    if agreed.is_on() && agreed.own_takeover() { Topic::Required } else { Topic::None }
}

/// Sends a message from the ring: its header replaces that of the frame which was received.
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

/// Queues a message without regard to the limits.
pub(super) fn enqueue_unchecked(queue: &mut WriteQueue, content: Content, counters: &Counters) {
    counters.messages_out.add(1);
    queue.queue_unchecked(content, Topic::None);
}

/// What happens to a message if the queue is full.
#[derive(Clone, Copy, Debug)]
pub(super) struct Policy {
    pub(super) overflow: Overflow,
    /// The topic, for [`Overflow::KeepLatest`].
    pub(super) topic: Topic,
}

/// Queues a message by the policy of its connection. With [`Overflow::Close`], a message beyond the limits is dropped
/// together with all messages that wait, and the caller closes the connection. That policy promises that no message is
/// missing, so it queues even where memory is used up; then the connections that keep most are reset.
pub(super) fn enqueue(queue: &mut WriteQueue, content: Content, policy: Policy, context: &Context) -> Pushed {
    let Policy { overflow, topic } = policy;
    let Context { queueing, counters, now, .. } = context;
    counters.messages_out.add(1);
    let is_in_grace =
        overflow == Overflow::Close && queueing.grace_ticks > 0 && !queue.is_overdue(now.tick, queueing.grace_ticks);
    let limits = if is_in_grace { queueing.limits.in_grace() } else { queueing.limits };
    let pushed = match overflow {
        Overflow::DropNewest | Overflow::DropOldest | Overflow::KeepLatest if queueing.is_full => Pushed::Dropped,
        _ => queue.try_queue(content, topic, limits, overflow),
    };
    if is_in_grace {
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

/// Drops the messages that wait; the caller closes the connection.
pub(super) fn overflowed(queue: &mut WriteQueue, counters: &Counters) -> Pushed {
    counters.closed_slow.add(1);
    counters.messages_dropped.add(u64::from(queue.drop_waiting()));
    Pushed::Overflowed
}

/// The code and reason of the Close frame for a peer that does not keep up.
pub(super) const TOO_SLOW: (CloseCode, &str) = (CloseCode::POLICY, "too slow for what it is sent");

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

/// Drops the queue of a connection that ends, and counts its messages as dropped.
pub(super) fn discard<S>(connection: &mut Connection<S>, counters: &Counters) {
    if let Some(queue) = connection.take_queue() {
        let dropped = queue.messages() as u64;
        counters.messages_dropped.add(dropped);
    }
}
