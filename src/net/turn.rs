//! One turn of one connection: read, understand, answer, send; and how it comes to its end.

use super::counters::Counters;
use super::link::{Cause, Deadline, Driver, InPlace, Link};
use super::reactor::Core;
use super::slots::{Connection, ConnectionId, Flags, Outbox};
use super::sweep::{Due, due};
use super::sys;
use crate::proto::close::CloseCode;
use crate::proto::frame::{self, Opcode, Role};
use crate::proto::http::Answer;
use crate::proto::ring::Ring;
use crate::proto::session::{Event, State};
use socket2::SockRef;
use std::io;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::time::Duration;

/// Events of one connection in one turn; then it goes to the back of the ready list. The other half of the budget,
/// bytes, is the size of a ring.
const TURN_EVENTS: usize = 32;

/// How a turn of reading came to its end.
enum Outcome {
    /// The socket has no more for now.
    Drained,
    /// The budget is used up.
    Again,
    /// The peer closed.
    Eof,
    /// The session is over; what it wrote is still to be sent.
    Over,
    /// recv(2) failed.
    Error(u16),
}

/// errno of a failed call; 0 for errors that are none of the kernel's.
pub(super) fn errno(error: &io::Error) -> u16 {
    error.raw_os_error().and_then(|code| u16::try_from(code).ok()).unwrap_or(0)
}

/// Gives a connection its turn: what its socket has is read and handled, what that makes is sent with one call.
#[inline]
pub(super) fn serve<D: Driver>(core: &mut Core<D::State>, driver: &mut D, id: ConnectionId) {
    let Some(connection) = core.slots.get(id) else { return };
    if connection.flags.has(Flags::DOOMED) {
        return;
    }
    connection.flags.set(Flags::UNDRAINED);
    if connection.outbox.is_some() {
        return; // whoever does not take its answers is not read; the outbox's end brings it back
    }
    if connection.flags.has(Flags::HOLDS_RING) {
        connection.flags.clear(Flags::HOLDS_RING);
        if let Some(ring) = core.held.remove(&id) {
            core.pool.resume(ring);
        }
    }
    let outcome = if connection.flags.has(Flags::LINGERS) {
        discard(connection, &mut core.pool.current)
    } else {
        converse(core, driver, id)
    };
    settle(core, id, outcome);
}

