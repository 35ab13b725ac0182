//! Checks UTF-8 (RFC 6455 section 8.1): whole messages at once, or pieces, of which up to three bytes are remembered.

/// The bytes are not UTF-8, whatever may follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invalid;

/// Returns whether `bytes` is complete UTF-8.
#[inline]
pub fn is_valid(bytes: &[u8]) -> bool {
    simdutf8::basic::from_utf8(bytes).is_ok()
}

/// Checks text that arrives in pieces, and fails at the first byte that cannot be part of valid text.
///
/// ```
/// let mut text = steadfast::proto::utf8::Utf8Stream::default();
/// assert!(text.push(b"\xe2\x82").is_ok()); // two thirds of a euro sign
/// assert!(text.push(b"\xac").is_ok());
/// assert!(text.finish().is_ok());
/// assert!(text.push(b"\xed\xa0").is_err()); // a surrogate shows in its second byte
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Utf8Stream {
    tail: [u8; 3],
    tail_bytes: u8,
}

impl Utf8Stream {
    /// Checks the next piece of the text.
    ///
    /// # Errors
    /// [`Invalid`] as soon as a byte arrives that no valid text can have there.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), Invalid> {
        let rest = self.complete_tail(bytes)?;
        match simdutf8::compat::from_utf8(rest) {
            Ok(_) => Ok(()),
            Err(error) if error.error_len().is_some() => Err(Invalid),
            Err(error) => {
                let tail = &rest[error.valid_up_to()..];
                self.tail[..tail.len()].copy_from_slice(tail);
                self.tail_bytes = tail.len() as u8;
                Ok(())
            }
        }
    }

    /// Checks that the text is complete.
    ///
    /// # Errors
    /// [`Invalid`] if it ends in the middle of a character.
    pub fn finish(&self) -> Result<(), Invalid> {
        if self.tail_bytes == 0 { Ok(()) } else { Err(Invalid) }
    }

    /// Completes the character that the last piece left incomplete; returns what follows it.
    fn complete_tail<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Invalid> {
        if self.tail_bytes == 0 {
            return Ok(bytes);
        }
        let mut open = [0; 4];
        let mut length = usize::from(self.tail_bytes);
        open[..length].copy_from_slice(&self.tail[..length]);
        for (i, &byte) in bytes.iter().enumerate() {
            open[length] = byte;
            length += 1;
            match std::str::from_utf8(&open[..length]) {
                Ok(_) => {
                    self.tail_bytes = 0;
                    return Ok(&bytes[i + 1..]);
                }
                Err(error) if error.error_len().is_some() => return Err(Invalid),
                // A character has at most four bytes, so an incomplete one has at most three.
                Err(_) => {
                    self.tail = [open[0], open[1], open[2]];
                    self.tail_bytes = length as u8;
                }
            }
        }
        Ok(&[])
    }
}
