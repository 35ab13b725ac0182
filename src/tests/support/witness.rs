//! A handler that tells the test all that it is told.

use std::sync::mpsc::Sender;
use std::time::Duration;
use steadfast::proto::session::MessageKind;
use steadfast::server::{CloseCode, Closed, ConnectionId, Handler, Message, Peer, Request, Sent};

/// What a handler was told, and what came of what it did.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Told {
    Opened {
        target: String,
        who: Option<String>,
        subprotocol: Option<String>,
    },
    Message(MessageKind, Vec<u8>),
    /// What came of each message of a burst, and what then waited.
    Burst(Vec<Sent>, (usize, usize)),
    Pong(Option<Duration>),
    Writable,
    Closed {
        code: u16,
        reason: String,
        was_clean: bool,
    },
    /// The state of the connection is no more.
    Dropped,
}

impl Told {
    pub(crate) fn text(text: &str) -> Self {
        Self::Message(MessageKind::Text, text.into())
    }

    pub(crate) fn closed(code: u16, reason: &str, was_clean: bool) -> Self {
        Self::Closed { code, reason: reason.to_owned(), was_clean }
    }
}

/// A state that tells of its end.
#[derive(Debug, Default)]
pub(crate) struct Kept(Option<(ConnectionId, Sender<(ConnectionId, Told)>)>);

impl Drop for Kept {
    fn drop(&mut self) {
        if let Some((id, told)) = &self.0 {
            // The test may have heard all that it wanted.
            let _ = told.send((*id, Told::Dropped));
        }
    }
}

/// Tells all that it is told, with the connection; what it does is for the test to say.
#[derive(Clone, Debug)]
pub(crate) struct Witness {
    told: Sender<(ConnectionId, Told)>,
    opened: fn(&mut Peer<Kept>, &Request),
    message: fn(&mut Peer<Kept>, Message) -> Option<Told>,
}

impl Witness {
    /// Does as it is told by some texts; all other messages come back.
    pub(crate) fn obedient(told: Sender<(ConnectionId, Told)>) -> Self {
        Self::new(told, |_, _| {}, obey)
    }

    /// Does `opened` and `message`, and tells what the latter returns.
    pub(crate) fn new(
        told: Sender<(ConnectionId, Told)>,
        opened: fn(&mut Peer<Kept>, &Request),
        message: fn(&mut Peer<Kept>, Message) -> Option<Told>,
    ) -> Self {
        Self { told, opened, message }
    }

    fn tell(&self, peer: &Peer<Kept>, what: Told) {
        let _ = self.told.send((peer.id(), what));
    }
}

fn obey(peer: &mut Peer<Kept>, message: Message) -> Option<Told> {
    let told = Told::Message(message.kind(), message.payload().to_vec());
    match message.text() {
        Some("ping") => peer.ping(),
        Some("close") => peer.close(CloseCode::of::<4001>(), "enough"),
        Some("abort") => peer.abort(),
        _ => drop(peer.send(message)),
    }
    Some(told)
}

impl Handler<Kept> for Witness {
    fn opened(&mut self, peer: &mut Peer<Kept>, request: &Request) {
        (self.opened)(peer, request);
        let who = request.header_values("x-who").next().map(|who| String::from_utf8_lossy(who).into_owned());
        let (target, subprotocol) = (request.target().to_owned(), request.subprotocol().map(str::to_owned));
        self.tell(peer, Told::Opened { target, who, subprotocol });
        peer.state.0 = Some((peer.id(), self.told.clone()));
    }

    fn message(&mut self, peer: &mut Peer<Kept>, message: Message) {
        if let Some(told) = (self.message)(peer, message) {
            self.tell(peer, told);
        }
    }

    fn pong(&mut self, peer: &mut Peer<Kept>, round_trip: Option<Duration>) {
        self.tell(peer, Told::Pong(round_trip));
    }

    fn writable(&mut self, peer: &mut Peer<Kept>) {
        self.tell(peer, Told::Writable);
    }

    fn closed(&mut self, peer: &mut Peer<Kept>, closed: &Closed) {
        self.tell(peer, Told::closed(u16::from(closed.code), closed.reason, closed.was_clean));
    }
}
