//! The timestamp in a message, from which its age is computed.

use std::time::{SystemTime, UNIX_EPOCH};

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
