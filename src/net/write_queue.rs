//! The write queue: messages that a socket has not taken yet, in order and bounded, with a policy for what exceeds the
//! bounds. It makes no system call, and there is no empty queue.

use super::progress::Progress;
use crate::proto::frame;
use crate::proto::heap::block_bytes;
use crate::proto::shared_frame::SharedFrame;
use std::collections::VecDeque;
use std::fs::File;
use std::io::IoSlice;
use std::sync::Arc;

/// The most pieces that one call sends; IOV_MAX of limits.h is 1024, and more than this seldom fit into a socket.
const GATHERED: usize = 64;

/// The most pieces that are checked after each change.
#[cfg(debug_assertions)]
const MAX_CHECKED: usize = 64;

/// What happens to a message for a connection whose queue is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// The connection is closed with 1008, and the messages that wait are dropped: for an application that needs every
    /// message. Only this policy gives the socket time: the connection is closed when its queue has exceeded the limits
    /// for the whole grace time (5 s by default), or exceeds them 16 times. The other policies drop messages at the
    /// limits at once, since they bound the age of the messages that arrive.
    #[default]
    Close,
    /// The message is dropped.
    DropNewest,
    /// The messages that have waited longest are dropped, as many as necessary.
    DropOldest,
    /// Of each topic, only the newest message waits, whether the queue is full or not; beyond the limits, as
    /// [`Overflow::DropOldest`].
    KeepLatest,
}

/// The limits on the queue of one connection; see [`Overflow`] for what happens beyond them. A message that the socket
/// has begun to take does not count, and an empty queue takes any one message. Bytes that several connections share
/// count for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueLimits {
    /// Bytes of messages.
    pub max_queued_bytes: usize,
    /// Messages.
    pub max_queued_messages: usize,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self { max_queued_bytes: 1 << 20, max_queued_messages: 1024 }
    }
}

/// The factor by which a queue may exceed its limits during the grace time.
const GRACE_FACTOR: usize = 16;

impl QueueLimits {
    /// Returns the limits during the grace time of [`Overflow::Close`].
    pub(super) fn in_grace(self) -> Self {
        Self {
            max_queued_bytes: self.max_queued_bytes.saturating_mul(GRACE_FACTOR),
            max_queued_messages: self.max_queued_messages.saturating_mul(GRACE_FACTOR),
        }
    }
}

/// A part of a file, from `offset` on.
#[derive(Debug)]
pub(super) struct FilePart {
    pub(super) file: File,
    pub(super) offset: u64,
    pub(super) left_bytes: u64,
    /// Counts the file among the open ones.
    pub(super) _lease: Arc<()>,
}

#[derive(Debug)]
pub(super) enum Content {
    Own(Box<[u8]>),
    Shared(Arc<SharedFrame>),
    File(Box<FilePart>),
}

/// How the limits and the counters treat a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A control frame or HTTP: never dropped, never counted.
    Other,
    /// A message.
    Message(Topic),
}

/// How the policy of a queue treats a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Topic {
    /// The message has no topic: it may be dropped, and no other message replaces it.
    None,
    /// The message has the topic with this number: it may be dropped, and with [`Overflow::KeepLatest`] the next one of
    /// the same topic replaces it.
    Number(u32),
    /// The message was compressed with a window that the peer shares (RFC 7692 section 7.2.3.2): the peer has to
    /// receive it, so it is not dropped while the connection stays.
    Required,
}

#[derive(Debug)]
struct Piece {
    content: Content,
    kind: Kind,
}

impl Piece {
    fn bytes(&self) -> &[u8] {
        match &self.content {
            Content::Own(bytes) => bytes,
            Content::Shared(message) => message.frame(),
            Content::File(_) => &[],
        }
    }

    fn is_message(&self) -> bool {
        self.kind != Kind::Other
    }

    /// Returns how many bytes of memory the piece takes beside its place in the queue; those of a file are not in
    /// memory. A shared frame counts for each connection: it stays until the last of them has sent it.
    fn kept_bytes(&self) -> usize {
        match &self.content {
            Content::Own(bytes) => block_bytes(bytes.len()),
            Content::Shared(message) => block_bytes(message.frame().len()) + block_bytes(size_of::<SharedFrame>()),
            Content::File(_) => block_bytes(size_of::<FilePart>()),
        }
    }
}

