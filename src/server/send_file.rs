//! Responses whose content is a file.

use super::files::Found;
use super::refuse::not_found;
use super::slot::HandlerSlot;
use crate::net::conn::{Conn, FileContent};
use crate::proto::http;
use crate::proto::http_write::{HttpResponse, RequestInfo};

/// A long file goes from the disk to the socket; all else is an answer like any other.
pub(super) fn send_file(
    conn: &mut Conn<'_, HandlerSlot>,
    request: &http::Request<'_>,
    found: Found,
    asked: RequestInfo,
) {
    let plain = HttpResponse { status: 200, close: false, ..HttpResponse::refusal(200) };
    match found {
        Found::File { file, bytes, content_type, fields, lease } => {
            let answer = HttpResponse { content_type: &content_type, more_fields: &fields, body: b"", ..plain };
            conn.respond_file(&answer, asked, FileContent { file, bytes, lease });
        }
        Found::Content { content, content_type, fields } => {
            let answer = HttpResponse { content_type: &content_type, more_fields: &fields, body: &content, ..plain };
            conn.respond(&answer, asked);
        }
        Found::Nothing { status: 404, .. } => not_found(conn, request, asked),
        Found::Nothing { status, fields } => {
            conn.respond(&HttpResponse { more_fields: &fields, close: false, ..HttpResponse::refusal(status) }, asked);
        }
    }
}
