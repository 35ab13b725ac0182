//! The limits of a session: how much a peer can make it hold or do.

use super::http::HeadLimits;

/// What a peer may make grow, with the defaults of this project.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Request line and head.
    pub head: HeadLimits,
    /// The content of a request; more is answered 413.
    pub max_body_bytes: u64,
    /// One frame, one assembled message, and one inflated message; more closes with 1009.
    pub max_message_bytes: u64,
    /// Frames of one message, empty ones too; more closes with 1008.
    pub max_fragments: u32,
    /// Close, Ping and Pong within one second; more closes with 1008.
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
