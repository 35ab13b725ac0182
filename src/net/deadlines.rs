//! The deadlines of a connection.

use super::clock::TICK_MS;

/// The deadlines of a connection, in seconds; the largest value means that there is no limit.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// To connect and to be upgraded, as a client.
    pub connect_s: u32,
    /// For a whole request head, from its first byte; for the first head, from accept.
    pub head_s: u32,
    /// The least rate at which the content of a request has to arrive after that, on average, in bytes a second.
    pub min_body_bytes_per_s: u32,
    /// For a whole message, from its first byte.
    pub message_s: u32,
    /// The least rate at which a message has to arrive after that, on average, in bytes a second.
    pub min_message_bytes_per_s: u32,
    /// Between two requests.
    pub keep_alive_s: u32,
    /// The silence after which a ping is sent at the latest; it may be sent after half of it. The largest value sends
    /// none.
    pub ping_s: u32,
    /// The silence after which a WebSocket is taken for dead. The part of it beyond `ping_s` runs from an unanswered
    /// ping, and only while the reactor runs.
    pub idle_s: u32,
    /// For the peer's Close frame, and for its FIN.
    pub close_s: u32,
    /// Without any byte acknowledged while something is queued.
    pub stalled_s: u32,
    /// The least rate at which what is queued has to be acknowledged after that, on average, in bytes a second.
    pub min_send_bytes_per_s: u32,
}

impl Deadlines {
    /// Returns whether connections would be closed for silence before they are pinged.
    pub(crate) fn contradict(&self) -> bool {
        let Self { ping_s, idle_s, .. } = *self;
        // Without an idle timeout, a ping can come at any time; without pings, silence is all there is to judge by.
        ping_s >= idle_s && ping_s < u32::MAX && idle_s < u32::MAX
    }

    /// Returns the ages of silence, in ticks, from which a ping may be sent and at which it has to be; `None` where no pings are
    /// sent.
    pub(super) fn ping_window_ticks(&self) -> Option<(u32, u32)> {
        let ticks = u64::from(self.ping_s) * 1000 / TICK_MS;
        let ticks = u32::try_from(ticks).unwrap_or(u32::MAX);
        (self.ping_s < u32::MAX).then_some((ticks / 2, ticks))
    }

    /// Returns how many seconds a ping may be unanswered.
    pub(super) fn unanswered_s(&self) -> u32 {
        if self.ping_s == u32::MAX || self.idle_s == u32::MAX { self.idle_s } else { self.idle_s - self.ping_s }
    }
}

/// Returns the time, in milliseconds, that `bytes` take at the least rate.
pub(super) fn ms_at_rate(bytes: u64, min_bytes_per_s: u32) -> u64 {
    bytes.saturating_mul(1000) / u64::from(min_bytes_per_s.max(1))
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            connect_s: 30,
            head_s: 10,
            min_body_bytes_per_s: 1024,
            message_s: 10,
            min_message_bytes_per_s: 1024,
            keep_alive_s: 75,
            ping_s: 45,
            idle_s: 100,
            close_s: 5,
            stalled_s: 30,
            min_send_bytes_per_s: 1024,
        }
    }
}
