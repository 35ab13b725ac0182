//! Which pages of the web may open a connection (RFC 6455 section 10.2).

use super::authority::{Authority, Origin, Scheme};
use super::http::Request;
use std::fmt;

/// Which pages of the web may open a connection. A client that is no browser sends no Origin, and is always let in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origins {
    /// Those that this host itself served: host and port of Origin are those of Host, where a default port equals none (RFC
    /// 6454 section 4).
    #[default]
    Same,
    /// All.
    Any,
    /// These, compared without case: an origin such as `https://example.org`, all of one host's subdomains as
    /// `https://*.example.org` (of any depth, and not `example.org` itself), or `null`.
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
    /// The first in the list that is none, see [`Origins::Listed`].
    pub fn first_wrong(&self) -> Option<&str> {
        let Self::Listed(list) = self else { return None };
        let fits = |origin: &str| {
            origin == "null" || Origin::parse(origin.as_bytes()).is_some_and(|origin| origin.is_pattern())
        };
        list.iter().map(String::as_str).find(|origin| !fits(origin))
    }

    /// Whether a request may pass that reached the server by `scheme`, if that is known.
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
                // What is none passes only as what browsers send in place of one that they do not tell.
                None => text == b"null" && listed == "null",
            }),
            Self::Same => {
                let host = request.authority().and_then(Authority::parse);
                let scheme_fits = |origin: &Origin<'_>| scheme.is_none() || origin.scheme() == scheme;
                origin.zip(host).is_some_and(|(origin, host)| scheme_fits(&origin) && origin.is_of(&host))
            }
        }
    }

    /// Whether it is an origin that a browser sends, `null` included.
    pub(super) fn is_origin(text: &[u8]) -> bool {
        text == b"null" || Origin::parse(text).is_some()
    }
}
