//! A handler that answers a message in place, and sends more after it: to a peer that takes nothing, and to one that is
//! gone.

use crate::host::Local;
use crate::probe::{assert_adds_up, by_messages, payload, reset, slow_receiver, tight, until, upgraded};
use crate::wire::{BINARY, Frame, PATIENCE, TEXT, Wire, frame};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex};
use steadfast::server::{Handler, Message, Overflow, Peer, Server};

/// From this length on an answer is sent from the buffer that its message was received in.
const IN_PLACE_BYTES: usize = 4096;

/// Sends what comes back, and its first byte again. A text holds the whole reactor up, until it is let go on.
struct Twice {
    entered: Sender<()>,
    gate: Arc<Mutex<Receiver<()>>>,
}

impl Handler for Twice {
    fn message(&mut self, peer: &mut Peer, message: Message) {
        if message.text().is_some() {
            self.entered.send(()).expect("the test");
            self.gate.lock().expect("the gate").recv().expect("the test");
            peer.send(message);
            return;
        }
        peer.echo(message);
        peer.send(&message.payload()[..1]);
    }
}

fn start(overflow: Overflow) -> (Local, Receiver<()>, SyncSender<()>) {
    let (entered, has_entered) = channel();
    let (key, gate) = sync_channel(1);
    let gate = Arc::new(Mutex::new(gate));
    let make = move || Twice { entered: entered.clone(), gate: Arc::clone(&gate) };
    let server = Server::from(tight(by_messages(10))).route_with(&["/twice"], overflow, make).stats("/stats");
    (Local::serve(server), has_entered, key)
}

fn assert_twice(wire: &mut Wire, payload: &[u8]) {
    let [answer, again] = [wire.frame(), wire.frame()];
    assert!(answer == Frame { first: BINARY, payload: payload.to_vec() }, "another answer: {:?}", answer.first);
    assert_eq!(again, Frame { first: BINARY, payload: payload[..1].to_vec() });
}

/// No policy has cause to drop anything, since a peer that takes nothing is not read.
fn assert_all_answered(overflow: Overflow, bytes: usize) {
    const MESSAGES: usize = 60;
    let (local, ..) = start(overflow);
    let mut wire = slow_receiver(local.address, "/twice");
    let mut sender = Wire::over(wire.socket.try_clone().expect("a twin"));
    let all: Vec<u8> = (0..MESSAGES).flat_map(|number| frame(BINARY, &payload(number, bytes))).collect();
    let sending = std::thread::spawn(move || sender.send(&all));
    until("something waits", || local.server.counters().messages_queued > 0);
    for number in 0..MESSAGES {
        assert_twice(&mut wire, &payload(number, bytes));
    }
    sending.join().expect("all is sent");
    Wire::connect(local.address).stats();
    let totals = local.server.counters();
    assert_adds_up(&totals);
    let expected = (2 * MESSAGES as u64, 0);
    assert_eq!((totals.messages_delivered, totals.messages_queued), expected, "{overflow:?}: {totals:?}");
}

const POLICIES: [Overflow; 4] = [Overflow::Close, Overflow::DropNewest, Overflow::DropOldest, Overflow::KeepLatest];

/// Each is more than the kernel takes at once, so that the reply itself waits, and what is sent after it.
#[test]
fn messages_after_a_reply_in_place_wait_with_it() {
    POLICIES.into_iter().for_each(|overflow| assert_all_answered(overflow, 20_000));
}

/// Many are answered in one turn, and what they are answered with waits together.
#[test]
fn what_a_turn_has_answered_waits_together() {
    POLICIES.into_iter().for_each(|overflow| assert_all_answered(overflow, IN_PLACE_BYTES));
}

/// One says something, and is reset while the reactor is held up; returns how many of the two answers were dropped.
fn leave_unread(local: &Local, gate: &mut Wire, (entered, key): (&Receiver<()>, &SyncSender<()>)) -> u64 {
    let before = local.server.counters();
    let mut leaving = upgraded(Wire::connect(local.address), "/twice");
    gate.send(&frame(TEXT, b"wait"));
    entered.recv_timeout(PATIENCE).expect("the reactor waits");
    leaving.send(&frame(BINARY, &payload(1, IN_PLACE_BYTES)));
    reset(leaving);
    key.send(()).expect("the reactor");
    assert_eq!(gate.frame(), Frame { first: TEXT, payload: b"wait".to_vec() });
    until("it has ended", || local.server.counters().ended > before.ended);
    let after = local.server.counters();
    assert_eq!(after.messages_out, before.messages_out + 3, "{after:?}");
    after.messages_dropped - before.messages_dropped
}

#[test]
fn messages_for_a_connection_that_is_gone_reach_no_other() {
    let (local, entered, key) = start(Overflow::Close);
    let mut gate = upgraded(Wire::connect(local.address), "/twice");
    let mut other = upgraded(Wire::connect(local.address), "/twice");
    let mut rounds = 0;
    loop {
        let dropped = leave_unread(&local, &mut gate, (&entered, &key));
        for wire in [&mut other, &mut gate] {
            wire.send(&frame(BINARY, &payload(2, IN_PLACE_BYTES)));
            assert_twice(wire, &payload(2, IN_PLACE_BYTES));
        }
        assert_adds_up(&local.server.counters());
        // A reset that came while the message was answered, or after that, is fine.
        if dropped == 2 {
            break;
        }
        rounds += 1;
        assert!(rounds < 100, "no reset ever comes in time");
    }
}
