//! The driver of a server's reactor: it hands what happens to the handlers, and what they ask for to the reactor.

use super::accept::Html;
use super::admission::UpgradeRateLimit;
use super::context::ReactorState;
use super::drain::Drain;
use super::guard;
use super::handler::Closed;
use super::id;
use super::instance::DynHandler;
use super::leases::Leases;
use super::mail::{Command, Envelope, SendError};
use super::post::MailBatch;
use super::refuse::{not_allowed, not_found, not_implemented, refuse, refuse_for_now, refuse_upgrade};
use super::refused::Refused;
use super::request::{Matched, Request};
use super::response::{Next, Reply, Responder, Response};
use super::routes::{Get, Route, Routes};
use super::send_file::send_file;
use super::slot::HandlerSlot;
use super::status::{self, ServerState};
use super::status_code::StatusCode;
use super::waiting::{Outcome, Waiting};
use crate::net::conn::{Cause, Conn, Deadline, Sent, Topic};
use crate::net::driver::Driver;
use crate::net::reactor::Core;
use crate::net::slots::ConnectionId;
use crate::proto::close::CloseStatus;
use crate::proto::http;
use crate::proto::http_write::{HttpResponse, RequestInfo};
use crate::proto::session::{Event, MessageKind, State};
use crate::proto::upgrade::{self, Refusal};
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Messages of topics that are sent in one turn; each costs some microseconds of the kernel's time, and others wait.
const TURN_DELIVERIES: usize = 128;

/// How long a request waits for something to be published: most proxies give up after 60 s.
const LONGEST_WAIT: Duration = Duration::from_secs(25);

/// The driver of one of the server's reactors.
pub(super) struct App {
    routes: Arc<Routes>,
    handlers: Vec<Box<dyn DynHandler>>,
    reactor: ReactorState,
    post: MailBatch,
    admission: UpgradeRateLimit,
    leases: Leases,
    drain: Option<Drain>,
    #[cfg(feature = "log")]
    accept_watch: super::report::AcceptWatch,
    /// The tick that the handlers know of.
    ticked: Option<u32>,
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").field("routes", &self.routes).finish_non_exhaustive()
    }
}

impl App {
    /// On the reactor's own thread, since handlers stay there.
    pub(super) fn new(shared: Arc<ServerState>, routes: Arc<Routes>, post: MailBatch) -> Self {
        let handlers = routes.handlers.iter().map(|entry| (entry.make)()).collect();
        let admission = UpgradeRateLimit::new(Instant::now());
        let leases = Leases::new(shared.max_long_files);
        let reactor = ReactorState::new(shared, post.own());
        Self {
            routes,
            handlers,
            reactor,
            post,
            admission,
            leases,
            drain: None,
            #[cfg(feature = "log")]
            accept_watch: super::report::AcceptWatch::default(),
            ticked: None,
        }
    }

    fn request(&mut self, conn: &mut Conn<'_, HandlerSlot>, request: &http::Request<'_>) {
        let asked = RequestInfo::from(request);
        if !self.reactor.shared.upgrade.serves(request) {
            return refuse_upgrade(conn, request, &self.reactor.shared.upgrade, Refusal::Host, asked);
        }
        if !is_known(request.method) {
            return not_implemented(conn, request, asked);
        }
        // RFC 9110 section 9.3.7: asked about the server as a whole; only OPTIONS can have this target.
        if request.target == "*" {
            return conn.respond(&empty("Allow: GET, HEAD, OPTIONS, POST\r\n"), asked);
        }
        let routes = Arc::clone(&self.routes);
        let path = request.normal_path();
        let Some(route) = routes.of(&path) else {
            return not_found(conn, request, asked);
        };
        match (request.method, &route.post) {
            ("OPTIONS", _) => conn.respond(&empty(route.allow()), asked),
            ("GET" | "HEAD", _) => self.get(conn, request, &routes, (route, &path)),
            ("POST", Some(_)) if request.asks_for_upgrade() => not_allowed(conn, request, route, asked),
            ("POST", Some(_)) if !request.has_length() => {
                refuse(conn, &HttpResponse::refusal(411), "Content-Length is missing", asked);
            }
            ("POST", Some(responder)) => {
                let matched = Matched { pattern: &route.pattern, path: &path };
                self.reply(conn, responder, &Request::new(request, matched), asked);
            }
            _ => not_allowed(conn, request, route, asked),
        }
    }

