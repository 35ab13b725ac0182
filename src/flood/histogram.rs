//! Reads the histograms of reports: format V2 of HdrHistogram, deflated, in base 64.
//!
//! Each length and each count is checked before anything of that size is allocated: the library's reader allocates
//! whatever a header declares.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use flate2::read::ZlibDecoder;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer as Reader;
use std::io::Read;

/// The longest latency that is recorded: ten minutes. Longer ones count as this.
pub(super) const MAX_US: u64 = 600_000_000;

/// Significant digits of a latency.
pub(super) const DIGITS: u8 = 3;

/// More samples than a flood can take, and few enough that no sum of reports and rows overflows.
const MAX_SAMPLES: u64 = 1 << 44;

/// The longest uncompressed histogram: a header and [`MAX_STEPS`] counts of at most nine bytes each.
const MAX_PLAIN_BYTES: usize = HEADER_BYTES + 9 * MAX_STEPS;
/// The number of steps up to [`MAX_US`].
const MAX_STEPS: usize = 24 << 10;

/// The longest text: deflating adds a few bytes at most, and base 64 adds a third.
const MAX_TEXT_BYTES: usize = MAX_PLAIN_BYTES / 2 * 3;

/// Cookie, length of the counts, normalizing offset, digits, lowest and highest value, ratio.
const HEADER_BYTES: usize = 40;

const DEFLATED: u32 = 0x1c84_9314;
const PLAIN: u32 = 0x1c84_9313;

/// Reads a histogram; returns it with its deflated bytes, or what is wrong with the text.
pub(super) fn read(text: &str) -> Result<(Histogram<u64>, Vec<u8>), String> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(format!("it has {} characters; expected at most {MAX_TEXT_BYTES}", text.len()));
    }
    let bytes = BASE64_STANDARD.decode(text).map_err(|error| format!("it is not base 64: {error}"))?;
    let plain = inflated(&bytes)?;
    check_header(&plain)?;
    check_counts(&plain[HEADER_BYTES..])?;
    let histogram = Reader::new().deserialize(&mut plain.as_slice()).map_err(|error| error.to_string())?;
    Ok((histogram, bytes))
}

fn inflated(bytes: &[u8]) -> Result<Vec<u8>, String> {
    if number(bytes, 0)? != DEFLATED {
        return Err("it is not a deflated histogram of HdrHistogram V2".into());
    }
    let (declared, rest) = (number(bytes, 4)?, bytes.get(8..).unwrap_or_default());
    if declared as usize != rest.len() {
        return Err(format!("it declares {declared} deflated bytes and has {}", rest.len()));
    }
    let mut plain = Vec::new();
    ZlibDecoder::new(rest)
        .take(MAX_PLAIN_BYTES as u64 + 1)
        .read_to_end(&mut plain)
        .map_err(|error| format!("it cannot be inflated: {error}"))?;
    if plain.len() > MAX_PLAIN_BYTES {
        return Err(format!("it inflates to more than {MAX_PLAIN_BYTES} bytes"));
    }
    Ok(plain)
}

/// Returns the big-endian `u32` at byte `at`.
fn number(bytes: &[u8], at: usize) -> Result<u32, String> {
    let word = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>());
    word.map(|word| u32::from_be_bytes(*word)).ok_or_else(|| "it ends within its header".to_owned())
}

fn check_header(plain: &[u8]) -> Result<(), String> {
    let word = |at: usize| number(plain, at);
    let long = |at: usize| Ok::<u64, String>(u64::from(word(at)?) << 32 | u64::from(word(at + 4)?));
    let (cookie, counts, offset, digits) = (word(0)?, word(4)?, word(8)?, word(12)?);
    let (lowest, highest, ratio) = (long(16)?, long(24)?, f64::from_bits(long(32)?));
    if cookie != PLAIN || offset != 0 || ratio != 1.0 {
        return Err("it is not a histogram of HdrHistogram V2 without offset and ratio".into());
    }
    if counts as usize != plain.len() - HEADER_BYTES {
        return Err(format!("it declares {counts} bytes of counts and has {}", plain.len() - HEADER_BYTES));
    }
    if digits != u32::from(DIGITS) {
        return Err(format!("it has {digits} significant digits; expected {DIGITS}"));
    }
    if lowest != 1 || !(2..=MAX_US).contains(&highest) {
        return Err(format!("it is of values from {lowest} to {highest}; expected 1 to at most {MAX_US}"));
    }
    Ok(())
}

/// Checks the counts, which are zigzag LEB128; a negative count is a run of that many empty steps.
fn check_counts(mut counts: &[u8]) -> Result<(), String> {
    let (mut samples, mut steps) = (0_u64, 0_u64);
    while !counts.is_empty() {
        let (mut word, mut bytes) = (0_u64, 0);
        for &byte in counts.iter().take(9) {
            // The ninth byte has eight bits of value.
            let bits = if bytes == 8 { byte } else { byte & 0x7f };
            word |= u64::from(bits) << (7 * bytes);
            bytes += 1;
            if byte & 0x80 == 0 {
                break;
            }
        }
        counts = &counts[bytes..];
        let count = (word >> 1) as i64 ^ -((word & 1) as i64);
        if count < 0 {
            steps = steps.saturating_add(count.unsigned_abs());
        } else {
            steps = steps.saturating_add(1);
            samples = samples.saturating_add(count.unsigned_abs());
        }
        if steps > MAX_STEPS as u64 {
            return Err(format!("it has more than {MAX_STEPS} steps"));
        }
    }
    if samples > MAX_SAMPLES {
        return Err(format!("it has {samples} samples; expected at most {MAX_SAMPLES}"));
    }
    Ok(())
}
