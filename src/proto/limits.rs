//! The limits of a session: how much a peer can make it hold or do.

use super::http::HeadLimits;

/// The limits of a session, with their defaults.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The limits on a request line and a head.
    pub head: HeadLimits,
    /// The most bytes of content of a request; more is refused with 413.
    pub max_body_bytes: u64,
    /// The most bytes of a message, as one frame, assembled, or inflated; more closes with 1009.
    pub max_message_bytes: u64,
    /// The most frames of one message, including empty ones; more closes with 1008.
    pub max_fragments: u32,
    /// The most control frames (Close, Ping and Pong) within one second; more closes with 1008.
    pub max_control_frames_per_s: u16,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: HeadLimits::default(),
            max_body_bytes: 1 << 20,
            max_message_bytes: 1 << 20,
            max_fragments: 1024,
            max_control_frames_per_s: 100,
        }
    }
}