    fn get(
        &mut self,
        conn: &mut Conn<'_, HandlerSlot>,
        request: &http::Request<'_>,
        routes: &Routes,
        (route, path): (&Route, &str),
    ) {
        let asked = RequestInfo::from(request);
        // A client that tries to upgrade, and does it wrongly, is told so.
        let fields = &request.fields;
        let upgrades = request.minor_version > 0 && (fields.upgrade_websocket || fields.websocket_version.is_some());
        if let Some(handler) = route.handler
            && (upgrades || !routes.get_of(path).is_some_and(|(_, page)| page.is_for(request)))
        {
            return self.upgrade(conn, request, Matched { pattern: &route.pattern, path }, handler);
        }
        match routes.get_of(path) {
            Some((_, Get::Static(page) | Get::Front(page))) if page.is_html() && Html::of(fields) == Html::Refused => {
                let answer = HttpResponse { close: false, ..HttpResponse::refusal(406) };
                refuse(conn, &answer, "Accept rules out text/html, and there is nothing else", asked);
            }
            Some((_, Get::Static(page) | Get::Front(page))) => self.respond(conn, page, asked),
            Some((route, Get::Call(responder))) => {
                let matched = Matched { pattern: &route.pattern, path };
                self.reply(conn, responder, &Request::new(request, matched), asked);
            }
            Some((_, Get::Stats)) => {
                let document = status::json(&self.reactor.shared, status::wants_reactors(request));
                self.respond(conn, &Response::of("application/json", document.to_vec()), asked);
            }
            Some((route, Get::Files(files))) => {
                let (leases, prefixes) = (&mut self.leases, self.reactor.shared.source_prefixes);
                let lease = || leases.take(conn.source(prefixes));
                let found = files.find(route.pattern.rest(path), request, conn.date(), lease);
                send_file(conn, request, found, asked)
            }
            None => not_allowed(conn, request, route, asked),
        }
    }

    /// A client with content to send asks whether it is wanted.
    fn expects(&mut self, conn: &mut Conn<'_, HandlerSlot>, request: &http::Request<'_>) {
        let route = || self.routes.of(&request.normal_path()).is_some_and(|route| route.post.is_some());
        let wanted = request.method == "POST" && route() && self.reactor.shared.upgrade.serves(request);
        if wanted {
            conn.proceed();
        } else {
            self.request(conn, request);
        }
    }

    fn upgrade(
        &mut self,
        conn: &mut Conn<'_, HandlerSlot>,
        request: &http::Request<'_>,
        matched: Matched<'_>,
        handler: u16,
    ) {
        let asked = RequestInfo::from(request);
        let shared = Arc::clone(&self.reactor.shared);
        let acceptance = match upgrade::check_request(request, &shared.upgrade) {
            Ok(acceptance) => acceptance,
            // What a HEAD is told is what a GET would have been (RFC 9110 section 9.3.2).
            Err(refusal) => {
                let refusal = if refusal == Refusal::Method { Refusal::NotUpgrade } else { refusal };
                return refuse_upgrade(conn, request, &shared.upgrade, refusal, asked);
            }
        };
        let max_per_s = shared.max_upgrades_per_s;
        if max_per_s < u32::MAX && !self.admission.admit(max_per_s, conn.source(shared.source_prefixes), Instant::now())
        {
            return refuse_for_now(conn, asked);
        }
        let request = Request::upgrade(request, matched, &acceptance);
        if let Err(refused) = self.judge(conn, &request, handler) {
            return conn.respond(&refused.response(), asked);
        }
        conn.accept(&acceptance);
        conn.state().set_route(handler);
        conn.set_overflow(self.routes.handlers[usize::from(handler)].overflow);
        self.handlers[usize::from(handler)].opened(conn, &mut self.reactor, &request);
    }

