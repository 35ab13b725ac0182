//! Requests and their replies.

use super::{Peer, PeerFlags, Worker};
use crate::flood::command::PhaseTask;
use crate::flood::latency::Measure;
use crate::flood::ledger::{Stage, TOO_LONG, WRONG_REPLY};
use crate::flood::target::Scheme;
use crate::net::conn::Conn;
use crate::proto::session::MessageKind;
use std::time::Instant;

impl Worker {
    /// Sends one more message and starts to wait for its reply.
    pub(super) fn send(&mut self, conn: &mut Conn<'_, Peer>) {
        self.send_at(conn, Instant::now());
    }

    /// As `send`, with a clock reading that the caller has already.
    pub(super) fn send_at(&mut self, conn: &mut Conn<'_, Peer>, now: Instant) {
        let now_us = self.stamp_us(now);
        let peer = conn.state();
        peer.set(PeerFlags::AWAITS);
        peer.received = 0;
        peer.since_us = now_us;
        let (number, sequence) = (peer.number, peer.sequence);
        self.ledger.counts.sent += 1;
        self.is_published = false;
        let route = self.config.routes.of(number);
        match self.config.targets[route.target].scheme {
            Scheme::Ws => drop(conn.send(MessageKind::Binary, self.payload.make(number, sequence))),
            Scheme::Tcp => conn.send_raw(self.payload.make(number, sequence)),
            Scheme::Http => {
                self.pages[route.target].begin(number);
                conn.request(&route.host, &self.config.targets[route.target].path, &self.config.fields);
            }
        }
    }

    /// Handles a complete and correct reply.
    pub(super) fn replied(&mut self, conn: &mut Conn<'_, Peer>) {
        let now = Instant::now();
        let took_us = self.waited_us(conn.state(), now);
        let peer = conn.state();
        peer.take(PeerFlags::AWAITS);
        peer.sequence = peer.sequence.wrapping_add(1);
        self.ledger.counts.replies += 1;
        self.is_published = false;
        match self.task() {
            Some(PhaseTask::Rate(params)) => return self.replied_on_schedule(conn, params, now, took_us),
            // Only a counted request was sent in this phase.
            Some(PhaseTask::Reply { .. }) if peer.has(PeerFlags::COUNTED) => {
                self.measure(Measure::Reply, took_us);
                peer.of_phase = peer.of_phase.saturating_sub(1);
                if peer.of_phase > 0 {
                    return self.send_at(conn, now);
                }
                self.answered(peer);
            }
            Some(PhaseTask::Check) if peer.has(PeerFlags::COUNTED) => {
                self.measure(Measure::Alive, took_us);
                self.ledger.counts.held += u64::from(!peer.has(PeerFlags::HELD));
                peer.set(PeerFlags::HELD);
                self.shift(peer, Stage::Held);
            }
            _ => self.measure(Measure::Hold, took_us),
        }
        self.leave_window(conn.state());
        if conn.state().has(PeerFlags::SLOW) {
            self.slow_down(conn, 0);
        }
    }

    /// Marks a connection as answered in full.
    pub(super) fn answered(&mut self, peer: &mut Peer) {
        self.ledger.counts.answered += u64::from(!peer.has(PeerFlags::ANSWERED));
        peer.set(PeerFlags::ANSWERED);
        if peer.stage == Stage::Open {
            self.shift(peer, Stage::Answered);
        }
    }

    /// Compares received bytes of a TCP stream with the expected reply.
    pub(super) fn on_data(&mut self, conn: &mut Conn<'_, Peer>, bytes: &[u8]) {
        if !conn.state().has(PeerFlags::AWAITS) {
            return conn.end(WRONG_REPLY);
        }
        let from = conn.state().received as usize;
        let wanted = self.payload.make(conn.state().number, conn.state().sequence);
        if wanted.get(from..from + bytes.len()) != Some(bytes) {
            return conn.end(WRONG_REPLY);
        }
        conn.state().received += bytes.len() as u32;
        if conn.state().received as usize == wanted.len() {
            self.replied(conn);
        }
    }

    /// Compares received bytes of an HTTP body with the expected page.
    pub(super) fn on_body(&mut self, conn: &mut Conn<'_, Peer>, bytes: &[u8]) {
        let from = conn.state().received as usize;
        conn.state().received = conn.state().received.saturating_add(bytes.len() as u32);
        // A server may send a body without end.
        if conn.state().received > self.config.max_reply_bytes {
            return conn.end(TOO_LONG);
        }
        let target = self.config.routes.of(conn.state().number).target;
        if !self.pages[target].on_data(conn.state().number, from, bytes) {
            conn.end(WRONG_REPLY);
        }
    }

    pub(super) fn on_body_end(&mut self, conn: &mut Conn<'_, Peer>) {
        let target = self.config.routes.of(conn.state().number).target;
        let right = self.pages[target].end(conn.state().number, conn.state().received as usize);
        if !right || !conn.state().has(PeerFlags::AWAITS) {
            return conn.end(WRONG_REPLY);
        }
        self.replied(conn);
    }
}
