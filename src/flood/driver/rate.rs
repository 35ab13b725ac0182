//! Sends messages at a constant rate. Each has a due time, and its response time counts from then, whether or not the
//! server lets it be sent. A client that waits for a response before it looks at the clock again would measure a
//! stalled server as an idle one (coordinated omission).

use super::phase::SendSchedule;
use super::{Peer, PeerFlags, Worker};
use crate::flood::command::{PhaseTask, ScheduleParams};
use crate::flood::latency::Measure;
use crate::net::conn::Conn;
use crate::net::reactor::Core;
use std::time::{Duration, Instant};

/// A due time is stored in 32 bits; it must be less than this far from now to be unambiguous.
const HALF_US: u32 = 1 << 31;

impl ScheduleParams {
    /// Returns the due time of message number `message` when `senders` connections send in rotation.
    ///
    /// Computed in integers, so that successive messages of a connection are exactly one interval apart.
    fn due_us(&self, message: u64, senders: u64) -> u64 {
        let turn = u128::from(message) * u128::from(self.workers) + u128::from(self.worker);
        (turn * u128::from(self.interval_us) / (u128::from(senders) * u128::from(self.workers))) as u64
    }

    fn elapsed_us(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.start).as_micros() as u64
    }
}

/// Restores a due time from its lower 32 bits `low`; it must be less than half an hour from `now_us`.
fn due_of(low: u32, now_us: u64) -> u64 {
    let ago_us = (now_us as u32).wrapping_sub(low);
    if ago_us < HALF_US { now_us.saturating_sub(u64::from(ago_us)) } else { now_us + u64::from(ago_us.wrapping_neg()) }
}

impl Worker {
    pub(super) fn make_schedule(&mut self, core: &mut Core<Peer>) {
        self.schedule = SendSchedule::default();
        for index in 0..core.end_index() {
            if let Some((id, peer)) = core.at(index)
                && peer.is_open()
            {
                peer.take(PeerFlags::STARTED);
                self.schedule.senders.push(id);
            }
        }
    }

    /// Sends what is due; returns whether every message was sent and answered.
    pub(super) fn run_schedule(&mut self, core: &mut Core<Peer>, params: ScheduleParams) -> bool {
        let senders = self.schedule.senders.len() as u64;
        if senders == 0 {
            return true;
        }
        let now = Instant::now();
        let (now_us, is_begun) = (params.elapsed_us(now), now >= params.start);
        loop {
            let message = self.schedule.next;
            let due_us = params.due_us(message, senders);
            if due_us >= params.for_us {
                return self.in_window == 0 && self.schedule.pending_before_start == 0;
            }
            if !is_begun || due_us > now_us {
                core.wake_at(params.start + Duration::from_micros(due_us));
                return false;
            }
            self.schedule.next += 1;
            self.samples.schedule.due += 1;
            let id = self.schedule.senders[(message % senders) as usize];
            core.with(id, |conn| self.send_due(conn, due_us, params));
        }
    }

    /// Sends a message that is due now. If its connection still awaits a reply, the message is sent after that reply.
    fn send_due(&mut self, conn: &mut Conn<'_, Peer>, due_us: u64, params: ScheduleParams) {
        let peer = conn.state();
        if peer.has(PeerFlags::AWAITS) || !peer.is_open() {
            // A connection that awaits a reply from before the schedule starts with this message afterwards.
            if peer.is_open() && !peer.has(PeerFlags(PeerFlags::COUNTED.0 | PeerFlags::STARTED.0)) {
                peer.of_phase = due_us as u32;
                peer.set(PeerFlags::STARTED);
                self.schedule.pending_before_start += 1;
            }
            return;
        }
        // The message may already have been sent right after a late reply.
        let ahead_us = peer.of_phase.wrapping_sub(due_us as u32);
        let is_sent = ahead_us == 0 || (ahead_us < HALF_US && params.interval_us < u64::from(HALF_US));
        if peer.has(PeerFlags::STARTED) && is_sent {
            return;
        }
        let now = Instant::now();
        self.measure(Measure::Lag, params.elapsed_us(now).saturating_sub(due_us));
        self.send_on_schedule(conn, due_us, now);
    }

    fn send_on_schedule(&mut self, conn: &mut Conn<'_, Peer>, due_us: u64, now: Instant) {
        let peer = conn.state();
        peer.of_phase = due_us as u32;
        peer.set(PeerFlags::STARTED);
        if !peer.has(PeerFlags::COUNTED) {
            peer.set(PeerFlags::COUNTED);
            self.in_window += 1;
        }
        self.samples.schedule.sent += 1;
        self.send_at(conn, now);
    }

    /// Measures a reply, and sends the next message if it became due meanwhile.
    pub(super) fn replied_on_schedule(
        &mut self,
        conn: &mut Conn<'_, Peer>,
        params: ScheduleParams,
        now: Instant,
        took_us: u64,
    ) {
        let now_us = params.elapsed_us(now);
        let peer = conn.state();
        let due_us = due_of(peer.of_phase, now_us);
        let next_us = if peer.has(PeerFlags::COUNTED) {
            self.measure(Measure::Response, now_us.saturating_sub(due_us).max(took_us));
            self.measure(Measure::Service, took_us);
            self.samples.schedule.answered += 1;
            due_us + params.interval_us
        } else {
            self.measure(Measure::Hold, took_us); // sent before the schedule began
            if !peer.has(PeerFlags::STARTED) {
                return;
            }
            self.schedule.pending_before_start -= 1;
            due_us
        };
        if next_us <= now_us && next_us < params.for_us {
            self.send_on_schedule(conn, next_us, now);
        } else {
            self.leave_window(conn.state());
        }
    }

    /// Removes an ending connection from the schedule; must be called before its flags are cleared.
    pub(super) fn leave_schedule(&mut self, peer: &Peer) {
        let is_pending = peer.has(PeerFlags::AWAITS) && peer.has(PeerFlags::STARTED) && !peer.has(PeerFlags::COUNTED);
        if is_pending && matches!(self.task(), Some(PhaseTask::Rate(_))) {
            self.schedule.pending_before_start -= 1;
        }
    }
}
