//! Messages at a constant rate: each has a time at which it is due, and its response time counts from then, whether or not
//! the server lets it be sent. A client that waits for a response before it looks at the clock again measures a
//! stalled server as an idle one.

use super::phase::SendSchedule;
use super::{Peer, PeerFlags, Worker};
use crate::flood::command::{PhaseTask, ScheduleParams};
use crate::flood::latency::Measure;
use crate::net::conn::Conn;
use crate::net::reactor::Core;
use std::time::{Duration, Instant};

/// Half of what a due time may be away from now, so that 32 bits of it say which one is meant.
const HALF_US: u32 = 1 << 31;

impl ScheduleParams {
    /// When message number `message` of `senders` who take turns is due.
    ///
    /// In whole numbers: one interval behind a message of a connection stands its next one, to the microsecond.
    fn due_us(&self, message: u64, senders: u64) -> u64 {
        let turn = u128::from(message) * u128::from(self.workers) + u128::from(self.worker);
        (turn * u128::from(self.interval_us) / (u128::from(senders) * u128::from(self.workers))) as u64
    }

    fn elapsed_us(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.start).as_micros() as u64
    }
}

/// The due time of which `low` are the lower 32 bits, and which is less than half an hour from `now_us`.
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

    /// Sends what is due; whether all that was to be sent is answered.
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

    /// Sends a message that is due now, unless its sender is behind: then it is sent behind the answer it waits for.
    fn send_due(&mut self, conn: &mut Conn<'_, Peer>, due_us: u64, params: ScheduleParams) {
        let peer = conn.state();
        if peer.has(PeerFlags::AWAITS) || !peer.is_open() {
            // One that waits for an answer from before the schedule begins with this message behind it.
            if peer.is_open() && !peer.has(PeerFlags(PeerFlags::COUNTED.0 | PeerFlags::STARTED.0)) {
                peer.of_phase = due_us as u32;
                peer.set(PeerFlags::STARTED);
                self.schedule.pending_before_start += 1;
            }
            return;
        }
        // Behind an answer it may have been sent before the schedule came to it.
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

    /// An answer came: it is measured, and what became due meanwhile is sent.
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
            self.measure(Measure::Hold, took_us); // asked before the schedule began
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

    /// A connection ends, perhaps before it could begin with its schedule; to be called while it has its flags.
    pub(super) fn leave_schedule(&mut self, peer: &Peer) {
        let is_pending = peer.has(PeerFlags::AWAITS) && peer.has(PeerFlags::STARTED) && !peer.has(PeerFlags::COUNTED);
        if is_pending && matches!(self.task(), Some(PhaseTask::Rate(_))) {
            self.schedule.pending_before_start -= 1;
        }
    }
}
