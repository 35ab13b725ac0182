//! The query of a request.

use crate::server::Request;

/// Returns the value of a parameter of the query, still percent-encoded.
pub(super) fn query<'a>(request: &Request<'a>, name: &str) -> Option<&'a str> {
    request
        .raw_query()?
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}
