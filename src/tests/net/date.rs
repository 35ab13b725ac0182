//! Times that have a date, and those that have none.

use super::{format, is_until, parse};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Seconds before or after 1970.
fn at(seconds: i64) -> SystemTime {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { UNIX_EPOCH - distance } else { UNIX_EPOCH + distance }
}

const LAST_S: i64 = 253_402_300_799;

#[test]
fn a_time_from_1970_to_9999_has_a_date() {
    for (seconds, text) in [
        (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
        (1_000_000_000, "Sun, 09 Sep 2001 01:46:40 GMT"),
        (LAST_S, "Fri, 31 Dec 9999 23:59:59 GMT"),
    ] {
        assert_eq!(format(at(seconds)).as_deref(), Some(text));
        assert_eq!(format(at(seconds) + Duration::from_nanos(999_999_999)).as_deref(), Some(text));
        assert_eq!(parse(text), Some(at(seconds)));
    }
}

#[test]
fn a_time_before_1970_or_after_9999_has_none() {
    let largest = i64::MAX - 1_000_000; // of tv_sec: what a file system or a clock can say at all
    for seconds in [-1, -86_400, -62_135_596_800, LAST_S + 1, 1 << 40, largest, -largest] {
        assert_eq!(format(at(seconds)), None, "{seconds}");
    }
    assert_eq!(format(UNIX_EPOCH - Duration::from_nanos(1)), None);
}

#[test]
fn text_that_is_no_date_is_not_read() {
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    let mut texts: Vec<String> = (0..date.len()).map(|end| date[..end].to_owned()).collect();
    for at in 0..date.len() {
        for other in ["\u{e9}", "9", "-", " ", "\0"] {
            texts.push(format!("{}{other}{}", &date[..at], &date[at + 1..]));
        }
    }
    texts.extend(
        ["Sun Nov  6 08:49:37 0000", "Sun Nov 66 08:49:37 9999", "Sunday, 06-Nov-94 08:49:3", "Monday, "]
            .map(str::to_owned),
    );
    for text in texts {
        // Of these, those that are a date again are within the years that one can have.
        if let Some(time) = parse(&text) {
            assert!(format(time).is_some(), "{text:?}");
        }
    }
    assert_eq!(parse("Sun, 06 Nov 1969 08:49:37 GMT"), None);
    assert_eq!(parse(""), None);
}

#[test]
fn the_second_that_a_date_names_is_part_of_it() {
    let date = at(1_000_000_000);
    assert!(is_until(date + Duration::from_nanos(999_999_999), date));
    assert!(!is_until(date + Duration::from_secs(1), date));
    assert!(is_until(at(-5), date));
    assert!(is_until(at(i64::MAX), at(i64::MAX)));
}
