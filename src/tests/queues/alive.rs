//! Keep-alive: a silent connection is pinged, often enough for what is between the endpoints, and its pong gives the
//! round-trip time.

use crate::probe::{BYTES, MANY, PATH, Probed, ample, by_messages, number_of, numbers, patient, tight};
use crate::wire::{PING, PONG, frame};
use crate::witness::Told;
use std::time::Instant;
use steadfast::server::{Config, Deadlines, Overflow, Sent};

/// The shortest time after which a proxy with the file that its package brings ends a silent connection: HAProxy,
/// `timeout client 50s`.
const FORGOTTEN_AFTER_S: u32 = 50;

#[test]
fn default_pings_come_before_any_stock_proxy_forgets_a_connection() {
    let deadlines = Deadlines::default();
    assert!(deadlines.ping_s + 2 < FORGOTTEN_AFTER_S, "{} s", deadlines.ping_s);
    assert!(deadlines.idle_s > deadlines.ping_s + 30, "an answer may take half a minute");
}

#[test]
fn pong_for_a_keep_alive_ping_reports_the_round_trip() {
    let deadlines = Deadlines { ping_s: 1, ..patient() };
    let probed = Probed::start(Config { deadlines, ..tight(by_messages(10)) }, Overflow::Close);
    let began = Instant::now();
    let (mut wire, _) = probed.healthy();
    for count in 1..=2 {
        let ping = wire.frame();
        assert_eq!(ping.first, PING, "{ping:?}");
        let heard = Instant::now();
        wire.send(&frame(PONG, &ping.payload));
        let (_, Told::Pong(round_trip)) = probed.next_news() else { panic!("no news of a pong") };
        let round_trip = round_trip.expect("a round trip");
        assert!(round_trip <= began.elapsed(), "{round_trip:?}");
        assert!(heard.elapsed() <= began.elapsed() && probed.totals().pings_out == count);
    }
}

#[test]
fn connection_that_takes_nothing_is_pinged_once_after_queued_output() {
    let deadlines = Deadlines { ping_s: 1, ..patient() };
    let probed = Probed::start(Config { deadlines, ..tight(ample()) }, Overflow::DropNewest);
    let (mut slow, id) = probed.slow(PATH);
    let (mut healthy, _) = probed.healthy();
    let (sent, _) = probed.burst(&mut slow, MANY, "");
    let left = sent.len() - probed.dropped() as usize;
    // A connection that takes nothing is not read either, so its turn must have come when another one's has come twice.
    for _ in 0..2 {
        let ping = healthy.frame();
        assert_eq!(ping.first, PING, "{ping:?}");
        healthy.send(&frame(PONG, &ping.payload));
    }
    numbers(&mut slow, left);
    let ping = slow.frame();
    assert_eq!(ping.first, PING, "{ping:?}");
    assert_eq!(probed.send(id, 1, BYTES), Sent::Sent);
    assert_eq!(number_of(&slow.frame()), 1);
    slow.send(&frame(PONG, &ping.payload));
    slow.echo(b"alive");
}
