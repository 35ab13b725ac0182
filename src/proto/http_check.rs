//! The rules of HTTP/1.1 that a syntactically correct request head can break, in one [`check`].

use super::authority::Authority;
use super::body::Body;
use super::http::{Expectation, HeadError, Request, TransferEncoding};
use super::quote::{Field, Quoted};

/// Checks a request by RFC 9112 sections 3.2, 6.1 and 6.3 and RFC 9110 section 10.1.1; returns how its body is framed.
///
/// # Errors
/// The first rule that the request breaks, with the status to respond with.
pub(super) fn check(request: &Request<'_>, max_body_bytes: u64) -> Result<Option<Body>, HeadError> {
    let fields = &request.fields;
    // RFC 9112 3.2: "A server MUST respond with a 400 (Bad Request) status code to any HTTP/1.1 request message that
    // lacks a Host header field and to any request message that contains more than one Host header field line or a Host
    // header field with an invalid field value." The other fields that are evaluated here may not be repeated either.
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

/// RFC 9112 section 3.2: a path; a whole URI; for OPTIONS an asterisk; for CONNECT, which is refused later, a host.
fn is_target(request: &Request<'_>) -> bool {
    let target = request.target;
    // A fragment is never sent (RFC 9110 section 4.2.5), and characters other than ASCII are percent-encoded (RFC 3986
    // section 2).
    if target.bytes().any(|byte| byte == b'#' || !byte.is_ascii_graphic()) {
        return false;
    }
    match target {
        path if path.starts_with('/') => true,
        "*" => request.method == "OPTIONS",
        host if request.method == "CONNECT" => is_authority(host.as_bytes()),
        uri => uri.split_once("://").is_some_and(|(scheme, _)| {
            let known = ["http", "https", "ws", "wss"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
            known && request.authority().is_some_and(is_authority)
        }),
    }
}

fn is_authority(text: &[u8]) -> bool {
    Authority::parse(text).is_some()
}

/// Returns which rule of [`check`] a request broke, and by which value.
#[cold]
pub(super) fn explain(error: HeadError, request: &Request<'_>, max_body_bytes: u64) -> String {
    let fields = &request.fields;
    let value = |name: &'static str| Field(name, fields.values(name).next());
    match error {
        HeadError::BodyTooLarge => {
            format!("the content is longer than {max_body_bytes} bytes: {}", value("Content-Length"))
        }
        HeadError::Expectation => {
            let known = |value: &&[u8]| !value.eq_ignore_ascii_case(b"100-continue");
            format!("{}: expected 100-continue", Field("Expect", fields.values("expect").find(known)))
        }
        HeadError::TransferCoding => format!("{}: expected chunked", value("Transfer-Encoding")),
        _ => malformed(request),
    }
}

fn malformed(request: &Request<'_>) -> String {
    let fields = &request.fields;
    let once =
        ["Host", "Origin", "Content-Length", "Sec-WebSocket-Key", "Sec-WebSocket-Version", "Sec-WebSocket-Accept"];
    if let Some(name) = once.into_iter().find(|name| fields.values(name).nth(1).is_some()) {
        return format!("the field {name} is there more than once");
    }
    match fields.host {
        None if request.minor_version == 1 => return "the field Host is missing".to_owned(),
        Some(host) if !is_authority(host) => return format!("{}: expected a host", Field("Host", Some(host))),
        _ => {}
    }
    if !is_target(request) {
        return format!("the target {} is no path and no URI", Quoted(request.target.as_bytes()));
    }
    match (fields.transfer_encoding, fields.content_length) {
        (Some(_), Some(_)) => "Content-Length and Transfer-Encoding are both there".to_owned(),
        (Some(_), None) if request.minor_version == 0 => "Transfer-Encoding is there in HTTP/1.0".to_owned(),
        (Some(TransferEncoding::Broken | TransferEncoding::Other), None) => {
            let codings = fields.values("transfer-encoding").next();
            format!("{}: expected chunked as the last coding", Field("Transfer-Encoding", codings))
        }
        (_, length) => format!("{}: expected a number", Field("Content-Length", length)),
    }
}
