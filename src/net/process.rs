//! A turn of one connection: read once, parse, call the driver, send once.

use super::cause::Cause;
use super::closing::{finish, flush};
use super::conn::{Conn, conn};
use super::connection::{Connection, Flags};
use super::context::{Context, Input};
use super::core::Core;
use super::counters::Counters;
use super::driver::Driver;
use super::send::{drop_output, send_or_keep};
use super::slots::ConnectionId;
use super::sys;
use crate::proto::frame::Role;
use crate::proto::ring::Ring;
use crate::proto::session::{Event, State};
use std::io;

/// A message counts as one more event for each of this many bytes: a few bytes may inflate to any length that is
/// allowed, and an echo is as long. A message in an ordinary ring stays within the budget.
const EVENT_BYTES: usize = 4 << 10;

/// A buffer that has grown beyond this is freed, so that one large message does not cost memory for ever.
const KEPT_BYTES: usize = 64 << 10;

/// The outcome of a turn.
#[derive(Clone, Copy)]
enum Outcome {
    /// The socket has no more bytes for now.
    Drained,
    /// The socket may have more, or the ring has unparsed bytes because the budget was used up.
    Again,
    /// The peer has closed.
    Eof,
    /// The session is over; its output is still to be sent.
    Over,
    /// recv(2) or send(2) failed.
    Error(u16),
}

/// Handles an event of a connection that is connected.
#[inline(always)]
pub(super) fn on_event<D: Driver>(
    core: &mut Core<D::State>,
    driver: &mut D,
    id: ConnectionId,
    event: &mio::event::Event,
) {
    // The connection of a stale token was freed in this batch.
    let Some(connection) = core.slots.get(id) else { return };
    let readable = event.is_readable() || event.is_read_closed() || event.is_error();
    if readable {
        connection.set(Flags::READABLE);
    }
    if event.is_read_closed() {
        connection.set(Flags::PEER_CLOSED);
    }
    if event.is_priority() {
        connection.set(Flags::URGENT);
    }
    if connection.has_queue() {
        // A connection with queued output is not read; reading resumes when the queue is empty.
        return flush(core, driver, id);
    }
    if !readable {
        return;
    }
    if connection.is_special() {
        return on_special_event(core, driver, id, event.is_error());
    }
    match process(connection, &mut core.input, &mut core.context, driver, id) {
        Outcome::Drained if !connection.has_queue() && !connection.session().has_partial() => {
            connection.clear(Flags::READABLE);
        }
        outcome => apply_outcome(core, id, outcome, true),
    }
}

/// Handles an event of a connection that is not simply open.
#[inline(never)]
fn on_special_event<D: Driver>(core: &mut Core<D::State>, driver: &mut D, id: ConnectionId, is_error: bool) {
    let Some(connection) = core.slots.get(id) else { return };
    // A connection on the ready list is served in order.
    if connection.has(Flags::READY) {
        return;
    }
    if !connection.has(Flags::WAITS) {
        return serve(core, driver, id);
    }
    if is_error && connection.session().role() == Role::Client {
        connection.clear(Flags::WAITS); // reading shows the error
        return serve(core, driver, id);
    }
    if is_error || is_gone(connection) {
        core.schedule_free(id, Cause::Abrupt);
    }
}

