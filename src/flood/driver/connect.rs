//! Opens connections; a storm resets some of them and opens them again.

use super::{Peer, PeerFlags, Worker, in_sample};
use crate::flood::latency::Measure;
use crate::flood::ledger::{DROPPED, Stage};
use crate::flood::target::Scheme;
use crate::net::conn::{Cause, Conn};
use crate::net::reactor::Core;
use crate::net::sys::errno::{EADDRINUSE, EADDRNOTAVAIL};
use crate::net::sys::error_code;
use crate::proto::session::Session;
use std::io;
use std::time::Instant;

impl Worker {
    pub(super) fn connect_more(&mut self, core: &mut Core<Peer>, until: u32, per_s: Option<f64>) -> bool {
        let mut due = per_s.map_or(u64::MAX, |rate| self.due(core, rate));
        // A connect that fails at once does not enter the window, and no event would resume the loop; so it goes on
        // here.
        while due > 0 && self.in_window < self.config.window && self.begun < until {
            let Some(number) = self.planned.next() else { break };
            due -= 1;
            self.paced += 1;
            self.begun += 1;
            self.connect(core, number, PeerFlags::default());
        }
        let is_begun = self.begun >= until || self.planned.is_empty();
        if let Some(rate) = per_s
            && !is_begun
        {
            self.wake_for_next(core, rate);
        }
        is_begun && self.in_window == 0
    }

    fn connect(&mut self, core: &mut Core<Peer>, number: u32, flags: PeerFlags) {
        self.connect_from(core, number, flags, true);
    }

    /// Connects from the port that the plan gives the connection, or from any free port.
    fn connect_from(&mut self, core: &mut Core<Peer>, number: u32, flags: PeerFlags, is_own_port: bool) {
        let session = match self.scheme(number) {
            Scheme::Http => Session::http_client(),
            Scheme::Ws | Scheme::Tcp => Session::raw(),
        };
        let routes = &self.config.routes;
        let route = routes.of(number);
        let source = if is_own_port { routes.source(number) } else { routes.source_address(number) };
        let flags = PeerFlags(flags.0 | PeerFlags::COUNTED.0);
        let peer = Peer {
            since_us: self.stamp_us(Instant::now()),
            number,
            flags,
            stage: Stage::Connecting,
            ..Peer::default()
        };
        self.is_published = false;
        match core.connect(&route.destination, source.as_ref(), session, peer) {
            // Another process has that port, or an earlier connection is in TIME_WAIT there: let the kernel choose.
            Err(error) if is_own_port && matches!(error_code(&error), EADDRINUSE | EADDRNOTAVAIL) => {
                self.connect_from(core, number, flags, false);
            }
            Ok(_) => {
                self.in_window += 1;
                self.ledger.shift(Stage::Planned, Stage::Connecting);
            }
            Err(error) => {
                let code = error_code(&error);
                // Unix sockets and some addresses refuse at once; any other error is a limit of this host.
                let refused = error.kind() == io::ErrorKind::ConnectionRefused;
                let cause = if refused { Cause::Connect(code) } else { Cause::Local(code) };
                self.ledger.lose(Stage::Planned, cause);
            }
        }
    }

    pub(super) fn opened(&mut self, conn: &mut Conn<'_, Peer>) {
        let took_us = self.waited_us(conn.state(), Instant::now());
        if conn.state().has(PeerFlags::AGAIN) {
            self.measure(Measure::Reconnect, took_us);
            self.ledger.counts.reopened += 1;
        } else {
            self.measure(Measure::Connect, took_us);
            self.ledger.counts.opened += 1;
        }
        self.shift(conn.state(), Stage::Open);
        self.leave_window(conn.state());
    }

    /// Resets a share of the open connections at once.
    pub(super) fn drop_some(&mut self, core: &mut Core<Peer>, share: f64) {
        for index in 0..core.end_index() {
            let Some((id, peer)) = core.at(index) else { continue };
            if peer.is_open() && in_sample(peer.number, share) {
                self.dropping += 1;
                core.reset(id, DROPPED);
            }
        }
    }

    /// Opens the reset connections again; returns whether all of them are open or lost.
    pub(super) fn reconnect(&mut self, core: &mut Core<Peer>) -> bool {
        while self.in_window < self.config.shared_window
            && let Some((number, flags)) = self.dropped.pop()
        {
            self.connect(core, number, PeerFlags(flags.0 | PeerFlags::AGAIN.0));
        }
        self.dropping == 0 && self.dropped.is_empty() && self.in_window == 0
    }
}
