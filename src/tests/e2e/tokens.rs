//! Slots are used again at once: what was meant for one connection never reaches the next in its place.

use crate::host::{Local, quick};
use crate::wire::{BINARY, Frame, UPGRADE, Wire, frame};
use socket2::SockRef;
use std::time::Duration;
use steadfast::server::Config;

const CONNECTIONS: usize = 64;
const ROUNDS: u32 = 60;

/// Numbers that look random and are the same in every run (Marsaglia's xorshift).
struct Dice(u32);

impl Dice {
    fn roll(&mut self, sides: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0 % sides
    }
}

/// A connection with the replies that it still expects.
struct Peer {
    wire: Wire,
    opening: bool,
    owed: Vec<Vec<u8>>,
}

impl Peer {
    /// Asks for an upgrade, and does not wait for it.
    fn open(local: &Local) -> Self {
        let mut wire = Wire::connect(local.address);
        wire.send(UPGRADE.as_bytes());
        Self { wire, opening: true, owed: Vec::new() }
    }

    fn send(&mut self, nonce: String) {
        self.wire.send(&frame(BINARY, nonce.as_bytes()));
        self.owed.push(nonce.into_bytes());
    }

    fn assert_own_echoes(&mut self) {
        if std::mem::take(&mut self.opening) {
            self.wire.assert_upgraded();
        }
        for payload in self.owed.drain(..) {
            assert_eq!(self.wire.frame(), Frame { first: BINARY, payload });
        }
    }

    fn reset(self) {
        SockRef::from(&self.wire.socket).set_linger(Some(Duration::ZERO)).expect("SO_LINGER");
    }
}

fn assert_each_hears_its_own(reactors: usize, seed: u32) {
    let local = Local::start(Config { reactors: Some(reactors), ..quick() });
    let mut dice = Dice(seed);
    let mut peers: Vec<Peer> = (0..CONNECTIONS).map(|_| Peer::open(&local)).collect();
    for round in 0..ROUNDS {
        // Nothing is awaited in here, so that messages, resets and new connections meet in one batch.
        for (number, peer) in peers.iter_mut().enumerate() {
            for message in 0..dice.roll(4) {
                peer.send(format!("{seed} {round} {number} {message}"));
            }
            if dice.roll(3) == 0 {
                std::mem::replace(peer, Peer::open(&local)).reset();
                peer.send(format!("{seed} {round} {number} again"));
            }
        }
        for peer in &mut peers {
            if dice.roll(2) == 0 {
                peer.assert_own_echoes();
            }
        }
    }
    for peer in &mut peers {
        peer.assert_own_echoes();
    }
    let mut stats = Wire::connect(local.address);
    stats.stats_until("none is left over", |stats| stats["connections"]["now"] == CONNECTIONS + 1);
}

#[test]
fn each_echo_belongs_to_its_connection() {
    assert_each_hears_its_own(1, 0x2545_F491);
}

#[test]
fn each_echo_belongs_to_its_connection_over_several_reactors() {
    assert_each_hears_its_own(3, 0x9E37_79B1);
}
