//! A handler of any type as its reactor has it, with what it keeps for its connections.

use super::context::{Desk, ReactorState};
use super::guard;
use super::handler::{Closed, Handler, Peer};
use super::id::ConnectionId;
use super::message::Message;
use super::slot::HandlerSlot;
use crate::net::link::Link;
use crate::proto::close::CloseCode;
use crate::proto::http::Request;
use crate::proto::session::MessageKind;
use slab::Slab;
use std::time::Duration;

/// A handler and its states, of types that the reactor does not know. One of these calls is a jump by a table: a few
/// instructions, and all that is inside is compiled for its types.
pub(super) trait DynHandler {
    fn opened(
        &mut self,
        link: &mut Link<'_, HandlerSlot>,
        reactor: &mut ReactorState,
        request: &Request<'_>,
        subprotocol: Option<&str>,
    );
    fn message(
        &mut self,
        link: &mut Link<'_, HandlerSlot>,
        reactor: &mut ReactorState,
        kind: MessageKind,
        payload: &[u8],
    );
    fn pong(&mut self, link: &mut Link<'_, HandlerSlot>, reactor: &mut ReactorState, round_trip: Option<Duration>);
    fn writable(&mut self, link: &mut Link<'_, HandlerSlot>, reactor: &mut ReactorState);
    fn closed(&mut self, link: &mut Link<'_, HandlerSlot>, reactor: &mut ReactorState, closed: &Closed<'_>);
    fn tick(&mut self, reactor: &mut ReactorState, route: u16);
    fn undelivered(&mut self, reactor: &mut ReactorState, route: u16, to: ConnectionId);
}

struct HandlerInstance<H, S> {
    handler: H,
    states: Slab<S>,
}

/// A handler that has no connection yet.
pub(super) fn instance<S: Default + 'static>(handler: impl Handler<S>) -> Box<dyn DynHandler> {
    Box::new(HandlerInstance { handler, states: Slab::<S>::new() })
}

impl<S: Default + 'static, H: Handler<S>> HandlerInstance<H, S> {
    /// A state that has no bytes and ends without a trace need not be kept.
    const KEEPS: bool = size_of::<S>() > 0 || std::mem::needs_drop::<S>();

    /// Calls the handler for a connection, which ends if that panics.
    #[inline(always)]
    fn with(
        &mut self,
        link: &mut Link<'_, HandlerSlot>,
        reactor: &mut ReactorState,
        work: impl FnOnce(&mut H, &mut Peer<'_, '_, S>),
    ) {
        let (route, at) = (link.state().route(), link.state().state());
        let Self { handler, states } = self;
        let done = guard::call(|| {
            let desk = Desk { reactor, route };
            if let Some(state) = state(states, at, Self::KEEPS) {
                work(handler, &mut Peer { link, desk, state });
            }
        });
        if done.is_none() {
            fail(link, reactor);
        }
    }
}

/// The handler has panicked in a call for this connection.
#[cold]
fn fail(link: &mut Link<'_, HandlerSlot>, reactor: &ReactorState) {
    reactor.counters().handler_panics.add(1);
    link.close(CloseCode::INTERNAL_ERROR, "internal error");
}

#[inline(always)]
fn state<S: Default + 'static>(states: &mut Slab<S>, at: usize, keeps: bool) -> Option<&mut S> {
    match keeps {
        true => states.get_mut(at),
        // A box of nothing is no allocation, and there is nothing in it to leak.
        false => Some(Box::leak(Box::new(S::default()))),
    }
}

impl<S: Default + 'static, H: Handler<S>> DynHandler for HandlerInstance<H, S> {
    fn opened(
        &mut self,
        link: &mut Link<'_, HandlerSlot>,
        reactor: &mut ReactorState,
        request: &Request<'_>,
        subprotocol: Option<&str>,
    ) {
        if Self::KEEPS {
            let Some(state) = guard::call(S::default) else {
                // Without a state there is nothing to call the handler with, now or later.
                link.state().leave();
                return fail(link, reactor);
            };
            link.state().set_state(self.states.insert(state));
        }
        self.with(link, reactor, |handler, peer| handler.opened(peer, request, subprotocol));
    }

    #[inline]
    fn message(
        &mut self,
        link: &mut Link<'_, HandlerSlot>,
        reactor: &mut ReactorState,
        kind: MessageKind,
        payload: &[u8],
    ) {
        self.with(link, reactor, |handler, peer| handler.message(peer, Message::new(kind, payload)));
    }

    fn pong(&mut self, link: &mut Link<'_, HandlerSlot>, reactor: &mut ReactorState, round_trip: Option<Duration>) {
        self.with(link, reactor, |handler, peer| handler.pong(peer, round_trip));
    }

    fn writable(&mut self, link: &mut Link<'_, HandlerSlot>, reactor: &mut ReactorState) {
        self.with(link, reactor, Handler::writable);
    }

    fn closed(&mut self, link: &mut Link<'_, HandlerSlot>, reactor: &mut ReactorState, closed: &Closed<'_>) {
        let (route, at) = (link.state().route(), link.state().state());
        // Whatever the handler does now, this was the last that it hears of the connection.
        link.state().leave();
        let Self { handler, states } = self;
        let told = guard::call(|| {
            let desk = Desk { reactor, route };
            if let Some(state) = state(states, at, Self::KEEPS) {
                handler.closed(&mut Peer { link, desk, state }, closed);
            }
        });
        if told.is_none() {
            fail(link, reactor);
        }
        if Self::KEEPS {
            let state = states.try_remove(at);
            guard::count(reactor.counters(), || drop(state));
        }
    }

    fn tick(&mut self, reactor: &mut ReactorState, route: u16) {
        if guard::call(|| self.handler.tick(&mut Desk { reactor, route })).is_none() {
            reactor.counters().handler_panics.add(1);
        }
    }

    fn undelivered(&mut self, reactor: &mut ReactorState, route: u16, to: ConnectionId) {
        if guard::call(|| self.handler.undelivered(&mut Desk { reactor, route }, to)).is_none() {
            reactor.counters().handler_panics.add(1);
        }
    }
}
