//! Messages on stderr, and the exit code for requests that cannot be carried out.

use super::escape::escaped;
use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;
use steadfast::client::BadSetting;

/// The request cannot be carried out: a flag out of range, an address in use, a limit too low.
const EXIT_USAGE: u8 = 2;

/// Prints one line to stderr, and returns the exit code for a request that cannot be carried out.
pub(super) fn refuse(error: &dyn Display) -> ExitCode {
    complain(error);
    ExitCode::from(EXIT_USAGE)
}

pub(super) fn complain(error: &dyn Display) {
    tell(&format_args!("steadfast: {error}"));
}

/// Writes one line to stderr with one call. All messages on stderr pass through here; text from elsewhere is escaped. A
/// closed stderr is ignored.
pub(super) fn tell(line: &dyn Display) {
    let line = escaped(&line.to_string());
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// Names the flag of a client's setting that is wrong.
pub(super) fn setting(bad: &BadSetting) -> String {
    match bad {
        BadSetting::Field(field, bad) => format!("--header {field:?}: {bad}"),
        BadSetting::Origin(_) | BadSetting::TwoOrigins => format!("--origin: {bad}"),
        BadSetting::Subprotocol(_) => format!("--subprotocol: {bad}"),
    }
}
