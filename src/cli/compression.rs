//! The flags of permessage-deflate, the same for a server and for a client.

use clap::{Args, value_parser};
use steadfast::proto::extension::Compression;

#[derive(Debug, Args)]
#[command(next_help_heading = "Compression")]
pub(super) struct CompressionArgs {
    /// Agree upon permessage-deflate (RFC 7692) with those who can
    #[arg(long)]
    compression: bool,
    /// Keep the window from message to message: shorter messages, and memory for each connection
    #[arg(long, requires = "compression")]
    compression_takeover: bool,
    /// Largest window that is kept or compressed with: 2 to the power of so many bytes
    #[arg(long, value_name = "BITS", requires = "compression", default_value_t = Compression::default().max_window_bits,
        value_parser = value_parser!(u8).range(8..=15))]
    compression_window_bits: u8,
    /// How hard to compress
    #[arg(long, value_name = "LEVEL", requires = "compression", default_value_t = Compression::default().level,
        value_parser = value_parser!(u8).range(1..=9))]
    compression_level: u8,
    /// Messages shorter than this are sent as they are
    #[arg(long, value_name = "BYTES", requires = "compression",
        default_value_t = Compression::default().min_message_bytes as u32)]
    compression_min_bytes: u32,
}

impl CompressionArgs {
    /// What `serve` tells of it at its start, if it is on.
    pub(super) fn changed(&self) -> Option<String> {
        let takeover = if self.compression_takeover { "with" } else { "without" };
        self.compression.then(|| {
            format!(
                "compression {takeover} takeover, windows of at most {} bits, level {}, from {} bytes on (default off)",
                self.compression_window_bits, self.compression_level, self.compression_min_bytes
            )
        })
    }

    pub(super) fn into_settings(self) -> Option<Compression> {
        self.compression.then_some(Compression {
            context_takeover: self.compression_takeover,
            max_window_bits: self.compression_window_bits,
            level: self.compression_level,
            min_message_bytes: self.compression_min_bytes as usize,
        })
    }
}