/// Reads and handles until the socket is empty or the budget is.
#[inline]
fn converse<D: Driver>(core: &mut Core<D::State>, driver: &mut D, id: ConnectionId) -> Outcome {
    let Core { slots, out, message, counters, settings, now, pool, .. } = core;
    let Some(connection) = slots.get(id) else { return Outcome::Over };
    let state_before = connection.session.state();
    let mut events = 0;
    let mut drained = false;
    let mut eof = false;
    let outcome = loop {
        let ring = &mut pool.current;
        while !ring.is_empty() || connection.session.has_event() {
            if events == TURN_EVENTS {
                break;
            }
            let addresses = ring.addresses();
            let (bytes, event) =
                connection.session.receive(ring.unparsed(), message, &settings.limits, now.second, out);
            events += 1;
            let mut link = Link {
                id,
                session: &mut connection.session,
                out,
                cause: &mut connection.cause,
                counters,
                ring: addresses,
                in_place: None,
                state: &mut connection.state,
            };
            note(&mut link, &event);
            match event {
                Event::NeedMore => events -= 1,
                event => driver.event(&mut link, event),
            }
            if let Some(message) = link.in_place
                && let Err(error) = send_in_place(connection, ring, message, counters, now.tick)
            {
                return Outcome::Error(errno(&error));
            }
            ring.parsed(bytes);
            if connection.session.state() == State::Closed {
                ring.clear();
            }
        }
        if connection.session.state() == State::Closed {
            break if eof { Outcome::Eof } else { Outcome::Over };
        }
        if eof {
            if connection.session.end_of_input() {
                connection.cause.get_or_insert(Cause::EndOfStream);
            }
            if connection.session.has_event() {
                continue;
            }
            break Outcome::Eof;
        }
        if !ring.is_empty() {
            break Outcome::Again;
        }
        if drained {
            break Outcome::Drained;
        }
        if events == TURN_EVENTS || connection.outbox.is_some() {
            break Outcome::Again;
        }
        pool.restore();
        let spare = pool.current.spare();
        match sys::recv(connection.socket.as_fd(), spare) {
            Ok(0) => eof = true,
            Ok(bytes) => {
                // A short read has emptied the socket: the next byte makes an edge of its own. Only a FIN that came
                // before the read shows no other way than by reading on.
                drained = bytes < spare.len() && !connection.flags.has(Flags::PEER_CLOSED);
                pool.current.wrote(bytes);
                counters.bytes_in.add(bytes as u64);
                arrived(connection, now.tick);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => drained = true,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => break Outcome::Error(errno(&error)),
        }
    };
    let state = connection.session.state();
    if state != state_before {
        connection.stamp_tick = now.tick; // another deadline runs
    } else if events > 0 && state == State::Head {
        connection.stamp_tick = now.tick;
        if !connection.session.has_partial() {
            connection.flags.set(Flags::BETWEEN);
        }
    }
    outcome
}

/// Bytes have come: they are life, except while a head is awaited, whose deadline is absolute.
#[inline]
fn arrived<S>(connection: &mut Connection<S>, now_tick: u32) {
    match connection.session.state() {
        State::Open | State::Raw | State::Http => {
            connection.stamp_tick = now_tick;
            connection.flags.clear(Flags::PINGED);
        }
        State::Head if connection.flags.has(Flags::BETWEEN) => {
            connection.stamp_tick = now_tick;
            connection.flags.clear(Flags::BETWEEN);
        }
        _ => {}
    }
}

/// Counts an event, and remembers those that end the connection.
#[inline]
fn note<S>(link: &mut Link<'_, S>, event: &Event<'_>) {
    let counters = link.counters;
    match event {
        Event::NeedMore | Event::Body(_) | Event::ResponseEnd | Event::Response(_) | Event::Pong(_) => {}
        Event::Message(..) | Event::Data(_) => counters.messages_in.add(1),
        Event::Request(_) => counters.requests.add(1),
        Event::Opened => counters.upgraded.add(1),
        Event::Ping(_) => counters.pings_in.add(1),
        Event::Closed(code, _) => *link.cause = Some(Cause::Closed(*code)),
        Event::Failed(fault) => {
            counters.failed(fault.code().0);
            *link.cause = Some(Cause::Fault(*fault));
        }
        Event::BadHead(error) => {
            counters.refused(error.status());
            *link.cause = Some(Cause::BadHead(*error));
        }
        Event::Rejected(rejected) => *link.cause = Some(Cause::Rejected(*rejected)),
    }
}

/// Reads on behind the end, so that closing does not reset what the peer has yet to read.
fn discard<S>(connection: &mut Connection<S>, ring: &mut Ring) -> Outcome {
    ring.clear();
    match sys::recv(connection.socket.as_fd(), ring.spare()) {
        Ok(0) => Outcome::Eof,
        Ok(_) => Outcome::Again,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Outcome::Drained,
        Err(error) => Outcome::Error(errno(&error)),
    }
}

/// Sends what the turn made, and files the connection where it belongs until its next one.
#[inline]
fn settle<S>(core: &mut Core<S>, id: ConnectionId, outcome: Outcome) {
    if !core.out.bytes.is_empty() {
        send_or_queue(core, id);
    }
    if core.message.capacity() > super::pool::RING_BYTES {
        core.message = Vec::new();
    }
    if !core.pool.current.is_empty() {
        return hold_ring(core, id, &outcome);
    }
    let Some(connection) = core.slots.get(id) else { return };
    match outcome {
        Outcome::Drained => connection.flags.clear(Flags::UNDRAINED),
        Outcome::Again if connection.outbox.is_some() => {} // its end brings the connection back
        Outcome::Again => core.make_ready(id),
        Outcome::Eof => {
            connection.flags.set(Flags::PEER_CLOSED);
            connection.cause.get_or_insert(Cause::Abrupt);
            finish(core, id);
        }
        Outcome::Over => {
            connection.cause.get_or_insert(Cause::Answered);
            finish(core, id);
        }
        Outcome::Error(code) => core.doom(id, Cause::Io(code)),
    }
}

/// The budget left bytes unparsed: they wait in their ring for the connection's next turn.
#[cold]
fn hold_ring<S>(core: &mut Core<S>, id: ConnectionId, outcome: &Outcome) {
    let Some(connection) = core.slots.get(id) else { return core.pool.current.clear() };
    if let Outcome::Error(code) = outcome {
        core.pool.current.clear();
        return core.doom(id, Cause::Io(*code));
    }
    connection.flags.set(Flags::HOLDS_RING);
    if connection.outbox.is_some() {
        // One that waits for its peer keeps what it has and no more.
        core.held.insert(id, core.pool.current.unparsed_only());
        core.pool.current.clear();
    } else {
        core.held.insert(id, core.pool.park());
        core.make_ready(id);
    }
}

/// Sends the bytes of this turn with one call; what the socket refuses goes into the connection's outbox.
#[inline]
fn send_or_queue<S>(core: &mut Core<S>, id: ConnectionId) {
    let Core { slots, out, counters, now, .. } = core;
    let Some(connection) = slots.get(id) else { return out.bytes.clear() };
    let sent = send_or_keep(connection, &out.bytes, counters, now.tick);
    out.bytes.clear();
    if out.bytes.capacity() > super::pool::RING_BYTES * 4 {
        out.bytes.shrink_to(super::pool::RING_BYTES); // one large message shall not cost for ever
    }
    if let Err(error) = sent {
        core.doom(id, Cause::Io(errno(&error)));
    }
}

#[inline]
fn send_or_keep<S>(connection: &mut Connection<S>, bytes: &[u8], counters: &Counters, tick: u32) -> io::Result<()> {
    if let Some(outbox) = &mut connection.outbox {
        outbox.bytes.extend_from_slice(bytes); // behind what waits already
        return Ok(());
    }
    let sent = match sys::send(connection.socket.as_fd(), bytes) {
        Ok(sent) => sent,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
        Err(error) => return Err(error),
    };
    counters.bytes_out.add(sent as u64);
    if sent < bytes.len() {
        connection.outbox = Some(Box::new(Outbox { bytes: bytes[sent..].to_vec(), sent: 0, moved_tick: tick }));
    }
    Ok(())
}

/// Sends a message from where it lies in the ring.
fn send_in_place<S>(
    connection: &mut Connection<S>,
    ring: &mut Ring,
    message: InPlace,
    counters: &Counters,
    tick: u32,
) -> io::Result<()> {
    let first = 0x80 | Opcode::from(message.kind) as u8;
    let (header, header_bytes) = frame::encode_header(first, 0, message.payload.len());
    let bytes = ring.frame_in_place(message.payload, &header[..header_bytes]);
    send_or_keep(connection, bytes, counters, tick)
}

/// Sends what an outbox holds, as far as the socket takes it; when it is empty, reading goes on or the end comes.
pub(super) fn flush<S>(core: &mut Core<S>, id: ConnectionId) {
    let Core { slots, counters, now, .. } = core;
    let Some(connection) = slots.get(id) else { return };
    let Some(outbox) = connection.outbox.as_mut().filter(|_| !connection.flags.has(Flags::DOOMED)) else { return };
    match sys::send(connection.socket.as_fd(), &outbox.bytes[outbox.sent..]) {
        Ok(sent) => {
            counters.bytes_out.add(sent as u64);
            outbox.sent += sent;
            outbox.moved_tick = now.tick;
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
        Err(error) => return core.doom(id, Cause::Io(errno(&error))),
    }
    if outbox.sent < outbox.bytes.len() {
        return; // the socket said how much room it has; its next room makes an edge
    }
    connection.outbox = None;
    if connection.cause.is_some() {
        finish(core, id);
    } else if connection.flags.has(Flags::UNDRAINED) {
        core.make_ready(id);
    }
}

/// The session is over. What is queued goes first; then the socket is closed, in the way that loses the peer nothing.
pub(super) fn finish<S>(core: &mut Core<S>, id: ConnectionId) {
    let Some(connection) = core.slots.get(id) else { return };
    let Some(cause) = connection.cause else { return };
    if connection.outbox.is_some() || connection.flags.has(Flags::LINGERS | Flags::DOOMED) {
        if connection.flags.has(Flags::LINGERS) && connection.flags.has(Flags::PEER_CLOSED) {
            core.doom(id, cause);
        }
        return;
    }
    let role = connection.session.role();
    let lingers = match (role, cause) {
        _ if connection.flags.has(Flags::PEER_CLOSED) => false,
        // The peer may still be sending; closing with bytes unread makes TCP reset, and the reset overtakes what we
        // said last (RFC 1122 section 4.2.2.13).
        (_, Cause::Fault(_)) | (Role::Server, Cause::BadHead(_) | Cause::Answered | Cause::Deadline(_)) => {
            // A peer that is already gone cannot be shut down, and then needs no lingering either.
            SockRef::from(&connection.socket).shutdown(Shutdown::Write).is_ok()
        }
        // RFC 6455 section 7.1.1: the server closes first, the client waits for it.
        (Role::Client, Cause::Closed(_)) => true,
        _ => false,
    };
    if !lingers {
        return core.doom(id, cause);
    }
    connection.flags.set(Flags::LINGERS);
    connection.stamp_tick = core.now.tick;
    core.make_ready(id);
}

/// Looks whether a connection has missed a deadline, and does what is due.
pub(super) fn visit<D: Driver>(core: &mut Core<D::State>, driver: &mut D, index: usize) {
    let (now_tick, deadlines) = (core.now.tick, core.settings.deadlines);
    let Some((id, connection)) = core.slots.at(index) else { return };
    match due(connection, index, now_tick, &deadlines) {
        Due::Nothing => {
            if matches!(connection.session.state(), State::Open | State::Http | State::Raw)
                && !connection.flags.has(Flags::DOOMED | Flags::CONNECTING)
            {
                core.with(id, |link| driver.swept(link));
            }
        }
        Due::Ping => {
            connection.flags.set(Flags::PINGED);
            core.with(id, |link| link.ping(b""));
        }
        Due::Missed(deadline) => {
            core.counters.ended_by_deadline.add(1);
            missed(core, id, deadline);
        }
    }
}

fn missed<S>(core: &mut Core<S>, id: ConnectionId, deadline: Deadline) {
    let cause = Cause::Deadline(deadline);
    match deadline {
        Deadline::Head => {
            core.with(id, |link| {
                link.answer(&Answer::refusal(408), false);
                *link.cause = Some(cause);
            });
        }
        Deadline::Idle => {
            core.with(id, |link| {
                link.close(CloseCode::GOING_AWAY, "no sign of life");
                *link.cause = Some(cause);
            });
            flush(core, id); // sent if it can be, and closed either way
            core.doom(id, cause);
        }
        Deadline::Stalled | Deadline::Close => {
            // A reset, so that the kernel keeps nothing either.
            if let Some(connection) = core.slots.get(id) {
                let known = connection.cause.unwrap_or(cause);
                let lingered = connection.flags.has(Flags::LINGERS);
                let _ = SockRef::from(&connection.socket).set_linger(Some(Duration::ZERO));
                core.doom(id, if lingered { known } else { cause });
            }
        }
        Deadline::Connect | Deadline::KeepAlive | Deadline::Reply => core.doom(id, cause),
    }
}
