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
pub const MAX_EVENTS_PER_TURN: u32 = 32;

/// Connections that are accepted from one listener in one turn, if nothing else is asked for.
pub const MAX_ACCEPTS_PER_TURN: u32 = 64;

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
    pub connection_limit: Arc<ConnectionLimit>,
    /// The most that each source may have of them.
    pub source_limit: Arc<PerSourceLimit>,
    /// What they may keep together.
    pub memory_limit: Arc<MemoryLimit>,
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
    /// The defaults, for a reactor that takes so many connections and shares `connection_limit`.
    pub fn new(max_connections: usize, connection_limit: Arc<ConnectionLimit>) -> Self {
        Self {
            limits: Limits::default(),
            deadlines: Deadlines::default(),
            max_connections,
            connection_limit,
            source_limit: PerSourceLimit::new(u32::MAX, SourcePrefixes::default()),
            memory_limit: MemoryLimit::new(u64::MAX),
            read_buffer_bytes: RING_BYTES,
            max_events_per_turn: MAX_EVENTS_PER_TURN as usize,
            max_accepts_per_turn: MAX_ACCEPTS_PER_TURN as usize,
            compression: Compression::default(),
            response_fields: String::new(),
            queue: QueueLimits::default(),
            queue_grace_s: QUEUE_GRACE_S,
        }
    }
}
