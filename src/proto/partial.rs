//! What a session keeps of a head, a frame or a message that has arrived in part; an idle one has none of it.

use super::body::Body;
use super::event::MessageKind;
use super::frame::{self, Header, MAX_HEADER_BYTES, Opcode};
use super::http::{self, Head, HeadError, HeadLimits};
use super::mask::{self, Mask};
use super::utf8::{Invalid, Utf8Stream};

/// Up to this length a head is judged at every arrival, so that garbage is refused at once; a longer one when it
/// ends, so that the work stays linear however it is cut.
const EAGER_HEAD_BYTES: usize = 512;

/// A client's key stands in front of the head that it waits for.
const KEY_BYTES: usize = 24;

/// At most 56 bytes, so that malloc's block for it is one cache line; see the test of sizes.
#[derive(Debug)]
pub(super) struct Partial {
    /// The head so far (behind a client's key), or the message so far.
    pub(super) buffer: Vec<u8>,
    pub(super) progress: Progress,
    utf8: Utf8Stream,
    /// Frames of the open message.
    pub(super) fragments: u32,
    /// The kind of the open message, if there is one.
    pub(super) kind: Option<MessageKind>,
}

/// What comes next.
#[derive(Debug)]
pub(super) enum Progress {
    /// The rest of a head, of which so many bytes have been searched for its end.
    Head { searched: u32, has_key: bool },
    /// The rest of a frame's header.
    Header(HeaderBytes),
    /// The rest of a frame's payload.
    Frame { opcode: Opcode, fin: bool, control_bytes: u8, mask: Mask, left_bytes: u64 },
    /// The rest of a response's body.
    Body(Body),
}

impl Progress {
    pub(super) fn is_ended_body(&self) -> bool {
        matches!(self, Self::Body(Body::Sized(0)))
    }
}

/// A frame header that has arrived in part.
#[derive(Debug, Default)]
pub(super) struct HeaderBytes {
    bytes: [u8; MAX_HEADER_BYTES - 1],
    length: u8,
}

impl HeaderBytes {
    /// Adds what `input` has of it; the header and how many bytes of `input` it took, once it is complete.
    pub(super) fn take(&mut self, input: &[u8]) -> Option<(Header, usize)> {
        let before = usize::from(self.length);
        let mut all = [0; MAX_HEADER_BYTES];
        all[..before].copy_from_slice(&self.bytes[..before]);
        let added = input.len().min(MAX_HEADER_BYTES - before);
        all[before..before + added].copy_from_slice(&input[..added]);
        let together = &all[..before + added];
        match frame::parse(together) {
            Some(header) => Some((header, header.header_bytes - before)),
            // Fourteen bytes are always a header, so what is short of one fits.
            None => {
                self.bytes[..together.len()].copy_from_slice(together);
                self.length = together.len() as u8;
                None
            }
        }
    }
}

/// What [`Partial::take_payload`] came to.
pub(super) enum Payload {
    /// More of it is to come.
    Open,
    /// A control frame is complete.
    Control(Opcode),
    /// A message is complete.
    Message(MessageKind),
}

impl Partial {
    fn new(buffer: Vec<u8>, progress: Progress) -> Self {
        Self { buffer, progress, utf8: Utf8Stream::default(), fragments: 0, kind: None }
    }

    pub(super) fn frame() -> Self {
        Self::new(Vec::new(), Progress::Header(HeaderBytes::default()))
    }

    pub(super) fn body(body: Body) -> Self {
        Self::new(Vec::new(), Progress::Body(body))
    }

    /// A client's wait for the answer to an upgrade with `key`.
    pub(super) fn head(key: &[u8; KEY_BYTES]) -> Self {
        Self::new(key.to_vec(), Progress::Head { searched: 0, has_key: true })
    }

    pub(super) fn key(&self) -> Option<[u8; KEY_BYTES]> {
        match self.progress {
            Progress::Head { has_key: true, .. } => self.buffer.first_chunk().copied(),
            _ => None,
        }
    }

