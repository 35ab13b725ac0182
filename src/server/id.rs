//! The name of a connection, for all threads of a server.

use crate::net::slots;

/// Names one connection of a server. A later one in its place has another name, until two thousand million others have come
/// to the same reactor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId {
    pub(super) reactor: u16,
    pub(super) within: slots::ConnectionId,
}
