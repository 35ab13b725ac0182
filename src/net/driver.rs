//! The trait that gives connections their purpose: the server implements it, and the flood.

use super::cause::Cause;
use super::conn::Conn;
use super::core::Core;
use crate::proto::session::{Event, MessageKind};

/// Decides what connections are for. One instance belongs to one reactor and runs on its thread alone.
pub trait Driver {
    /// What each connection carries; `()` costs nothing.
    type State: Default;
    /// What other threads may send to it.
    type Command: Send + 'static;

    /// A connect(2) of ours succeeded.
    fn connected(&mut self, _conn: &mut Conn<'_, Self::State>) {}

    /// A message, whole. Apart from the other events, since it is the one that has to be fast.
    fn message(&mut self, conn: &mut Conn<'_, Self::State>, kind: MessageKind, payload: &[u8]);

    /// A session understood something that is no message.
    fn event(&mut self, conn: &mut Conn<'_, Self::State>, event: Event<'_>);

    /// A connection has been silent for so long that it is time to ask whether it lives: what the ping says is for the driver
    /// to choose.
    fn ping(&mut self, conn: &mut Conn<'_, Self::State>) {
        conn.ping(b"");
    }

    /// What waited for an open WebSocket has gone.
    fn writable(&mut self, _conn: &mut Conn<'_, Self::State>) {}

    /// A connection has ended, and nothing can be sent to it; its slot is free again.
    fn ended(&mut self, _conn: &mut Conn<'_, Self::State>, _cause: Cause) {}

    /// Whether [`Driver::swept`] is to be called.
    const IS_SWEPT: bool = false;

    /// A sweep passes an open connection, about once a second.
    fn swept(&mut self, _conn: &mut Conn<'_, Self::State>) {}

    /// A letter arrived in the mailbox.
    fn command(&mut self, _core: &mut Core<Self::State>, _command: Self::Command) {}

    /// The events of a turn are handled, and the reactor is about to flush and sleep.
    fn end_iteration(&mut self, _core: &mut Core<Self::State>) {}
}
