//! Compression of messages with permessage-deflate (RFC 7692 section 7.2): the compressors and decompressors that a
//! thread shares, and those that a connection owns because it keeps a window from message to message.

use super::close::Fault;
use super::extension::Compression;
use super::heap::{self, MAPPED_FROM_BYTES, block_bytes};
use std::fmt;
use zlib_rs::{DeflateConfig, DeflateFlush, InflateFlush, Status};

/// 7.2.1: what a sender cuts off the end of a flushed message; 7.2.2: what a receiver appends again.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// The same with an empty last block: where no window is kept, the stream is ended, which succeeds only if the message
/// is complete.
const TAIL_AND_END: [u8; 9] = [0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff];

/// How much a compressor gathers before it writes a block. With 8, as is usual, each message would cost the clearing of
/// 48 KiB; with 5 it is 6 KiB, and messages of up to 4 KiB are compressed as well (see `bench/README.md`).
const MEM_LEVEL: i32 = 5;

/// The most decompressors that are kept for later messages, beside those in use.
const KEPT: usize = 2;

/// The size of the buffer through which messages are inflated, so that no memory is reserved before there are bytes for
/// it.
const PIECE_BYTES: usize = 8 << 10;

/// The heap memory of a decompressor: its window of 32 KiB, the tables of its codes, and its record.
const INFLATER_BYTES: usize = 48 << 10;

/// A buffer for compressed bytes that has grown beyond this is freed.
const KEPT_BYTES: usize = 256 << 10;

/// The compressors and decompressors that the connections of one thread share: a connection without context takeover
/// needs none of its own.
#[derive(Debug)]
pub struct Deflate {
    level: u8,
    min_message_bytes: usize,
    /// The shared compressors, by the bits of their windows, from 9 on; created when first used.
    deflaters: [Option<Box<Deflater>>; 7],
    #[expect(clippy::vec_box, reason = "they are lent as boxes, and go back as they came")]
    inflaters: Vec<Box<Inflater>>,
    /// The buffer for compressed bytes. All of it is initialized, whatever part is in use.
    compressed: Vec<u8>,
    /// The buffer for inflated bytes; empty until it is first used.
    piece: Box<[u8]>,
    /// How much more memory connections may keep; set by the shell. No connection gets more than this.
    pub room_bytes: usize,
}

impl Default for Deflate {
    fn default() -> Self {
        Self::new(&Compression::default())
    }
}

impl Deflate {
    /// Creates it with the level and the least message length of `settings`; the rest is negotiated for each
    /// connection.
    pub fn new(settings: &Compression) -> Self {
        Self {
            level: settings.level,
            min_message_bytes: settings.min_message_bytes,
            deflaters: [const { None }; 7],
            inflaters: Vec::new(),
            compressed: Vec::new(),
            piece: Box::default(),
            room_bytes: usize::MAX,
        }
    }

    /// Returns whether a message is long enough to be compressed.
    pub(super) fn is_worth(&self, payload: &[u8]) -> bool {
        payload.len() >= self.min_message_bytes.max(1)
    }

    /// Compresses a message, with the compressor of the connection or a shared one, which is made when it is first needed.
    ///
    /// Returns `None` for a message that is to be sent uncompressed: it is too short, no shorter when compressed, or
    /// there is no memory for a compressor. With a window that is kept, the result is sent even if it is longer, since
    /// the peer has to see all that went into the window.
    pub(super) fn compress(&mut self, payload: &[u8], window: Window<'_>) -> Option<&[u8]> {
        if !self.is_worth(payload) {
            return None;
        }
        let Window { bits: window_bits, own } = window;
        let keeps_window = own.is_some();
        let room_bytes = if keeps_window { self.room_bytes } else { usize::MAX };
        let place = own.unwrap_or(&mut self.deflaters[usize::from(window_bits.clamp(9, 15)) - 9]);
        if place.is_none() && Deflater::heap_bytes(window_bits) <= room_bytes {
            *place = Deflater::new(self.level, window_bits);
        }
        let deflater = place.as_mut()?;
        if !keeps_window {
            deflater.raw.reset();
        }
        if self.compressed.len() > KEPT_BYTES {
            self.compressed = Vec::new();
        }
        let compressed = deflater.deflate(payload, &mut self.compressed);
        (keeps_window || compressed.len() < payload.len()).then_some(compressed)
    }

    /// Inflates a whole message from `payload` to `message`, without a window from before.
    pub(super) fn inflate_whole(&mut self, payload: &[u8], message: &mut Vec<u8>, max_bytes: u64) -> Result<(), Fault> {
        message.clear();
        let mut inflater = self.lend(usize::MAX)?;
        let result = inflater
            .inflate(payload, message, max_bytes, &mut self.piece)
            .and_then(|()| inflater.finish(false, message, max_bytes, &mut self.piece));
        self.give_back(inflater);
        result
    }

