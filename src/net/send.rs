//! What goes out: with one call for a turn, from the ring where it lies there, and through the outbox where the socket
//! will not take it.

use super::connection::Connection;
use super::context::Queueing;
use super::counters::Counters;
use super::outbox::{self, Content, KEPT, NO_TOPIC, Outbox, Overflow, Pushed};
use super::sys;
use crate::proto::close::CloseCode;
use crate::proto::extension::Agreed;
use crate::proto::frame::{self, Opcode};
use crate::proto::session::{MessageKind, Output};
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};

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

/// Sends what stands in `out`, and forgets it there; what the socket refuses goes into the outbox.
#[inline(always)]
pub(super) fn send_or_keep(
    socket: BorrowedFd<'_>,
    outbox: &mut Option<Box<Outbox>>,
    out: &mut Output,
    agreed: Agreed,
    counters: &Counters,
    tick: u32,
) -> io::Result<()> {
    if let Some(outbox) = outbox {
        append(outbox, out, topic_of(agreed), counters);
        return Ok(());
    }
    let sent = match send_some(socket, &out.bytes) {
        Ok(sent) => sent,
        Err(error) => {
            lose(out, counters);
            return Err(error);
        }
    };
    counters.bytes_out.add(sent as u64);
    counters.messages_out.add(u64::from(out.messages));
    if sent < out.bytes.len() {
        *outbox = Some(keep(out, sent, topic_of(agreed), counters, tick));
    } else {
        counters.messages_delivered.add(u64::from(out.messages));
    }
    out.clear();
    Ok(())
}

/// Queues what the socket did not take of what was gathered. A large message that is all of it moves into the queue: a copy
/// would take as much memory again for a moment, beyond what connections may keep.
#[cold]
fn keep(out: &mut Output, sent: usize, topic: u32, counters: &Counters, tick: u32) -> Box<Outbox> {
    let is_alone = out.messages == 1 && out.head_bytes == 0 && out.bytes.len() >= MOVED_FROM_BYTES;
    if !is_alone || !outbox::is_one_frame(&out.bytes) {
        return leave(&out.bytes, out.head_bytes, sent, topic, counters, tick);
    }
    let mut outbox = Outbox::new(tick);
    outbox.move_in(std::mem::take(&mut out.bytes), sent, topic);
    Box::new(outbox)
}

/// Behind what waits already goes what has to, a pong or a Close or an answer; and what was sent in one go with a message that
/// the socket would not take from where it lay.
#[cold]
fn append(outbox: &mut Outbox, out: &mut Output, topic: u32, counters: &Counters) {
    counters.messages_out.add(u64::from(out.messages));
    outbox.leave(&out.bytes, out.head_bytes, 0, topic);
    out.clear();
}

/// What was to be sent is lost with its connection.
#[cold]
pub(super) fn lose(out: &mut Output, counters: &Counters) {
    counters.messages_out.add(u64::from(out.messages));
    counters.messages_dropped.add(u64::from(out.messages));
    out.clear();
}

/// What a message that was gathered is to a policy.
fn topic_of(agreed: Agreed) -> u32 {
    if agreed.is_on() && agreed.own_takeover() { KEPT } else { NO_TOPIC }
}

#[cold]
fn leave(bytes: &[u8], head_bytes: usize, sent: usize, topic: u32, counters: &Counters, tick: u32) -> Box<Outbox> {
    let mut outbox = Outbox::new(tick);
    let delivered = outbox.leave(bytes, head_bytes, sent, topic);
    counters.messages_delivered.add(u64::from(delivered));
    Box::new(outbox)
}

/// Sends a message from where it lies in `input`: its header goes over that of the frame it came in.
pub(super) fn send_in_place<S>(
    connection: &mut Connection<S>,
    input: &mut [u8],
    message: InPlace,
    counters: &Counters,
    tick: u32,
) -> io::Result<()> {
    let first = 0x80 | Opcode::from(message.kind) as u8;
    let (header, header_bytes) = frame::encode_header(first, 0, message.payload.len());
    let start = message.payload.start - header_bytes;
    input[start..message.payload.start].copy_from_slice(&header[..header_bytes]);
    let frame = &input[start..message.payload.end];
    counters.messages_out.add(1);
    let sent = match send_some(connection.socket.as_fd(), frame) {
        Ok(sent) => sent,
        Err(error) => {
            counters.messages_dropped.add(1);
            return Err(error);
        }
    };
    counters.bytes_out.add(sent as u64);
    if sent < frame.len() {
        connection.outbox = Some(leave(frame, 0, sent, NO_TOPIC, counters, tick));
    } else {
        counters.messages_delivered.add(1);
    }
    Ok(())
}

/// Puts a message into an outbox, whatever waits there.
pub(super) fn admit(outbox: &mut Outbox, content: Content, counters: &Counters) {
    counters.messages_out.add(1);
    outbox.admit(content, NO_TOPIC);
}

/// Puts a message into an outbox, by the policy of its connection. One that is too many for [`Overflow::Close`] is
/// dropped, and all that waits with it; the caller closes. That policy promises that no message is missing: where memory is
/// used up it goes on, and those who keep most end.
pub(super) fn enqueue(
    outbox: &mut Outbox,
    content: Content,
    topic: u32,
    overflow: Overflow,
    queueing: &Queueing,
    counters: &Counters,
) -> Pushed {
    counters.messages_out.add(1);
    let is_graced = overflow == Overflow::Close
        && queueing.grace_ticks > 0
        && !outbox.is_overdue(queueing.tick, queueing.grace_ticks);
    let limits = if is_graced { queueing.limits.in_grace() } else { queueing.limits };
    let pushed = match overflow {
        Overflow::DropNewest | Overflow::DropOldest | Overflow::KeepLatest if queueing.is_full => Pushed::Dropped,
        _ => outbox.push(content, topic, limits, overflow),
    };
    if is_graced {
        outbox.note_limits(queueing.limits, queueing.tick);
    }
    let dropped = match pushed {
        Pushed::Queued { dropped } => dropped,
        Pushed::Dropped => {
            counters.messages_dropped.add(1);
            0
        }
        Pushed::Overflowed => {
            counters.messages_dropped.add(1);
            return overflowed(outbox, counters);
        }
    };
    counters.messages_dropped.add(u64::from(dropped));
    pushed
}

/// What waits is dropped, and the caller closes the connection.
pub(super) fn overflowed(outbox: &mut Outbox, counters: &Counters) -> Pushed {
    counters.closed_slow.add(1);
    counters.messages_dropped.add(u64::from(outbox.drop_waiting()));
    Pushed::Overflowed
}

/// What the close handshake says to those who do not keep up.
pub(super) const SLOW: (CloseCode, &str) = (CloseCode::POLICY, "too slow for what it is sent");

pub(super) fn took(outbox: &mut Outbox, sent: usize, counters: &Counters) {
    counters.bytes_out.add(sent as u64);
    if let Some(part) = outbox.file() {
        part.left_bytes -= sent as u64;
        if part.left_bytes == 0 {
            outbox.file_sent();
        }
        return;
    }
    let delivered = u64::from(outbox.took(sent));
    counters.messages_delivered.add(delivered);
}

/// The connection ends: what waits for it is dropped.
pub(super) fn discard<S>(connection: &mut Connection<S>, counters: &Counters) {
    if let Some(outbox) = connection.outbox.take() {
        let dropped = outbox.messages() as u64;
        counters.messages_dropped.add(dropped);
    }
}
