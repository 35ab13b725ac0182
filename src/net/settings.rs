//! What a reactor works by.

use super::deadlines::Deadlines;
use super::limits::ConnectionLimit;
use super::memory_limit::MemoryLimit;
use super::pool::RING_BYTES;
use super::sources::{PerSourceLimit, SourcePrefixes};
use super::write_queue::QueueLimits;
use crate::proto::extension::Compression;
use crate::proto::session::Limits;
use std::sync::Arc;

/// Messages and requests of one connection that are handed on in one turn, if nothing else is asked for.
pub const TURN_EVENTS: u32 = 32;

/// Connections that are accepted from one listener in one turn, if nothing else is asked for.
pub const TURN_ACCEPTS: u32 = 64;

/// How long more may wait for a connection than its limits say, if nothing else is asked for.
pub const QUEUE_GRACE_S: u32 = 5;

/// What a reactor works by.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What a peer may make grow.
    pub limits: Limits,
    /// How long it may take.
    pub deadlines: Deadlines,
    /// The most connections that this reactor takes: what its descriptor table holds.
    pub max_connections: usize,
    /// The most that all reactors take together.
    pub quota: Arc<ConnectionLimit>,
    /// The most that each source may have of them.
    pub sources: Arc<PerSourceLimit>,
    /// What they may keep together.
    pub buffers: Arc<MemoryLimit>,
    /// Bytes that a connection may read in one turn.
    pub read_buffer_bytes: usize,
    /// Messages and requests of one connection that are handed on in one turn; then others have theirs.
    pub max_events_per_turn: usize,
    /// Connections that are accepted from one listener in one turn.
    pub max_accepts_per_turn: usize,
    /// How to compress, for those connections that agree upon it.
    pub compression: Compression,
    /// Field lines for every HTTP answer, each with its CRLF.
    pub response_fields: String,
    /// How much may wait for a connection that takes no more.
    pub queue: QueueLimits,
    /// How long that may be exceeded.
    pub queue_grace_s: u32,
}

impl Settings {
    /// The defaults, for a reactor that takes so many connections and shares a quota.
    pub fn new(max_connections: usize, quota: Arc<ConnectionLimit>) -> Self {
        Self {
            limits: Limits::default(),
            deadlines: Deadlines::default(),
            max_connections,
            quota,
            sources: PerSourceLimit::new(u32::MAX, SourcePrefixes::default()),
            buffers: MemoryLimit::new(u64::MAX),
            read_buffer_bytes: RING_BYTES,
            max_events_per_turn: TURN_EVENTS as usize,
            max_accepts_per_turn: TURN_ACCEPTS as usize,
            compression: Compression::default(),
            response_fields: String::new(),
            queue: QueueLimits::default(),
            queue_grace_s: QUEUE_GRACE_S,
        }
    }
}