    /// Asks the hook of the server and that of the route, if there are any, whether an upgrade is granted.
    fn judge(&mut self, conn: &Conn<'_, HandlerSlot>, request: &Request<'_>, handler: u16) -> Result<(), Refused> {
        let (shared, handler) = (&self.reactor.shared, usize::from(handler));
        if shared.hook.is_none() && !self.routes.handlers[handler].has_hook {
            return Ok(());
        }
        // A peer that has gone has no address, and a hook must not take it for that of a unix socket.
        let gone = |_| Refused::new(StatusCode::BAD_REQUEST, "the peer has gone");
        let address = conn.peer_address().map_err(gone)?.as_socket();
        if let Some(hook) = &shared.hook {
            hook.judge(request, address, self.reactor.counters())?;
        }
        self.handlers[handler].judge(request, address, self.reactor.counters())
    }

    fn reply(
        &mut self,
        conn: &mut Conn<'_, HandlerSlot>,
        responder: &Responder,
        request: &Request<'_>,
        asked: RequestInfo,
    ) {
        let reply = guard::count(self.reactor.counters(), || responder(request));
        match reply {
            None => conn.respond(&HttpResponse::refusal(500), asked),
            Some(Reply::Now(response)) => self.respond(conn, &response, asked),
            Some(Reply::Next(Next { topic, like, wanted })) => {
                let (id, since) = (conn.id(), Instant::now());
                self.reactor.topics.subscribe(id.index(), &topic);
                self.reactor.waiting.insert(id.index(), Waiting { asked, since, like, wanted, id });
                conn.defer();
            }
        }
    }

    fn respond(&self, conn: &mut Conn<'_, HandlerSlot>, response: &Response, asked: RequestInfo) {
        let more_fields = response.all_fields(self.reactor.shared.says_server);
        let Response { status, ref content_type, ref body, .. } = *response;
        let status = status.as_u16();
        conn.respond(&HttpResponse { status, content_type, more_fields: &more_fields, body, close: false }, asked);
    }

    /// Tells a connection's handler that it has ended, if it has not been told.
    fn closed(&mut self, conn: &mut Conn<'_, HandlerSlot>, closed: &Closed<'_>) {
        let Some(handler) = self.handlers.get_mut(usize::from(conn.state().route())) else { return };
        self.reactor.topics.leave(conn.id().index());
        self.reactor.timers.cancel(conn.id());
        handler.closed(conn, &mut self.reactor, closed);
    }

    /// Stops accepting, and closes the connections over `spread`; what a drain has begun before is not put off.
    fn drain(&mut self, core: &mut Core<HandlerSlot>, spread: Duration) {
        core.stop();
        let drain = self.drain.get_or_insert_with(|| Drain::new(core, spread));
        if spread.is_zero() {
            drain.hurry();
        }
    }

    fn send(
        &mut self,
        core: &mut Core<HandlerSlot>,
        to: ConnectionId,
        kind: MessageKind,
        payload: &[u8],
    ) -> Result<Sent, SendError> {
        let sent = core.with(to, |conn| match conn.session_state() {
            State::Open => Ok(conn.send(kind, payload)),
            _ => Err(SendError::Gone),
        });
        let sent = sent.unwrap_or(Err(SendError::Gone));
        if sent.is_err() {
            self.reactor.counters().sent_to_gone.add(1);
        }
        sent
    }

