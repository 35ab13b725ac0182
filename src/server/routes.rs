//! Which path is what: handlers of WebSockets, and answers of plain HTTP.

use super::accept::Html;
use super::files::Files;
use super::handler::Handler;
use super::hook::RouteHook;
use super::instance::{DynHandler, instance};
use super::pattern::{Pattern, RouteError};
use super::response::{Responder, Response};
use crate::net::conn::Overflow;
use crate::proto::http::Request;
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
    pub(super) pattern: Pattern,
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
}

/// How a handler is made, and what happens when its connections do not keep up.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) make: Make,
    pub(super) overflow: Overflow,
    pub(super) has_hook: bool,
}

/// All paths of a server.
#[derive(Clone, Default)]
pub(super) struct Routes {
    /// In the order in which they are tried.
    paths: Vec<Route>,
    pub(super) handlers: Vec<Entry>,
    /// The first mistake that was made in adding them.
    error: Option<RouteError>,
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.paths.iter().map(|route| route.pattern.to_string())).finish()
    }
}

impl Routes {
    /// The route of a path: see [`Pattern::rank`] for which one, if there are several.
    pub(super) fn of(&self, path: &str) -> Option<&Route> {
        self.paths.iter().find(|route| route.pattern.fits(path))
    }

    /// What a GET of a path that is no upgrade is answered with, and the route that says so: a path may have a handler alone,
    /// and the folder above it the page.
    pub(super) fn get_of(&self, path: &str) -> Option<(&Route, &Get)> {
        let fitting = self.paths.iter().filter(|route| route.pattern.fits(path));
        fitting.into_iter().find_map(|route| Some((route, route.get.as_ref()?)))
    }

    /// Returns what is wrong with the routes, if anything is.
    pub(super) fn check(&self) -> Result<(), RouteError> {
        self.error.clone().map_or(Ok(()), Err)
    }

    /// Has `assign` add to the route of a path, which is new if there is none. It returns whether that was free.
    fn add(&mut self, path: &str, assign: impl FnOnce(&mut Route) -> bool) {
        let added = Pattern::new(path).and_then(|pattern| self.at(pattern)).and_then(|route| {
            let was_free = assign(route);
            if was_free { Ok(()) } else { Err(RouteError::Taken(path.to_owned())) }
        });
        if let Err(error) = added {
            self.error.get_or_insert(error);
        }
    }

    fn at(&mut self, pattern: Pattern) -> Result<&mut Route, RouteError> {
        let known = self.paths.iter().position(|route| route.pattern.is_like(&pattern));
        let index = match known {
            Some(index) if self.paths[index].pattern != pattern => {
                return Err(RouteError::SamePath(self.paths[index].pattern.to_string(), pattern.to_string()));
            }
            Some(index) => index,
            None => {
                let index = self.paths.partition_point(|other| other.pattern.rank() <= pattern.rank());
                self.paths.insert(index, Route { pattern, ..Route::default() });
                index
            }
        };
        Ok(&mut self.paths[index])
    }

    pub(super) fn get(&mut self, path: &str, get: Get) {
        self.add(path, |route| route.get.replace(get).is_none());
    }

    pub(super) fn post(&mut self, path: &str, responder: Responder) {
        self.add(path, |route| route.post.replace(responder).is_none());
    }

    pub(super) fn handle<S: Default + 'static, H: Handler<S>>(
        &mut self,
        paths: &[&str],
        overflow: Overflow,
        hook: Option<RouteHook<S>>,
        make: impl Fn() -> H + Send + Sync + 'static,
    ) {
        // The largest number is that of no handler.
        let Some(number) = u16::try_from(self.handlers.len()).ok().filter(|number| *number < u16::MAX) else {
            self.error.get_or_insert(RouteError::TooMany);
            return;
        };
        let has_hook = hook.is_some();
        let make = Arc::new(move || instance::<S>(make(), hook.clone()));
        self.handlers.push(Entry { make, overflow, has_hook });
        for path in paths {
            self.add(path, |route| route.handler.replace(number).is_none());
        }
    }
}
