//! Quotes what a peer has sent, in a response to it.

use std::fmt;

/// The most bytes of a value that are quoted.
const MAX_BYTES: usize = 200;

/// A value in quotes, in which every byte is escaped that could be more than a character of text: control characters,
/// bytes other than ASCII, quotes, and characters with a meaning in HTML. Only the beginning of a long value is shown.
#[derive(Clone, Copy, Debug)]
pub struct Quoted<'a>(pub &'a [u8]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for &byte in &self.0[..self.0.len().min(MAX_BYTES)] {
            match byte {
                b'"' | b'\'' | b'\\' | b'<' | b'>' | b'&' => write!(f, "\\x{byte:02x}")?,
                b' '..=b'~' => write!(f, "{}", char::from(byte))?,
                _ => write!(f, "\\x{byte:02x}")?,
            }
        }
        f.write_str(if self.0.len() > MAX_BYTES { "...\"" } else { "\"" })
    }
}

/// The value of a field in quotes, or a note that the field is missing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field<'a>(pub(super) &'a str, pub(super) Option<&'a [u8]>);

impl fmt::Display for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            Some(value) => write!(f, "{} is {}", self.0, Quoted(value)),
            None => write!(f, "{} is missing", self.0),
        }
    }
}
