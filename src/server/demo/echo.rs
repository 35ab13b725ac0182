//! Echo and broadcast.

use crate::server::{Handler, Message, Peer, Request};

/// Sends every message back to its sender: text as text, binary as binary, compressed as compressed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Echo;

impl Handler for Echo {
    #[inline]
    fn message(&mut self, peer: &mut Peer, message: Message) {
        peer.echo(message);
    }
}

/// Sends every message to all connections of the route.
#[derive(Clone, Copy, Debug, Default)]
pub struct Broadcast;

const TOPIC: &str = "broadcast";

impl Handler for Broadcast {
    fn opened(&mut self, peer: &mut Peer, _request: &Request) {
        peer.subscribe(TOPIC);
    }

    fn message(&mut self, peer: &mut Peer, message: Message) {
        peer.publish(TOPIC, message);
    }
}
