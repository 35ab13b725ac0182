//! The state of a head, a body, a frame or a message that has arrived in part. An idle session has none, unless its
//! connection keeps the window of a compressor from message to message.

use super::body::Body;
use super::close::Fault;
use super::deflate::{Deflate, Deflater, Inflater};
use super::event::MessageKind;
use super::extension::NegotiatedCompression;
use super::frame::{self, Header, MAX_HEADER_BYTES, Opcode, RSV1};
use super::heap::{block_bytes, written_bytes};
use super::http::{self, Head, HeadError, HeadLimits};
use super::mask::{self, Mask};
use super::reason::BadHead;
use super::utf8::{self, Invalid, Utf8Stream};
use std::collections::TryReserveError;

/// This much of a head is checked at every arrival, so that garbage is refused at once. The rest is checked when the
/// head ends, so that the work stays linear and the result does not depend on how the head is cut.
const EAGER_HEAD_BYTES: usize = 512;

/// A partial head, body, frame or message. At most 56 bytes, so that malloc's block for it is one cache line.
#[derive(Debug)]
pub(super) struct Partial {
    /// The head so far (after what a client keeps of its request), head and body so far, or the message so far.
    pub(super) buffer: Vec<u8>,
    pub(super) progress: Progress,
    state: MessageState,
}

const _: () = assert!(size_of::<Partial>() <= 56);

/// The state of the open message. It is boxed with its decompressor, so that an uncompressed message pays nothing for
/// that.
#[derive(Debug)]
enum MessageState {
    Plain(Gathered),
    Deflated(Box<Context>),
}

/// The properties of the open message.
#[derive(Clone, Copy, Debug, Default)]
struct Gathered {
    utf8: Utf8Stream,
    /// The number of frames so far.
    fragments: u32,
    /// `None` while no message is open.
    kind: Option<MessageKind>,
    compressed: bool,
}

/// A message that is being inflated, and the windows that the connection keeps between messages.
#[derive(Debug, Default)]
struct Context {
    gathered: Gathered,
    inflater: Option<Box<Inflater>>,
    deflater: Option<Box<Deflater>>,
}

/// The next element of the input.
#[derive(Debug)]
pub(super) enum Progress {
    /// The rest of a head, of which `searched` bytes have been searched for its end. In the buffer it follows the
    /// `kept` bytes that a client keeps of its request: its key, and the subprotocols that it offered.
    Head { searched: u32, kept: u32 },
    /// The rest of a frame's header.
    Header(HeaderBytes),
    /// The rest of a frame's payload.
    Frame { opcode: Opcode, fin: bool, control_bytes: u8, mask: Mask, left_bytes: u64 },
    /// The rest of a response's body.
    Body(Box<Body>),
    /// The rest of a request's body, which is gathered after a head of `head_bytes`.
    RequestBody { body: Box<Body>, head_bytes: u32 },
}

impl Progress {
    pub(super) fn is_ended_body(&self) -> bool {
        matches!(self, Self::Body(body) if **body == Body::Sized(0))
    }

    pub(super) fn is_endless_body(&self) -> bool {
        matches!(self, Self::Body(body) if **body == Body::UntilClose)
    }
}

/// A frame header that has arrived in part.
#[derive(Debug, Default)]
pub(super) struct HeaderBytes {
    bytes: [u8; MAX_HEADER_BYTES - 1],
    length: u8,
}

impl HeaderBytes {
    /// Adds the bytes of `input`; returns the header and how many bytes of `input` it took, once it is complete.
    pub(super) fn take(&mut self, input: &[u8]) -> Option<(Header, usize)> {
        let before = usize::from(self.length);
        let mut all = [0; MAX_HEADER_BYTES];
        all[..before].copy_from_slice(&self.bytes[..before]);
        let added = input.len().min(MAX_HEADER_BYTES - before);
        all[before..before + added].copy_from_slice(&input[..added]);
        let together = &all[..before + added];
        match frame::parse(together) {
            Some(header) => Some((header, header.header_bytes - before)),
            // Fourteen bytes are always a complete header, so an incomplete one fits.
            None => {
                self.bytes[..together.len()].copy_from_slice(together);
                self.length = together.len() as u8;
                None
            }
        }
    }
}

/// The result of [`Partial::take_payload`].
pub(super) enum Payload {
    /// The payload is incomplete.
    Open,
    /// A control frame is complete.
    Control(Opcode),
    /// A message is complete; the flag says whether it was compressed.
    Message(MessageKind, bool),
}

/// What is needed for inflating, and the limit on the result.
pub(super) struct Inflation<'a> {
    pub(super) deflate: &'a mut Deflate,
    pub(super) agreed: NegotiatedCompression,
    pub(super) max_message_bytes: u64,
}

