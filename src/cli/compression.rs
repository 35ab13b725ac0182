//! The flags of permessage-deflate, shared by the server and the clients.

use clap::{Args, value_parser};
use steadfast::proto::extension::Compression;

#[derive(Debug, Args)]
#[command(next_help_heading = "Compression")]
pub(super) struct CompressionArgs {
    /// Negotiate permessage-deflate (RFC 7692) with peers that support it
    #[arg(long)]
    compression: bool,
    /// Keep the compression window between messages: shorter messages, but memory for each connection
    #[arg(long, requires = "compression")]
    compression_takeover: bool,
    /// Largest compression window, as a power of two in bytes
    #[arg(long, value_name = "BITS", requires = "compression", default_value_t = Compression::default().max_window_bits,
        value_parser = value_parser!(u8).range(8..=15))]
    compression_window_bits: u8,
    /// Compression level, from 1 (fastest) to 9 (smallest)
    #[arg(long, value_name = "LEVEL", requires = "compression", default_value_t = Compression::default().level,
        value_parser = value_parser!(u8).range(1..=9))]
    compression_level: u8,
    /// Send messages shorter than this uncompressed
    #[arg(long, value_name = "BYTES", requires = "compression",
        default_value_t = Compression::default().min_message_bytes as u32)]
    compression_min_bytes: u32,
}

impl CompressionArgs {
    /// Returns the line that `serve` prints at its start if compression is on.
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
