//! Refuses connections at accept: they get a response and are closed, and take no place of those that are served.

use super::sys;
use crate::proto::http_write::{DefaultHeaders, HttpResponse, RequestInfo};
use socket2::SockRef;
use std::collections::VecDeque;
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};

/// The most refused connections that stay open for a moment. They take descriptors of the table's reserve.
const MAX_LINGERING: usize = 16;

/// Ticks for which they stay open: a whole one, and the rest of the current one.
const LINGER_TICKS: u32 = 2;

/// The most bytes of a request that are read, so that closing does not reset the connection.
const READ_BYTES: usize = 4 << 10;

/// Refused connections whose requests may still arrive.
///
/// Closing a socket before its request has been read resets the connection, and the reset may overtake the response
/// (RFC 1122 section 4.2.2.13). A refused socket is not registered with epoll: it is read once at accept, and once
/// before it is closed.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    lingering: VecDeque<(OwnedFd, u32)>,
    bytes: Vec<u8>,
}

impl Refusals {
    pub(super) fn is_empty(&self) -> bool {
        self.lingering.is_empty()
    }

    /// Sends a response with status 503 and `reason`, and closes the connection: at once if its request has arrived,
    /// otherwise soon.
    pub(super) fn refuse(
        &mut self,
        socket: OwnedFd,
        (reason, retry_after_s): (&str, u32),
        default_headers: &DefaultHeaders,
        now_tick: u32,
    ) {
        let is_read = read_request(&socket);
        let more_fields = format!("Retry-After: {retry_after_s}\r\n");
        let response =
            HttpResponse { more_fields: &more_fields, body: reason.as_bytes(), ..HttpResponse::refusal(503) };
        self.bytes.clear();
        response.encode(&mut self.bytes, RequestInfo::default(), default_headers);
        // An empty send buffer takes all of it; if the peer is gone, the response is lost.
        let _ = sys::send(socket.as_fd(), &self.bytes);
        let has_ended = SockRef::from(&socket).shutdown(Shutdown::Write).is_err();
        if is_read || has_ended {
            return;
        }
        if self.lingering.len() == MAX_LINGERING {
            self.close_first();
        }
        self.lingering.push_back((socket, now_tick));
    }

    /// Closes the connections that have stayed open long enough.
    pub(super) fn pass_tick(&mut self, now_tick: u32) {
        let is_over = |&(_, since_tick): &(OwnedFd, u32)| now_tick.wrapping_sub(since_tick) >= LINGER_TICKS;
        while self.lingering.front().is_some_and(is_over) {
            self.close_first();
        }
    }

    fn close_first(&mut self) {
        if let Some((socket, _)) = self.lingering.pop_front() {
            read_request(&socket);
        }
    }
}

/// Reads what has arrived; returns whether that is a whole request without content.
fn read_request(socket: &OwnedFd) -> bool {
    let mut bytes = [0; READ_BYTES];
    sys::recv(socket.as_fd(), &mut bytes).is_ok_and(|count| bytes[..count].ends_with(b"\r\n\r\n"))
}
