//! Messages and their answers.

use super::{Marks, Peer, Worker};
use crate::flood::latency::Measure;
use crate::flood::ledger::{Stage, TOO_LONG, WRONG_REPLY};
use crate::flood::orders::Work;
use crate::flood::target::Scheme;
use crate::net::link::Link;
use crate::proto::session::MessageKind;
use std::time::Instant;

impl Worker {
    /// Begins to wait for the answer to one more message.
    pub(super) fn send(&mut self, link: &mut Link<'_, Peer>) {
        self.send_at(link, Instant::now());
    }

    /// The same, when the clock has just been read.
    pub(super) fn send_at(&mut self, link: &mut Link<'_, Peer>, now: Instant) {
        let now_us = self.stamp_us(now);
        let peer = link.state();
        peer.set(Marks::AWAITS);
        peer.received = 0;
        peer.since_us = now_us;
        let (number, sequence) = (peer.number, peer.sequence);
        self.ledger.counts.sent += 1;
        self.shown = false;
        let route = self.orders.routes.of(number);
        match self.orders.targets[route.target].scheme {
            Scheme::Ws => drop(link.send(MessageKind::Binary, self.payload.make(number, sequence))),
            Scheme::Tcp => link.send_raw(self.payload.make(number, sequence)),
            Scheme::Http => {
                self.pages[route.target].begin(number);
                link.request(&route.host, &self.orders.targets[route.target].path, &self.orders.fields);
            }
        }
    }

    /// A right answer is complete.
    pub(super) fn replied(&mut self, link: &mut Link<'_, Peer>) {
        let now = Instant::now();
        let took_us = self.waited_us(link.state(), now);
        let peer = link.state();
        peer.take(Marks::AWAITS);
        peer.sequence = peer.sequence.wrapping_add(1);
        self.ledger.counts.replies += 1;
        self.shown = false;
        match self.work() {
            Some(Work::Rate(pace)) => return self.replied_at_pace(link, pace, now, took_us),
            // Only what took a place was asked in this phase.
            Some(Work::Reply { .. }) if peer.has(Marks::COUNTED) => {
                self.measure(Measure::Reply, took_us);
                peer.of_phase = peer.of_phase.saturating_sub(1);
                if peer.of_phase > 0 {
                    return self.send_at(link, now);
                }
                self.answered(peer);
            }
            Some(Work::Check) if peer.has(Marks::COUNTED) => {
                self.measure(Measure::Alive, took_us);
                self.ledger.counts.held += u64::from(!peer.has(Marks::HELD));
                peer.set(Marks::HELD);
                self.shift(peer, Stage::Held);
            }
            _ => self.measure(Measure::Hold, took_us),
        }
        self.leave_window(link.state());
        if link.state().has(Marks::SLOW) {
            self.slow_down(link, 0);
        }
    }

    /// All that was asked of it was answered.
    pub(super) fn answered(&mut self, peer: &mut Peer) {
        self.ledger.counts.answered += u64::from(!peer.has(Marks::ANSWERED));
        peer.set(Marks::ANSWERED);
        if peer.stage == Stage::Open {
            self.shift(peer, Stage::Answered);
        }
    }

    /// A piece of a reply that comes as a stream.
    pub(super) fn piece(&mut self, link: &mut Link<'_, Peer>, bytes: &[u8]) {
        if !link.state().has(Marks::AWAITS) {
            return link.end(WRONG_REPLY);
        }
        let from = link.state().received as usize;
        let wanted = self.payload.make(link.state().number, link.state().sequence);
        if wanted.get(from..from + bytes.len()) != Some(bytes) {
            return link.end(WRONG_REPLY);
        }
        link.state().received += bytes.len() as u32;
        if link.state().received as usize == wanted.len() {
            self.replied(link);
        }
    }

    /// A piece of a page.
    pub(super) fn body(&mut self, link: &mut Link<'_, Peer>, bytes: &[u8]) {
        let from = link.state().received as usize;
        link.state().received = link.state().received.saturating_add(bytes.len() as u32);
        // A page may have no end.
        if link.state().received > self.orders.max_reply_bytes {
            return link.end(TOO_LONG);
        }
        let target = self.orders.routes.of(link.state().number).target;
        if !self.pages[target].piece(link.state().number, from, bytes) {
            link.end(WRONG_REPLY);
        }
    }

    pub(super) fn body_end(&mut self, link: &mut Link<'_, Peer>) {
        let target = self.orders.routes.of(link.state().number).target;
        let right = self.pages[target].end(link.state().number, link.state().received as usize);
        if !right || !link.state().has(Marks::AWAITS) {
            return link.end(WRONG_REPLY);
        }
        self.replied(link);
    }
}
