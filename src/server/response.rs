//! Answers of plain HTTP: at once, or when something is published.

use super::refused::Refused;
use super::request::Request;
use super::status_code::StatusCode;
use crate::proto::http_write::{BadField, field_line, has_field};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// A response of plain HTTP.
///
/// ```
/// use steadfast::server::{Response, StatusCode};
///
/// let created = Response::json(r#"{"id":7}"#).with_status(StatusCode::CREATED).with_field("Location: /things/7")?;
/// # Ok::<(), steadfast::proto::http_write::BadField>(())
/// ```
#[derive(Clone, Debug)]
pub struct Response {
    pub(super) status: StatusCode,
    pub(super) content_type: Cow<'static, str>,
    pub(super) fields: String,
    pub(super) body: Cow<'static, [u8]>,
}

impl Response {
    /// Creates a response with status 200, a media type (RFC 9110 section 8.3.1) and a body. [`Response::text`],
    /// [`Response::html`], [`Response::json`] and [`Response::bytes`] have media types of their own, and cannot fail.
    ///
    /// # Errors
    /// [`BadField::Value`] for a media type with a control character such as a line break, which would end the field.
    pub fn new(
        content_type: impl Into<Cow<'static, str>>,
        body: impl Into<Cow<'static, [u8]>>,
    ) -> Result<Self, BadField> {
        let content_type = content_type.into();
        if content_type.bytes().any(|byte| byte.is_ascii_control()) {
            return Err(BadField::Value);
        }
        Ok(Self::of(content_type, body))
    }

    /// Creates a response whose media type is known to be one line.
    pub(super) fn of(content_type: impl Into<Cow<'static, str>>, body: impl Into<Cow<'static, [u8]>>) -> Self {
        let content_type = content_type.into();
        Self { status: StatusCode::OK, content_type, fields: String::new(), body: body.into() }
    }

    /// Creates a response of plain text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::of("text/plain; charset=utf-8", text.into().into_bytes())
    }

    /// Creates a response from a page in HTML.
    pub fn html(page: impl Into<Cow<'static, str>>) -> Self {
        let body: Cow<'static, [u8]> = match page.into() {
            Cow::Borrowed(page) => page.as_bytes().into(),
            Cow::Owned(page) => page.into_bytes().into(),
        };
        Self::of("text/html; charset=utf-8", body)
    }

    /// Creates a response from a document in JSON, which is sent as it is.
    pub fn json(document: impl Into<String>) -> Self {
        Self::of("application/json", document.into().into_bytes())
    }

    /// Creates a response of bytes of no known type (`application/octet-stream`).
    pub fn bytes(bytes: impl Into<Cow<'static, [u8]>>) -> Self {
        Self::of("application/octet-stream", bytes)
    }

    pub(super) fn is_html(&self) -> bool {
        self.content_type.starts_with("text/html")
    }

    /// Changes the status. With 204 and 304 the body is not sent (RFC 9110 section 6.4.1).
    #[must_use]
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// Adds a header field, from `Name: value`. Without a `Cache-Control` of its own a response has `no-store`.
    ///
    /// # Errors
    /// [`BadField`] for a text that cannot be a header field, e.g. because of a line break, and for fields that the server
    /// writes itself.
    pub fn with_field(mut self, field: &str) -> Result<Self, BadField> {
        self.fields += &field_line(field)?;
        Ok(self)
    }

    /// Its fields, with those that the server adds to every response of a program.
    pub(super) fn all_fields(&self, says_server: bool) -> String {
        let has = |name| has_field(&self.fields, name);
        let server = if says_server && !has("server") { "Server: steadfast\r\n" } else { "" };
        let cache = if has("cache-control") { "" } else { "Cache-Control: no-store\r\n" };
        format!("{server}{cache}{}", self.fields)
    }
}

impl From<Refused> for Response {
    fn from(refused: Refused) -> Self {
        let Refused { status, body, fields } = refused;
        Self { status, fields, ..Self::text(body) }
    }
}

/// Whether a message is the one that is waited for.
pub(super) type Wanted = Arc<dyn Fn(&[u8]) -> bool + Send + Sync>;

/// What a request is answered with, or when.
#[derive(Clone)]
pub enum Reply {
    /// This, now.
    Now(Response),
    /// Long polling: what is published on a topic next. See [`Reply::next`].
    Next(Next),
}

/// See [`Reply::next`].
#[derive(Clone)]
pub struct Next {
    pub(super) topic: String,
    pub(super) like: Response,
    pub(super) wanted: Option<Wanted>,
}

impl Reply {
    /// Has the request wait for what is published on `topic`: that is the body of its answer, which is like `like` otherwise.
    /// After 25 s without it the answer is 204. That is long polling.
    ///
    /// ```
    /// use steadfast::server::{Reply, Response, Server};
    /// Server::new().get("/news", |_request| Reply::next("news", Response::json("")));
    /// ```
    pub fn next(topic: impl Into<String>, like: Response) -> Self {
        Self::Next(Next { topic: topic.into(), like, wanted: None })
    }

    /// The same, for the first message that `wanted` says yes to.
    pub fn next_where(
        topic: impl Into<String>,
        like: Response,
        wanted: impl Fn(&[u8]) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self::Next(Next { topic: topic.into(), like, wanted: Some(Arc::new(wanted)) })
    }
}

impl fmt::Debug for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Next").field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Now(response) => f.debug_tuple("Now").field(response).finish(),
            Self::Next(next) => next.fmt(f),
        }
    }
}

impl From<Response> for Reply {
    fn from(response: Response) -> Self {
        Self::Now(response)
    }
}

/// A responder may fail: the error is what the client gets.
impl<R: Into<Reply>, E: Into<Refused>> From<Result<R, E>> for Reply {
    fn from(result: Result<R, E>) -> Self {
        match result {
            Ok(reply) => reply.into(),
            Err(error) => Self::Now(error.into().into()),
        }
    }
}

pub(super) type Responder = Arc<dyn Fn(&Request<'_>) -> Reply + Send + Sync>;
