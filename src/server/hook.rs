//! What a program decides about an upgrade before the connection becomes a WebSocket.

use super::guard;
use super::refused::Refused;
use super::request::Request;
use super::status_code::StatusCode;
use crate::net::counters::Counters;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// What a [`Hook`] calls.
type Judge = dyn Fn(&Request<'_>, Option<SocketAddr>) -> Result<(), Refused> + Send + Sync;

/// The hook of a route, see [`super::Server::route_hooked`].
pub(super) type RouteHook<S> = Arc<dyn Fn(&Request<'_>, Option<SocketAddr>) -> Result<S, Refused> + Send + Sync>;

/// Receives every valid request for an upgrade, of all routes, before the connection becomes a WebSocket, and may refuse it.
/// A route may have a hook of its own too, which makes the state of the connection: [`super::Server::route_hooked`].
///
/// It gets the request and the address of the peer; a peer of a unix socket has none. It is called on the threads of all
/// reactors. While it runs its reactor waits, so it must not block: a check that asks another server belongs on another
/// thread, after the handshake. If it panics, the upgrade is refused with 500.
///
/// ```
/// use steadfast::server::{Hook, Refused, Server, StatusCode};
///
/// let hook = Hook::new(|request, address| {
///     let is_local = address.is_none_or(|address| address.ip().is_loopback());
///     if is_local || request.header("authorization") == Some("Bearer sesame") {
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
    /// Creates a hook from a function, which returns how an upgrade is refused, or `Ok`.
    pub fn new(
        judge: impl Fn(&Request<'_>, Option<SocketAddr>) -> Result<(), Refused> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(judge))
    }

    pub(super) fn judge(
        &self,
        request: &Request<'_>,
        address: Option<SocketAddr>,
        counters: &Counters,
    ) -> Result<(), Refused> {
        call(counters, || (self.0)(request, address))
    }
}

/// Calls a hook. One that panics refuses with 500, and is counted.
pub(super) fn call<S>(counters: &Counters, hook: impl FnOnce() -> Result<S, Refused>) -> Result<S, Refused> {
    guard::count(counters, hook).unwrap_or_else(|| {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Err(Refused::new(status, status.reason()))
    })
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hook")
    }
}
