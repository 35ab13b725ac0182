//! The origins of web pages that may open a connection (RFC 6455 section 10.2).

use super::authority::{Authority, Origin, Scheme};
use super::http::Request;
use std::fmt;

/// The origins of web pages that may open a connection. A client that is not a browser sends no Origin, and is always
/// accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origins {
    /// Pages of this host: host and port of Origin are those of Host, where a default port equals none (RFC 6454
    /// section 4).
    #[default]
    Same,
    /// All pages.
    Any,
    /// Pages of these origins, compared without case: an origin such as `https://example.org`, all subdomains of a host
    /// as in `https://*.example.org` (at any depth, but not `example.org` itself), or `null`.
    Listed(Vec<String>),
}

impl fmt::Display for Origins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Same => f.write_str("same"),
            Self::Any => f.write_str("any"),
            Self::Listed(list) => f.write_str(&list.join(" ")),
        }
    }
}

impl Origins {
    /// Returns the first entry of the list that is not valid, see [`Origins::Listed`].
    pub fn first_wrong(&self) -> Option<&str> {
        let Self::Listed(list) = self else { return None };
        let fits = |origin: &str| {
            origin == "null" || Origin::parse(origin.as_bytes()).is_some_and(|origin| origin.is_pattern())
        };
        list.iter().map(String::as_str).find(|origin| !fits(origin))
    }

    /// Returns whether a request is permitted that reached the server by `scheme`, if that is known.
    pub fn allow(&self, request: &Request<'_>, scheme: Option<Scheme>) -> bool {
        let Some(text) = request.fields.origin else { return true };
        if *self == Self::Any {
            return true;
        }
        let origin = Origin::parse(text);
        match self {
            Self::Any => true,
            Self::Listed(list) => list.iter().any(|listed| match origin {
                Some(origin) => Origin::parse(listed.as_bytes()).is_some_and(|listed| origin.fits(&listed)),
                // Browsers send `null` in place of an origin that they do not reveal; other invalid origins are
                // refused.
                None => text == b"null" && listed == "null",
            }),
            Self::Same => {
                let host = request.authority().and_then(Authority::parse);
                let scheme_fits = |origin: &Origin<'_>| scheme.is_none() || origin.scheme() == scheme;
                origin.zip(host).is_some_and(|(origin, host)| scheme_fits(&origin) && origin.is_of(&host))
            }
        }
    }

    /// Returns whether a browser may send this origin; `null` included.
    pub(super) fn is_origin(text: &[u8]) -> bool {
        text == b"null" || Origin::parse(text).is_some()
    }
}
