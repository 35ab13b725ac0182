//! Answers of plain HTTP: at once, or when something is published.

use super::request::Request;
use crate::proto::http_write::{BadField, field_line};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// An answer of plain HTTP.
#[derive(Clone, Debug)]
pub struct Response {
    pub(super) status: u16,
    pub(super) content_type: Cow<'static, str>,
    pub(super) fields: String,
    pub(super) body: Cow<'static, [u8]>,
}

impl Response {
    /// With status 200, a media type (RFC 9110 section 8.3) and a body.
    ///
    /// # Panics
    /// For a media type with a control character in it: it would end the field.
    pub fn new(content_type: impl Into<Cow<'static, str>>, body: impl Into<Cow<'static, [u8]>>) -> Self {
        let content_type = content_type.into();
        assert!(!content_type.bytes().any(|byte| byte.is_ascii_control()), "a media type is one line");
        Self { status: 200, content_type, fields: String::new(), body: body.into() }
    }

    /// Plain text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::new("text/plain; charset=utf-8", text.into().into_bytes())
    }

    /// A page of the program's own.
    pub fn html(page: &'static str) -> Self {
        Self::new("text/html; charset=utf-8", page.as_bytes())
    }

    /// JSON, as it is to be sent.
    pub fn json(document: impl Into<String>) -> Self {
        Self::new("application/json", document.into().into_bytes())
    }

    pub(super) fn is_html(&self) -> bool {
        self.content_type.starts_with("text/html")
    }

    /// With another status, from 200 to 599 (RFC 9110 section 15); any other becomes 500.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = if (200..=599).contains(&status) { status } else { 500 };
        self
    }

    /// Adds a field, from `Name: value`.
    ///
    /// # Errors
    /// [`BadField`] for what cannot stand there, a line break for one.
    pub fn with_field(mut self, field: &str) -> Result<Self, BadField> {
        self.fields += &field_line(field)?;
        Ok(self)
    }

    /// Its fields with those of every answer that a program gives.
    pub(super) fn all_fields(&self, says_server: bool) -> String {
        let server = if says_server { "Server: steadfast\r\n" } else { "" };
        format!("{server}Cache-Control: no-store\r\n{}", self.fields)
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

pub(super) type Responder = Arc<dyn Fn(&Request<'_>) -> Reply + Send + Sync>;