impl Partial {
    pub(super) fn new(buffer: Vec<u8>, progress: Progress) -> Self {
        Self { buffer, progress, state: MessageState::Plain(Gathered::default()) }
    }

    pub(super) fn frame() -> Self {
        Self::new(Vec::new(), Progress::Header(HeaderBytes::default()))
    }

    pub(super) fn body(body: Body) -> Self {
        Self::new(Vec::new(), Progress::Body(Box::new(body)))
    }

    /// Creates the state of a client that waits for the response to its upgrade, which is checked with `kept`.
    pub(super) fn head(kept: Vec<u8>) -> Self {
        let progress = Progress::Head { searched: 0, kept: kept.len() as u32 };
        Self::new(kept, progress)
    }

    /// Returns what a client keeps of its request, see [`Partial::head`].
    pub(super) fn kept(&self) -> &[u8] {
        match self.progress {
            Progress::Head { kept, .. } => &self.buffer[..kept as usize],
            _ => &[],
        }
    }

    fn gathered_mut(&mut self) -> &mut Gathered {
        match &mut self.state {
            MessageState::Plain(gathered) => gathered,
            MessageState::Deflated(context) => &mut context.gathered,
        }
    }

    fn gathered(&self) -> &Gathered {
        match &self.state {
            MessageState::Plain(gathered) => gathered,
            MessageState::Deflated(context) => &context.gathered,
        }
    }

    /// Returns how many bytes of memory are kept, including those of the decompressor and compressor and malloc's
    /// overhead.
    pub(super) fn kept_bytes(&self) -> usize {
        let body_bytes = match self.progress {
            Progress::Body(_) | Progress::RequestBody { .. } => block_bytes(size_of::<Body>()),
            _ => 0,
        };
        let window_bytes = match &self.state {
            MessageState::Plain(_) => 0,
            MessageState::Deflated(context) => {
                let inflater_bytes = context.inflater.as_ref().map_or(0, |_| Inflater::heap_bytes());
                let deflater_bytes = context.deflater.as_ref().map_or(0, |deflater| deflater.kept_bytes());
                block_bytes(size_of::<Context>()) + inflater_bytes + deflater_bytes
            }
        };
        block_bytes(size_of::<Self>())
            + written_bytes(self.buffer.len(), self.buffer.capacity())
            + body_bytes
            + window_bytes
    }

    /// Returns whether something has arrived in part; false where only a window is kept.
    pub(super) fn is_unfinished(&self) -> bool {
        self.in_message() || !matches!(&self.progress, Progress::Header(stored) if stored.length == 0)
    }

    /// Returns whether a fragmented message is open.
    pub(super) fn in_message(&self) -> bool {
        self.gathered().kind.is_some()
    }

    /// Returns whether that message is compressed.
    pub(super) fn is_compressed(&self) -> bool {
        self.gathered().compressed
    }

    fn context(&mut self) -> &mut Context {
        if let MessageState::Plain(gathered) = self.state {
            self.state = MessageState::Deflated(Box::new(Context { gathered, ..Context::default() }));
        }
        match &mut self.state {
            MessageState::Deflated(context) => context,
            MessageState::Plain(_) => unreachable!("it was just replaced"),
        }
    }

    /// Returns the compressor of a connection that keeps its window.
    pub(super) fn own_deflater(this: &mut Option<Box<Self>>) -> &mut Option<Box<Deflater>> {
        &mut this.get_or_insert_with(|| Box::new(Self::frame())).context().deflater
    }

    /// Drops that compressor, and the whole state where nothing else is kept.
    pub(super) fn drop_deflater(this: &mut Option<Box<Self>>) {
        let Some(partial) = this else { return };
        let MessageState::Deflated(context) = &mut partial.state else { return };
        context.deflater = None;
        if context.inflater.is_none() && !partial.is_unfinished() {
            *this = None;
        }
    }

    /// Frees what the last message needed; returns `Some` if a window has to be kept.
    pub(super) fn rest(mut self: Box<Self>, inflation: &mut Inflation<'_>) -> Option<Box<Self>> {
        let MessageState::Deflated(context) = &mut self.state else { return None };
        if !inflation.agreed.peer_takeover()
            && let Some(inflater) = context.inflater.take()
        {
            inflation.deflate.give_back(inflater);
        }
        if context.inflater.is_none() && context.deflater.is_none() {
            return None;
        }
        self.buffer = Vec::new();
        Some(self)
    }

