//! Pushes the time at an interval.

use crate::net::date;
use crate::server::{Handler, Message, Peer, ReactorContext, Request};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The topic of the pushed time, for WebSockets and for long polling.
pub(super) const TOPIC: &str = "push";

/// A clock that ticks at an interval. All reactors and routes share it.
#[derive(Clone, Copy, Debug)]
pub struct Ticker {
    began: Instant,
    interval: Duration,
}

impl Ticker {
    /// Creates a clock that ticks every `interval` from now on; at least every millisecond.
    pub fn new(interval: Duration) -> Self {
        Self { began: Instant::now(), interval: interval.max(Duration::from_millis(1)) }
    }

    /// Returns the number of ticks so far.
    pub fn now(self) -> u64 {
        (self.began.elapsed().as_nanos() / self.interval.as_nanos()) as u64
    }

    /// Returns the time until the next tick.
    pub fn next_in(self) -> Duration {
        let into = self.began.elapsed().as_nanos() % self.interval.as_nanos();
        self.interval - Duration::from_nanos(into as u64)
    }

    /// Returns a tick as JSON: its number, the time as a date, the interval, and the time in microseconds since 1970, from
    /// which a receiver computes the age of the message.
    pub fn text(self, tick: u64) -> String {
        let now = SystemTime::now();
        let (time, interval_ms) = (date::format(now).unwrap_or_default(), self.interval.as_millis());
        let at_us = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        format!(r#"{{"n":{tick},"time":"{time}","interval_ms":{interval_ms},"at_us":{at_us}}}"#)
    }
}

/// Sends the time to a connection when it opens, and to all connections at every tick.
#[derive(Debug)]
pub struct Push {
    ticker: Ticker,
    last: u64,
}

impl Push {
    /// Pushes at each tick of `ticker`.
    pub fn new(ticker: Ticker) -> Self {
        Self { ticker, last: ticker.now() }
    }
}

impl Handler for Push {
    fn opened(&mut self, peer: &mut Peer, request: &Request) {
        // The page compares the bytes of the upgrade with those of polling; a script in a browser cannot see them.
        let (text, bytes) = (self.ticker.text(self.ticker.now()), (request.head_bytes(), peer.answer_bytes()));
        let text = text.trim_end_matches('}');
        peer.send(&format!(r#"{text},"upgrade_bytes":{{"in":{},"out":{}}}}}"#, bytes.0, bytes.1));
        peer.subscribe(TOPIC);
    }

    /// Ignores what clients send.
    fn message(&mut self, _peer: &mut Peer, _message: Message) {}

    fn tick(&mut self, context: &mut ReactorContext) {
        // Reactor 0 publishes for all, so that the message is encoded once.
        if context.reactor() != 0 {
            return;
        }
        let now = self.ticker.now();
        if std::mem::replace(&mut self.last, now) != now {
            context.publish(TOPIC, &self.ticker.text(now));
        }
        context.wake_after(self.ticker.next_in());
    }
}

/// Returns the number of the tick in a text of [`Ticker::text`].
pub(super) fn tick_of(text: &[u8]) -> Option<u64> {
    let digits = text.strip_prefix(br#"{"n":"#)?.split(|&byte| byte == b',').next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}
