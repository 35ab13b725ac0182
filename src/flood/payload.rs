//! The payloads that are sent and expected back, text that differs for each connection and message; and the age of a payload
//! that carries a time.

use super::sizes::Sizes;
use std::collections::TryReserveError;
use std::time::{SystemTime, UNIX_EPOCH};

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

/// Returns the age of a message in microseconds, if it has a timestamp: the first number of 13, 16 or 19 decimal digits
/// is read as milliseconds, microseconds or nanoseconds since 1970. A timestamp ahead of this host's clock has no age.
pub(super) fn age_us(message: &[u8], now: SystemTime) -> Option<u64> {
    let now_us = now.duration_since(UNIX_EPOCH).ok()?.as_micros() as u64;
    let stamp_us = stamp_us(message)?;
    now_us.checked_sub(stamp_us)
}

fn stamp_us(message: &[u8]) -> Option<u64> {
    let numbers = message.split(|byte| !byte.is_ascii_digit());
    numbers.filter(|digits| matches!(digits.len(), 13 | 16 | 19)).find_map(|digits| {
        let number = std::str::from_utf8(digits).ok()?.parse::<u64>().ok()?;
        Some(match digits.len() {
            13 => number.saturating_mul(1000),
            16 => number,
            _ => number / 1000,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn timestamp_in_ms_us_or_ns_is_read() {
        let now = UNIX_EPOCH + Duration::from_micros(1_764_000_000_123_456);
        for (message, age) in [
            (&br#"{"n":1,"ms":1764000000000}"#[..], Some(123_456)),
            (b"1764000000123000", Some(456)),
            (b"at 1764000000123455999 ns", Some(1)),
            (b"1764000001000", None),
            (b"176400000000", None),
            (b"17640000000001", None),
            (b"", None),
        ] {
            assert_eq!(age_us(message, now), age, "{}", String::from_utf8_lossy(message));
        }
    }
}