    /// Takes a head, directly from `input` if it is complete there; otherwise through `this`, which keeps the part that
    /// has arrived.
    ///
    /// Returns the bytes of `input` used and the parsed head, which borrows from `input` or from `message`.
    pub(super) fn take_head<'a, T: Head<'a>>(
        this: &mut Option<Box<Self>>,
        input: &'a [u8],
        message: &'a mut Vec<u8>,
        limits: HeadLimits,
    ) -> Result<(usize, Option<Box<T>>), BadHead> {
        let limits = T::limits(limits);
        let bad = |head: &[u8], error| match T::IS_REQUEST {
            true => BadHead::of_request(error, head, limits),
            false => BadHead::unanswered(error),
        };
        let from = this.as_ref().map_or(0, |partial| partial.kept().len());
        let before = this.as_ref().map_or(0, |partial| partial.buffer.len() - from);
        if before == 0 {
            // RFC 9112 section 2.2: empty lines before a request line are ignored, if they end with CRLF.
            let empty = input.as_chunks::<2>().0.iter().take_while(|two| **two == *b"\r\n").count();
            if empty > 0 {
                return Ok((2 * empty, None));
            }
            if input.first() == Some(&b'\n') {
                // It is refused at once, so that the result does not depend on how the head is cut.
                return Err(bad(&input[..1], HeadError::Malformed));
            }
            // Errors are found below, so that they are the same as for a head in pieces.
            if let Ok(Some((head, bytes))) = T::parse(input, limits) {
                return Ok((bytes, Some(head)));
            }
        }
        if before == 1 && input.first() == Some(&b'\n') && Self::forgets_empty_line(this, from) {
            return Ok((1, None));
        }
        let partial =
            this.get_or_insert_with(|| Box::new(Self::new(Vec::new(), Progress::Head { searched: 0, kept: 0 })));
        // One byte over the limit is enough to know; bytes after the end of the head do not belong to it.
        let added = input.len().min(limits.max_head_bytes + 1 - before);
        partial.buffer.extend_from_slice(&input[..added]);
        let Progress::Head { searched, .. } = &mut partial.progress else {
            return Err(bad(&[], HeadError::Malformed));
        };
        let head = &partial.buffer[from..];
        let end = http::end_of_head(head, *searched as usize);
        *searched = head.len() as u32;
        if let Some(end) = end {
            *message = std::mem::take(&mut partial.buffer);
            message.truncate(from + end);
            *this = None;
            let head = &message[from..];
            let parsed = T::parse(head, limits).and_then(|parsed| parsed.ok_or(HeadError::Malformed));
            let (head, _) = parsed.map_err(|error| bad(head, error))?;
            return Ok((end - before, Some(head)));
        }
        let line = limits.max_request_line_bytes;
        // This is checked once, when the head outgrows a line: a request line that had not ended by then would be too
        // long.
        let outgrows_line = before <= line && head.len() > line;
        let over =
            head.len() > limits.max_head_bytes || outgrows_line && memchr::memchr(b'\n', &head[..line]).is_none();
        if over || before < EAGER_HEAD_BYTES {
            let judged = if over { head } else { &head[..head.len().min(EAGER_HEAD_BYTES)] };
            T::judge(judged, limits).map_err(|error| bad(judged, error))?;
        }
        Ok((input.len(), None))
    }

    /// Returns whether the one byte of a head that has arrived is the CR of an empty line, which ends now; the line is
    /// then dropped.
    fn forgets_empty_line(this: &mut Option<Box<Self>>, from: usize) -> bool {
        let Some(partial) = this.as_mut().filter(|partial| partial.buffer.ends_with(b"\r")) else { return false };
        partial.buffer.truncate(from);
        if let Progress::Head { searched, .. } = &mut partial.progress {
            *searched = 0;
        }
        if from == 0 {
            *this = None;
        }
        true
    }

    /// Begins the payload after a header that was checked.
    pub(super) fn begin_payload(&mut self, opcode: Opcode, header: &Header, max_fragments: u32) -> Result<(), Fault> {
        self.progress = Progress::Frame {
            opcode,
            fin: header.fin(),
            control_bytes: if opcode.is_control() { header.payload_bytes as u8 } else { 0 },
            mask: header.mask.unwrap_or_default(),
            left_bytes: header.payload_bytes,
        };
        if opcode.is_control() {
            return Ok(());
        }
        let gathered = self.gathered_mut();
        match opcode {
            Opcode::Text => gathered.kind = Some(MessageKind::Text),
            Opcode::Binary => gathered.kind = Some(MessageKind::Binary),
            _ => {}
        }
        gathered.compressed |= header.first & RSV1 != 0;
        if gathered.fragments >= max_fragments {
            return Err(Fault::TooManyFragments);
        }
        gathered.fragments += 1;
        Ok(())
    }

