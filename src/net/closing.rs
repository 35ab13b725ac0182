//! Closes connections: gracefully, without losing data already sent, or because a deadline passed.

use super::cause::{Cause, Deadline};
use super::connection::Flags;
use super::core::Core;
use super::deadlines::Deadlines;
use super::driver::Driver;
use super::progress::Progress;
use super::send::{TOO_SLOW, overflowed, took};
use super::slots::ConnectionId;
use super::sweep::{Due, due, due_from_tick};
use super::sys;
use super::write_queue::WriteQueue;
use crate::proto::close::{CloseCode, Fault};
use crate::proto::frame::Role;
use crate::proto::http_write::{HttpResponse, RequestInfo, reason_body};
use crate::proto::session::State;
use socket2::SockRef;
use std::io;
use std::net::Shutdown;
use std::os::fd::AsFd;

/// The most calls that empty the queue of one connection in one turn, and the most bytes of a file that each call
/// sends: a peer that takes as fast as this host sends leaves time for the others.
const TURN_CALLS: u32 = 4;
const CALL_FILE_BYTES: u64 = 64 << 10;

/// Closes a connection whose session is over: sends what is queued first, then closes the socket so that the peer loses
/// none of it.
pub(super) fn finish<S>(core: &mut Core<S>, id: ConnectionId) {
    let Some(connection) = core.slots.get(id) else { return };
    let Some(cause) = connection.cause() else { return };
    if connection.has_queue() || connection.is_draining() || connection.is_freed() {
        if connection.is_draining() && connection.has(Flags::PEER_CLOSED) {
            core.schedule_free(id, cause);
        }
        return;
    }
    let role = connection.session().role();
    let lingers = match (role, cause) {
        _ if connection.has(Flags::PEER_CLOSED) => false,
        // The peer may still be sending. Closing with bytes unread makes TCP reset the connection, and the reset may
        // overtake the last response (RFC 1122 section 4.2.2.13).
        (_, Cause::Fault(_)) | (Role::Server, Cause::BadHead(_) | Cause::ResponseSent | Cause::Deadline(_)) => {
            // shutdown(2) fails if the peer is gone already; then nothing can be lost.
            SockRef::from(&connection.socket()).shutdown(Shutdown::Write).is_ok()
        }
        // RFC 6455 section 7.1.1: the server closes first, the client waits for it.
        (Role::Client, Cause::Closed(_)) => true,
        _ => false,
    };
    if !lingers {
        return core.schedule_free(id, cause);
    }
    connection.drain(core.context.now.tick);
    core.make_ready(id);
}

/// Closes the connections that ended outside their turn.
pub(super) fn finish_pending<S>(core: &mut Core<S>) {
    for id in std::mem::take(&mut core.needs_finish) {
        let Some(connection) = core.slots.get(id) else { continue };
        connection.clear(Flags::NEEDS_FINISH);
        finish(core, id);
    }
}

/// Sends what a queue holds, as far as the socket takes it. When the queue is empty, the connection is read again, or
/// is closed.
pub(super) fn flush<D: Driver>(core: &mut Core<D::State>, driver: &mut D, id: ConnectionId) {
    flush_some(core, driver, id);
    core.account(id, false);
}