/// The outcome of queueing a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    /// The message is queued; this many others were dropped for it.
    Queued { dropped: u32 },
    /// The message was dropped.
    Dropped,
    /// The message exceeds the limits, and the connection is to be closed.
    Overflowed,
}

/// The output that the socket of one connection has not taken yet.
#[derive(Debug, Default)]
pub(super) struct WriteQueue {
    pieces: VecDeque<Piece>,
    /// Bytes of the first piece that have been sent.
    sent_bytes: usize,
    /// Part of the first piece has been sent, even if only what is kept here has not.
    is_begun: bool,
    /// The messages of which nothing has been sent, and their bytes.
    waiting_bytes: usize,
    waiting_messages: usize,
    /// The tick since which the queue has exceeded its limits, if it does.
    over_since: Option<u32>,
    /// The memory of all pieces, see [`Piece::kept_bytes`].
    piece_bytes: usize,
    /// Bytes that the socket has taken from this queue.
    pub(super) taken_bytes: u64,
    /// What the peer has acknowledged.
    pub(super) progress: Progress,
}

impl WriteQueue {
    pub(super) fn new(tick: u32) -> Self {
        Self { progress: Progress::new(tick), ..Self::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Returns how many bytes are queued; those of a file are not in memory, and do not count.
    pub(super) fn bytes(&self) -> usize {
        self.pieces.iter().map(|piece| piece.bytes().len()).sum()
    }

    /// Returns how many bytes of memory the queue takes.
    pub(super) fn kept_bytes(&self) -> usize {
        let places = self.pieces.capacity() * size_of::<Piece>();
        block_bytes(size_of::<Self>()) + block_bytes(places) + self.piece_bytes
    }

    /// Returns how many messages have not been sent completely.
    pub(super) fn messages(&self) -> usize {
        self.pieces.iter().filter(|piece| piece.is_message()).count()
    }

    /// Queues the output of one turn, of which the first `sent` bytes have been sent. Its first `head_bytes` are not
    /// frames; the rest are whole frames. Returns how many messages have been sent completely.
    ///
    /// All of it is queued: a turn is bounded, and a connection has no further turn until its queue is empty.
    pub(super) fn queue_unsent(&mut self, bytes: &[u8], head_bytes: usize, sent: usize, topic: Topic) -> u32 {
        let mut delivered = 0;
        let mut at = 0;
        while at < bytes.len() {
            let (end, kind) = if at < head_bytes { (head_bytes, Kind::Other) } else { frame_at(bytes, at, topic) };
            if end <= sent {
                delivered += u32::from(kind != Kind::Other);
            } else {
                // What has been sent is not kept, and may be most of the piece.
                let from = at.max(sent);
                self.append(Content::Own(bytes[from..end].into()), kind);
                if from > at {
                    self.begin_first();
                }
            }
            at = end;
        }
        delivered
    }

    /// Queues a frame of which the first `sent` bytes have been sent, without a copy.
    pub(super) fn queue_unsent_frame(&mut self, mut frame: Vec<u8>, sent: usize, topic: Topic) {
        frame.drain(..sent.min(frame.len()));
        self.append(Content::Own(frame.into_boxed_slice()), Kind::Message(topic));
        if sent > 0 {
            self.begin_first();
        }
    }

    /// Queues a message in an empty queue of which the first `sent` bytes have been sent.
    pub(super) fn queue_partly_sent(&mut self, content: Content, topic: Topic, sent: usize) {
        self.append(content, Kind::Message(topic));
        self.took(sent);
    }

    /// Queues a message without regard to the limits.
    pub(super) fn queue_unchecked(&mut self, content: Content, topic: Topic) {
        self.append(content, Kind::Message(topic));
    }

    /// Queues what has to be sent in any case: a control frame, a response, a file.
    pub(super) fn queue_control(&mut self, content: Content) {
        self.append(content, Kind::Other);
    }

    fn append(&mut self, content: Content, kind: Kind) {
        let piece = Piece { content, kind };
        if piece.is_message() {
            self.waiting_bytes += piece.bytes().len();
            self.waiting_messages += 1;
        }
        self.piece_bytes += piece.kept_bytes();
        self.pieces.push_back(piece);
        self.check_if_short();
    }

    fn pop_first(&mut self) -> Option<Piece> {
        let piece = self.pieces.pop_front()?;
        self.piece_bytes -= piece.kept_bytes();
        Some(piece)
    }

    /// Queues a message, if the limits or the policy permit it.
    pub(super) fn try_queue(
        &mut self,
        content: Content,
        topic: Topic,
        limits: QueueLimits,
        overflow: Overflow,
    ) -> Pushed {
        let piece = Piece { content, kind: Kind::Message(topic) };
        let bytes = piece.bytes().len();
        let mut dropped = 0;
        if overflow == Overflow::KeepLatest && topic != Topic::None {
            dropped += u32::from(self.drop_first(|waiting| waiting == topic));
        }
        while self.waiting_messages > 0
            && (self.waiting_messages >= limits.max_queued_messages
                || self.waiting_bytes + bytes > limits.max_queued_bytes)
        {
            match overflow {
                Overflow::Close => return Pushed::Overflowed,
                Overflow::DropNewest => return Pushed::Dropped,
                Overflow::DropOldest | Overflow::KeepLatest if self.drop_first(|_| true) => dropped += 1,
                Overflow::DropOldest | Overflow::KeepLatest => break,
            }
        }
        self.append(piece.content, piece.kind);
        Pushed::Queued { dropped }
    }

    /// Notes since when the queue has exceeded `limits`. One message alone is within them.
    pub(super) fn note_limits(&mut self, limits: QueueLimits, now_tick: u32) {
        self.over_since = if self.is_over(limits) { self.over_since.or(Some(now_tick)) } else { None };
    }

    /// Notes that the queue is within `limits` again, if it is.
    pub(super) fn note_room(&mut self, limits: QueueLimits) {
        if self.over_since.is_some() && !self.is_over(limits) {
            self.over_since = None;
        }
    }

    fn is_over(&self, limits: QueueLimits) -> bool {
        self.waiting_messages > 1
            && (self.waiting_messages > limits.max_queued_messages || self.waiting_bytes > limits.max_queued_bytes)
    }

    /// Returns whether the queue has exceeded its limits for this many ticks.
    pub(super) fn is_overdue(&self, now_tick: u32, grace_ticks: u32) -> bool {
        self.over_since.is_some_and(|since_tick| now_tick.wrapping_sub(since_tick) >= grace_ticks)
    }

    /// Drops the first message that fits, if nothing of it has been sent.
    fn drop_first(&mut self, fits: impl Fn(Topic) -> bool) -> bool {
        let begun = usize::from(self.is_begun);
        let fits =
            |piece: &Piece| matches!(piece.kind, Kind::Message(topic) if topic != Topic::Required && fits(topic));
        let Some(at) = self.pieces.iter().skip(begun).position(fits) else { return false };
        if let Some(piece) = self.pieces.remove(begun + at) {
            self.waiting_bytes -= piece.bytes().len();
            self.waiting_messages -= 1;
            self.piece_bytes -= piece.kept_bytes();
        }
        self.check_if_short();
        true
    }

    /// Drops all messages of which nothing has been sent; returns how many they were.
    pub(super) fn drop_waiting(&mut self) -> u32 {
        let dropped = self.waiting_messages as u32;
        let begun = self.is_begun;
        let mut first = true;
        self.pieces.retain(|piece| std::mem::take(&mut first) && begun || !piece.is_message());
        (self.waiting_bytes, self.waiting_messages) = (0, 0);
        self.piece_bytes = self.pieces.iter().map(Piece::kept_bytes).sum();
        self.check_if_short();
        dropped
    }

    /// Checks the queue after a change, in debug builds: unless it is long, since the check visits all of it.
    #[inline]
    fn check_if_short(&self) {
        #[cfg(debug_assertions)]
        if self.pieces.len() <= MAX_CHECKED {
            self.check();
        }
    }

    /// Checks that what is counted is what there is.
    #[cfg(debug_assertions)]
    fn check(&self) {
        let waiting = self.pieces.iter().skip(usize::from(self.is_begun)).filter(|piece| piece.is_message());
        let waiting = waiting.fold((0, 0), |(count, bytes), piece| (count + 1, bytes + piece.bytes().len()));
        debug_assert_eq!((self.waiting_messages, self.waiting_bytes), waiting, "messages that may be dropped");
        let piece_bytes: usize = self.pieces.iter().map(Piece::kept_bytes).sum();
        debug_assert_eq!(self.piece_bytes, piece_bytes, "bytes of memory");
        let first_bytes = self.pieces.front().map_or(0, |piece| piece.bytes().len());
        debug_assert!(self.sent_bytes <= first_bytes, "{} bytes of {first_bytes} are sent", self.sent_bytes);
        debug_assert!(self.is_begun || self.sent_bytes == 0, "a piece is sent in part, and has not been begun");
    }

    /// Returns the file that is to be sent next, if the first piece is one.
    pub(super) fn file(&mut self) -> Option<&mut FilePart> {
        match &mut self.pieces.front_mut()?.content {
            Content::File(part) => Some(part),
            _ => None,
        }
    }

    /// Removes that file, which has been sent.
    pub(super) fn file_sent(&mut self) {
        self.pop_first();
    }

    /// Fills `slices` with what is to be sent next, for one call; returns how many pieces that is.
    pub(super) fn next<'a>(&'a self, slices: &mut [IoSlice<'a>; GATHERED]) -> usize {
        let pieces = self.pieces.iter().take_while(|piece| !matches!(piece.content, Content::File(_)));
        let mut count = 0;
        for (piece, slice) in pieces.zip(slices.iter_mut()) {
            let from = if count == 0 { self.sent_bytes } else { 0 };
            *slice = IoSlice::new(&piece.bytes()[from..]);
            count += 1;
        }
        count
    }

    /// Returns empty slices for [`WriteQueue::next`].
    pub(super) fn slices<'a>() -> [IoSlice<'a>; GATHERED] {
        std::array::from_fn(|_| IoSlice::new(&[]))
    }

    /// Notes that the socket has begun to take the first piece: it is no longer a message that waits.
    fn begin_first(&mut self) {
        if std::mem::replace(&mut self.is_begun, true) {
            return;
        }
        if let Some(piece) = self.pieces.front().filter(|piece| piece.is_message()) {
            self.waiting_bytes -= piece.bytes().len();
            self.waiting_messages -= 1;
        }
    }

    /// Removes what the socket took from the front of the queue; returns how many messages have been sent completely by
    /// that.
    pub(super) fn took(&mut self, mut bytes: usize) -> u32 {
        let mut delivered = 0;
        while let Some(piece) = self.pieces.front() {
            let whole = piece.bytes().len();
            let left = whole - self.sent_bytes;
            if bytes == 0 && left > 0 || matches!(piece.content, Content::File(_)) {
                break;
            }
            self.begin_first();
            if bytes < left {
                self.sent_bytes += bytes;
                break;
            }
            bytes -= left;
            let piece = self.pop_first();
            delivered += u32::from(piece.is_some_and(|piece| piece.is_message()));
            (self.sent_bytes, self.is_begun) = (0, false);
        }
        self.check_if_short();
        delivered
    }
}

/// Returns whether `bytes` are exactly one frame, with a message.
pub(super) fn is_one_frame(bytes: &[u8]) -> bool {
    let (end, kind) = frame_at(bytes, 0, Topic::None);
    end == bytes.len() && kind != Kind::Other
}

/// Returns where the frame that begins `at` ends, and its kind.
fn frame_at(bytes: &[u8], at: usize, topic: Topic) -> (usize, Kind) {
    let Some(header) = frame::parse(&bytes[at..]) else { return (bytes.len(), Kind::Other) };
    let end = (at + header.header_bytes).saturating_add(header.payload_bytes as usize);
    let is_control = header.first & 0x08 != 0;
    (end.min(bytes.len()), if is_control { Kind::Other } else { Kind::Message(topic) })
}

#[cfg(test)]
#[path = "../tests/net/write_queue.rs"]
mod tests;
