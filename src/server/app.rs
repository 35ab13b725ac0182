//! The routes: which path is what, and the echo behind them.

use super::page;
use super::status::{self, Shared};
use crate::net::link::{Cause, Driver, Link};
use crate::net::reactor::Core;
use crate::proto::close::CloseCode;
use crate::proto::http::{Answer, Request};
use crate::proto::session::{Event, MessageKind, State};
use crate::proto::upgrade;
use std::sync::Arc;

/// What other threads may ask of a reactor.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mail {
    Stop,
}

/// The driver of one of the server's reactors.
#[derive(Debug)]
pub(super) struct App {
    shared: Arc<Shared>,
}

impl App {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    fn request(&self, link: &mut Link<'_, ()>, request: &Request<'_>) {
        let fields = &request.fields;
        // RFC 9112 section 3.2: "A server MUST respond with a 400" to HTTP/1.1 without Host, or with two.
        if fields.has_duplicate || (request.minor_version == 1 && fields.host.is_none()) {
            return link.answer(&Answer::refusal(400), false);
        }
        match request.path() {
            "/" if !fields.upgrade_websocket => {
                self.page(link, request, "text/html; charset=utf-8", || page::INDEX.as_bytes().to_vec());
            }
            "/" | "/echo" => match upgrade::check_request(request, &self.shared.origins) {
                Ok(accept) => link.accept(&accept),
                Err(refusal) => link.answer(&refusal.answer(), request.method == "HEAD"),
            },
            "/stats" => self.page(link, request, "application/json", || status::json(&self.shared)),
            _ => {
                link.answer(&Answer { close: must_close(request), ..Answer::refusal(404) }, request.method == "HEAD");
            }
        }
    }

    fn page(&self, link: &mut Link<'_, ()>, request: &Request<'_>, content_type: &str, body: impl FnOnce() -> Vec<u8>) {
        if !matches!(request.method, "GET" | "HEAD") {
            return link.answer(&Answer { more_fields: "Allow: GET, HEAD\r\n", ..Answer::refusal(405) }, false);
        }
        let answer = Answer {
            status: 200,
            content_type,
            more_fields: "Server: steadfast\r\nCache-Control: no-store\r\n",
            body: &body(),
            close: must_close(request),
        };
        link.answer(&answer, request.method == "HEAD");
    }
}

/// A body is not read here, and behind an upgrade that was not granted stand frames: neither must be taken for a request.
fn must_close(request: &Request<'_>) -> bool {
    !request.keeps_alive() || request.has_body() || request.fields.upgrade_websocket
}

impl Driver for App {
    type State = ();
    type Mail = Mail;

    #[inline(always)]
    fn message(&mut self, link: &mut Link<'_, ()>, kind: MessageKind, payload: &[u8]) {
        link.send(kind, payload);
    }

    fn event(&mut self, link: &mut Link<'_, ()>, event: Event<'_>) {
        match event {
            Event::Data(bytes) => link.send_raw(bytes),
            Event::Request(request) => self.request(link, &request),
            _ => {}
        }
    }

    fn mail(&mut self, core: &mut Core<()>, mail: Mail) {
        match mail {
            Mail::Stop => {
                core.stop();
                for index in 0..core.end_index() {
                    let Some((id, ())) = core.at(index).map(|(id, _)| (id, ())) else { continue };
                    core.with(id, |link| {
                        link.close(CloseCode::GOING_AWAY, "server stops");
                        // All others end when what is queued for them has gone.
                        if link.session_state() != State::Closing {
                            link.end(Cause::EndOfStream);
                        }
                    });
                }
            }
        }
    }
}