    /// Lends a decompressor without a window from before, if it fits into `room_bytes`.
    pub(super) fn lend(&mut self, room_bytes: usize) -> Result<Box<Inflater>, Fault> {
        if room_bytes < Inflater::heap_bytes() {
            return Err(Fault::OutOfMemory);
        }
        Ok(match self.inflaters.pop() {
            Some(mut inflater) => {
                inflater.reset();
                inflater.begin_message();
                inflater
            }
            None => Inflater::new().ok_or(Fault::OutOfMemory)?,
        })
    }

    pub(super) fn give_back(&mut self, inflater: Box<Inflater>) {
        if self.inflaters.len() < KEPT {
            self.inflaters.push(inflater);
        }
    }

    /// Returns the buffer for [`Inflater::inflate`].
    pub(super) fn piece(&mut self) -> &mut Box<[u8]> {
        &mut self.piece
    }
}

/// The window that a message is compressed with (RFC 7692 section 7.2.1).
pub(super) struct Window<'a> {
    /// Its size: 2 to the power of this many bytes.
    pub(super) bits: u8,
    /// The compressor of a connection that keeps its window from message to message; `None` for one that all share.
    pub(super) own: Option<&'a mut Option<Box<Deflater>>>,
}

/// One compressor.
pub(super) struct Deflater {
    raw: zlib_rs::Deflate,
    heap_bytes: usize,
}

impl fmt::Debug for Deflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Deflater")
    }
}

impl Deflater {
    /// Returns the heap memory of a compressor with such a window: twice the window and an index of it, a table of
    /// hashes of 128 KiB, what is gathered for a block, and its record.
    fn heap_bytes(window_bits: u8) -> usize {
        let window_bytes = 1 << window_bits.clamp(9, 15);
        let gathered_bytes = (1 << (MEM_LEVEL + 6)) * 7;
        block_bytes(4 * window_bytes + (128 << 10) + gathered_bytes + (8 << 10)) + block_bytes(size_of::<Self>())
    }

    /// Creates a compressor, if there is memory for it: the library ends the process where there is none.
    fn new(level: u8, window_bits: u8) -> Option<Box<Self>> {
        let heap_bytes = Self::heap_bytes(window_bits);
        if !heap::is_available(heap_bytes) {
            return None;
        }
        // A window of 8 bits is one of 9 bits whose matches reach back at most 512 less 262 bytes, since the longest
        // match and the lookahead need the rest: this compressor does no more with 9 bits. A negative number means that
        // there is no header.
        let window_bits = -i32::from(window_bits.clamp(9, 15));
        let config =
            DeflateConfig { level: level.into(), window_bits, mem_level: MEM_LEVEL, ..DeflateConfig::default() };
        Some(Box::new(Self { raw: zlib_rs::Deflate::new_with_config(config), heap_bytes }))
    }

    /// Returns how many bytes of the heap the compressor takes.
    pub(super) fn kept_bytes(&self) -> usize {
        self.heap_bytes
    }

    /// Compresses `payload` as a whole message, without the tail.
    fn deflate<'a>(&mut self, payload: &[u8], buffer: &'a mut Vec<u8>) -> &'a [u8] {
        // At level 1 a byte may take nine bits, and the end of a message a few bytes.
        let bound = payload.len() + payload.len() / 8 + payload.len() / 64 + 64;
        if buffer.len() < bound {
            buffer.resize(bound, 0);
        }
        let (mut read, mut made) = (0, 0);
        loop {
            let (in_before, out_before) = (self.raw.total_in(), self.raw.total_out());
            // compress() fails only for a state that was not set up, which cannot be. A lack of room is not an error,
            // and shows below.
            let _ = self.raw.compress(&payload[read..], &mut buffer[made..], DeflateFlush::SyncFlush);
            read += (self.raw.total_in() - in_before) as usize;
            made += (self.raw.total_out() - out_before) as usize;
            if read == payload.len() && made < buffer.len() {
                return &buffer[..made.saturating_sub(TAIL.len())];
            }
            // With room for six bytes or less, the flush marker would be written again and again.
            buffer.resize(buffer.len() + buffer.len() / 2 + 64, 0);
        }
    }
}

/// Bytes that are not [`TAIL`], even with up to three more bytes after them.
const NO_BYTES: [u8; 4] = [1; 4];

/// One decompressor, 47 KiB.
pub(super) struct Inflater {
    raw: zlib_rs::Inflate,
    /// Whether a stream has ended, with no byte after it.
    ended: bool,
    /// Whether a part of the current message has arrived.
    begun: bool,
    /// The last bytes that have arrived.
    last_bytes: [u8; 4],
}

impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Inflater")
    }
}

