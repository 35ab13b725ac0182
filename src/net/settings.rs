//! The settings of a reactor.

use super::deadlines::Deadlines;
use super::limits::ConnectionLimit;
use super::memory_limit::MemoryLimit;
use super::pool::RING_BYTES;
use super::sources::{PerSourceLimit, SourcePrefixes};
use super::write_queue::QueueLimits;
use crate::proto::extension::Compression;
use crate::proto::session::Limits;
use std::sync::Arc;

/// The default for [`Settings::max_events_per_turn`].
pub const MAX_EVENTS_PER_TURN: u32 = 32;

/// The default for [`Settings::max_accepts_per_turn`].
pub const MAX_ACCEPTS_PER_TURN: u32 = 64;

/// The default for [`Settings::queue_grace_s`], in seconds.
pub const QUEUE_GRACE_S: u32 = 5;

/// The settings of a reactor.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The limits of each session.
    pub limits: Limits,
    /// The deadlines of each connection.
    pub deadlines: Deadlines,
    /// The most connections of this reactor: what its descriptor table holds.
    pub max_connections: usize,
    /// The limit on the connections of all reactors together.
    pub connection_limit: Arc<ConnectionLimit>,
    /// The limit on the connections of each source.
    pub source_limit: Arc<PerSourceLimit>,
    /// The limit on the memory that all connections keep together.
    pub memory_limit: Arc<MemoryLimit>,
    /// The most bytes that a connection reads in one turn.
    pub read_buffer_bytes: usize,
    /// The most messages and requests of one connection that are handled in one turn; then the other connections have
    /// theirs.
    pub max_events_per_turn: usize,
    /// The most connections that are accepted from one listener in one iteration.
    pub max_accepts_per_turn: usize,
    /// How to compress, for connections that negotiate it.
    pub compression: Compression,
    /// Field lines for every HTTP response, each with its CRLF.
    pub response_fields: String,
    /// The limits on the queue of each connection.
    pub queue: QueueLimits,
    /// How long a queue may exceed its limits before its connection is closed, in seconds.
    pub queue_grace_s: u32,
}

impl Settings {
    /// Creates the default settings for a reactor with up to `max_connections`.
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
