//! What a peer sent, as it is told back to it.

use std::fmt;

/// The most bytes of a value that are quoted.
const MAX_BYTES: usize = 200;

/// A value in quotes, of which every byte is escaped that could be taken for more than a character of text: controls, what is
/// no ASCII, quotes, and what means something in HTML. Of a long value the beginning is shown.
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

/// A field's value in quotes, or that there is none.
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