    /// Sends some of what is published, to those who wait for it by HTTP too; whether more waits.
    fn deliver(&mut self, core: &mut Core<HandlerSlot>) -> bool {
        let ReactorState { topics, waiting, shared, index, .. } = &mut self.reactor;
        let counters = &shared.counters[usize::from(*index)];
        let mut answered = HashSet::new();
        let more = topics.deliver(TURN_DELIVERIES, |index, message, topic| {
            let payload = message.payload();
            match waiting.get(&index) {
                None if answered.is_empty() || !answered.contains(&index) => {
                    let _ = core.deliver(index, message, Topic::Number(topic));
                }
                // It has its answer, and leaves the topic behind this pass.
                None => {}
                Some(waits) if waits.take(core, payload, shared.says_server, counters) => {
                    waiting.remove(&index);
                    answered.insert(index);
                }
                Some(_) => {}
            }
        });
        for index in answered {
            topics.leave(index);
        }
        more
    }

    /// Answers long polls that have waited as long as they may: nothing was published.
    fn give_up_waiting(&mut self, core: &mut Core<HandlerSlot>) {
        let ReactorState { topics, waiting, shared, .. } = &mut self.reactor;
        let now = core.now().instant;
        waiting.retain(|&index, waits| {
            let waits_on = now.saturating_duration_since(waits.since) < LONGEST_WAIT;
            if !waits_on {
                waits.answer(core, &Outcome::Nothing, shared.says_server);
                topics.leave(index);
            }
            waits_on
        });
    }

    /// Calls the handlers when a tick has passed, and when one of them wanted it.
    fn tick(&mut self, core: &mut Core<HandlerSlot>) {
        let now = core.now();
        let wanted = self.reactor.wake_at.is_some_and(|at| at <= now.instant);
        if self.ticked == Some(now.tick) && !wanted {
            return;
        }
        self.ticked = Some(now.tick);
        #[cfg(feature = "log")]
        self.accept_watch.look(self.reactor.index, self.reactor.counters(), now.instant);
        if wanted {
            self.reactor.wake_at = None;
        }
        for (route, handler) in self.handlers.iter_mut().enumerate() {
            handler.tick(&mut self.reactor, route as u16);
        }
        self.give_up_waiting(core);
    }

    /// Calls the handlers of the connections whose timers have expired.
    fn call_timers(&mut self, core: &mut Core<HandlerSlot>) {
        for id in self.reactor.timers.take_expired(core.now().instant) {
            let Self { handlers, reactor, .. } = self;
            core.with(id, |conn| {
                if let Some(handler) = handlers.get_mut(usize::from(conn.state().route())) {
                    handler.timer(conn, reactor);
                }
            });
        }
    }

    /// Sends what the handlers wrote to others: to other reactors in one go for each.
    fn post(&mut self, core: &mut Core<HandlerSlot>) {
        // What these bring about waits for the next turn, so that no handler can keep the reactor from all others.
        for Envelope { reactor, mail } in std::mem::take(&mut self.reactor.letters) {
            if reactor == self.reactor.index {
                self.command(core, mail);
            } else {
                self.post.put(reactor, mail);
            }
        }
        self.post.broadcast(&mut self.reactor.broadcasts);
        self.post.flush();
        if !self.reactor.letters.is_empty() {
            core.stay_awake();
        }
    }
}

/// Why a connection ended that said no Close, for its handler.
fn words(cause: Cause) -> &'static str {
    match cause {
        Cause::Deadline(Deadline::Idle) => "no sign of life",
        Cause::Deadline(Deadline::Stalled) => "it took nothing of what waited for it",
        Cause::Deadline(_) => "it did not answer the Close",
        Cause::Io(_) => "the connection failed",
        Cause::Local(_) => "this host has no room for it",
        Cause::Driver(_) => "aborted",
        _ => "",
    }
}

/// The methods that RFC 9110 section 9 and RFC 5789 define: any other is not implemented (501), while one of these is known,
/// and not allowed (405).
fn is_known(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS" | "TRACE" | "CONNECT")
}

/// An answer that is all in its fields.
fn empty(more_fields: &str) -> HttpResponse<'_> {
    HttpResponse { status: 204, content_type: "", more_fields, body: b"", close: false }
}

impl Driver for App {
    type State = HandlerSlot;
    type Command = Command;

