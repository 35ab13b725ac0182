//! A server of ours that ends exactly some of its connections.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use steadfast::server::{CloseCode, ConnectionId, Handler, Message, Peer, ReactorContext, Request, Server};

/// How it ends them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// With a Close of 4000, instead of the answer to its first message.
    Close,
    /// Without a word, instead of that.
    Abort,
    /// With a Close of 4000, when all have been answered.
    CloseInHold,
}

/// What all reactors know.
#[derive(Debug, Default)]
struct Known {
    opened: AtomicU64,
    answered: AtomicU64,
    doomed: Mutex<Vec<ConnectionId>>,
}

struct Killer {
    how: How,
    every: u64,
    planned: u64,
    known: Arc<Known>,
}

impl Handler<bool> for Killer {
    fn opened(&mut self, peer: &mut Peer<bool>, _request: &Request) {
        let number = self.known.opened.fetch_add(1, Ordering::Relaxed) + 1;
        *peer.state = number.is_multiple_of(self.every);
        if *peer.state {
            self.known.doomed.lock().expect("the list").push(peer.id());
        }
    }

    fn message(&mut self, peer: &mut Peer<bool>, message: Message) {
        match (*peer.state, self.how) {
            (true, How::Close) => peer.close(CloseCode::of::<4000>(), ""),
            (true, How::Abort) => peer.abort(),
            _ => {
                peer.echo(message);
                self.known.answered.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn tick(&mut self, context: &mut ReactorContext) {
        if self.how == How::CloseInHold && self.known.answered.load(Ordering::Relaxed) >= self.planned {
            for id in self.known.doomed.lock().expect("the list").drain(..) {
                context.close_other(id, CloseCode::of::<4000>(), "");
            }
        }
    }
}

/// At `/`, with `/stats`: of `planned` connections every so many is ended.
pub(crate) fn killing(server: Server, how: How, every: u64, planned: u64) -> Server {
    let known = Arc::new(Known::default());
    server.route("/", move || Killer { how, every, planned, known: Arc::clone(&known) }).stats("/stats")
}
