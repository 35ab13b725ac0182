//! Phases that visit every open connection once, and the trickle of messages during a hold.

use super::{Peer, PeerFlags, Worker};
use crate::flood::command::PhaseTask;
use crate::flood::ledger::Stage;
use crate::flood::target::Scheme;
use crate::net::conn::{Cause, Conn};
use crate::net::reactor::Core;
use crate::proto::close::CloseCode;
use crate::proto::session::State;

impl Worker {
    /// Visits the next connections of the slab, as far as the window and the pace allow. Returns whether every
    /// connection was visited and has finished.
    pub(super) fn for_each_open(&mut self, core: &mut Core<Peer>, task: PhaseTask, per_s: Option<f64>) -> bool {
        let mut due = per_s.map_or(u64::MAX, |rate| self.due(core, rate));
        while due > 0 && self.in_window < self.config.window && self.cursor < core.end_index() {
            let index = self.cursor;
            self.cursor += 1;
            let Some((id, peer)) = core.at(index) else { continue };
            let is_wanted = match task {
                PhaseTask::Close { .. } => peer.stage != Stage::Closing,
                _ => peer.is_open(),
            };
            if !is_wanted {
                continue;
            }
            if let PhaseTask::Reply { messages } = task {
                if messages == 0 {
                    self.answered(peer);
                    continue;
                }
                peer.of_phase = u32::from(messages);
            }
            if !matches!(task, PhaseTask::Close { .. }) && self.in_window > 0 && self.is_learning(peer.number) {
                self.cursor = index; // the first pages are fetched one at a time, to learn whether they are all equal
                break;
            }
            // A connection that awaits a reply when the flood is interrupted is counted already.
            if !peer.has(PeerFlags::COUNTED) {
                peer.set(PeerFlags::COUNTED);
                self.in_window += 1;
            }
            due -= 1;
            self.paced += 1;
            let waits = peer.has(PeerFlags::AWAITS);
            core.with(id, |conn| match task {
                PhaseTask::Close { .. } => self.close(conn),
                // A message of the trickle that is still unanswered serves as the request.
                _ if waits => {}
                _ => self.send(conn),
            });
        }
        let is_through = self.cursor >= core.end_index();
        if let Some(rate) = per_s
            && !is_through
        {
            self.wake_for_next(core, rate);
        }
        is_through && self.in_window == 0
    }

    fn is_learning(&self, number: u32) -> bool {
        let target = self.config.routes.of(number).target;
        self.config.targets[target].scheme == Scheme::Http && self.pages[target].is_learning()
    }

    fn close(&mut self, conn: &mut Conn<'_, Peer>) {
        if conn.session_state() == State::Closed {
            return; // it has ended already; its cause stays
        }
        let was_open = conn.session_state() == State::Open;
        self.shift(conn.state(), Stage::Closing);
        if was_open {
            conn.close(CloseCode::NORMAL, "");
        } else {
            conn.end(Cause::EndOfStream);
        }
    }

    pub(super) fn trickle(&mut self, core: &mut Core<Peer>, per_second: f64) {
        let due = self.due(core, per_second);
        let places = core.end_index();
        self.paced += due;
        // At most once around: if every connection awaits a reply, the messages that are due are not sent.
        let (mut left, mut looked) = (due, 0);
        while left > 0 && looked < places {
            let index = self.cursor;
            self.cursor = (index + 1) % places;
            looked += 1;
            let Some((id, peer)) = core.at(index) else { continue };
            if peer.is_open() && !peer.has(PeerFlags::AWAITS) {
                core.with(id, |conn| self.send(conn));
                left -= 1;
                looked = 0;
            }
        }
        self.wake_for_next(core, per_second);
    }
}