fn flush_some<D: Driver>(core: &mut Core<D::State>, driver: &mut D, id: ConnectionId) {
    let mut calls = 0;
    loop {
        let Some(connection) = core.slots.get(id) else { return };
        if connection.is_freed() {
            return;
        }
        let (socket, Some(queue)) = connection.socket_and_queue() else { return };
        let is_file = queue.file().is_some();
        let (asked, result) = match queue.file() {
            Some(part) => {
                let asked = part.left_bytes.min(CALL_FILE_BYTES);
                (asked as usize, sys::sendfile(socket, part.file.as_fd(), &mut part.offset, asked))
            }
            None => {
                let mut slices = WriteQueue::slices();
                let count = queue.next(&mut slices);
                let asked = slices[..count].iter().map(|slice| slice.len()).sum();
                (asked, sys::send_vectored(socket, &slices[..count]))
            }
        };
        match result {
            // The file has become shorter than the length that was announced, and the rest cannot be made up.
            Ok(0) if asked > 0 => return core.schedule_free(id, Cause::Abrupt),
            Ok(sent) => {
                // A short count from sendfile(2) may also be the end of the file, which the next call reports.
                let full = sent < asked && !is_file;
                took(queue, sent, &core.context.counters);
                queue.note_room(core.context.queueing.limits);
                queue.taken_bytes += sent as u64;
                // A successful write counts as activity and restarts the close deadline.
                let is_empty = queue.is_empty();
                connection.touch(core.context.now.tick);
                if is_empty {
                    connection.drop_queue();
                    return on_queue_empty(core, driver, id);
                }
                calls += 1;
                if full {
                    return; // the socket is full; epoll reports when it has room again
                }
                if calls == TURN_CALLS {
                    return core.make_ready(id);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error) => return core.schedule_free(id, Cause::Io(sys::error_code(&error))),
        }
    }
}

/// Follows up on an empty queue: closes a connection that has ended, or tells the driver and has the connection read
/// again.
fn on_queue_empty<D: Driver>(core: &mut Core<D::State>, driver: &mut D, id: ConnectionId) {
    let Some(connection) = core.slots.get(id) else { return };
    if connection.cause().is_some() {
        return finish(core, id);
    }
    let is_open = connection.session().state() == State::Open;
    if connection.has(Flags::READABLE | Flags::PARTIAL_INPUT) {
        core.make_ready(id);
    }
    if is_open {
        core.with(id, |conn| driver.writable(conn));
    }
}

/// Closes a connection whose queue was over its limits for the whole grace time. The socket is tried once more before:
/// epoll reports only much room, and there may be some.
pub(super) fn judge_queue<D: Driver>(core: &mut Core<D::State>, driver: &mut D, id: ConnectionId) {
    let (tick, grace_ticks) = (core.context.now.tick, core.context.queueing.grace_ticks);
    let is_overdue = |core: &mut Core<D::State>| {
        let Some(connection) = core.slots.get(id) else { return false };
        let is_open = connection.session().state() == State::Open && !connection.is_freed();
        is_open && connection.queue().is_some_and(|queue| queue.is_overdue(tick, grace_ticks))
    };
    if !is_overdue(core) {
        return;
    }
    flush(core, driver, id);
    if !is_overdue(core) {
        return;
    }
    core.with(id, |conn| {
        if let Some(queue) = conn.connection.queue_mut() {
            overflowed(queue, &conn.context.counters);
        }
        conn.close(TOO_SLOW.0, TOO_SLOW.1);
    });
}

/// Acts on a deadline that a connection has missed, or sends a ping that is due; returns whether it sent a ping.
#[inline]
pub(super) fn visit<D: Driver>(core: &mut Core<D::State>, driver: &mut D, index: usize) -> bool {
    let now_tick = core.context.now.tick;
    let Some((id, connection)) = core.slots.at(index) else { return false };
    if connection.has_queue() {
        judge_queue(core, driver, id);
    }
    let Some(connection) = core.slots.get(id) else { return false };
    core.next_due.may_be_due_from(due_from_tick(connection, &core.context.settings.deadlines));
    match due(connection, now_tick, &core.context.settings.deadlines) {
        Due::Silent(age_ticks) if core.pings.take(age_ticks) => {
            // The time of the ping is the beginning of the wait for its pong.
            connection.set(Flags::PINGED);
            connection.touch(now_tick);
            core.with(id, |conn| driver.ping(conn));
            return true;
        }
        Due::Nothing | Due::Silent(_) => {}
        Due::Missed(deadline) => on_missed(core, driver, id, deadline),
    }
    if D::IS_SWEPT {
        tell_swept(core, driver, index);
    }
    false
}

fn tell_swept<D: Driver>(core: &mut Core<D::State>, driver: &mut D, index: usize) {
    let Some((id, connection)) = core.slots.at(index) else { return };
    if matches!(connection.session().state(), State::Open | State::Http | State::Raw)
        && !connection.is_freed()
        && !connection.is_connecting()
    {
        core.with(id, |conn| driver.swept(conn));
    }
}

/// Ends an unfinished message or request because memory is short. A connection that keeps no more than the window of
/// its own compressor loses that alone: its next message begins a new window.
pub(super) fn end_unfinished<S>(core: &mut Core<S>, id: ConnectionId) {
    let Some(connection) = core.slots.get(id) else { return };
    connection.session_mut().forget_own_window();
    core.account(id, false);
    let Some(connection) = core.slots.get(id) else { return };
    if !connection.session().has_partial() || connection.is_freed() {
        return;
    }
    core.context.counters.memory_ended.add(1);
    core.with(id, |conn| match conn.session_state() {
        State::Head => {
            let more_fields = "Retry-After: 10\r\n";
            let asked = RequestInfo { without_body: conn.connection.session().is_head(), ..RequestInfo::default() };
            conn.respond(&HttpResponse { more_fields, ..HttpResponse::refusal(503) }, asked);
            conn.end(Cause::ResponseSent);
        }
        _ => {
            conn.close(CloseCode::TRY_AGAIN_LATER, Fault::OutOfMemory.reason());
            conn.end(Cause::Fault(Fault::OutOfMemory));
        }
    });
}

pub(super) fn on_missed<D: Driver>(core: &mut Core<D::State>, driver: &mut D, id: ConnectionId, deadline: Deadline) {
    let cause = Cause::Deadline(deadline);
    match deadline {
        // A browser opens connections in advance. It would take a 408 that comes before its request for the response to
        // it, and it retries on its own where the connection has just closed.
        Deadline::Head if core.slots.get(id).is_none_or(|connection| !connection.session().has_partial()) => {
            core.schedule_free(id, cause);
        }
        Deadline::Head => {
            let (head_s, rate) =
                (core.context.settings.deadlines.head_s, core.context.settings.deadlines.min_body_bytes_per_s);
            core.with(id, |conn| {
                let why =
                    format!("the request did not come within {head_s} s, or its content at {rate} bytes a second");
                let body = reason_body(408, &why);
                let asked = RequestInfo { without_body: conn.connection.session().is_head(), ..RequestInfo::default() };
                conn.respond(&HttpResponse { body: body.as_bytes(), ..HttpResponse::refusal(408) }, asked);
                conn.connection.ended_with(cause);
            });
        }
        Deadline::Message => {
            core.context.counters.closed_slow_message.add(1);
            core.with(id, |conn| {
                conn.close(CloseCode::POLICY, "message too slow");
                conn.end(cause);
            });
        }
        Deadline::Idle => {
            core.context.counters.closed_idle.add(1);
            core.with(id, |conn| {
                conn.close(CloseCode::GOING_AWAY, "no sign of life");
                conn.connection.ended_with(cause);
            });
            flush(core, driver, id); // the Close is sent if the socket has room for it
            core.schedule_free(id, cause);
        }
        Deadline::Stalled if acknowledges_enough(core, driver, id) => {}
        Deadline::Close if acknowledges_rest(core, id) => {}
        Deadline::Stalled | Deadline::Close => {
            // A reset frees what the kernel still has to send, too.
            if let Some(connection) = core.slots.get(id) {
                let known = connection.cause().unwrap_or(cause);
                if !matches!(known, Cause::Deadline(_)) {
                    core.context.counters.ended_by_deadline.add(1); // closed for another cause, which took too long
                }
                core.reset(id, known);
            }
        }
        Deadline::Connect | Deadline::KeepAlive | Deadline::Reply => core.schedule_free(id, cause),
    }
}

/// Returns whether the peer acknowledges enough of what is sent to it, or the socket has taken all that was queued.
fn acknowledges_enough<D: Driver>(core: &mut Core<D::State>, driver: &mut D, id: ConnectionId) -> bool {
    // epoll reports only much room, and there may be some.
    flush(core, driver, id);
    let (now_tick, deadlines) = (core.context.now.tick, core.context.settings.deadlines);
    let Some(connection) = core.slots.get(id).filter(|connection| !connection.is_freed()) else {
        return true; // the connection has been closed
    };
    let (socket, Some(queue)) = connection.socket_and_queue() else { return true };
    let unacknowledged = sys::unacknowledged_bytes(socket).unwrap_or(0);
    let acknowledged = queue.taken_bytes as i64 - i64::from(unacknowledged);
    queue.progress.is_enough(now_tick, acknowledged, &deadlines)
}

/// Returns whether a peer that has not closed in time still acknowledges enough of what was sent before our Close or
/// our FIN. The socket may hold megabytes of that, and a reset would drop_output them.
fn acknowledges_rest<S>(core: &mut Core<S>, id: ConnectionId) -> bool {
    let now_tick = core.context.now.tick;
    let deadlines = Deadlines { stalled_s: core.context.settings.deadlines.close_s, ..core.context.settings.deadlines };
    let Some(connection) = core.slots.get(id) else { return false };
    let unacknowledged = sys::unacknowledged_bytes(connection.socket()).unwrap_or(0);
    if unacknowledged <= OF_FIN {
        return false;
    }
    let progress = core.closing.entry(id).or_insert_with(|| Progress::due_at_once(now_tick));
    !progress.is_due(now_tick) || progress.is_enough(now_tick, -i64::from(unacknowledged), &deadlines)
}

/// A FIN counts as one byte.
const OF_FIN: i32 = 1;
