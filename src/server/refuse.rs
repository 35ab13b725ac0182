//! Requests that are refused: each answer says which rule was broken, and with what.

use super::routes::Route;
use super::slot::HandlerSlot;
use crate::net::conn::Conn;
use crate::proto::http::Request;
use crate::proto::http_write::{HttpResponse, NOSNIFF, RequestInfo, reason_body};
use crate::proto::quote::Quoted;
use crate::proto::upgrade::{Policy, Refusal};

/// Answers as `answer` has it, with the reason in words.
#[cold]
pub(super) fn refuse(conn: &mut Conn<'_, HandlerSlot>, answer: &HttpResponse<'_>, reason: &str, asked: RequestInfo) {
    let body = reason_body(answer.status, reason);
    let more_fields = format!("{}{NOSNIFF}", answer.more_fields);
    conn.respond(&HttpResponse { more_fields: &more_fields, body: body.as_bytes(), ..*answer }, asked);
}

/// Nothing is there; the connection stays.
#[cold]
pub(super) fn not_found(conn: &mut Conn<'_, HandlerSlot>, request: &Request<'_>, asked: RequestInfo) {
    let reason = format!("there is nothing at {}", Quoted(request.path().as_bytes()));
    refuse(conn, &HttpResponse { close: false, ..HttpResponse::refusal(404) }, &reason, asked);
}

#[cold]
pub(super) fn not_allowed(conn: &mut Conn<'_, HandlerSlot>, request: &Request<'_>, route: &Route, asked: RequestInfo) {
    let (method, path) = (Quoted(request.method.as_bytes()), Quoted(request.path().as_bytes()));
    let allowed = route.allow().trim_start_matches("Allow: ").trim_end();
    let reason = format!("the method is {method}, and {path} allows {allowed}");
    refuse(
        conn,
        &HttpResponse { more_fields: route.allow(), close: false, ..HttpResponse::refusal(405) },
        &reason,
        asked,
    );
}

#[cold]
pub(super) fn not_implemented(conn: &mut Conn<'_, HandlerSlot>, request: &Request<'_>, asked: RequestInfo) {
    let reason = format!("the method {} is not known", Quoted(request.method.as_bytes()));
    refuse(conn, &HttpResponse::refusal(501), &reason, asked);
}

#[cold]
pub(super) fn refuse_upgrade(
    conn: &mut Conn<'_, HandlerSlot>,
    request: &Request<'_>,
    policy: &Policy,
    refusal: Refusal,
    asked: RequestInfo,
) {
    refuse(conn, &refusal.response(), &refusal.reason(request, policy), asked);
}

/// Requests that are refused together shall not come back together.
#[cold]
pub(super) fn refuse_for_now(conn: &mut Conn<'_, HandlerSlot>, asked: RequestInfo) {
    let retry_after = format!("Retry-After: {}\r\n", 1 + conn.random_byte() % 10);
    let answer = HttpResponse { more_fields: &retry_after, ..HttpResponse::refusal(503) };
    refuse(conn, &answer, "the server takes no more WebSockets in this second", asked);
}
