//! Sends a published message: the same bytes go to one connection after the other.

use super::conn::Cause;
use super::core::Core;
use super::send::{Policy, Sent, TOO_SLOW, enqueue, send_some};
use super::slots::ConnectionId;
use super::sys;
use super::write_queue::{Content, Pushed, Topic, WriteQueue};
use crate::proto::session::State;
use crate::proto::shared_frame::SharedFrame;
use std::sync::Arc;

impl<S> Core<S> {
    /// Sends a shared message to the connection at an index of the slab, if it is an open WebSocket: at once, or after
    /// what is queued. `topic` is for [`super::conn::Overflow::KeepLatest`].
    #[inline]
    pub fn deliver(&mut self, index: usize, message: &Arc<SharedFrame>, topic: Topic) -> Sent {
        let Some((id, connection)) = self.slots.at(index) else { return Sent::Dropped };
        if connection.session().state() != State::Open || connection.is_freed() {
            self.context.counters.messages_out.add(1);
            self.context.counters.messages_dropped.add(1);
            return Sent::Dropped;
        }
        if connection.has_queue() {
            return deliver_late(self, id, message, topic);
        }
        let Some(frame) = message.frame_for(connection.session().compression(), &mut self.context.output.deflate)
        else {
            return self.with(id, |conn| conn.send(message.kind(), message.payload())).unwrap_or(Sent::Dropped);
        };
        self.context.counters.messages_out.add(1);
        match send_some(connection.socket(), frame) {
            Ok(sent) => {
                self.context.counters.bytes_out.add(sent as u64);
                if sent == frame.len() {
                    self.context.counters.messages_delivered.add(1);
                    return Sent::Sent;
                }
                let mut queue = WriteQueue::new(self.context.now.tick);
                queue.queue_partly_sent(content(message, frame), topic, sent);
                connection.set_queue(queue);
                self.account(id, false);
                Sent::Queued
            }
            Err(error) => {
                self.context.counters.messages_dropped.add(1);
                self.schedule_free(id, Cause::Io(sys::error_code(&error)));
                Sent::Dropped
            }
        }
    }
}

/// Returns the content that is queued for a shared message: shared, unless it was compressed for this connection.
fn content(message: &Arc<SharedFrame>, frame: &[u8]) -> Content {
    if std::ptr::eq(frame, message.frame()) { Content::Shared(Arc::clone(message)) } else { Content::Own(frame.into()) }
}

#[cold]
fn deliver_late<S>(core: &mut Core<S>, id: ConnectionId, message: &Arc<SharedFrame>, topic: Topic) -> Sent {
    let Some(connection) = core.slots.get(id) else { return Sent::Dropped };
    // A message that may be dropped must not be in a window that is kept (RFC 7692 section 7.2.3.2).
    let frame = message
        .frame_for(connection.session().compression(), &mut core.context.output.deflate)
        .unwrap_or(message.frame());
    let policy = Policy { overflow: connection.overflow(), topic };
    let Some(queue) = connection.queue_mut() else { return Sent::Dropped };
    match enqueue(queue, content(message, frame), policy, &core.context) {
        Pushed::Queued { .. } => {
            core.account(id, false);
            Sent::Queued
        }
        Pushed::Dropped => Sent::Dropped,
        Pushed::Overflowed => {
            core.with(id, |conn| conn.close(TOO_SLOW.0, TOO_SLOW.1));
            Sent::Dropped
        }
    }
}
