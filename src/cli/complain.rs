//! What is said on stderr, and the exit code for what cannot be done.

use super::escape::escaped;
use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;
use steadfast::client::BadSetting;

/// What was asked cannot be done: a flag out of range, an address in use, a limit too low.
const EXIT_USAGE: u8 = 2;

/// One clear line on stderr, and the exit code for what cannot be done as asked.
pub(super) fn refuse(error: &dyn Display) -> ExitCode {
    complain(error);
    ExitCode::from(EXIT_USAGE)
}

pub(super) fn complain(error: &dyn Display) {
    tell(&format_args!("steadfast: {error}"));
}

/// Writes one line to stderr, in one piece. All that is said there passes here, and what comes from elsewhere is escaped;
/// that stderr is closed is no reason to end.
pub(super) fn tell(line: &dyn Display) {
    let line = escaped(&line.to_string());
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// The flag of a client's request that is wrong, by its name.
pub(super) fn setting(bad: &BadSetting) -> String {
    match bad {
        BadSetting::Field(field, bad) => format!("--header {field:?}: {bad}"),
        BadSetting::Origin(_) | BadSetting::TwoOrigins => format!("--origin: {bad}"),
        BadSetting::Subprotocol(_) => format!("--subprotocol: {bad}"),
    }
}
