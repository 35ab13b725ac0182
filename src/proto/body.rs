//! The body of an HTTP message (RFC 9112 sections 6 and 7), as it arrives in pieces.

use super::http::Response;

/// Where one body stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// So many bytes are still to come.
    Sized(u64),
    /// Chunks, until one of no length.
    Chunked(Chunk),
    /// Everything until the peer closes.
    UntilClose,
}

/// Where a chunked body stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunk {
    /// In a chunk's size: its value so far, and how many digits that had.
    Size {
        /// The value of the digits so far.
        bytes: u32,
        /// How many digits there were.
        digits: u8,
    },
    /// Behind the size, up to the end of its line.
    Extension(u32),
    /// At the LF of that line.
    SizeEnd(u32),
    /// So many bytes of the chunk, then CRLF.
    Data(u32),
    /// At the CR behind the data.
    DataEnd,
    /// At the LF behind that.
    DataLf,
    /// In a line of the trailer.
    Trailer {
        /// Whether nothing stands in it so far.
        empty: bool,
    },
    /// At the LF of that line.
    TrailerLf {
        /// Whether nothing stood in it.
        empty: bool,
    },
}

/// A chunk's size is not a number, or one of more than 7 digits; or CRLF is not where it must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// What [`Body::take`] found at the front of its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Bytes used up, framing included.
    pub consumed: usize,
    /// Where the body's own bytes begin among them: they reach to `consumed`.
    pub data_from: usize,
    /// Whether the body ends here.
    pub done: bool,
}

impl Body {
    /// How the body of an answer to a GET is framed; `None` if it has none (RFC 9112 section 6.3).
    ///
    /// # Errors
    /// [`Malformed`] for a Content-Length that is not one number.
    pub fn of_response(response: &Response<'_>) -> Result<Option<Self>, Malformed> {
        let fields = &response.fields;
        if matches!(response.status, 100..=199 | 204 | 304) {
            return Ok(None);
        }
        match (fields.transfer_encoding, fields.content_length) {
            (Some(true), _) => Ok(Some(Self::Chunked(Chunk::Size { bytes: 0, digits: 0 }))),
            (Some(false), _) | (None, None) => Ok(Some(Self::UntilClose)),
            (None, Some(_)) if fields.has_duplicate => Err(Malformed),
            (None, Some(length)) => {
                let digits = length.iter().all(u8::is_ascii_digit);
                let length = std::str::from_utf8(length).ok().filter(|_| digits).and_then(|text| text.parse().ok());
                match length.ok_or(Malformed)? {
                    0 => Ok(None),
                    bytes => Ok(Some(Self::Sized(bytes))),
                }
            }
        }
    }

    /// Takes the next piece from the front of `input`, which must not be empty.
    ///
    /// # Errors
    /// [`Malformed`] chunk framing.
    pub fn take(&mut self, input: &[u8]) -> Result<Piece, Malformed> {
        match self {
            Self::UntilClose => Ok(Piece { consumed: input.len(), data_from: 0, done: false }),
            Self::Sized(left) => {
                let consumed = input.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= consumed as u64;
                Ok(Piece { consumed, data_from: 0, done: *left == 0 })
            }
            Self::Chunked(chunk) => chunk.take(input),
        }
    }
}

impl Chunk {
    fn take(&mut self, input: &[u8]) -> Result<Piece, Malformed> {
        for (at, &byte) in input.iter().enumerate() {
            if let Self::Data(left) = *self {
                let data = (input.len() - at).min(left as usize);
                *self = if data == left as usize { Self::DataEnd } else { Self::Data(left - data as u32) };
                return Ok(Piece { consumed: at + data, data_from: at, done: false });
            }
            if self.step(byte)? {
                return Ok(Piece { consumed: at + 1, data_from: at + 1, done: true });
            }
        }
        Ok(Piece { consumed: input.len(), data_from: input.len(), done: false })
    }

    /// One byte of framing; whether it was the last of the body.
    fn step(&mut self, byte: u8) -> Result<bool, Malformed> {
        *self = match (*self, byte) {
            (Self::Size { bytes, digits: digits @ 0..=6 }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = (byte as char).to_digit(16).ok_or(Malformed)?;
                Self::Size { bytes: bytes << 4 | digit, digits: digits + 1 }
            }
            (Self::Size { bytes, digits: 1.. }, b';' | b' ' | b'\t') => Self::Extension(bytes),
            (Self::Size { bytes, digits: 1.. } | Self::Extension(bytes), b'\r') => Self::SizeEnd(bytes),
            (Self::SizeEnd(0), b'\n') => Self::Trailer { empty: true },
            (Self::SizeEnd(bytes), b'\n') => Self::Data(bytes),
            (Self::DataEnd, b'\r') => Self::DataLf,
            (Self::DataLf, b'\n') => Self::Size { bytes: 0, digits: 0 },
            (Self::Trailer { empty }, b'\r') => Self::TrailerLf { empty },
            (Self::TrailerLf { empty: true }, b'\n') => return Ok(true),
            (Self::TrailerLf { empty: false }, b'\n') => Self::Trailer { empty: true },
            // A bare LF ends no line here, as in a head.
            (Self::Extension(bytes), byte) if byte != b'\n' => Self::Extension(bytes),
            (Self::Trailer { .. }, byte) if byte != b'\n' => Self::Trailer { empty: false },
            _ => return Err(Malformed),
        };
        Ok(false)
    }
}
