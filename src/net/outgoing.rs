//! What goes out: with one call for a turn, from the ring where it lies there, and through the outbox where the socket
//! will not take it.

use super::counters::Counters;
use super::ending::finish;
use super::link::{Cause, InPlace};
use super::reactor::Core;
use super::slots::{Connection, ConnectionId, Flags, Outbox};
use super::sys;
use crate::proto::frame::{self, Opcode};
use std::io;
use std::os::fd::AsFd;

/// Sends `bytes`; what the socket refuses goes into the connection's outbox.
#[inline(always)]
pub(super) fn send_or_keep<S>(
    connection: &mut Connection<S>,
    bytes: &[u8],
    counters: &Counters,
    tick: u32,
) -> io::Result<()> {
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
        keep(connection, &bytes[sent..], tick);
    }
    Ok(())
}

#[cold]
fn keep<S>(connection: &mut Connection<S>, bytes: &[u8], tick: u32) {
    connection.outbox = Some(Box::new(Outbox { bytes: bytes.to_vec(), sent: 0, moved_tick: tick }));
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
    send_or_keep(connection, &input[start..message.payload.end], counters, tick)
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
            // Taking is life, and a close takes as long as what stands before it.
            connection.stamp_tick = now.tick;
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
        Err(error) => return core.doom(id, Cause::Io(sys::error_code(&error))),
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
