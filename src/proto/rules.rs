//! Every rule of HTTP/1.1 that a request's head can break when its grammar is right, in one [`check`].

use super::body::Body;
use super::http::{Expectation, HeadError, Request};

/// Judges a request by RFC 9112 sections 3.2, 6.1 and 6.3 and RFC 9110 section 10.1.1; gives how its body is framed.
///
/// # Errors
/// The first rule that it broke, with the status that answers it.
pub(super) fn check(request: &Request<'_>, max_body_bytes: u64) -> Result<Option<Body>, HeadError> {
    let fields = &request.fields;
    // RFC 9112 3.2: "A server MUST respond with a 400 (Bad Request) status code to any HTTP/1.1 request message that lacks
    // a Host header field and to any request message that contains more than one Host header field line or a Host header
    // field with an invalid field value." The other fields that decide something stand once, too.
    if fields.has_duplicate || (request.minor_version == 1 && fields.host.is_none()) {
        return Err(HeadError::Malformed);
    }
    if fields.host.is_some_and(|host| !is_authority(host)) || !is_target(request) {
        return Err(HeadError::Malformed);
    }
    let body = Body::of_request(request, max_body_bytes)?;
    // RFC 9110 10.1.1: "A server that receives an Expect field value containing a member other than 100-continue MAY
    // respond with a 417 (Expectation Failed)"; HTTP/1.0 does not know the field.
    if fields.expect == Some(Expectation::Unknown) && request.minor_version == 1 {
        return Err(HeadError::Expectation);
    }
    Ok(body)
}

/// RFC 9112 section 3.2: a path; a whole URI; for OPTIONS an asterisk; for CONNECT, which nobody here answers, a host.
fn is_target(request: &Request<'_>) -> bool {
    let target = request.target;
    // A fragment is never sent (RFC 9110 section 4.2.5), and what is no ASCII comes percent-encoded (RFC 3986 section 2).
    if target.bytes().any(|byte| byte == b'#' || !byte.is_ascii_graphic()) {
        return false;
    }
    match target.split_once("://") {
        _ if target.starts_with('/') => true,
        _ if target == "*" => request.method == "OPTIONS",
        _ if request.method == "CONNECT" => is_authority(target.as_bytes()),
        Some((scheme, _)) => {
            let known = ["http", "https", "ws", "wss"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
            known && request.authority().is_some_and(is_authority)
        }
        None => false,
    }
}

/// A host and perhaps a port (RFC 3986 section 3.2), without user information (RFC 9110 section 4.2.4) and not empty.
fn is_authority(text: &[u8]) -> bool {
    let (host, port) = match memchr::memrchr(b':', text) {
        // The colons of an IPv6 address stand in brackets.
        Some(at) if !text[at..].contains(&b']') => (&text[..at], &text[at + 1..]),
        _ => (text, &b""[..]),
    };
    let named = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=%".contains(byte);
    let literal = |byte: &u8| named(byte) || *byte == b':';
    let host_fits = match host {
        [b'[', address @ .., b']'] => !address.is_empty() && address.iter().all(literal),
        name => !name.is_empty() && name.iter().all(named),
    };
    host_fits && port.len() <= 5 && port.iter().all(u8::is_ascii_digit)
}
