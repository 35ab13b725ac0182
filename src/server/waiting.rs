//! Long polling: requests that wait for the next publication on a topic.

use super::guard;
use super::response::{Response, Wanted};
use super::slot::HandlerSlot;
use crate::net::counters::Counters;
use crate::net::reactor::Core;
use crate::net::slots;
use crate::proto::http_write::{HttpResponse, RequestInfo};
use std::time::Instant;

/// The outcome of a waiting request.
pub(super) enum Outcome<'a> {
    /// A message was published.
    Published(&'a [u8]),
    /// No message was published in the time that a request may wait.
    Nothing,
    /// The program's filter panicked.
    Failed,
}

/// A request that waits for the next publication.
pub(super) struct Waiting {
    pub(super) asked: RequestInfo,
    pub(super) since: Instant,
    pub(super) like: Response,
    pub(super) wanted: Option<Wanted>,
    pub(super) id: slots::ConnectionId,
}

impl Waiting {
    /// Responds if the request is still waiting.
    pub(super) fn answer(&self, core: &mut Core<HandlerSlot>, outcome: &Outcome<'_>, says_server: bool) {
        let (status, body, close): (_, &[u8], _) = match *outcome {
            Outcome::Published(payload) => (self.like.status.as_u16(), payload, false),
            Outcome::Nothing => (204, b"", false),
            Outcome::Failed => (500, b"", true),
        };
        let more_fields = self.like.all_fields(says_server);
        let answer =
            HttpResponse { status, content_type: &self.like.content_type, more_fields: &more_fields, body, close };
        core.with(self.id, |conn| {
            if conn.is_deferred() {
                conn.respond(&answer, self.asked);
            }
        });
    }

    /// Responds with a message if the filter of the request accepts it, and with 500 if the filter panics. Returns whether
    /// the request has its response.
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