/// Serves a connection outside of an event: for the first time, or from the ready list.
#[inline(never)]
pub(super) fn serve<D: Driver>(core: &mut Core<D::State>, driver: &mut D, id: ConnectionId) {
    let Some(connection) = core.slots.get(id) else { return };
    connection.set(Flags::READABLE);
    if connection.has_queue() {
        return flush(core, driver, id);
    }
    if connection.is_freed() || connection.has(Flags::WAITS) {
        if is_gone(connection) {
            core.schedule_free(id, Cause::Abrupt);
        }
        return;
    }
    let mut reserved_bytes = 0;
    // A connection whose peer has closed is read to its end, which frees what it keeps.
    if connection.has(Flags::KEEPS) && !connection.is_draining() && !connection.has(Flags::PEER_CLOSED) {
        match core.reserve(id) {
            Some(bytes) => reserved_bytes = bytes,
            None => return,
        }
    }
    let Some(connection) = core.slots.get(id) else { return };
    if connection.has(Flags::PARTIAL_INPUT) {
        connection.clear(Flags::PARTIAL_INPUT);
        if let Some(ring) = core.partial_input.remove(&id) {
            core.input.pool.attach(ring);
        }
    }
    let whole = |counters: &Counters| counters.messages_in.value() + counters.requests.value();
    let whole_before = whole(&core.context.counters);
    let Some(connection) = core.slots.get(id) else { return };
    let outcome = if connection.is_draining() {
        discard(connection, &mut core.input.pool.current)
    } else {
        process(connection, &mut core.input, &mut core.context, driver, id)
    };
    core.give_back(reserved_bytes);
    let begins = whole(&core.context.counters) != whole_before;
    apply_outcome(core, id, outcome, begins);
}

/// Reads once, unless there is a ring with unparsed bytes; parses, calls the driver, and sends its output.
#[inline(always)]
fn process<D: Driver>(
    connection: &mut Connection<D::State>,
    input: &mut Input,
    context: &mut Context,
    driver: &mut D,
    id: ConnectionId,
) -> Outcome {
    let state_before = connection.session().state();
    let mut drained = false;
    if input.pool.current.is_empty() {
        input.pool.reset();
        let spare = input.pool.current.spare();
        match sys::recv(connection.socket(), spare) {
            Ok(0) => return end_of_stream(connection, input, context, driver, id),
            Ok(bytes) => {
                // A short read has emptied the socket, and the next byte makes an edge of its own. But a FIN that came
                // before the read shows only by reading on.
                drained = bytes < spare.len() && !connection.has(Flags::PEER_CLOSED | Flags::URGENT);
                input.pool.current.wrote(bytes);
                context.counters.bytes_in.add(bytes as u64);
                on_bytes_received(connection, context.now.tick);
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock => {
                    connection.clear(Flags::URGENT);
                    return Outcome::Drained;
                }
                io::ErrorKind::Interrupted => return Outcome::Again,
                _ => return Outcome::Error(sys::error_code(&error)),
            },
        }
    }
    let understood = parse(connection, input, context, driver, id);
    // This comes before the output is queued, which takes as much memory again.
    if input.message.capacity() > KEPT_BYTES {
        input.message = Vec::new();
    }
    let sent = if understood.is_ok() { send(connection, context) } else { Ok(()) };
    let events = match (understood, sent) {
        (Ok(events), Ok(())) => events,
        (Err(error), _) | (_, Err(error)) => {
            input.pool.current.clear();
            drop_output(context);
            return Outcome::Error(sys::error_code(&error));
        }
    };
    let state = connection.session().state();
    if state != State::Open || state_before != State::Open {
        update_deadline(connection, state_before, events, context.now.tick);
        if state == State::Closed {
            return Outcome::Over;
        }
        if is_gone(connection) {
            return Outcome::Eof;
        }
        if connection.has(Flags::UNSENT_DATA) {
            return Outcome::Again;
        }
    }
    if drained && input.pool.current.is_empty() { Outcome::Drained } else { Outcome::Again }
}