impl Inflater {
    /// Creates a decompressor with the largest window, whatever was negotiated: its memory is the same for all.
    ///
    /// Returns `None` if there is no memory for it: the library ends the process then.
    pub(super) fn new() -> Option<Box<Self>> {
        heap::is_available(INFLATER_BYTES).then(|| {
            Box::new(Self { raw: zlib_rs::Inflate::new(false, 15), ended: false, begun: false, last_bytes: NO_BYTES })
        })
    }

    /// Returns how many bytes of the heap a decompressor takes.
    pub(super) const fn heap_bytes() -> usize {
        INFLATER_BYTES + block_bytes(size_of::<Self>())
    }

    fn reset(&mut self) {
        self.raw.reset(false);
        self.ended = false;
    }

    /// Inflates all of `input` and appends it to `out`, which never grows beyond `max_bytes`.
    pub(super) fn inflate(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        max_bytes: u64,
        piece: &mut Box<[u8]>,
    ) -> Result<(), Fault> {
        if piece.is_empty() {
            *piece = vec![0; PIECE_BYTES].into();
        }
        let mut rest = input;
        self.ended &= input.is_empty();
        self.begun |= !input.is_empty();
        self.keep_last(input);
        loop {
            let (in_before, out_before) = (self.raw.total_in(), self.raw.total_out());
            let status = self.raw.decompress(rest, piece, InflateFlush::SyncFlush);
            rest = &rest[(self.raw.total_in() - in_before) as usize..];
            let made = &piece[..(self.raw.total_out() - out_before) as usize];
            append(out, made, max_bytes)?;
            match status.map_err(|_| Fault::DeflateInvalid)? {
                Status::StreamEnd => {
                    // 7.2.3.4: a sender may end a stream within a message; the next one begins after it.
                    self.reset();
                    self.ended = rest.is_empty();
                    if self.ended {
                        return Ok(());
                    }
                }
                // While the buffer has room, the decompressor holds nothing back.
                _ if made.len() < piece.len() => {
                    return if rest.is_empty() { Ok(()) } else { Err(Fault::DeflateInvalid) };
                }
                _ => {}
            }
        }
    }

    fn begin_message(&mut self) {
        (self.begun, self.last_bytes) = (false, NO_BYTES);
    }

    /// Keeps the last four bytes that have arrived; `input` is the latest of them.
    fn keep_last(&mut self, input: &[u8]) {
        if let Some(last) = input.last_chunk() {
            self.last_bytes = *last;
        } else {
            self.last_bytes.rotate_left(input.len());
            self.last_bytes[4 - input.len()..].copy_from_slice(input);
        }
    }

    /// Ends a message. Where the window is not kept, fails for a message that stops in the middle of a block.
    ///
    /// Two forms are accepted that section 7.2.1 forbids a sender, as other implementations accept them: no bytes at
    /// all for an empty message, and a message whose tail was not cut off. The latter cannot be mistaken for another
    /// message: the last byte before the tail has a bit of a block header, which is zero, so the byte is not 255.
    pub(super) fn finish(
        &mut self,
        keeps_window: bool,
        out: &mut Vec<u8>,
        max_bytes: u64,
        piece: &mut Box<[u8]>,
    ) -> Result<(), Fault> {
        // The tail alone would be part of a block.
        if !self.begun {
            return Ok(());
        }
        if !self.ended {
            let from = if self.last_bytes == TAIL { TAIL.len() } else { 0 };
            let to = if keeps_window { TAIL.len() } else { TAIL_AND_END.len() };
            self.inflate(&TAIL_AND_END[from..to], out, max_bytes, piece)?;
        }
        self.begin_message();
        if self.ended || keeps_window { Ok(()) } else { Err(Fault::DeflateInvalid) }
    }
}

/// Up to this size, the buffer of an inflated message grows within the heap.
const HEAP_GROWN_BYTES: usize = 16 << 10;

/// Appends inflated bytes, and grows the buffer by doubling, but never beyond the limit. A long message gets a block
/// that is mapped: it grows without a copy, leaves no gap in the heap, and its unwritten pages take no memory.
fn append(out: &mut Vec<u8>, made: &[u8], max_bytes: u64) -> Result<(), Fault> {
    let left = usize::try_from(max_bytes).unwrap_or(usize::MAX).saturating_sub(out.len());
    let (made, over) = made.split_at(made.len().min(left));
    if out.capacity() - out.len() < made.len() {
        let least = if out.capacity() < HEAP_GROWN_BYTES { 0 } else { MAPPED_FROM_BYTES };
        let wanted = out.capacity().max(made.len()).max(least).min(left);
        out.try_reserve_exact(wanted).map_err(|_| Fault::OutOfMemory)?;
    }
    out.extend_from_slice(made);
    if over.is_empty() { Ok(()) } else { Err(Fault::MessageTooBig) }
}
