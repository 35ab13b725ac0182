//! Dates as HTTP has them (RFC 9110 section 5.6.7), for every time that a clock or a file can have.
//!
//! A file may have been modified before 1970 or after 9999, and so may a system clock be set: such a time has no date.
//! `httpdate` panics for it, so this module alone calls that crate; `src/tests/tidy` holds the others to it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The first second of the year 10000, which has no place in a date of four digits.
const END_S: u64 = 253_402_300_800;

/// Writes a time as a date; `None` for one before 1970 or after 9999.
pub fn format(time: SystemTime) -> Option<String> {
    let since = time.duration_since(UNIX_EPOCH).ok()?;
    (since.as_secs() < END_S).then(|| httpdate::fmt_http_date(time))
}

/// Reads a date in any of the three forms of RFC 9110 section 5.6.7; `None` for what is none of them.
pub fn parse(text: &str) -> Option<SystemTime> {
    httpdate::parse_http_date(text).ok()
}

/// Whether `time` is within the second that `date` names, or before it: a date has whole seconds only.
pub fn is_until(time: SystemTime, date: SystemTime) -> bool {
    // A date whose second ends beyond what the clock can tell is after every time.
    date.checked_add(Duration::from_secs(1)).is_none_or(|end| time < end)
}

#[cfg(test)]
#[path = "../tests/unit/date.rs"]
mod tests;
