//! The counters of a reactor. One thread writes them and any thread reads them, without a locked instruction.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that one thread writes and all threads may read.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `more`; only for the thread that owns the counter.
    #[inline]
    pub fn add(&self, more: u64) {
        // There is one writer, so a load and a store do in place of a locked add. A reader that sees this number also
        // sees what the writer counted before it.
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(more), Ordering::Release);
    }

    /// Returns the current number.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The counters of one reactor, since it started.
        #[derive(Debug, Default)]
        #[repr(align(128))] // neighbours' cache lines stay with their own core
        pub struct Counters {
            $($(#[$doc])* pub $name: Counter,)*
        }

        /// The numbers of one reactor, or of several together, at one time.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Totals {
            $($(#[$doc])* pub $name: u64,)*
            /// Messages that are queued now because a socket is full: to be sent, and neither delivered nor dropped
            /// yet.
            pub messages_queued: u64,
        }

        impl std::iter::Sum for Totals {
            fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
                all.fold(Self::default(), |sum, one| Self {
                    messages_queued: sum.messages_queued.wrapping_add(one.messages_queued),
                    $($name: sum.$name.wrapping_add(one.$name)),*
                })
            }
        }

        impl Totals {
            /// The names of all numbers, in the order of [`Totals::values`].
            pub const NAMES: &[&str] = &[$(stringify!($name),)* "messages_queued"];

            /// All numbers, in the order of [`Totals::NAMES`].
            pub fn values(&self) -> Vec<u64> {
                vec![$(self.$name,)* self.messages_queued]
            }
        }

        impl Counters {
            /// All numbers, read by any thread while the reactor counts on.
            ///
            /// They are read in the order in which they are declared: what a number is made of before the number itself.
            /// The writer counts in the other order. So the messages to be sent are never fewer than those delivered and
            /// dropped, and what is between them is what waits: the sum holds in every reading.
            pub fn totals(&self) -> Totals {
                let mut totals = Totals { $($name: self.$name.value(),)* messages_queued: 0 };
                let ended = totals.messages_delivered.wrapping_add(totals.messages_dropped);
                totals.messages_queued = totals.messages_out.wrapping_sub(ended);
                totals
            }
        }
    };
}

counters! {
    /// Connections that have ended.
    ended,
    /// Connections accepted, or connected.
    opened,
    /// WebSocket handshakes completed.
    upgraded,
    /// HTTP requests, upgrades included.
    requests,
    /// Messages received.
    messages_in,
    /// Messages that the kernel has taken completely.
    messages_delivered,
    /// Messages dropped: the connection was closing or gone, or its queue full.
    messages_dropped,
    /// Messages to be sent, counted for each receiver: those delivered, dropped and queued.
    messages_out,
    /// Connections reset because they kept the most memory while all connections together kept too much.
    shed,
    /// Connections ended in the middle of a message or a request that they had begun long before, because memory was
    /// short.
    memory_ended,
    /// Connections refused at accept because memory was short.
    memory_refused,
    /// How often a connection was not read because there was no memory for what it was sending.
    memory_paused,
    /// Connections closed with 1008 because a message came too slowly.
    closed_slow_message,
    /// Connections closed with 1008 because their queue was full.
    closed_slow,
    /// Panics of handlers, responders and hooks; each ended its connection.
    handler_panics,
    /// Messages for connections that were gone already.
    sent_to_gone,
    /// Connections refused at accept because their source had too many.
    over_source_limit,
    /// Bytes received.
    bytes_in,
    /// Bytes that the kernel took.
    bytes_out,
    /// Pings received.
    pings_in,
    /// Pings sent.
    pings_out,
    /// Answers with status 400.
    refused_400,
    /// Answers with status 401.
    refused_401,
    /// Answers with status 403.
    refused_403,
    /// Answers with status 404.
    refused_404,
    /// Answers with status 405.
    refused_405,
    /// Answers with status 408.
    refused_408,
    /// Answers with status 411.
    refused_411,
    /// Answers with status 413.
    refused_413,
    /// Answers with status 414.
    refused_414,
    /// Answers with status 417.
    refused_417,
    /// Answers with status 421.
    refused_421,
    /// Answers with status 426.
    refused_426,
    /// Answers with status 431.
    refused_431,
    /// Answers with status 501.
    refused_501,
    /// Answers with status 503.
    refused_503,
    /// Answers with status 505.
    refused_505,
    /// Responses with another status from 400 on.
    refused_otherwise,
    /// Connections failed with 1002: a frame that breaks the protocol.
    failed_1002,
    /// Connections failed with 1007: text that is not UTF-8, a compressed message that is damaged.
    failed_1007,
    /// Connections failed with 1008: too many fragments or control frames.
    failed_1008,
    /// Connections failed with 1009: a message too big.
    failed_1009,
    /// Connections failed with 1013: no memory was left for a message.
    failed_1013,
    /// Connections that ended without a Close frame, or in the middle of a request.
    ended_abruptly,
    /// Connections that ended with an error of the socket, such as a reset.
    ended_by_error,
    /// Connections closed because they missed a deadline.
    ended_by_deadline,
    /// Connections closed with 1001 because they did not answer a ping in time.
    closed_idle,
    /// How often the reactor did not run for more than a second, as after SIGSTOP; deadlines do not count that time.
    pauses,
    /// How long that was in total, in milliseconds.
    paused_ms,
    /// How often accepting paused because as many connections were open as the plan holds.
    accept_paused_full,
    /// How often accepting paused for want of descriptors or memory (EMFILE, ENFILE, ENOBUFS, ENOMEM).
    accept_paused_error,
}

impl Counters {
    /// Counts a response by its status, if that is 400 or higher.
    pub fn refused(&self, status: u16) {
        let counter = match status {
            400 => &self.refused_400,
            401 => &self.refused_401,
            403 => &self.refused_403,
            404 => &self.refused_404,
            405 => &self.refused_405,
            408 => &self.refused_408,
            411 => &self.refused_411,
            413 => &self.refused_413,
            414 => &self.refused_414,
            417 => &self.refused_417,
            421 => &self.refused_421,
            426 => &self.refused_426,
            431 => &self.refused_431,
            501 => &self.refused_501,
            503 => &self.refused_503,
            505 => &self.refused_505,
            _ if status >= 400 => &self.refused_otherwise,
            _ => return,
        };
        counter.add(1);
    }

    /// Counts a connection that was failed, by its close code.
    pub fn failed(&self, code: u16) {
        match code {
            1007 => self.failed_1007.add(1),
            1008 => self.failed_1008.add(1),
            1009 => self.failed_1009.add(1),
            1013 => self.failed_1013.add(1),
            _ => self.failed_1002.add(1),
        }
    }
}
