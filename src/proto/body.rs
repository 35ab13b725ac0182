//! The bodies of HTTP messages (RFC 9112 sections 6 and 7), which arrive in pieces.

use super::http::{HeadError, Request, Response, TransferEncoding};

/// The most bytes of chunk extensions and of a trailer that one body may have; they are ignored.
const MAX_EXTRA_BYTES: u16 = 16 << 10;

/// The framing of a body, and how far it has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// A body of known length, with this many bytes still to come.
    Sized(u64),
    /// Chunks, until one of length 0.
    Chunked {
        /// The state within the current chunk.
        chunk: Chunk,
        /// Bytes of extensions and trailer so far.
        extra_bytes: u16,
    },
    /// All bytes until the peer closes.
    UntilClose,
}

/// The state of a body in chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunk {
    /// In the size of a chunk.
    Size {
        /// The value of the digits so far.
        bytes: u32,
        /// How many digits there were.
        digits: u8,
    },
    /// In white space after the size.
    Space(u32),
    /// In an extension, up to the end of the line.
    Extension(u32),
    /// At the LF of that line.
    SizeEnd(u32),
    /// In the data of the chunk: this many bytes, then CRLF.
    Data(u32),
    /// At the CR after the data.
    DataEnd,
    /// At the LF after that.
    DataLf,
    /// In a line of the trailer.
    Trailer {
        /// Whether the line is empty so far.
        empty: bool,
    },
    /// At the LF of that line.
    TrailerLf {
        /// Whether the line was empty.
        empty: bool,
    },
}

/// The framing is malformed: the size of a chunk is not a number, or one beyond 32 bits or 16 digits; CRLF is missing;
/// or there are more bytes beside the data than a body may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// A piece of a body at the front of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The number of bytes taken from the input, including framing.
    pub consumed: usize,
    /// Where the bytes of the body begin among them; they reach to `consumed`.
    pub data_from: usize,
    /// Whether the body ends here.
    pub done: bool,
}

impl Body {
    /// A body in chunks, at its beginning.
    pub const CHUNKED: Self = Self::Chunked { chunk: Chunk::Size { bytes: 0, digits: 0 }, extra_bytes: 0 };

    /// Returns how the body of a response to a GET is framed; `None` if it has none (RFC 9112 section 6.3).
    ///
    /// # Errors
    /// [`Malformed`] for a Content-Length that is not one number.
    pub fn of_response(response: &Response<'_>) -> Result<Option<Self>, Malformed> {
        let fields = &response.fields;
        if matches!(response.status, 100..=199 | 204 | 304) {
            return Ok(None);
        }
        match (fields.transfer_encoding, fields.content_length) {
            (Some(TransferEncoding::Chunked | TransferEncoding::Coded), _) => Ok(Some(Self::CHUNKED)),
            (Some(_), _) | (None, None) => Ok(Some(Self::UntilClose)),
            (None, Some(_)) if fields.has_duplicate => Err(Malformed),
            (None, Some(length)) => match digits(length).ok_or(Malformed)?.ok_or(Malformed)? {
                0 => Ok(None),
                bytes => Ok(Some(Self::Sized(bytes))),
            },
        }
    }

    /// Returns how the body of a request is framed; `None` if it has none. Framing that two readers could understand in
    /// two ways is refused, since it permits request smuggling (RFC 9112 sections 6.3 and 11.2).
    ///
    /// # Errors
    /// 400, 413 or 501, as [`HeadError`] says.
    pub fn of_request(request: &Request<'_>, max_bytes: u64) -> Result<Option<Self>, HeadError> {
        let fields = &request.fields;
        match (fields.transfer_encoding, fields.content_length) {
            // 6.1: "a server MAY reject a request that contains both", and "MUST close the connection" if it does not.
            (Some(_), Some(_)) => Err(HeadError::Malformed),
            // 6.1: "A server ... that receives an HTTP/1.0 message containing a Transfer-Encoding header field MUST
            // treat the message as if the framing is faulty".
            (Some(_), None) if request.minor_version == 0 => Err(HeadError::Malformed),
            (Some(TransferEncoding::Chunked), None) => Ok(Some(Self::CHUNKED)),
            // 6.1: "a transfer coding it does not understand SHOULD [be answered] with 501".
            (Some(TransferEncoding::Coded), None) => Err(HeadError::TransferCoding),
            // 6.3: if chunked is not the final coding, "the server MUST respond with the 400".
            (Some(TransferEncoding::Other | TransferEncoding::Broken), None) => Err(HeadError::Malformed),
            // 6.3: a length that is invalid, a list or a second one.
            (None, Some(length)) => match digits(length).ok_or(HeadError::Malformed)? {
                Some(0) => Ok(None),
                Some(bytes) if bytes <= max_bytes => Ok(Some(Self::Sized(bytes))),
                _ => Err(HeadError::BodyTooLarge),
            },
            (None, None) => Ok(None),
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
            Self::Chunked { chunk, extra_bytes } => chunk.take(input, extra_bytes),
        }
    }
}