/// Parses the ring and calls the driver for each event, within the budget; returns how many events there were.
#[inline(always)]
fn parse<D: Driver>(
    connection: &mut Connection<D::State>,
    input: &mut Input,
    context: &mut Context,
    driver: &mut D,
    id: ConnectionId,
) -> io::Result<usize> {
    let Input { pool, message } = input;
    let unparsed = pool.current.unparsed();
    let lent = unparsed.as_ptr_range();
    let lent = lent.start as usize..lent.end as usize;
    let (mut at, mut events) = (0, 0);
    let mut result = Ok(());
    let mut conn = conn(connection, context, id, lent);
    // An event that needs no bytes is handled in any case: nothing else would bring it up again.
    while (events < conn.context.settings.max_events_per_turn && at < unparsed.len())
        || conn.connection.session().has_event()
    {
        let (rest, session) = (&mut unparsed[at..], conn.connection.session_mut());
        let Context { output, settings, .. } = &mut *conn.context;
        let (bytes, event) = session.receive(rest, message, &settings.limits, output);
        at += bytes;
        match event {
            Event::NeedMore => continue,
            Event::Message(kind, payload) => {
                conn.context.counters.messages_in.add(1);
                events += payload.len() / EVENT_BYTES;
                driver.message(&mut conn, kind, payload);
                result = conn.send_from(unparsed);
            }
            event => on_other_event(&mut conn, driver, event),
        }
        events += 1;
        let connection = &*conn.connection;
        if connection.session().state() == State::Closed || result.is_err() {
            at = unparsed.len(); // what follows the end is not read
            break;
        }
        // A connection that takes no more output, or awaits a response, is not read. The output is sent before it
        // exceeds what may be queued, so the response to one message never counts against the next.
        if connection.has(Flags::WAITS) || (conn.is_slow() && conn.is_blocked()) {
            break;
        }
    }
    pool.current.parsed(at);
    result.map(|()| events)
}

/// Calls the driver for an event that is not a message.
#[inline(never)]
fn on_other_event<D: Driver>(conn: &mut Conn<'_, D::State>, driver: &mut D, event: Event<'_>) {
    // Only messages are sent from the ring.
    let lent = std::mem::replace(&mut conn.lent, 0..0);
    count_event(conn, &event);
    driver.event(conn, event);
    conn.lent = lent;
}

/// Sends the output of a turn with one call.
#[inline(always)]
fn send<S>(connection: &mut Connection<S>, context: &mut Context) -> io::Result<()> {
    if context.output.bytes.is_empty() {
        return Ok(());
    }
    let sent = send_or_keep(connection, context);
    if context.output.bytes.capacity() > 4 * KEPT_BYTES {
        context.output.bytes.shrink_to(KEPT_BYTES);
    }
    sent
}

/// Handles the end of the stream.
#[cold]
fn end_of_stream<D: Driver>(
    connection: &mut Connection<D::State>,
    input: &mut Input,
    context: &mut Context,
    driver: &mut D,
    id: ConnectionId,
) -> Outcome {
    if connection.session_mut().end_of_input() {
        connection.end_with(Cause::EndOfStream);
    }
    // A response that ends with the stream is complete now.
    match parse(connection, input, context, driver, id).and_then(|_| send(connection, context)) {
        Ok(()) => Outcome::Eof,
        Err(error) => {
            drop_output(context);
            Outcome::Error(sys::error_code(&error))
        }
    }
}

/// Returns whether a client has sent FIN while its request waits for a response. It may have closed one direction only,
/// but nearly all clients that do this are gone, and a connection that waits reads nothing that would tell the two
/// apart.
fn is_gone<S>(connection: &Connection<S>) -> bool {
    connection.has(Flags::AWAITING_RESPONSE)
        && connection.has(Flags::PEER_CLOSED)
        && connection.session().role() == Role::Server
}

/// Restarts the deadline of a connection that is not simply open.
fn update_deadline<S>(connection: &mut Connection<S>, state_before: State, events: usize, now_tick: u32) {
    let state = connection.session().state();
    if state != state_before {
        connection.touch(now_tick);
    } else if state == State::Head && events > 0 {
        // Another request begins now, or with its first byte. Empty lines before a request are not an event, and do not
        // restart its deadline.
        connection.touch(now_tick);
        if !connection.session().has_partial() {
            connection.set(Flags::KEEP_ALIVE_IDLE);
        }
    }
}

