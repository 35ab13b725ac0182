//! Writes to stderr, escapes text from elsewhere so that it cannot control a terminal or mislead a reader, and reads files
//! that flags name.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
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
        BadSetting::Subprotocol(_) | BadSetting::RepeatedSubprotocol(_) => format!("--subprotocol: {bad}"),
    }
}

/// Replaces control characters, characters that reorder text and invisible characters with an escape such as `\u{1b}`.
/// A backslash stays as it is, so that JSON stays JSON.
pub(super) fn escaped(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for letter in text.chars() {
        if is_harmful(letter) {
            line.extend(letter.escape_default());
        } else {
            line.push(letter);
        }
    }
    line
}

/// Returns whether a character can do harm: C0 and C1 controls; Unicode's Bidi_Control; separators of lines and
/// paragraphs, since the output is one line; and characters without width, except the joiners that some scripts need.
pub(super) fn is_harmful(letter: char) -> bool {
    letter.is_control()
        || matches!(
            letter,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// Reads a file of at most `max_bytes` bytes. The name may be that of a device without end.
pub(super) fn read_bounded(path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(max_bytes + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max_bytes {
        return Err(io::Error::other(format!("it is longer than {max_bytes} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn only_harmful_characters_are_escaped() {
        let plain = r#"plain {"a":"\u00fc"} ü 木 🙂 نص‌ها"#;
        assert_eq!(escaped(plain), plain);
        assert_eq!(escaped("\u{1b}[31m\r\n\t\u{7f}\u{9b}2J"), r"\u{1b}[31m\r\n\t\u{7f}\u{9b}2J");
        for letter in "\u{200b}\u{202a}\u{202e}\u{2066}\u{2069}\u{2028}\u{feff}\u{61c}\u{e0041}".chars() {
            assert_eq!(escaped(&format!("a{letter}b")), format!("a\\u{{{:x}}}b", letter as u32));
        }
    }
}
