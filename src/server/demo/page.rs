//! The pages, with a Content-Security-Policy that allows no other scripts than their own.

use crate::server::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

/// Makes the response for a page with one style and one script, both inline.
///
/// Content-Security-Policy allows these two by their hashes (CSP3 section 2.3.1). `'self'` covers WebSockets of the same host.
/// No other site may show the page in a frame.
pub(super) fn page(html: &'static str) -> Response {
    let (script, style) = (hash_of(html, "script"), hash_of(html, "style"));
    let policy = format!(
        "Content-Security-Policy: default-src 'none'; script-src '{script}'; style-src '{style}'; connect-src 'self'; \
         img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    );
    let response = Response::html(html).with_field(&policy);
    response
        .and_then(|response| response.with_field("X-Content-Type-Options: nosniff"))
        .expect("fields without a line break")
}

/// Returns the source expression of the policy for the only element `name` of the page.
fn hash_of(html: &str, name: &str) -> String {
    let (start, end) = (format!("<{name}>"), format!("</{name}>"));
    let content = html.split_once(&start).and_then(|(_, rest)| rest.split_once(&end));
    format!("sha256-{}", STANDARD.encode(Sha256::digest(content.map_or("", |(content, _)| content))))
}
