//! What the program says on stderr, how it shows text from elsewhere, and how it reads files that a flag names.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
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

/// Replaces control characters, characters that reorder what is read and characters that cannot be seen with an escape such
/// as `\u{1b}`. A backslash stays as it is, so that JSON stays JSON.
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

/// Whether a character is more than a letter: C0 and C1 controls; Unicode's Bidi_Control; its separators of lines and
/// paragraphs, since what is shown is one line; and those without width, but for the joiners that some scripts need.
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

/// Reads a file of at most `most` bytes. A name may be that of a device, which has no end.
pub(super) fn read_bounded(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::other(format!("it is longer than {most} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn harmful_characters_are_escaped_and_all_others_are_not() {
        let plain = r#"plain {"a":"\u00fc"} ü 木 🙂 نص‌ها"#;
        assert_eq!(escaped(plain), plain);
        assert_eq!(escaped("\u{1b}[31m\r\n\t\u{7f}\u{9b}2J"), r"\u{1b}[31m\r\n\t\u{7f}\u{9b}2J");
        for letter in "\u{200b}\u{202a}\u{202e}\u{2066}\u{2069}\u{2028}\u{feff}\u{61c}\u{e0041}".chars() {
            assert_eq!(escaped(&format!("a{letter}b")), format!("a\\u{{{:x}}}b", letter as u32));
        }
    }
}
