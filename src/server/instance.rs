//! A handler of any type, as its reactor calls it, with the states of its connections.

use super::context::{ReactorContext, ReactorState};
use super::guard;
use super::handler::{Closed, Handler, Peer};
use super::hook::{self, RouteHook};
use super::id::ConnectionId;
use super::message::Message;
use super::refused::Refused;
use super::request::Request;
use super::slot::HandlerSlot;
use crate::net::conn::Conn;
use crate::net::counters::Counters;
use crate::proto::close::CloseCode;
use crate::proto::session::MessageKind;
use slab::Slab;
use std::net::SocketAddr;
use std::time::Duration;

/// A handler and its states, whose types the reactor does not know. A call costs one jump through a table; the code behind it
/// is compiled for the handler's types.
pub(super) trait DynHandler {
    /// Asks the hook of the route, if it has one. What that returns is the state of the connection that is opened next.
    fn judge(&mut self, request: &Request<'_>, address: Option<SocketAddr>, counters: &Counters)
    -> Result<(), Refused>;
    fn opened(&mut self, conn: &mut Conn<'_, HandlerSlot>, reactor: &mut ReactorState, request: &Request<'_>);
    fn message(
        &mut self,
        conn: &mut Conn<'_, HandlerSlot>,
        reactor: &mut ReactorState,
        kind: MessageKind,
        payload: &[u8],
    );
    fn pong(&mut self, conn: &mut Conn<'_, HandlerSlot>, reactor: &mut ReactorState, round_trip: Option<Duration>);
    fn writable(&mut self, conn: &mut Conn<'_, HandlerSlot>, reactor: &mut ReactorState);
    fn timer(&mut self, conn: &mut Conn<'_, HandlerSlot>, reactor: &mut ReactorState);
    fn closed(&mut self, conn: &mut Conn<'_, HandlerSlot>, reactor: &mut ReactorState, closed: &Closed<'_>);
    fn tick(&mut self, reactor: &mut ReactorState, route: u16);
    fn undelivered(&mut self, reactor: &mut ReactorState, route: u16, to: ConnectionId);
}

struct HandlerInstance<H, S> {
    handler: H,
    states: Slab<S>,
    hook: Option<RouteHook<S>>,
    /// What the hook returned, until `opened` takes it in the same call of the driver.
    next: Option<S>,
}

/// Wraps a handler that has no connection yet.
pub(super) fn instance<S: Default + 'static>(
    handler: impl Handler<S>,
    hook: Option<RouteHook<S>>,
) -> Box<dyn DynHandler> {
    Box::new(HandlerInstance { handler, states: Slab::new(), hook, next: None })
}

impl<S: Default + 'static, H: Handler<S>> HandlerInstance<H, S> {
    /// Whether states are stored: a zero-sized state without a destructor need not be.
    const KEEPS: bool = size_of::<S>() > 0 || std::mem::needs_drop::<S>();

    /// Calls the handler for a connection, and closes the connection if the call panics.
    #[inline(always)]
    fn with(
        &mut self,
        conn: &mut Conn<'_, HandlerSlot>,
        reactor: &mut ReactorState,
        work: impl FnOnce(&mut H, &mut Peer<'_, '_, S>),
    ) {
        let (route, at) = (conn.state().route(), conn.state().state());
        let Self { handler, states, .. } = self;
        let done = guard::call(|| {
            let connection = Some(conn.id().index());
            let context = ReactorContext { reactor, route, connection };
            if let Some(state) = state(states, at, Self::KEEPS) {
                work(handler, &mut Peer { conn, context, state });
            }
        });
        if done.is_none() {
            fail(conn, reactor);
        }
    }
}

/// Closes a connection after its handler has panicked.
#[cold]
fn fail(conn: &mut Conn<'_, HandlerSlot>, reactor: &ReactorState) {
    guard::panicked(reactor.counters());
    conn.close(CloseCode::INTERNAL_ERROR, "internal error");
}

#[inline(always)]
fn state<S: Default + 'static>(states: &mut Slab<S>, at: usize, keeps: bool) -> Option<&mut S> {
    match keeps {
        true => states.get_mut(at),
        // The box of a zero-sized type allocates nothing, so nothing is leaked.
        false => Some(Box::leak(Box::new(S::default()))),
    }
}

impl<S: Default + 'static, H: Handler<S>> DynHandler for HandlerInstance<H, S> {
    fn judge(
        &mut self,
        request: &Request<'_>,
        address: Option<SocketAddr>,
        counters: &Counters,
    ) -> Result<(), Refused> {
        if let Some(ask) = &self.hook {
            self.next = Some(hook::call(counters, || ask(request, address))?);
        }
        Ok(())
    }

    fn opened(&mut self, conn: &mut Conn<'_, HandlerSlot>, reactor: &mut ReactorState, request: &Request<'_>) {
        if Self::KEEPS {
            let Some(state) = self.next.take().or_else(|| guard::call(S::default)) else {
                // Without a state the handler cannot be called for this connection, now or later.
                conn.state().leave();
                return fail(conn, reactor);
            };
            conn.state().set_state(self.states.insert(state));
        }
        self.with(conn, reactor, |handler, peer| handler.opened(peer, request));
    }

    #[inline]
    fn message(
        &mut self,
        conn: &mut Conn<'_, HandlerSlot>,
        reactor: &mut ReactorState,
        kind: MessageKind,
        payload: &[u8],
    ) {
        self.with(conn, reactor, |handler, peer| handler.message(peer, Message::new(kind, payload)));
    }

    fn pong(&mut self, conn: &mut Conn<'_, HandlerSlot>, reactor: &mut ReactorState, round_trip: Option<Duration>) {
        self.with(conn, reactor, |handler, peer| handler.pong(peer, round_trip));
    }

    fn writable(&mut self, conn: &mut Conn<'_, HandlerSlot>, reactor: &mut ReactorState) {
        self.with(conn, reactor, Handler::writable);
    }

    fn timer(&mut self, conn: &mut Conn<'_, HandlerSlot>, reactor: &mut ReactorState) {
        self.with(conn, reactor, Handler::timer);
    }

    fn closed(&mut self, conn: &mut Conn<'_, HandlerSlot>, reactor: &mut ReactorState, closed: &Closed<'_>) {
        let (route, at) = (conn.state().route(), conn.state().state());
        // This is the last call for the connection, whatever the handler does in it.
        conn.state().leave();
        let Self { handler, states, .. } = self;
        let told = guard::call(|| {
            let connection = Some(conn.id().index());
            let context = ReactorContext { reactor, route, connection };
            if let Some(state) = state(states, at, Self::KEEPS) {
                handler.closed(&mut Peer { conn, context, state }, closed);
            }
        });
        if told.is_none() {
            fail(conn, reactor);
        }
        if Self::KEEPS {
            let state = states.try_remove(at);
            guard::count(reactor.counters(), || drop(state));
        }
    }

    fn tick(&mut self, reactor: &mut ReactorState, route: u16) {
        if guard::call(|| self.handler.tick(&mut ReactorContext { reactor, route, connection: None })).is_none() {
            guard::panicked(reactor.counters());
        }
    }

    fn undelivered(&mut self, reactor: &mut ReactorState, route: u16, to: ConnectionId) {
        if guard::call(|| self.handler.undelivered(&mut ReactorContext { reactor, route, connection: None }, to))
            .is_none()
        {
            guard::panicked(reactor.counters());
        }
    }
}
