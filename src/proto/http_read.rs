//! Reads HTTP messages as they arrive: a request with its body, a response to a request, the response to an upgrade.
//! The session decides what follows.

use super::body::{Body, Piece};
use super::event::Event;
use super::extension::NegotiatedCompression;
use super::http::{Expectation, HeadError, HeadLimits, Request, Response};
use super::http_check;
use super::limits::Limits;
use super::partial::{Partial, Progress};
use super::reason::BadHead;
use super::upgrade;

/// The number of bytes taken from the input, and the event.
type Taken<'a> = Result<(usize, Event<'a>), BadHead>;

fn bad_content<'a>(error: HeadError, why: impl Into<String>) -> Taken<'a> {
    Err(BadHead { error, why: why.into(), is_head: false })
}

/// Takes a request: its head, then its body, which is gathered after the head.
pub(super) fn take_request<'a>(
    partial: &mut Option<Box<Partial>>,
    input: &'a [u8],
    message: &'a mut Vec<u8>,
    limits: &Limits,
) -> Taken<'a> {
    if partial.as_ref().is_some_and(|partial| matches!(partial.progress, Progress::RequestBody { .. })) {
        return take_body(partial, input, message, limits);
    }
    // The head of a request with a body is kept: where it arrived in pieces, only `message` has it.
    let (consumed, head) = Partial::take_head::<Request<'_>>(partial, input, message, limits.head)?;
    let Some(request) = head else { return Ok((consumed, Event::NeedMore)) };
    let judged = http_check::check(&request, limits.max_body_bytes);
    let bad = |error| {
        let why = http_check::explain(error, &request, limits.max_body_bytes);
        BadHead { error, why, is_head: request.method == "HEAD" }
    };
    let Some(body) = judged.map_err(bad)? else {
        return Ok((consumed, Event::Request(request)));
    };
    let head = request.fields.raw();
    let progress = Progress::RequestBody { body: Box::new(body), head_bytes: head.len() as u32 };
    *partial = Some(Box::new(Partial::new(head.to_vec(), progress)));
    // RFC 9110 10.1.1: "A server MUST ignore a 100-continue expectation in an HTTP/1.0 request".
    let expects = request.fields.expect == Some(Expectation::Continue) && request.minor_version == 1;
    Ok((consumed, if expects { Event::Expects(request) } else { Event::NeedMore }))
}

fn take_body<'a>(
    this: &mut Option<Box<Partial>>,
    input: &[u8],
    message: &'a mut Vec<u8>,
    limits: &Limits,
) -> Taken<'a> {
    let broken = "the content is not in chunks as Transfer-Encoding says";
    let Some(partial) = this else { return bad_content(HeadError::Malformed, broken) };
    let Progress::RequestBody { body, head_bytes } = &mut partial.progress else {
        return bad_content(HeadError::Malformed, broken);
    };
    let head_bytes = *head_bytes as usize;
    let Ok(Piece { consumed, data_from, done }) = body.take(input) else {
        return bad_content(HeadError::Malformed, broken);
    };
    let declared = if let Body::Sized(left) = **body { left } else { u64::MAX };
    let data = &input[data_from..consumed];
    let so_far = (partial.buffer.len() - head_bytes) as u64;
    if so_far + data.len() as u64 > limits.max_body_bytes {
        let why = format!("the content is longer than {} bytes", limits.max_body_bytes);
        return bad_content(HeadError::BodyTooLarge, why);
    }
    // A body for which there is no memory is too large.
    if partial.append(data, declared.saturating_add(data.len() as u64)).is_err() {
        return bad_content(HeadError::BodyTooLarge, "no memory is left for the content");
    }
    if !done {
        return Ok((consumed, Event::NeedMore));
    }
    *message = std::mem::take(&mut partial.buffer);
    *this = None;
    // The head was checked when it arrived, and its own length is no limit to it now.
    let all = HeadLimits { max_request_line_bytes: head_bytes, max_head_bytes: head_bytes };
    let (head, body) = message.split_at(head_bytes);
    let Ok(Some((request, _))) = super::http::parse_request(head, all) else {
        return bad_content(HeadError::Malformed, broken);
    };
    Ok((consumed, Event::Request(Box::new(Request { body, ..request }))))
}

/// Takes a response: its head, the pieces of its body, its end.
pub(super) fn take_response<'a>(
    partial: &mut Option<Box<Partial>>,
    input: &'a [u8],
    message: &'a mut Vec<u8>,
    limits: &Limits,
) -> Taken<'a> {
    if let Some(open) = partial
        && let Progress::Body(body) = &mut open.progress
    {
        if **body == Body::Sized(0) {
            *partial = None;
            return Ok((0, Event::ResponseEnd));
        }
        let piece = body.take(input).map_err(|_| BadHead::unanswered(HeadError::Malformed))?;
        if piece.done {
            // The end is an event of its own, which the next call returns without taking bytes.
            **body = Body::Sized(0);
        }
        return Ok((piece.consumed, Event::Body(&input[piece.data_from..piece.consumed])));
    }
    let (consumed, head) = Partial::take_head::<Response<'_>>(partial, input, message, limits.head)?;
    // RFC 9110 section 15.2: any number of interim responses may precede the final one.
    let Some(response) = head.filter(|head| !is_interim(head)) else { return Ok((consumed, Event::NeedMore)) };
    let body = Body::of_response(&response).map_err(|_| BadHead::unanswered(HeadError::Malformed))?;
    let body = body.unwrap_or(Body::Sized(0));
    *partial = Some(Box::new(Partial::body(body)));
    Ok((consumed, Event::Response(response)))
}

/// Takes the response to an upgrade.
pub(super) fn take_upgrade<'a>(
    partial: &mut Option<Box<Partial>>,
    input: &'a [u8],
    message: &'a mut Vec<u8>,
    limits: &Limits,
    compression: &mut NegotiatedCompression,
) -> Taken<'a> {
    let kept = partial.as_ref().map(|partial| partial.kept().to_vec()).unwrap_or_default();
    let (consumed, head) = Partial::take_head::<Response<'_>>(partial, input, message, limits.head)?;
    let Some(response) = head else { return Ok((consumed, Event::NeedMore)) };
    if is_interim(&response) {
        *partial = Some(Box::new(Partial::head(kept)));
        return Ok((consumed, Event::NeedMore));
    }
    *partial = None;
    let event = match upgrade::check_response(&response, &kept) {
        Ok(agreed) => {
            *compression = agreed;
            Event::Opened(response)
        }
        Err(rejected) => Event::Rejected(rejected),
    };
    Ok((consumed, event))
}

/// Returns whether another response follows. 101 is the last one that is HTTP (RFC 9110 section 15.2).
fn is_interim(response: &Response<'_>) -> bool {
    matches!(response.status, 100 | 102..=199)
}
