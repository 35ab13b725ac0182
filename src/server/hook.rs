//! A question to the server's owner before a connection becomes a WebSocket.

use super::guard;
use super::refused::Refused;
use super::request::Request;
use super::status_code::StatusCode;
use crate::net::counters::Counters;
use std::fmt;
use std::sync::Arc;

/// What a [`Hook`] calls.
type Judge = dyn Fn(&Request<'_>) -> Result<(), Refused> + Send + Sync;

/// Sees every request for an upgrade that is right, before anything is made for the WebSocket, and may refuse it.
///
/// It is called on the threads of all reactors, and while it runs its reactor waits: what has to ask a database first
/// belongs behind the handshake.
///
/// ```
/// use steadfast::server::{Hook, Refused, Server, StatusCode};
///
/// let hook = Hook::new(|request| {
///     if request.header("authorization") == Some("Bearer sesame") {
///         return Ok(());
///     }
///     Err(Refused::new(StatusCode::UNAUTHORIZED, "no token").with_field("WWW-Authenticate: Bearer")?)
/// });
/// let server = Server::new().listen("127.0.0.1:0")?.hook(hook).spawn()?;
/// server.stop();
/// server.join()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Hook(Arc<Judge>);

impl Hook {
    /// Asks `judge`.
    pub fn new(judge: impl Fn(&Request<'_>) -> Result<(), Refused> + Send + Sync + 'static) -> Self {
        Self(Arc::new(judge))
    }

    /// Asks it; one that panics refuses with 500, and counts.
    pub(super) fn judge(&self, request: &Request<'_>, counters: &Counters) -> Result<(), Refused> {
        let failed =
            || Err(Refused::new(StatusCode::INTERNAL_SERVER_ERROR, StatusCode::INTERNAL_SERVER_ERROR.reason()));
        guard::count(counters, || (self.0)(request)).unwrap_or_else(failed)
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hook")
    }
}