    /// Takes the part of the open payload in `input`. A complete control payload or message is moved to `complete`.
    ///
    /// The payload of a control frame between fragments is gathered after the message so far, and removed again.
    pub(super) fn take_payload(
        &mut self,
        input: &mut [u8],
        complete: &mut Vec<u8>,
        inflation: &mut Inflation<'_>,
    ) -> Result<(usize, Payload), Fault> {
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
        let Gathered { kind, compressed, .. } = *self.gathered();
        let ends = left == 0 && fin && !opcode.is_control();
        if compressed && !opcode.is_control() {
            self.inflate(piece, ends, inflation)?;
        } else {
            if !opcode.is_control() && kind == Some(MessageKind::Text) {
                self.gathered_mut().utf8.push(piece)?;
            }
            self.append(piece, if fin { left_before } else { u64::MAX }).map_err(|_| Fault::OutOfMemory)?;
        }
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
        match kind {
            Some(kind) if ends => {
                if kind == MessageKind::Text {
                    self.gathered_mut().utf8.finish()?;
                }
                *self.gathered_mut() = Gathered::default();
                *complete = std::mem::take(&mut self.buffer);
                Ok((taken, Payload::Message(kind, compressed)))
            }
            _ => Ok((taken, Payload::Open)),
        }
    }

    /// Appends to the buffer, which doubles as a Vec does, but never beyond what the last frame of a message, or a
    /// body, has declared, and never because of that declaration alone.
    ///
    /// # Errors
    /// When there is no memory.
    pub(super) fn append(&mut self, piece: &[u8], declared_bytes: u64) -> Result<(), TryReserveError> {
        let buffer = &mut self.buffer;
        if buffer.capacity() - buffer.len() < piece.len() {
            let declared = usize::try_from(declared_bytes).unwrap_or(usize::MAX);
            buffer.try_reserve_exact(piece.len().max(buffer.capacity()).min(declared))?;
        }
        buffer.extend_from_slice(piece);
        Ok(())
    }

    /// Inflates the next piece of the open message as soon as it arrives, so that the limit applies before there is
    /// more than it allows, and text is checked as it arrives.
    fn inflate(&mut self, piece: &[u8], ends: bool, inflation: &mut Inflation<'_>) -> Result<(), Fault> {
        if piece.is_empty() && !ends {
            return Ok(()); // an announced message costs nothing yet
        }
        let keeps_window = inflation.agreed.peer_takeover();
        let mut message = std::mem::take(&mut self.buffer);
        let before = message.len();
        let context = self.context();
        let mut room_bytes = inflation.deflate.room_bytes;
        let inflater = match &mut context.inflater {
            Some(inflater) => inflater,
            none => {
                let lent = inflation.deflate.lend(room_bytes)?;
                room_bytes -= Inflater::heap_bytes();
                none.insert(lent)
            }
        };
        // A few bytes may inflate to any length, so the memory that is left is a limit here.
        let left_bytes = message.capacity().saturating_add(room_bytes) as u64;
        let max_bytes = inflation.max_message_bytes.min(left_bytes);
        let mut inflated = inflater.inflate(piece, &mut message, max_bytes, inflation.deflate.piece());
        if ends && inflated.is_ok() {
            inflated = inflater.finish(keeps_window, &mut message, max_bytes, inflation.deflate.piece());
        }
        if inflated == Err(Fault::MessageTooBig) && max_bytes < inflation.max_message_bytes {
            inflated = Err(Fault::OutOfMemory);
        }
        // Text before a fault is checked first, so that the fault does not depend on how the message is cut.
        if context.gathered.kind == Some(MessageKind::Text)
            && let Err(invalid) = context.gathered.utf8.push(&message[before..])
        {
            inflated = Err(invalid.into());
        }
        if inflated.is_err()
            && let Some(inflater) = context.inflater.take()
        {
            inflation.deflate.give_back(inflater); // the connection is over; another one may use it
        }
        self.buffer = message;
        inflated
    }
}

/// Inflates a whole message from `payload` to `message`, without a window from before, and checks it as if it had
/// arrived in pieces.
pub(super) fn inflate_whole(
    deflate: &mut Deflate,
    payload: &[u8],
    kind: MessageKind,
    message: &mut Vec<u8>,
    max_bytes: u64,
) -> Result<(), Fault> {
    let inflated = deflate.inflate_whole(payload, message, max_bytes);
    if kind == MessageKind::Text && !utf8::is_valid(message) {
        let mut text = Utf8Stream::default();
        text.push(message)?;
        // The text is valid as far as it goes, but ends in the middle of a character: then the message may be
        // incomplete, too.
        return inflated.and(Err(Fault::TextNotUtf8));
    }
    inflated
}

impl From<Invalid> for Fault {
    fn from(_: Invalid) -> Self {
        Self::TextNotUtf8
    }
}
