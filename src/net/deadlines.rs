//! How long a connection may take for what.

/// How long a connection may take for what, in seconds; the largest value stands for "no limit".
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// To connect and be upgraded, as a client.
    pub connect_s: u32,
    /// For a whole request head, from its first byte; for the first one from accept.
    pub head_s: u32,
    /// What has to come of a request's content in each second behind that, on average.
    pub min_body_bytes_per_s: u32,
    /// For a whole message, from its first byte.
    pub message_s: u32,
    /// What has to come of a message in each second after that, on average.
    pub min_message_bytes_per_s: u32,
    /// Between requests.
    pub keep_alive_s: u32,
    /// Silence at whose end a ping is sent, at the latest; from half of it on it may be. The largest value sends none.
    pub ping_s: u32,
    /// Silence after which a WebSocket is taken for dead. Of it, what is longer than `ping_s` counts from a ping that was
    /// not answered, and only time in which the reactor ran.
    pub idle_s: u32,
    /// For the peer's Close, and for its FIN.
    pub close_s: u32,
    /// Without a byte acknowledged while something is queued.
    pub stalled_s: u32,
    /// What has to be acknowledged of what is queued in each second behind that, on average.
    pub min_send_bytes_per_s: u32,
}

impl Deadlines {
    /// Why these deadlines defeat each other, if they do.
    pub(crate) fn contradiction(&self) -> Option<String> {
        let Self { ping_s, idle_s, .. } = *self;
        // Without a limit to silence there is nothing to ask in time for; without pings silence is all there is.
        (ping_s >= idle_s && ping_s < u32::MAX && idle_s < u32::MAX).then(|| {
            format!(
                "a ping interval of {ping_s} s (--ping-interval-s) is no shorter than the idle timeout of {idle_s} s \
                 (--idle-timeout-s): connections would be closed before they are asked; expected an interval of at most \
                 {} s, or a longer timeout",
                idle_s.saturating_sub(1)
            )
        })
    }

    /// How long a ping may be unanswered.
    pub(super) fn unanswered_s(&self) -> u32 {
        if self.ping_s == u32::MAX || self.idle_s == u32::MAX { self.idle_s } else { self.idle_s - self.ping_s }
    }
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
