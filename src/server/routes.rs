//! Which path is what: handlers of WebSockets, and answers of plain HTTP.

use super::accept::Html;
use super::files::Files;
use super::handler::Handler;
use super::seat::{Chair, chair};
use crate::net::link::Overflow;
use crate::proto::answer::{BadField, field_line};
use crate::proto::http::Request;
use crate::proto::path;
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
    /// Server::new().answer("/news", |_request| Reply::next("news", Response::json("")));
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

/// What a GET is answered with.
#[derive(Clone)]
pub(super) enum Get {
    /// The same always; and where a handler is beside it, only to those who take HTML, which a client that failed to upgrade
    /// does not say.
    Page(Response),
    /// The same always, to all but those who say that they do not take HTML.
    Front(Response),
    Call(Responder),
    Files(Files),
    Stats,
}

impl Get {
    /// Whether a request for a path that has a handler too is one for this, and no failed upgrade.
    pub(super) fn is_for(&self, request: &Request<'_>) -> bool {
        match self {
            Self::Page(_) => Html::of(&request.fields) == Html::Wanted,
            Self::Front(_) => Html::of(&request.fields) != Html::Refused,
            _ => true,
        }
    }
}

type Make = Arc<dyn Fn() -> Box<dyn Chair> + Send + Sync>;

/// One path.
#[derive(Clone, Default)]
pub(super) struct Route {
    /// Without its asterisk.
    path: String,
    /// Whether all below it belongs to it.
    is_prefix: bool,
    pub(super) handler: Option<u16>,
    pub(super) get: Option<Get>,
    pub(super) post: Option<Responder>,
}

impl Route {
    /// The field Allow (RFC 9110 section 10.2.1).
    pub(super) fn allow(&self) -> &'static str {
        match (self.handler.is_some() || self.get.is_some(), &self.post) {
            (true, Some(_)) => "Allow: GET, HEAD, OPTIONS, POST\r\n",
            (false, Some(_)) => "Allow: OPTIONS, POST\r\n",
            (_, None) => "Allow: GET, HEAD, OPTIONS\r\n",
        }
    }

    /// What of a path is below this one.
    pub(super) fn rest<'p>(&self, path: &'p str) -> &'p str {
        path.get(self.path.len()..).unwrap_or("")
    }

    fn fits(&self, path: &str) -> bool {
        if self.is_prefix { path.starts_with(&self.path) } else { path == self.path }
    }
}

/// How a handler is made, and what happens when its connections do not keep up.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) make: Make,
    pub(super) overflow: Overflow,
}

/// All paths of a server.
#[derive(Clone, Default)]
pub(super) struct Routes {
    paths: Vec<Route>,
    pub(super) handlers: Vec<Entry>,
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.paths.iter().map(|route| &route.path)).finish()
    }
}

impl Routes {
    /// The route of a path: that of just this path, or else the longest above it.
    pub(super) fn of(&self, path: &str) -> Option<&Route> {
        // Exact ones stand first, then the longest: see `at`.
        self.paths.iter().find(|route| route.fits(path))
    }

    /// What a GET of a path that is no upgrade is answered with, and the route that says so: a path may have a handler alone,
    /// and the folder above it the page.
    pub(super) fn get_of(&self, path: &str) -> Option<(&Route, &Get)> {
        self.paths.iter().filter(|route| route.fits(path)).find_map(|route| Some((route, route.get.as_ref()?)))
    }

    /// Adds to a path, or begins it. Paths are kept as requests are looked up, see [`Request::normal_path`].
    pub(super) fn at(&mut self, path: &str) -> &mut Route {
        let path = &*path::normal(path);
        let (path, is_prefix) = path.strip_suffix('*').map_or((path, false), |prefix| (prefix, true));
        let known = self.paths.iter().position(|route| route.path == path && route.is_prefix == is_prefix);
        let index = known.unwrap_or_else(|| {
            let order = |route: &Route| (route.is_prefix, usize::MAX - route.path.len());
            let route = Route { path: path.to_owned(), is_prefix, ..Route::default() };
            let index = self.paths.partition_point(|other| order(other) <= order(&route));
            self.paths.insert(index, route);
            index
        });
        &mut self.paths[index]
    }

    pub(super) fn handle<S: Default + 'static, H: Handler<S>>(
        &mut self,
        paths: &[&str],
        overflow: Overflow,
        make: impl Fn() -> H + Send + Sync + 'static,
    ) {
        let number = self.handlers.len() as u16;
        self.handlers.push(Entry { make: Arc::new(move || chair::<S>(make())), overflow });
        for path in paths {
            self.at(path).handler = Some(number);
        }
    }
}
