//! The payloads that are sent and expected back: text that differs for each connection and message.

use super::sizes::Sizes;
use std::collections::TryReserveError;

/// Makes and checks payloads.
#[derive(Debug)]
pub(super) struct Payload {
    sizes: Sizes,
    pattern: Vec<u8>,
    made: Vec<u8>,
}

/// A payload begins at one of this many places in the pattern, which is longer than a payload by this.
const OFFSETS: usize = 256;

impl Payload {
    /// # Errors
    /// If there is no memory for the longest message.
    pub(super) fn new(sizes: Sizes) -> Result<Self, TryReserveError> {
        // Printable, so that a packet trace is readable and servers that expect text accept it.
        let mut state = 0x2545_F491_u32;
        let letter = |_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            b'a' + (state % 26) as u8
        };
        let max_bytes = sizes.max_bytes();
        let (mut pattern, mut made) = (Vec::new(), Vec::new());
        pattern.try_reserve_exact(max_bytes + OFFSETS)?;
        pattern.extend((0..max_bytes + OFFSETS).map(letter));
        made.try_reserve_exact(max_bytes)?;
        made.resize(max_bytes, 0);
        Ok(Self { sizes, pattern, made })
    }

    /// Returns the payload of message `sequence` of a connection.
    pub(super) fn make(&mut self, connection: u32, sequence: u16) -> &[u8] {
        let number = u64::from(connection) << 16 | u64::from(sequence);
        let made = &mut self.made[..self.sizes.of(number)];
        let from = (connection as usize).wrapping_add(usize::from(sequence) * 7) % OFFSETS;
        made.copy_from_slice(&self.pattern[from..from + made.len()]);
        // Twelve hexadecimal digits identify the message, if they fit.
        if made.len() >= 12 {
            let mut rest = number;
            for byte in made[..12].iter_mut().rev() {
                *byte = b"0123456789abcdef"[(rest & 15) as usize];
                rest >>= 4;
            }
        }
        made
    }
}
