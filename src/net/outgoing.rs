//! What goes out: with one call for a turn, from the ring where it lies there, and through the outbox where the socket
//! will not take it.

use super::counters::Counters;
use super::ending::finish;
use super::link::{Cause, Driver, InPlace, LEAST_FRAME_BYTES, Sent};
use super::outbox::{Content, KEPT, NO_TOPIC, Outbox, Overflow, Pushed, QueueLimits};
use super::reactor::Core;
use super::slots::{Connection, ConnectionId, Flags};
use super::sweep::TICK_MS;
use super::{outbox, sys};
use crate::proto::close::CloseCode;
use crate::proto::extension::Agreed;
use crate::proto::frame::{self, Opcode};
use crate::proto::session::{Output, State};
use crate::proto::shared::Shared;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

/// Calls that empty the outbox of one connection in one turn, and what each takes of a file at the most: peers who take as
/// fast as we send wait for the others too.
const TURN_CALLS: u32 = 4;
const CALL_FILE_BYTES: u64 = 64 << 10;

/// What one connection sends in its turn is gathered up to so many bytes, however much may be queued for it.
const GATHERED_BYTES: usize = 64 << 10;

/// From this length on a message moves into the queue.
const MOVED_FROM_BYTES: usize = 64 << 10;

/// How much may be queued, and when that is; what is known of it beside the connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Queueing {
    pub(super) limits: QueueLimits,
    /// How long a queue may be over its limits before [`Overflow::Close`] closes; 0 for not at all.
    pub(super) grace_ticks: u32,
    /// Bytes that are gathered before they are sent.
    pub(super) gathered_bytes: usize,
    pub(super) tick: u32,
    /// All buffers together are at their limit: nothing more waits.
    pub(super) is_full: bool,
    /// Where a turn begins to look at the limits.
    pub(super) look_from_bytes: usize,
}

impl Queueing {
    pub(super) fn new(limits: QueueLimits, grace_s: u32) -> Self {
        let gathered_bytes = limits.max_queued_bytes.min(GATHERED_BYTES);
        let grace_ticks = u32::try_from(u64::from(grace_s) * 1000 / TICK_MS).unwrap_or(u32::MAX);
        let by_messages = limits.max_queued_messages.saturating_mul(LEAST_FRAME_BYTES);
        let look_from_bytes = by_messages.min(gathered_bytes.saturating_add(1));
        Self { limits, grace_ticks, gathered_bytes, tick: 0, is_full: false, look_from_bytes }
    }
}