/// Notes activity when bytes have arrived, except while a head is awaited: its deadline is absolute.
#[inline]
fn on_bytes_received<S>(connection: &mut Connection<S>, now_tick: u32) {
    match connection.session().state() {
        State::Open | State::Raw | State::Http => {
            connection.touch(now_tick);
            connection.clear(Flags::PINGED);
        }
        State::Head if connection.has(Flags::KEEP_ALIVE_IDLE) => {
            connection.touch(now_tick);
            connection.clear(Flags::KEEP_ALIVE_IDLE);
        }
        _ => {}
    }
}

/// Counts an event, and sets the cause where it ends the connection.
#[inline]
fn count_event<S>(conn: &mut Conn<'_, S>, event: &Event<'_>) {
    let counters = &conn.context.counters;
    match event {
        Event::NeedMore | Event::Body(_) | Event::ResponseEnd | Event::Response(_) | Event::Pong(_) => {}
        Event::Expects(_) => {}
        Event::Message(..) | Event::Data(_) => counters.messages_in.add(1),
        Event::Request(_) => counters.requests.add(1),
        Event::Opened(_) => counters.upgraded.add(1),
        Event::Ping(_) => counters.pings_in.add(1),
        Event::Closed(code, _) => conn.connection.ended_with(Cause::Closed(*code)),
        Event::Failed(fault) => {
            counters.failed(fault.code().into());
            conn.connection.ended_with(Cause::Fault(*fault));
        }
        Event::BadHead(error) => {
            counters.refused(error.status());
            conn.connection.ended_with(Cause::BadHead(*error));
        }
        Event::Rejected(rejected) => conn.connection.ended_with(Cause::Rejected(*rejected)),
    }
}

/// Reads and discards what arrives after the end, so that closing does not reset what the peer has yet to read.
fn discard<S>(connection: &mut Connection<S>, ring: &mut Ring) -> Outcome {
    ring.clear();
    match sys::recv(connection.socket(), ring.spare()) {
        Ok(0) => Outcome::Eof,
        Ok(_) => Outcome::Again,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Outcome::Drained,
        Err(error) => Outcome::Error(sys::error_code(&error)),
    }
}

/// Schedules the next step of a connection after a turn, and counts the memory that it keeps.
fn apply_outcome<S>(core: &mut Core<S>, id: ConnectionId, outcome: Outcome, begins: bool) {
    let Some(connection) = core.slots.get(id) else { return };
    if connection.has(Flags::UNSENT_DATA) {
        connection.clear(Flags::UNSENT_DATA);
        core.make_ready(id);
    }
    let Some(connection) = core.slots.get(id) else { return };
    match outcome {
        Outcome::Drained => connection.clear(Flags::READABLE),
        Outcome::Again => schedule_next_turn(core, id),
        Outcome::Eof => {
            connection.set(Flags::PEER_CLOSED);
            connection.end_with(Cause::Abrupt);
            finish(core, id);
        }
        Outcome::Over => {
            connection.end_with(Cause::ResponseSent);
            finish(core, id);
        }
        Outcome::Error(code) => core.schedule_free(id, Cause::Io(code)),
    }
    if core.slots.get(id).is_some_and(|connection| connection.keeps_any() || connection.has(Flags::PARTIAL_INPUT)) {
        core.account(id, begins);
    }
}

/// Keeps unparsed bytes, and schedules another turn: after the other connections had theirs, or when the socket has
/// taken what is queued.
fn schedule_next_turn<S>(core: &mut Core<S>, id: ConnectionId) {
    let Some(connection) = core.slots.get(id) else { return };
    let blocked = connection.has_queue() || connection.has(Flags::WAITS);
    if !core.input.pool.current.is_empty() {
        connection.set(Flags::PARTIAL_INPUT);
        let held = if blocked || core.memory.is_tight() {
            // A connection that waits keeps only its unparsed bytes; so does every connection while memory is short.
            let kept = core.input.pool.current.unparsed_only();
            core.input.pool.current.clear();
            kept
        } else {
            core.input.pool.detach()
        };
        core.partial_input.insert(id, held);
    }
    if !blocked {
        core.make_ready(id);
    }
}
