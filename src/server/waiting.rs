//! Long polling: requests that wait for what is published next.

use super::guard;
use super::response::{Response, Wanted};
use super::slot::HandlerSlot;
use crate::net::counters::Counters;
use crate::net::reactor::Core;
use crate::net::slots;
use crate::proto::http_write::{Answer, RequestInfo};
use std::time::Instant;

/// What a waiting request is answered with.
pub(super) enum Outcome<'a> {
    /// This was published.
    Published(&'a [u8]),
    /// Nothing was, for as long as a request waits.
    Nothing,
    /// The program's own code panicked.
    Failed,
}

/// A request that waits for what is published next.
pub(super) struct Waiting {
    pub(super) asked: RequestInfo,
    pub(super) since: Instant,
    pub(super) like: Response,
    pub(super) wanted: Option<Wanted>,
    pub(super) id: slots::ConnectionId,
}

impl Waiting {
    /// Answers the request if it is still waiting.
    pub(super) fn answer(&self, core: &mut Core<HandlerSlot>, outcome: &Outcome<'_>, says_server: bool) {
        let (status, body, close): (_, &[u8], _) = match *outcome {
            Outcome::Published(payload) => (self.like.status, payload, false),
            Outcome::Nothing => (204, b"", false),
            Outcome::Failed => (500, b"", true),
        };
        let more_fields = self.like.all_fields(says_server);
        let answer = Answer { status, content_type: &self.like.content_type, more_fields: &more_fields, body, close };
        core.with(self.id, |conn| {
            if conn.is_deferred() {
                conn.answer(&answer, self.asked);
            }
        });
    }

    /// Answers it with a message, if that is one that it waits for, and with 500 if finding that out panics; returns whether it
    /// has its answer.
    pub(super) fn take(
        &self,
        core: &mut Core<HandlerSlot>,
        payload: &[u8],
        says_server: bool,
        counters: &Counters,
    ) -> bool {
        let wants = self.wanted.as_ref().map_or(Some(true), |wanted| guard::count(counters, || wanted(payload)));
        match wants {
            Some(true) => self.answer(core, &Outcome::Published(payload), says_server),
            Some(false) => return false,
            None => self.answer(core, &Outcome::Failed, says_server),
        }
        true
    }
}
