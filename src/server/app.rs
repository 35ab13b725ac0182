//! The routes: which path is what, and the echo behind them.

use super::page;
use super::status::{self, Shared};
use crate::net::link::{Cause, Driver, Link};
use crate::net::reactor::Core;
use crate::proto::answer::{Answer, Asked};
use crate::proto::close::CloseCode;
use crate::proto::http::Request;
use crate::proto::session::{Event, MessageKind, State};
use crate::proto::upgrade;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Content of no interest, such as the echo of a request's.
const BYTES: &str = "application/octet-stream";

/// What other threads may ask of a reactor.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mail {
    Stop,
}

/// The driver of one of the server's reactors.
#[derive(Debug)]
pub(super) struct App {
    shared: Arc<Shared>,
    admission: Admission,
}

/// The upgrades of one second: when it began, and how many there were.
#[derive(Debug)]
struct Admission {
    began: Instant,
    upgrades: u32,
}

impl Admission {
    /// Whether one more is within `max` for a second. The clock is read only where that is a limit.
    fn admit(&mut self, max: u32) -> bool {
        if self.upgrades >= max && self.began.elapsed() >= Duration::from_secs(1) {
            self.upgrades = 0;
        }
        if self.upgrades == 0 && max < u32::MAX {
            self.began = Instant::now();
        }
        self.upgrades = self.upgrades.saturating_add(1);
        self.upgrades <= max
    }
}

/// What stands behind a path.
#[derive(Clone, Copy)]
enum Route {
    Index,
    Echo,
    Stats,
}

impl Route {
    fn of(request: &Request<'_>) -> Option<Self> {
        match request.path() {
            "/" if request.fields.upgrade_websocket => Some(Self::Echo),
            "/" => Some(Self::Index),
            "/echo" => Some(Self::Echo),
            "/stats" => Some(Self::Stats),
            _ => None,
        }
    }

    /// The field Allow (RFC 9110 section 10.2.1).
    fn allow(self) -> &'static str {
        match self {
            Self::Echo => "Allow: GET, HEAD, OPTIONS, POST\r\n",
            Self::Index | Self::Stats => "Allow: GET, HEAD, OPTIONS\r\n",
        }
    }
}

impl App {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, admission: Admission { began: Instant::now(), upgrades: 0 } }
    }

    fn request(&mut self, link: &mut Link<'_, ()>, request: &Request<'_>) {
        let asked = Asked::from(request);
        if !is_known(request.method) {
            return link.answer(&Answer::refusal(501), asked);
        }
        // RFC 9110 section 9.3.7: asked about the server as a whole; only OPTIONS can have this target.
        if request.target == "*" {
            return link.answer(&empty(Route::Echo.allow()), asked);
        }
        let Some(route) = Route::of(request) else {
            return link.answer(&Answer { close: false, ..Answer::refusal(404) }, asked);
        };
        match (route, request.method) {
            (_, "OPTIONS") => link.answer(&empty(route.allow()), asked),
            (Route::Index, "GET" | "HEAD") => {
                self.page(link, asked, "text/html; charset=utf-8", page::INDEX.as_bytes());
            }
            (Route::Stats, "GET" | "HEAD") => self.page(link, asked, "application/json", &status::json(&self.shared)),
            (Route::Echo, "GET" | "HEAD") => self.upgrade(link, request, asked),
            (Route::Echo, "POST") if !request.fields.upgrade_websocket => match request.has_length() {
                true => self.page(link, asked, BYTES, request.body),
                false => link.answer(&Answer::refusal(411), asked),
            },
            _ => link.answer(&Answer { more_fields: route.allow(), close: false, ..Answer::refusal(405) }, asked),
        }
    }

    /// A client with content to send asks whether it is wanted: here, only the echo wants it.
    fn expects(&mut self, link: &mut Link<'_, ()>, request: &Request<'_>) {
        if request.method == "POST" && matches!(Route::of(request), Some(Route::Echo)) {
            link.proceed();
        } else {
            self.request(link, request);
        }
    }

    fn upgrade(&mut self, link: &mut Link<'_, ()>, request: &Request<'_>, asked: Asked) {
        let acceptance = match upgrade::check_request(request, &self.shared.upgrade) {
            Ok(acceptance) => acceptance,
            // What a HEAD is told is what a GET would have been (RFC 9110 section 9.3.2).
            Err(upgrade::Refusal::Method) => return link.answer(&upgrade::Refusal::NotUpgrade.answer(), asked),
            Err(refusal) => return link.answer(&refusal.answer(), asked),
        };
        if !self.admission.admit(self.shared.max_upgrades_per_s) {
            // Those who are refused together shall not come back together.
            let retry_after = format!("Retry-After: {}\r\n", 1 + link.random_byte() % 10);
            return link.answer(&Answer { more_fields: &retry_after, ..Answer::refusal(503) }, asked);
        }
        if let Some(hook) = &self.shared.hook
            && let Err(refused) = hook.judge(request)
        {
            return link.answer(&refused.answer(), asked);
        }
        link.accept(&acceptance);
    }

    fn page(&self, link: &mut Link<'_, ()>, asked: Asked, content_type: &str, body: &[u8]) {
        let more_fields = match self.shared.says_server {
            true => "Server: steadfast\r\nCache-Control: no-store\r\n",
            false => "Cache-Control: no-store\r\n",
        };
        link.answer(&Answer { status: 200, content_type, more_fields, body, close: false }, asked);
    }
}

/// The methods that RFC 9110 section 9 and RFC 5789 define: any other is not implemented (501), while one of these is known,
/// and not allowed (405).
fn is_known(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS" | "TRACE" | "CONNECT")
}

/// An answer that is all in its fields.
fn empty(more_fields: &str) -> Answer<'_> {
    Answer { status: 204, content_type: "", more_fields, body: b"", close: false }
}

impl Driver for App {
    type State = ();
    type Mail = Mail;

    #[inline(always)]
    fn message(&mut self, link: &mut Link<'_, ()>, kind: MessageKind, payload: &[u8]) {
        link.echo(kind, payload);
    }

    fn event(&mut self, link: &mut Link<'_, ()>, event: Event<'_>) {
        match event {
            Event::Data(bytes) => link.send_raw(bytes),
            Event::Request(request) => self.request(link, &request),
            Event::Expects(request) => self.expects(link, &request),
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