    /// Takes a head, whole from `input` where it is, else through `this`, which keeps the part that has come.
    ///
    /// Gives the bytes of `input` used and the parsed head, which borrows from `input` or from `message`.
    pub(super) fn take_head<'a, T: Head<'a>>(
        this: &mut Option<Box<Self>>,
        input: &'a [u8],
        message: &'a mut Vec<u8>,
        limits: HeadLimits,
    ) -> Result<(usize, Option<T>), HeadError> {
        let limits = T::limits(limits);
        let from = match this {
            Some(partial) if partial.key().is_some() => KEY_BYTES,
            _ => 0,
        };
        let before = this.as_ref().map_or(0, |partial| partial.buffer.len() - from);
        if before == 0 {
            // RFC 9112 section 2.2: empty lines in front of a request line are ignored.
            let empty = input.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            if empty > 0 {
                return Ok((empty, None));
            }
            if let Some((head, bytes)) = T::parse(input, limits)? {
                return Ok((bytes, Some(head)));
            }
        }
        let partial =
            this.get_or_insert_with(|| Box::new(Self::new(Vec::new(), Progress::Head { searched: 0, has_key: false })));
        // One byte over the limit is enough to know; what lies behind the head's end is not part of it.
        let added = input.len().min(limits.max_head_bytes + 1 - before);
        partial.buffer.extend_from_slice(&input[..added]);
        let Progress::Head { searched, .. } = &mut partial.progress else { return Err(HeadError::Malformed) };
        let head = &partial.buffer[from..];
        let end = http::end_of_head(head, *searched as usize);
        *searched = head.len() as u32;
        if let Some(end) = end {
            *message = std::mem::take(&mut partial.buffer);
            message.truncate(from + end);
            *this = None;
            let (head, _) = T::parse(&message[from..], limits)?.ok_or(HeadError::Malformed)?;
            return Ok((end - before, Some(head)));
        }
        let line = limits.max_request_line_bytes;
        let over =
            head.len() > limits.max_head_bytes || head.len() > line && memchr::memchr(b'\n', &head[..line]).is_none();
        if over || head.len() <= EAGER_HEAD_BYTES {
            T::judge(head, limits)?;
        }
        Ok((input.len(), None))
    }

    /// A checked header opens the payload behind it.
    pub(super) fn begin_payload(&mut self, opcode: Opcode, header: &Header) {
        match opcode {
            Opcode::Text => self.kind = Some(MessageKind::Text),
            Opcode::Binary => self.kind = Some(MessageKind::Binary),
            _ => {}
        }
        if !opcode.is_control() {
            self.fragments += 1;
        }
        self.progress = Progress::Frame {
            opcode,
            fin: header.fin(),
            control_bytes: if opcode.is_control() { header.payload_bytes as u8 } else { 0 },
            mask: header.mask.unwrap_or_default(),
            left_bytes: header.payload_bytes,
        };
    }

    /// Takes what `input` has of the open payload; a complete control payload or message is moved to `complete`.
    ///
    /// A control frame between fragments is gathered behind the message so far, and cut off again.
    pub(super) fn take_payload(
        &mut self,
        input: &mut [u8],
        complete: &mut Vec<u8>,
    ) -> Result<(usize, Payload), Invalid> {
        let Progress::Frame { opcode, fin, control_bytes, mask, left_bytes } = &mut self.progress else {
            return Ok((0, Payload::Open));
        };
        let (opcode, fin, control_bytes) = (*opcode, *fin, usize::from(*control_bytes));
        let taken = input.len().min(usize::try_from(*left_bytes).unwrap_or(usize::MAX));
        let piece = &mut input[..taken];
        mask::apply(piece, *mask);
        *mask = mask::advance(*mask, taken);
        let left_before = *left_bytes;
        *left_bytes -= taken as u64;
        let left = *left_bytes;
        if !opcode.is_control() && self.kind == Some(MessageKind::Text) {
            self.utf8.push(piece)?;
        }
        grow(&mut self.buffer, taken, if fin { left_before } else { u64::MAX });
        self.buffer.extend_from_slice(piece);
        if left > 0 {
            return Ok((taken, Payload::Open));
        }
        self.progress = Progress::Header(HeaderBytes::default());
        if opcode.is_control() {
            let message_bytes = self.buffer.len() - control_bytes;
            complete.clear();
            complete.extend_from_slice(&self.buffer[message_bytes..]);
            self.buffer.truncate(message_bytes);
            return Ok((taken, Payload::Control(opcode)));
        }
        match self.kind {
            Some(kind) if fin => {
                if kind == MessageKind::Text {
                    self.utf8.finish()?;
                }
                *complete = std::mem::take(&mut self.buffer);
                Ok((taken, Payload::Message(kind)))
            }
            _ => Ok((taken, Payload::Open)),
        }
    }
}

/// Room for `added` bytes: doubled as a Vec would, but never beyond what the last frame of a message declared, and never
/// on the strength of that declaration alone.
fn grow(buffer: &mut Vec<u8>, added: usize, declared_bytes: u64) {
    if buffer.capacity() - buffer.len() < added {
        let declared = usize::try_from(declared_bytes).unwrap_or(usize::MAX);
        buffer.reserve_exact(added.max(buffer.capacity()).min(declared));
    }
}