    #[inline(always)]
    fn message(&mut self, conn: &mut Conn<'_, HandlerSlot>, kind: MessageKind, payload: &[u8]) {
        if let Some(handler) = self.handlers.get_mut(usize::from(conn.state().route())) {
            handler.message(conn, &mut self.reactor, kind, payload);
        }
    }

    fn event(&mut self, conn: &mut Conn<'_, HandlerSlot>, event: Event<'_>) {
        match event {
            Event::Data(bytes) => conn.send_raw(bytes),
            Event::Request(request) => self.request(conn, &request),
            Event::Expects(request) => self.expects(conn, &request),
            Event::Pong(payload) => {
                let round_trip = self.reactor.round_trip(payload);
                if let Some(handler) = self.handlers.get_mut(usize::from(conn.state().route())) {
                    handler.pong(conn, &mut self.reactor, round_trip);
                }
            }
            Event::Closed(code, reason) => {
                let reason = std::str::from_utf8(reason).unwrap_or_default();
                self.closed(conn, &Closed { code, reason, was_clean: true });
            }
            Event::Failed(fault) => {
                self.closed(conn, &Closed { code: fault.code().into(), reason: fault.reason(), was_clean: false });
            }
            _ => {}
        }
    }

    /// Whose pong tells how long it took.
    fn ping(&mut self, conn: &mut Conn<'_, HandlerSlot>) {
        conn.ping(&self.reactor.ping_stamp());
    }

    fn writable(&mut self, conn: &mut Conn<'_, HandlerSlot>) {
        if let Some(handler) = self.handlers.get_mut(usize::from(conn.state().route())) {
            handler.writable(conn, &mut self.reactor);
        }
    }

    fn ended(&mut self, conn: &mut Conn<'_, HandlerSlot>, cause: Cause) {
        let index = conn.id().index();
        if !self.reactor.waiting.is_empty() {
            self.reactor.waiting.remove(&index);
        }
        self.closed(conn, &Closed { code: CloseStatus::ABNORMAL, reason: words(cause), was_clean: false });
        self.reactor.topics.leave(index);
        self.reactor.timers.cancel(conn.id());
    }

    fn command(&mut self, core: &mut Core<HandlerSlot>, command: Command) {
        match command {
            Command::Stop => self.drain(core, Duration::ZERO),
            Command::Drain => self.drain(core, self.reactor.shared.drain.0),
            Command::Send { to, kind, payload, from, receipt } => {
                let sent = self.send(core, to, kind, &payload);
                if let Some(receipt) = receipt {
                    let _ = receipt.send(sent); // the sender may not wait for it
                } else if let (Err(_), Some((reactor, route))) = (sent, from) {
                    let to = id::ConnectionId { reactor: self.reactor.index, within: to };
                    self.reactor.letters.push(Envelope { reactor, mail: Command::Undelivered { to, route } });
                }
            }
            Command::Undelivered { to, route } => {
                self.handlers[usize::from(route)].undelivered(&mut self.reactor, route, to);
            }
            Command::Close { id, code, reason } => {
                core.with(id, |conn| {
                    if conn.session_state() == State::Open {
                        conn.close(code, &reason);
                    }
                });
            }
            Command::Publish { topic, message } => {
                let lost = self.reactor.topics.publish(&topic, &message, None);
                self.reactor.shared.count_lost(self.reactor.index, lost);
            }
            Command::CountReceivers { topic, count } => {
                let _ = count.send(self.reactor.topics.members(&topic)); // a caller always waits
            }
        }
    }

    fn end_iteration(&mut self, core: &mut Core<HandlerSlot>) {
        self.tick(core);
        if self.reactor.timers.next().is_some() {
            self.call_timers(core);
        }
        self.post(core);
        if !self.reactor.topics.is_idle() && self.deliver(core) {
            core.stay_awake();
        }
        if let Some(drain) = &mut self.drain {
            drain.go_on(core, self.reactor.shared.drain.1);
        }
        for at in [self.reactor.wake_at, self.reactor.timers.next()].into_iter().flatten() {
            core.wake_at(at);
        }
    }
}
