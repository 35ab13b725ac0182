//! Which path is what: handlers of WebSockets, and answers of plain HTTP.

use super::accept::Html;
use super::files::Files;
use super::handler::Handler;
use super::instance::{DynHandler, instance};
use super::response::{Responder, Response};
use crate::net::conn::Overflow;
use crate::proto::http::Request;
use crate::proto::path;
use std::fmt;
use std::sync::Arc;

/// What a GET is answered with.
#[derive(Clone)]
pub(super) enum Get {
    /// The same always; and where a handler is beside it, only to those who take HTML, which a client that failed to upgrade
    /// does not say.
    Static(Response),
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
            Self::Static(_) => Html::of(&request.fields) == Html::Wanted,
            Self::Front(_) => Html::of(&request.fields) != Html::Refused,
            _ => true,
        }
    }
}

type Make = Arc<dyn Fn() -> Box<dyn DynHandler> + Send + Sync>;

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
        self.handlers.push(Entry { make: Arc::new(move || instance::<S>(make())), overflow });
        for path in paths {
            self.at(path).handler = Some(number);
        }
    }
}
