//! The time, pushed at an interval.

use crate::net::date;
use crate::server::{Handler, Message, Peer, ReactorContext, Request};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Who is pushed to, and who waits by long polling.
pub(super) const TOPIC: &str = "push";

/// A clock that ticks at an interval, the same for all reactors and for all ways to ask for it.
#[derive(Clone, Copy, Debug)]
pub struct Ticker {
    began: Instant,
    interval: Duration,
}

impl Ticker {
    /// Ticks from now on, every `interval`, which is no less than a millisecond.
    pub fn new(interval: Duration) -> Self {
        Self { began: Instant::now(), interval: interval.max(Duration::from_millis(1)) }
    }

    /// How many ticks there have been.
    pub fn now(self) -> u64 {
        (self.began.elapsed().as_nanos() / self.interval.as_nanos()) as u64
    }

    /// How long it is to the next one.
    pub fn next_in(self) -> Duration {
        let into = self.began.elapsed().as_nanos() % self.interval.as_nanos();
        self.interval - Duration::from_nanos(into as u64)
    }

    /// A tick, the time, the interval, and the time once more, in microseconds since 1970, from which a receiver
    /// knows how old it is. As JSON.
    pub fn text(self, tick: u64) -> String {
        let now = SystemTime::now();
        let (time, interval_ms) = (date::format(now).unwrap_or_default(), self.interval.as_millis());
        let at_us = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        format!(r#"{{"n":{tick},"time":"{time}","interval_ms":{interval_ms},"at_us":{at_us}}}"#)
    }
}

/// Sends the time when a connection opens, and to all at every tick.
#[derive(Debug)]
pub struct Push {
    ticker: Ticker,
    last: u64,
}

impl Push {
    /// Pushes as `ticker` ticks.
    pub fn new(ticker: Ticker) -> Self {
        Self { ticker, last: ticker.now() }
    }
}

impl Handler for Push {
    fn opened(&mut self, peer: &mut Peer, request: &Request, _subprotocol: Option<&str>) {
        // How much the upgrade took, for those who compare: a page of the web cannot know it.
        let (text, bytes) = (self.ticker.text(self.ticker.now()), (request.head_bytes(), peer.answer_bytes()));
        let text = text.trim_end_matches('}');
        peer.send(&format!(r#"{text},"upgrade_bytes":{{"in":{},"out":{}}}}}"#, bytes.0, bytes.1));
        peer.subscribe(TOPIC);
    }

    /// What is said here is of no interest.
    fn message(&mut self, _peer: &mut Peer, _message: Message) {}

    fn tick(&mut self, context: &mut ReactorContext) {
        // One reactor tells all others: it is encoded once.
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

/// The tick that a text of [`Ticker::text`] tells of.
pub(super) fn tick_of(text: &[u8]) -> Option<u64> {
    let digits = text.strip_prefix(br#"{"n":"#)?.split(|&byte| byte == b',').next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}
