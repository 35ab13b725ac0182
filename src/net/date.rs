//! Dates of HTTP (RFC 9110 section 5.6.7), for every time that a clock or a file can have.
//!
//! A file may have been modified before 1970 or after 9999, and a system clock may be set to such a time, for which
//! HTTP has no date. `httpdate` panics for it, so only this module calls that crate; `src/tests/tidy` holds the others
//! to that.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The first second of the year 10000: a date has four digits for the year.
const END_S: u64 = 253_402_300_800;

/// Formats a time as a date; returns `None` for one before 1970 or after 9999.
pub fn format(time: SystemTime) -> Option<String> {
    let since = time.duration_since(UNIX_EPOCH).ok()?;
    (since.as_secs() < END_S).then(|| httpdate::fmt_http_date(time))
}

/// Parses a date in any of the three forms of RFC 9110 section 5.6.7; returns `None` for any other text.
pub fn parse(text: &str) -> Option<SystemTime> {
    httpdate::parse_http_date(text).ok()
}

/// Returns whether `time` is within the second that `date` names, or before it: a date has no fraction of a second.
pub fn is_until(time: SystemTime, date: SystemTime) -> bool {
    // A date whose end the clock cannot represent is after every time.
    date.checked_add(Duration::from_secs(1)).is_none_or(|end| time < end)
}

#[cfg(test)]
#[path = "../tests/net/date.rs"]
mod tests;
