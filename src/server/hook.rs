//! A question to the server's owner before a connection becomes a WebSocket.

use super::guard;
use super::request::Request;
use crate::net::counters::Counters;
use crate::proto::http_write::{BadField, HttpResponse, field_line, reason_phrase};
use std::fmt;
use std::sync::Arc;

/// How a [`Hook`] refuses an upgrade.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    status: u16,
    body: String,
    fields: String,
}

impl Refused {
    /// With a status from 300 to 599 (RFC 9110 section 15) and a body of plain text. Any other status becomes 500.
    pub fn new(status: u16, body: impl Into<String>) -> Self {
        let status = if (300..=599).contains(&status) { status } else { 500 };
        Self { status, body: body.into(), fields: String::new() }
    }

    /// Adds a field, from `Name: value`.
    ///
    /// # Errors
    /// [`BadField`] for what cannot stand there, a line break for one.
    pub fn with_field(mut self, field: &str) -> Result<Self, BadField> {
        self.fields += &field_line(field)?;
        Ok(self)
    }

    /// It closes the connection: behind the request may already stand frames.
    pub(super) fn response(&self) -> HttpResponse<'_> {
        HttpResponse { more_fields: &self.fields, body: self.body.as_bytes(), ..HttpResponse::refusal(self.status) }
    }
}

/// What a [`Hook`] calls.
type Judge = dyn Fn(&Request<'_>) -> Result<(), Refused> + Send + Sync;

/// Sees every request for an upgrade that is right, before anything is made for the WebSocket, and may refuse it.
///
/// It is called on the threads of all reactors, and while it runs its reactor waits: what has to ask a database first
/// belongs behind the handshake.
///
/// ```
/// use steadfast::server::{Hook, Refused, Server};
///
/// let hook = Hook::new(|request| {
///     if request.header("authorization") == Some("Bearer sesame") {
///         return Ok(());
///     }
///     Err(Refused::new(401, "who are you?").with_field("WWW-Authenticate: Bearer").expect("a constant"))
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
        let failed = || Err(Refused::new(500, reason_phrase(500)));
        guard::count(counters, || (self.0)(request)).unwrap_or_else(failed)
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hook")
    }
}
