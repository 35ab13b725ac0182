//! How a program refuses a request.

use super::status_code::{InvalidStatus, StatusCode};
use crate::proto::http_write::{BadField, HttpResponse, field_line};

/// Why a request is refused, as the client is told: a status, header fields, and a body of plain text.
///
/// A hook returns it in place of an upgrade, and a responder in place of a [`super::Response`]. Errors of this module become a
/// refusal with status 500 by `?`, which says what is wrong with the field or the status:
///
/// ```
/// use steadfast::server::{Refused, Request, StatusCode};
///
/// fn authorize(request: &Request) -> Result<(), Refused> {
///     match request.header("authorization") {
///         Some("Bearer sesame") => Ok(()),
///         _ => Err(Refused::new(StatusCode::UNAUTHORIZED, "no token").with_field("WWW-Authenticate: Bearer")?),
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub(super) status: StatusCode,
    pub(super) body: String,
    pub(super) fields: String,
}

impl Refused {
    /// Refuses with a status and a body of plain text. A WebSocket client takes any status but 101 for a refusal (RFC 6455
    /// section 4.1). With 204 and 304 the body is not sent (RFC 9110 section 6.4.1).
    pub fn new(status: StatusCode, body: impl Into<String>) -> Self {
        Self { status, body: body.into(), fields: String::new() }
    }

    /// Adds a header field, from `Name: value`.
    ///
    /// # Errors
    /// [`BadField`] for a text that cannot be a header field, e.g. because of a line break, and for fields that the server
    /// writes itself.
    pub fn with_field(mut self, field: &str) -> Result<Self, BadField> {
        self.fields += &field_line(field)?;
        Ok(self)
    }

    /// The response to an upgrade. It closes the connection, since frames may already follow the request.
    pub(super) fn response(&self) -> HttpResponse<'_> {
        let refusal = HttpResponse::refusal(self.status.as_u16());
        HttpResponse { more_fields: &self.fields, body: self.body.as_bytes(), ..refusal }
    }
}

impl From<InvalidStatus> for Refused {
    fn from(error: InvalidStatus) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    }
}

impl From<BadField> for Refused {
    fn from(error: BadField) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, format!("a field of the response: {error}"))
    }
}