/// Returns the value of a Content-Length: `None` if it is not a number, `Some(None)` if it exceeds 64 bits.
fn digits(length: &[u8]) -> Option<Option<u64>> {
    let add = |value: Option<u64>, &byte: &u8| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        Some(value.and_then(|value| value.checked_mul(10)?.checked_add(digit)))
    };
    if length.is_empty() { None } else { length.iter().try_fold(Some(0), add) }
}

/// RFC 9110 section 5.5.
fn is_field_byte(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

impl Chunk {
    fn take(&mut self, input: &[u8], extra_bytes: &mut u16) -> Result<Piece, Malformed> {
        for (at, &byte) in input.iter().enumerate() {
            if let Self::Data(left) = *self {
                let data = (input.len() - at).min(left as usize);
                *self = if data == left as usize { Self::DataEnd } else { Self::Data(left - data as u32) };
                return Ok(Piece { consumed: at + data, data_from: at, done: false });
            }
            if matches!(self, Self::Space(_) | Self::Extension(_) | Self::Trailer { .. }) {
                *extra_bytes += 1;
                if *extra_bytes > MAX_EXTRA_BYTES {
                    return Err(Malformed);
                }
            }
            if self.step(byte)? {
                return Ok(Piece { consumed: at + 1, data_from: at + 1, done: true });
            }
        }
        Ok(Piece { consumed: input.len(), data_from: input.len(), done: false })
    }

    /// Takes one byte of framing; returns whether it was the last byte of the body.
    fn step(&mut self, byte: u8) -> Result<bool, Malformed> {
        *self = match (*self, byte) {
            (
                Self::Size { bytes: bytes @ ..=0x0fff_ffff, digits: digits @ ..=15 },
                b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F',
            ) => {
                let digit = (byte as char).to_digit(16).ok_or(Malformed)?;
                Self::Size { bytes: bytes << 4 | digit, digits: digits + 1 }
            }
            // RFC 9112 section 7.1.1: white space is allowed only before an extension.
            (Self::Size { bytes, digits: 1.. } | Self::Space(bytes), b' ' | b'\t') => Self::Space(bytes),
            (Self::Size { bytes, digits: 1.. } | Self::Space(bytes), b';') => Self::Extension(bytes),
            (Self::Size { bytes, digits: 1.. } | Self::Space(bytes) | Self::Extension(bytes), b'\r') => {
                Self::SizeEnd(bytes)
            }
            (Self::SizeEnd(0), b'\n') => Self::Trailer { empty: true },
            (Self::SizeEnd(bytes), b'\n') => Self::Data(bytes),
            (Self::DataEnd, b'\r') => Self::DataLf,
            (Self::DataLf, b'\n') => Self::Size { bytes: 0, digits: 0 },
            (Self::Trailer { empty }, b'\r') => Self::TrailerLf { empty },
            (Self::TrailerLf { empty: true }, b'\n') => return Ok(true),
            (Self::TrailerLf { empty: false }, b'\n') => Self::Trailer { empty: true },
            // A bare LF does not end a line here, as in a head, and other control characters are not allowed.
            (Self::Extension(bytes), byte) if is_field_byte(byte) => Self::Extension(bytes),
            (Self::Trailer { .. }, byte) if is_field_byte(byte) => Self::Trailer { empty: false },
            _ => return Err(Malformed),
        };
        Ok(false)
    }
}