/// Sends what the socket takes: nothing, if it is full.
#[inline(always)]
fn send_some(socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
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
fn overflowed(outbox: &mut Outbox, counters: &Counters) -> Pushed {
    counters.closed_slow.add(1);
    counters.messages_dropped.add(u64::from(outbox.drop_waiting()));
    Pushed::Overflowed
}

/// Closes a connection whose queue was over its limits for the whole grace time, unless its socket has room by now: an edge
/// tells of much room, and there may be some.
pub(super) fn judge_queue<D: Driver>(core: &mut Core<D::State>, driver: &mut D, id: ConnectionId) {
    let (tick, grace_ticks) = (core.queueing.tick, core.queueing.grace_ticks);
    let is_overdue = |core: &mut Core<D::State>| {
        let Some(connection) = core.slots.get(id) else { return false };
        let is_open = connection.session.state() == State::Open && !connection.flags.has(Flags::DOOMED);
        is_open && connection.outbox.as_ref().is_some_and(|outbox| outbox.is_overdue(tick, grace_ticks))
    };
    if !is_overdue(core) {
        return;
    }
    flush(core, driver, id);
    if !is_overdue(core) {
        return;
    }
    core.with(id, |link| {
        if let Some(outbox) = link.connection.outbox.as_mut() {
            overflowed(outbox, link.counters);
        }
        link.close(SLOW.0, SLOW.1);
    });
}

/// What the close handshake says to those who do not keep up.
pub(super) const SLOW: (CloseCode, &str) = (CloseCode::POLICY, "too slow for what it is sent");

/// Sends a message that is shared to the connection in a place of the slab: at once, or behind what waits for it.
#[inline]
pub(super) fn deliver<S>(core: &mut Core<S>, index: usize, message: &Arc<Shared>, topic: u32) -> Sent {
    let Some((id, connection)) = core.slots.at(index) else { return Sent::Dropped };
    if connection.session.state() != State::Open || connection.flags.has(Flags::DOOMED) {
        core.counters.messages_out.add(1);
        core.counters.messages_dropped.add(1);
        return Sent::Dropped;
    }
    if connection.outbox.is_some() {
        return deliver_late(core, id, message, topic);
    }
    let Some(frame) = message.frame_for(connection.session.compression(), &mut core.out.deflate) else {
        return core.with(id, |link| link.send(message.kind(), message.payload())).unwrap_or(Sent::Dropped);
    };
    core.counters.messages_out.add(1);
    match send_some(connection.socket.as_fd(), frame) {
        Ok(sent) => {
            core.counters.bytes_out.add(sent as u64);
            if sent == frame.len() {
                core.counters.messages_delivered.add(1);
                return Sent::Sent;
            }
            let mut outbox = Box::new(Outbox::new(core.queueing.tick));
            outbox.begin(content(message, frame), topic, sent);
            connection.outbox = Some(outbox);
            core.account(id, false);
            Sent::Queued
        }
        Err(error) => {
            core.counters.messages_dropped.add(1);
            core.doom(id, Cause::Io(sys::error_code(&error)));
            Sent::Dropped
        }
    }
}

/// What a shared message is in an outbox: shared, unless it was compressed.
fn content(message: &Arc<Shared>, frame: &[u8]) -> Content {
    if std::ptr::eq(frame, message.frame()) { Content::Shared(Arc::clone(message)) } else { Content::Own(frame.into()) }
}

#[cold]
fn deliver_late<S>(core: &mut Core<S>, id: ConnectionId, message: &Arc<Shared>, topic: u32) -> Sent {
    let Some(connection) = core.slots.get(id) else { return Sent::Dropped };
    // What may yet be dropped must not be in a window that is kept (RFC 7692 section 7.2.3.2).
    let frame = message.frame_for(connection.session.compression(), &mut core.out.deflate).unwrap_or(message.frame());
    let Some(outbox) = &mut connection.outbox else { return Sent::Dropped };
    let overflow = connection.flags.overflow();
    match enqueue(outbox, content(message, frame), topic, overflow, &core.queueing, &core.counters) {
        Pushed::Queued { .. } => {
            core.account(id, false);
            Sent::Queued
        }
        Pushed::Dropped => Sent::Dropped,
        Pushed::Overflowed => {
            core.with(id, |link| link.close(SLOW.0, SLOW.1));
            Sent::Dropped
        }
    }
}

/// Sends what an outbox holds, as far as the socket takes it; when it is empty, reading goes on or the end comes.
pub(super) fn flush<D: Driver>(core: &mut Core<D::State>, driver: &mut D, id: ConnectionId) {
    flush_some(core, driver, id);
    core.account(id, false);
}

fn flush_some<D: Driver>(core: &mut Core<D::State>, driver: &mut D, id: ConnectionId) {
    let mut calls = 0;
    loop {
        let Some(connection) = core.slots.get(id) else { return };
        let Some(outbox) = connection.outbox.as_mut().filter(|_| !connection.flags.has(Flags::DOOMED)) else { return };
        let is_file = outbox.file().is_some();
        let (asked, result) = match outbox.file() {
            Some(part) => {
                let asked = part.left_bytes.min(CALL_FILE_BYTES);
                (asked as usize, sys::sendfile(connection.socket.as_fd(), part.file.as_fd(), &mut part.offset, asked))
            }
            None => {
                let mut slices = Outbox::slices();
                let count = outbox.next(&mut slices);
                let asked = slices[..count].iter().map(|slice| slice.len()).sum();
                (asked, sys::send_vectored(connection.socket.as_fd(), &slices[..count]))
            }
        };
        match result {
            // A file that has become shorter than was promised: what is missing cannot be made up.
            Ok(0) if asked > 0 => return core.doom(id, Cause::Abrupt),
            Ok(sent) => {
                // Less of a file may also be its end, which the next call tells.
                let full = sent < asked && !is_file;
                took(outbox, sent, &core.counters);
                outbox.note_room(core.queueing.limits);
                outbox.taken_bytes += sent as u64;
                // Taking is life, and a close takes as long as what stands before it.
                connection.stamp_tick = core.now.tick;
                if outbox.is_empty() {
                    connection.outbox = None;
                    return drained(core, driver, id);
                }
                calls += 1;
                if full {
                    return; // the socket said how much room it has; its next room makes an edge
                }
                if calls == TURN_CALLS {
                    return core.make_ready(id);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error) => return core.doom(id, Cause::Io(sys::error_code(&error))),
        }
    }
}

fn took(outbox: &mut Outbox, sent: usize, counters: &Counters) {
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

/// Nothing waits any more: the end comes, or the driver hears of it and reading goes on.
fn drained<D: Driver>(core: &mut Core<D::State>, driver: &mut D, id: ConnectionId) {
    let Some(connection) = core.slots.get(id) else { return };
    if connection.cause.is_some() {
        return finish(core, id);
    }
    let is_open = connection.session.state() == State::Open;
    if connection.flags.has(Flags::UNDRAINED | Flags::HOLDS_RING) {
        core.make_ready(id);
    }
    if is_open {
        core.with(id, |link| driver.writable(link));
    }
}

/// The connection ends: what waits for it is dropped.
pub(super) fn discard<S>(connection: &mut Connection<S>, counters: &Counters) {
    if let Some(outbox) = connection.outbox.take() {
        let dropped = outbox.messages() as u64;
        counters.messages_dropped.add(dropped);
    }
}
