//! Receives pushed messages and measures their age by the timestamp in them; some connections read slowly or not at
//! all.

use super::phase::Receivers;
use super::{Peer, PeerFlags, Worker, in_sample};
use crate::flood::command::{PhaseTask, Slow};
use crate::flood::latency::Measure;
use crate::flood::payload::age_us;
use crate::net::conn::Conn;
use crate::net::reactor::Core;
use std::cmp::Reverse;
use std::time::{Duration, Instant, SystemTime};

impl Worker {
    pub(super) fn begin_to_receive(&mut self, core: &mut Core<Peer>, slow: Slow) {
        self.receivers = Receivers::default();
        for index in 0..core.end_index() {
            let Some((id, peer)) = core.at(index) else { continue };
            if !peer.is_open() {
                continue;
            }
            peer.of_phase = 0;
            peer.set(PeerFlags::STARTED);
            self.receivers.waiting += 1;
            if in_sample(peer.number, slow.share) {
                peer.set(PeerFlags::SLOW);
                if slow.bytes_per_s == 0 {
                    core.with(id, |conn| self.slow_down(conn, 0));
                }
            }
        }
    }

    /// Handles a message that is not a reply.
    pub(super) fn unasked(&mut self, conn: &mut Conn<'_, Peer>, payload: &[u8]) {
        self.ledger.counts.received += 1;
        self.is_published = false;
        let Some(PhaseTask::Receive { messages, .. }) = self.task() else { return };
        if let Some(age_us) = age_us(payload, SystemTime::now()) {
            self.measure(Measure::Age, age_us);
        }
        let peer = conn.state();
        peer.of_phase = peer.of_phase.saturating_add(1);
        if messages.is_some_and(|wanted| peer.of_phase >= wanted) && peer.take(PeerFlags::STARTED) {
            self.receivers.waiting -= 1;
        }
        if peer.has(PeerFlags::SLOW) {
            self.slow_down(conn, payload.len());
        }
    }

    /// Pauses reading on a slow connection: for good, or for the time that the message takes at the slow rate. A
    /// connection that awaits a reply from before reads that first.
    pub(super) fn slow_down(&mut self, conn: &mut Conn<'_, Peer>, message_bytes: usize) {
        let Some(PhaseTask::Receive { slow, .. }) = self.task() else { return };
        if conn.state().has(PeerFlags::AWAITS) || self.receivers.is_ending {
            return;
        }
        if slow.bytes_per_s > 0 {
            let takes = Duration::from_secs_f64(message_bytes as f64 / f64::from(slow.bytes_per_s));
            self.receivers.paused.push(Reverse((Instant::now() + takes, conn.id())));
        }
        conn.pause();
    }

    /// Resumes slow connections whose pause is over; returns whether the phase is complete.
    pub(super) fn receive(&mut self, core: &mut Core<Peer>, messages: Option<u32>) -> bool {
        if self.receivers.is_ending {
            return self.receivers.catching_up == 0;
        }
        while let Some(&Reverse((until, id))) = self.receivers.paused.peek() {
            if until > core.now().instant {
                core.wake_at(until);
                break;
            }
            self.receivers.paused.pop();
            core.with(id, |conn| conn.resume());
        }
        messages.is_some() && self.receivers.waiting == 0
    }

    /// Resumes all slow connections. The pong of a ping sent now arrives after the unread data, which shows whether the
    /// server still holds the connection.
    pub(super) fn stop_receiving(&mut self, core: &mut Core<Peer>) {
        self.receivers.is_ending = true;
        self.receivers.paused.clear();
        if let Some(PhaseTask::Receive { messages: Some(_), .. }) = self.task() {
            self.samples.missing += self.receivers.waiting as u64;
        }
        let now_us = self.stamp_us(Instant::now());
        for index in 0..core.end_index() {
            let Some((id, peer)) = core.at(index) else { continue };
            if !peer.take(PeerFlags::SLOW) {
                continue;
            }
            peer.set(PeerFlags::CATCHES_UP);
            if !peer.has(PeerFlags::AWAITS) {
                peer.since_us = now_us;
            }
            self.receivers.catching_up += 1;
            core.with(id, |conn| {
                conn.resume();
                conn.ping(b"");
            });
        }
    }

    /// Handles the pong that shows that a slow connection has caught up.
    pub(super) fn caught_up(&mut self, peer: &mut Peer) {
        if peer.take(PeerFlags::CATCHES_UP) {
            self.receivers.catching_up -= 1;
        }
    }

    /// Stops waiting for a connection that has ended.
    pub(super) fn leave_receivers(&mut self, peer: &mut Peer) {
        self.caught_up(peer);
        if matches!(self.task(), Some(PhaseTask::Receive { .. })) && peer.take(PeerFlags::STARTED) {
            self.receivers.waiting -= 1;
        }
    }
}
