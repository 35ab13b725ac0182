//! Paths of routes: exact ones, those with parameters, and those that end with an asterisk.

use crate::proto::path;
use std::cmp::Reverse;
use std::fmt;

/// Why a server's routes are not what was meant. [`super::Server::spawn`] returns it before anything is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteError {
    /// A path does not begin with a slash, or has a query, so that no request would have it.
    NotAPath(String),
    /// An asterisk is elsewhere than at the end of a path, or follows a parameter without a slash between them.
    Asterisk(String),
    /// A segment with a brace is not a parameter such as `{room}`: a name of ASCII letters, digits and underscores that does
    /// not begin with a digit.
    Parameter(String),
    /// Two parameters of a path have the same name.
    SameParameter(String),
    /// Two paths differ in nothing but the names of their parameters.
    SamePath(String, String),
    /// Something is assigned to a path twice: handlers of WebSockets, answers to GET, or answers to POST.
    Taken(String),
    /// There are more handlers than 65,535.
    TooMany,
}

impl fmt::Display for RouteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAPath(path) => {
                write!(f, "path {path:?} does not begin with a slash, or has a query; expected one such as /chat")
            }
            Self::Asterisk(path) => {
                write!(f, "path {path:?} has an asterisk at a wrong place; expected one such as /chat/* or /{{room}}/*")
            }
            Self::Parameter(path) => {
                write!(
                    f,
                    "path {path:?} has a brace that belongs to no parameter; expected one such as /rooms/{{room}}"
                )
            }
            Self::SameParameter(path) => write!(f, "path {path:?} has two parameters of the same name"),
            Self::SamePath(one, other) => {
                write!(
                    f,
                    "paths {one:?} and {other:?} differ only in the names of their parameters; expected the same names"
                )
            }
            Self::Taken(path) => {
                write!(
                    f,
                    "path {path:?} is assigned twice; expected one handler, one answer to GET and one to POST at most"
                )
            }
            Self::TooMany => f.write_str("there are more than 65,535 handlers"),
        }
    }
}

impl std::error::Error for RouteError {}

/// The path of a route, in the form of [`crate::proto::http::Request::normal_path`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pattern {
    /// Without its asterisk.
    text: String,
    /// It ended with an asterisk: all paths below it belong to it.
    is_prefix: bool,
    has_params: bool,
}

/// The name of a parameter, if a segment is one.
fn name_of(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

fn is_name(name: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    name.bytes().next().is_some_and(is_letter) && name.bytes().all(|byte| is_letter(byte) || byte.is_ascii_digit())
}

impl Pattern {
    /// Reads a path as it was given to [`super::Server::route`] and others.
    ///
    /// # Errors
    /// [`RouteError`] for a path that no request would have, or not as it was meant.
    pub(super) fn new(given: &str) -> Result<Self, RouteError> {
        let text = &*path::normal(given);
        if !text.starts_with('/') || text.contains(['?', '#']) {
            return Err(RouteError::NotAPath(given.to_owned()));
        }
        let (text, is_prefix) = text.strip_suffix('*').map_or((text, false), |prefix| (prefix, true));
        let mut names = Vec::new();
        for segment in text.split('/').filter(|segment| segment.contains(['{', '}'])) {
            match name_of(segment) {
                Some(name) if names.contains(&name) => return Err(RouteError::SameParameter(given.to_owned())),
                Some(name) if is_name(name) => names.push(name),
                _ => return Err(RouteError::Parameter(given.to_owned())),
            }
        }
        let has_params = !names.is_empty();
        if text.contains('*') || (is_prefix && has_params && !text.ends_with('/')) {
            return Err(RouteError::Asterisk(given.to_owned()));
        }
        Ok(Self { text: text.to_owned(), is_prefix, has_params })
    }

    /// Which path comes first of two that a request fits: the exact one, then one with parameters, then the longest with an
    /// asterisk. Of two with parameters, the one comes first that has a word where the other one has its first parameter.
    pub(super) fn rank(&self) -> impl Ord + use<> {
        let slashes = self.text.matches('/').count();
        let shape: Vec<bool> = self.text.split('/').map(|segment| name_of(segment).is_some()).collect();
        let kind = if self.is_prefix { 2 } else { u8::from(self.has_params) };
        (kind, Reverse(slashes), shape, Reverse(self.text.len()))
    }

    /// Whether both are the same path, whatever their parameters are called.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        let blank = |segment| if name_of(segment).is_some() { "{}" } else { segment };
        self.is_prefix == other.is_prefix && self.text.split('/').map(blank).eq(other.text.split('/').map(blank))
    }

    /// Whether it is the path of a request.
    #[inline]
    pub(super) fn fits(&self, path: &str) -> bool {
        match (self.has_params, self.is_prefix) {
            (false, false) => path == self.text,
            (false, true) => path.starts_with(&self.text),
            (true, _) => self.fits_by_segments(path),
        }
    }

    fn fits_by_segments(&self, path: &str) -> bool {
        let (mut segments, mut parts) = (self.text.split('/').peekable(), path.split('/'));
        while let Some(segment) = segments.next() {
            let Some(part) = parts.next() else { return false };
            if self.is_prefix && segments.peek().is_none() {
                return true; // the asterisk is all that follows the last slash
            }
            let fits = if name_of(segment).is_some() { !part.is_empty() } else { part == segment };
            if !fits {
                return false;
            }
        }
        parts.next().is_none()
    }

    /// What of a path that fits the asterisk stands for.
    pub(super) fn rest<'p>(&self, path: &'p str) -> &'p str {
        let rest = if self.has_params {
            let slashes = self.text.matches('/').count();
            path.splitn(slashes + 1, '/').nth(slashes)
        } else {
            path.get(self.text.len()..)
        };
        rest.unwrap_or("")
    }

    /// What of a path that fits a parameter stands for, still percent-encoded; `*` is the name of the asterisk.
    pub(super) fn param<'p>(&self, path: &'p str, name: &str) -> Option<&'p str> {
        if name == "*" {
            return self.is_prefix.then(|| self.rest(path));
        }
        let mut pairs = self.text.split('/').zip(path.split('/'));
        pairs.find(|(segment, _)| name_of(segment) == Some(name)).map(|(_, part)| part)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.text, if self.is_prefix { "*" } else { "" })
    }
}

#[cfg(test)]
#[path = "../tests/server/pattern.rs"]
mod tests;
