//! The [`Driver`] trait: the server and the flood implement it to use connections.

use super::cause::Cause;
use super::conn::Conn;
use super::core::Core;
use crate::proto::session::{Event, MessageKind};

/// The owner of a reactor's connections. One instance belongs to one reactor and runs on its thread alone.
pub trait Driver {
    /// The driver's state of each connection; `()` costs nothing.
    type State: Default;
    /// What other threads may send to the driver.
    type Command: Send + 'static;

    /// Called when connect(2) has succeeded.
    fn connected(&mut self, _conn: &mut Conn<'_, Self::State>) {}

    /// Called for each message, when it is complete. It is apart from the other events because it has to be fast.
    fn message(&mut self, conn: &mut Conn<'_, Self::State>, kind: MessageKind, payload: &[u8]);

    /// Called for each event of a session that is not a message.
    fn event(&mut self, conn: &mut Conn<'_, Self::State>, event: Event<'_>);

    /// Called when a connection has been silent for so long that it is to be pinged. The driver chooses the payload.
    fn ping(&mut self, conn: &mut Conn<'_, Self::State>) {
        conn.ping(b"");
    }

    /// Called when the queue of an open WebSocket has become empty.
    fn writable(&mut self, _conn: &mut Conn<'_, Self::State>) {}

    /// Called when a connection has ended: nothing can be sent to it, and its slot is free again.
    fn ended(&mut self, _conn: &mut Conn<'_, Self::State>, _cause: Cause) {}

    /// Whether [`Driver::swept`] is called.
    const IS_SWEPT: bool = false;

    /// Called when the sweep visits an open connection, about once a second.
    fn swept(&mut self, _conn: &mut Conn<'_, Self::State>) {}

    /// Called for each command from the mailbox.
    fn command(&mut self, _core: &mut Core<Self::State>, _command: Self::Command) {}

    /// Called at the end of each iteration, before the reactor sleeps.
    fn end_iteration(&mut self, _core: &mut Core<Self::State>) {}
}
