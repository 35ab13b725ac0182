//! Closes connections: gracefully, without losing data already sent, or because a deadline passed.

use super::cause::{Cause, Deadline};
use super::connection::Flags;
use super::core::Core;
use super::deadlines::Deadlines;
use super::driver::Driver;
use super::progress::Progress;
use super::send::{SLOW, overflowed, took};
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

/// Calls that empty the queue of one connection in one turn, and what each takes of a file at most: peers who take as
/// fast as we send wait for the others too.
const TURN_CALLS: u32 = 4;
const CALL_FILE_BYTES: u64 = 64 << 10;

/// The session is over. What is queued goes first; then the socket is closed, in the way that loses the peer nothing.
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
        // The peer may still be sending; closing with bytes unread makes TCP reset, and the reset overtakes what we
        // said last (RFC 1122 section 4.2.2.13).
        (_, Cause::Fault(_)) | (Role::Server, Cause::BadHead(_) | Cause::ResponseSent | Cause::Deadline(_)) => {
            // A peer that is already gone cannot be shut down, and then needs no lingering either.
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

/// Ends those whose end came outside their turn.
pub(super) fn finish_pending<S>(core: &mut Core<S>) {
    for id in std::mem::take(&mut core.needs_finish) {
        let Some(connection) = core.slots.get(id) else { continue };
        connection.clear(Flags::NEEDS_FINISH);
        finish(core, id);
    }
}

/// Sends what a queue holds, as far as the socket takes it; when it is empty, reading goes on or the end comes.
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
            // A file that has become shorter than was promised: what is missing cannot be made up.
            Ok(0) if asked > 0 => return core.schedule_free(id, Cause::Abrupt),
            Ok(sent) => {
                // Less of a file may also be its end, which the next call tells.
                let full = sent < asked && !is_file;
                took(queue, sent, &core.context.counters);
                queue.note_room(core.context.queueing.limits);
                queue.taken_bytes += sent as u64;
                // A successful write counts as activity and restarts the close deadline.
                let is_empty = queue.is_empty();
                connection.touch(core.context.now.tick);
                if is_empty {
                    connection.drop_queue();
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
            Err(error) => return core.schedule_free(id, Cause::Io(sys::error_code(&error))),
        }
    }
}

/// Nothing waits any more: the end comes, or the driver hears of it and reading goes on.
fn drained<D: Driver>(core: &mut Core<D::State>, driver: &mut D, id: ConnectionId) {
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

/// Closes a connection whose queue was over its limits for the whole grace time, unless its socket has room by now: an edge
/// tells of much room, and there may be some.
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
        conn.close(SLOW.0, SLOW.1);
    });
}

/// Looks whether a connection has missed a deadline, and does what is due; returns whether it sent a ping.
#[inline]
pub(super) fn visit<D: Driver>(core: &mut Core<D::State>, driver: &mut D, index: usize) -> bool {
    let now_tick = core.context.now.tick;
    let Some((id, connection)) = core.slots.at(index) else { return false };
    if connection.has_queue() {
        judge_queue(core, driver, id);
    }
    let Some(connection) = core.slots.get(id) else { return false };
    core.calm.found(due_from_tick(connection, &core.context.settings.deadlines));
    match due(connection, now_tick, &core.context.settings.deadlines) {
        Due::Silent(age_ticks) if core.pings.take(age_ticks) => {
            // From now on its answer is awaited.
            connection.set(Flags::PINGED);
            connection.touch(now_tick);
            core.with(id, |conn| driver.ping(conn));
            return true;
        }
        Due::Nothing | Due::Silent(_) => {}
        Due::Missed(deadline) => missed(core, driver, id, deadline),
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

/// Ends what a connection has begun and not finished, since memory is short. One that keeps no more than the window of its own
/// compressor gives up that alone: the next message begins another.
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

pub(super) fn missed<D: Driver>(core: &mut Core<D::State>, driver: &mut D, id: ConnectionId, deadline: Deadline) {
    let cause = Cause::Deadline(deadline);
    match deadline {
        // A browser opens connections in advance. It would take a 408 that comes before its request for the response to it,
        // and try again on its own where the connection has just closed.
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
            flush(core, driver, id); // sent if it can be, and closed either way
            core.schedule_free(id, cause);
        }
        Deadline::Stalled if moves(core, driver, id) => {}
        Deadline::Close if takes_the_rest(core, id) => {}
        Deadline::Stalled | Deadline::Close => {
            // A reset, so that the kernel keeps nothing either.
            if let Some(connection) = core.slots.get(id) {
                let known = connection.cause().unwrap_or(cause);
                if !matches!(known, Cause::Deadline(_)) {
                    core.context.counters.ended_by_deadline.add(1); // for another cause, but not in time
                }
                core.reset(id, known);
            }
        }
        Deadline::Connect | Deadline::KeepAlive | Deadline::Reply => core.schedule_free(id, cause),
    }
}

/// Whether the peer takes what is sent to it, or the socket all that waits.
fn moves<D: Driver>(core: &mut Core<D::State>, driver: &mut D, id: ConnectionId) -> bool {
    // An edge tells of much room; there may be some.
    flush(core, driver, id);
    let (now_tick, deadlines) = (core.context.now.tick, core.context.settings.deadlines);
    let Some(connection) = core.slots.get(id).filter(|connection| !connection.is_freed()) else {
        return true; // nothing is left to judge
    };
    let (socket, Some(queue)) = connection.socket_and_queue() else { return true };
    let unacknowledged = sys::unacknowledged_bytes(socket).unwrap_or(0);
    let acknowledged = queue.taken_bytes as i64 - i64::from(unacknowledged);
    queue.progress.is_enough(now_tick, acknowledged, &deadlines)
}

/// Whether a peer that has not closed in time still takes what stands in front of our Close, or of our FIN: the socket may have
/// megabytes of that, and a reset would lose them.
fn takes_the_rest<S>(core: &mut Core<S>, id: ConnectionId) -> bool {
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

/// A FIN counts as a byte.
const OF_FIN: i32 = 1;
