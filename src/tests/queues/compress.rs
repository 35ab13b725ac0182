//! Compression and queues: what is dropped must not be missed by the window that the peer keeps.

use crate::probe::{
    Ledger, PATH, Probed, TOPICS, TOPICS_PATH, assert_adds_up, by_messages, first_waiting, tight, until,
};
use crate::wire::PATIENCE;
use socket2::SockRef;
use steadfast::client::{Client, Config as ClientConfig, Heard};
use steadfast::proto::extension::Compression;
use steadfast::proto::session::MessageKind;
use steadfast::proto::upgrade::Policy;
use steadfast::server::{Config, ConnectionId, Overflow, Sent};

/// More than the kernel and a queue take together, compressed.
const MANY: usize = 500;
const FEW: usize = 10;

/// Of a message, what all have in common: with a window that is kept, it costs next to nothing.
const COMMON_BYTES: usize = 3000;
/// And what is a little shorter when it is compressed, since it is digits.
const OWN_BYTES: usize = 2000;

fn compression(context_takeover: bool) -> Compression {
    Compression { context_takeover, max_window_bits: 15, ..Compression::default() }
}

/// A message that no other number has, and that begins with it.
fn made(number: usize) -> Vec<u8> {
    let noise = |seed: usize| {
        let mut state = seed as u64 * 2 + 1;
        std::iter::repeat_with(move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            b'0' + (state >> 60) as u8 % 10
        })
    };
    let own = noise(number + 1).take(OWN_BYTES);
    format!("{number:08x}").bytes().chain(own).chain(noise(0).take(COMMON_BYTES)).collect()
}

/// A server that compresses, and a client of it that has little room in its kernel and reads when it is asked to.
fn open(takeover: bool, overflow: Overflow, path: &str) -> (Probed, Client, ConnectionId) {
    let upgrade = Policy { compression: Some(compression(takeover)), ..Policy::default() };
    let probed = Probed::start(Config { upgrade, ..tight(by_messages(FEW)) }, overflow);
    let url = format!("ws://{}{path}", probed.local.address).parse().expect("a URL");
    let client = Client::connect(&ClientConfig { compression: Some(compression(takeover)), ..ClientConfig::to(url) });
    let client = client.expect("a connection");
    SockRef::from(&client).set_recv_buffer_size(16 << 10).expect("SO_RCVBUF");
    assert_eq!((client.compression().is_on(), client.compression().peer_takeover()), (true, takeover));
    let id = probed.opened();
    (probed, client, id)
}

/// The number of the next message, of which every byte has to be right.
fn next_number(client: &mut Client) -> usize {
    let heard = client.receive(PATIENCE).expect("a message");
    let Heard::Message(MessageKind::Binary, message) = heard else { panic!("{heard:?}") };
    let name = message.get(..8).and_then(|name| std::str::from_utf8(name).ok());
    let number = name.and_then(|name| usize::from_str_radix(name, 16).ok()).expect("a number");
    assert!(message == made(number), "message {number} is damaged");
    number
}

fn send(probed: &Probed, id: ConnectionId, number: usize) -> Sent {
    probed.local.server.send(id, &made(number)).wait().expect("an open connection")
}

fn publish(probed: &Probed, topic: &str, number: usize) {
    let before = probed.totals().messages_out;
    probed.local.server.publish(topic, &made(number));
    until("the message is on its way", || probed.totals().messages_out > before);
}

/// A receiver that has caught up gets all further messages, compressed as before.
fn assert_goes_on(probed: &Probed, client: &mut Client, id: ConnectionId) {
    const MORE: usize = 50;
    let before = probed.totals();
    for number in MANY..MANY + MORE {
        assert_eq!(send(probed, id, number), Sent::Sent);
        assert_eq!(next_number(client), number);
    }
    let after = probed.totals();
    assert_adds_up(&after);
    let bytes = (after.bytes_out - before.bytes_out) as usize;
    // With a window that is kept, what all have in common is sent once.
    let own = if client.compression().peer_takeover() { OWN_BYTES + 200 } else { made(0).len() };
    assert!(bytes < MORE * own, "{bytes} bytes for {MORE} messages");
    assert_eq!((after.messages_queued, after.messages_dropped), (0, before.messages_dropped), "{after:?}");
}

/// What was compressed with the window is never dropped, and what may be dropped is not compressed with it.
#[test]
fn where_a_window_is_kept_all_that_arrives_inflates() {
    for overflow in [Overflow::DropNewest, Overflow::DropOldest, Overflow::KeepLatest] {
        let (probed, mut client, id) = open(true, overflow, PATH);
        let results: Vec<Sent> = (0..MANY).map(|number| send(&probed, id, number)).collect();
        let totals = probed.totals();
        assert_adds_up(&totals);
        assert!(totals.messages_dropped > 0, "{overflow:?}: {totals:?}");
        let left = MANY - totals.messages_dropped as usize;
        let arrived: Vec<usize> = (0..left).map(|_| next_number(&mut client)).collect();
        assert!(arrived.is_sorted_by(|one, next| one < next), "{arrived:?}");
        for (number, result) in results.iter().enumerate() {
            let expected = match result {
                Sent::Sent => Some(true),
                Sent::Dropped => Some(false),
                Sent::Queued if overflow == Overflow::DropNewest => Some(true),
                // One that was compressed with the window may wait among the last.
                Sent::Queued => (number > MANY - FEW).then_some(true),
            };
            let has_arrived = arrived.binary_search(&number).is_ok();
            assert!(expected.is_none_or(|expected| expected == has_arrived), "{overflow:?}: {number} was {result:?}");
        }
        assert_goes_on(&probed, &mut client, id);
    }
}

#[test]
fn where_a_window_is_kept_the_newest_of_each_topic_waits() {
    let (probed, mut client, id) = open(true, Overflow::KeepLatest, TOPICS_PATH);
    let mut ledger = Ledger::new();
    let mut last_of = [None; TOPICS.len()];
    for _ in 0..MANY {
        let (number, before) = (ledger.next(), probed.dropped());
        let topic = number * 5 % 7 % TOPICS.len();
        publish(&probed, TOPICS[topic], number);
        let last = last_of[topic].replace(number);
        match (probed.dropped() - before, last) {
            (0, _) => {}
            (1, Some(last)) => ledger.drop(last),
            (dropped, last) => panic!("{dropped} were dropped for {number}, behind {last:?}"),
        }
        let totals = probed.totals();
        assert!(totals.messages_queued as usize <= TOPICS.len() + 1, "{totals:?}");
    }
    let left = ledger.left();
    assert!(left.len() < MANY, "none was dropped");
    assert_eq!((0..left.len()).map(|_| next_number(&mut client)).collect::<Vec<_>>(), left);
    assert_goes_on(&probed, &mut client, id);
}

#[test]
fn where_no_window_is_kept_the_policy_holds_for_what_is_compressed_once_for_all() {
    let (probed, mut client, id) = open(false, Overflow::DropOldest, TOPICS_PATH);
    let mut ledger = Ledger::new();
    for _ in 0..MANY {
        let (number, before) = (ledger.next(), probed.dropped());
        publish(&probed, TOPICS[0], number);
        let dropped = (probed.dropped() - before) as usize;
        let first = first_waiting(number + 1, by_messages(FEW), |_| 0);
        (first - dropped..first).for_each(|number| ledger.drop(number));
    }
    let left = ledger.left();
    assert!(left.len() < MANY, "none was dropped");
    assert_eq!((0..left.len()).map(|_| next_number(&mut client)).collect::<Vec<_>>(), left);
    assert_goes_on(&probed, &mut client, id);
}
