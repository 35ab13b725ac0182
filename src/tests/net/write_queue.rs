//! The queue against a naive twin: a list of whole pieces, and of each how much is gone.

use super::*;
use crate::proto::frame::Opcode;
use crate::proto::session::MessageKind;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use std::collections::HashMap;

const POLICIES: [Overflow; 4] = [Overflow::Close, Overflow::DropNewest, Overflow::DropOldest, Overflow::KeepLatest];

/// A message's frame; no other number has the same.
fn message(number: usize, more_bytes: usize) -> SharedFrame {
    let payload: Vec<u8> =
        (number as u32).to_be_bytes().into_iter().chain((0..more_bytes).map(|at| at as u8)).collect();
    SharedFrame::new(MessageKind::Binary, &payload)
}

fn control(opcode: Opcode, number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::encode(&mut bytes, true, opcode, format!("{number}").as_bytes(), None);
    bytes
}

fn own(bytes: &[u8]) -> Content {
    Content::Own(bytes.into())
}

fn file() -> Content {
    let file = File::open("/dev/null").expect("a file");
    Content::File(Box::new(FilePart { file, offset: 0, left_bytes: 1, _lease: Arc::default() }))
}

/// What comes next, as one call would send it.
fn next_bytes(queue: &WriteQueue) -> Vec<u8> {
    let mut slices = WriteQueue::slices();
    let count = queue.next(&mut slices);
    slices[..count].iter().flat_map(|slice| slice.to_vec()).collect()
}

/// All that is left in it, when the socket takes up to `most` bytes at a time.
fn drain(queue: &mut WriteQueue, most: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while !queue.is_empty() {
        let bytes = next_bytes(queue);
        let taken = bytes.len().min(most);
        all.extend(&bytes[..taken]);
        queue.took(taken);
    }
    all
}

/// One piece of the twin; a file is one without bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Item {
    bytes: Vec<u8>,
    kind: Kind,
    gone: usize,
    is_begun: bool,
}

impl Item {
    fn topic(&self) -> Option<Topic> {
        match self.kind {
            Kind::Message(topic) => Some(topic),
            Kind::Other => None,
        }
    }

    fn waits(&self) -> bool {
        self.topic().is_some() && !self.is_begun
    }
}

/// What a queue is, without regard to cost.
#[derive(Debug, Default)]
struct Twin {
    items: Vec<Item>,
    gone: Vec<u8>,
    delivered: usize,
}

impl Twin {
    fn add(&mut self, bytes: &[u8], kind: Kind) {
        self.items.push(Item { bytes: bytes.to_vec(), kind, gone: 0, is_begun: false });
    }

    fn waiting(&self) -> (usize, usize) {
        let waiting = self.items.iter().filter(|item| item.waits());
        waiting.fold((0, 0), |(messages, bytes), item| (messages + 1, bytes + item.bytes.len()))
    }

    fn drop_first(&mut self, fits: impl Fn(Topic) -> bool) -> bool {
        let found = self.items.iter().position(|item| item.waits() && item.topic().is_some_and(&fits));
        found.map(|at| self.items.remove(at)).is_some()
    }

    fn push(&mut self, bytes: &[u8], topic: Topic, limits: QueueLimits, overflow: Overflow) -> Pushed {
        let is_latest = overflow == Overflow::KeepLatest && topic != Topic::None;
        let mut dropped = u32::from(is_latest && self.drop_first(|waiting| waiting == topic));
        loop {
            let (messages, waiting_bytes) = self.waiting();
            let fits = messages < limits.max_queued_messages && waiting_bytes + bytes.len() <= limits.max_queued_bytes;
            if fits || messages == 0 {
                break;
            }
            match overflow {
                Overflow::Close => return Pushed::Overflowed,
                Overflow::DropNewest => return Pushed::Dropped,
                // A message that the peer's window contains stays, and then the limits are exceeded.
                Overflow::DropOldest | Overflow::KeepLatest if !self.drop_first(|topic| topic != Topic::Required) => {
                    break;
                }
                Overflow::DropOldest | Overflow::KeepLatest => dropped += 1,
            }
        }
        self.add(bytes, Kind::Message(topic));
        Pushed::Queued { dropped }
    }

    fn drop_waiting(&mut self) -> u32 {
        let before = self.items.len();
        self.items.retain(|item| !item.waits());
        (before - self.items.len()) as u32
    }

    fn took(&mut self, bytes: usize) -> u32 {
        let before = self.delivered;
        for _ in 0..bytes {
            (self.items[0].gone, self.items[0].is_begun) = (self.items[0].gone + 1, true);
            if self.items[0].gone == self.items[0].bytes.len() {
                let item = self.items.remove(0);
                self.delivered += usize::from(item.topic().is_some());
                self.gone.extend(item.bytes);
            }
        }
        (self.delivered - before) as u32
    }
}

/// Of the numbers that a test draws, 0 means no topic.
fn numbered(number: u32) -> Topic {
    if number == 0 { Topic::None } else { Topic::Number(number) }
}

/// The rest of a turn: a head, then messages or control frames, of which a part has been sent.
#[derive(Clone, Debug)]
struct Start {
    head_bytes: usize,
    frames: Vec<(bool, usize)>,
    sent: Index,
    topic: Topic,
}

#[derive(Clone, Debug)]
enum Step {
    Push { topic: Topic, bytes: usize, is_shared: bool },
    Control,
    File,
    Took(Index),
    DropWaiting,
}

fn start() -> impl Strategy<Value = Start> {
    let frames = prop::collection::vec((any::<bool>(), 0..200_usize), 0..8);
    let all = (0..80_usize, frames, any::<Index>(), select(vec![Topic::None, Topic::Required]));
    all.prop_map(|(head_bytes, frames, sent, topic)| Start { head_bytes, frames, sent, topic })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0..4_u32, 0..120_usize, any::<bool>())
            .prop_map(|(topic, bytes, is_shared)| Step::Push { topic: numbered(topic), bytes, is_shared }),
        3 => Just(Step::Control),
        1 => Just(Step::File),
        5 => any::<Index>().prop_map(Step::Took),
        1 => Just(Step::DropWaiting),
    ]
}

/// Both, side by side, with what is counted around them.
#[derive(Debug, Default)]
struct Pair {
    queue: WriteQueue,
    twin: Twin,
    limits: QueueLimits,
    overflow: Overflow,
    /// All that the socket took.
    taken: Vec<u8>,
    pushed: usize,
    dropped: usize,
    /// The last message of each topic.
    latest: HashMap<Topic, Vec<u8>>,
}

impl Pair {
    fn start(&mut self, Start { head_bytes, frames, sent, topic }: Start) {
        let mut all = vec![b'h'; head_bytes];
        if head_bytes > 0 {
            self.twin.add(&all, Kind::Other);
        }
        for (is_control, bytes) in frames {
            let (frame, kind) = match is_control {
                true => (control(Opcode::Pong, bytes), Kind::Other),
                false => (message(self.pushed, bytes).frame().to_vec(), Kind::Message(topic)),
            };
            self.pushed += usize::from(!is_control);
            all.extend(&frame);
            self.twin.add(&frame, kind);
        }
        let sent = if all.is_empty() { 0 } else { sent.index(all.len()) };
        self.taken.extend(&all[..sent]);
        let delivered = self.twin.took(sent);
        if let Some(first) = self.twin.items.first_mut() {
            self.twin.gone.extend(first.bytes.drain(..std::mem::take(&mut first.gone)));
        }
        assert_eq!(self.queue.queue_unsent(&all, head_bytes, sent, topic), delivered);
    }

    fn step(&mut self, step: Step) {
        let begun = self.twin.items.first().filter(|first| first.is_begun).map(|first| first.bytes.clone());
        let may_go = matches!(step, Step::Took(_));
        match step {
            Step::Push { topic, bytes, is_shared } => self.push(topic, bytes, is_shared),
            Step::Control => {
                let bytes = control(Opcode::Ping, self.taken.len());
                self.queue.queue_control(own(&bytes));
                self.twin.add(&bytes, Kind::Other);
            }
            Step::File => {
                self.queue.queue_control(file());
                self.twin.add(b"", Kind::Other);
            }
            Step::Took(share) => self.took(Some(share)),
            Step::DropWaiting => self.drop_waiting(),
        }
        if let Some(begun) = begun.filter(|_| !may_go) {
            assert_eq!(self.queue.pieces[0].bytes(), begun, "what was begun has gone");
        }
    }

    fn push(&mut self, topic: Topic, bytes: usize, is_shared: bool) {
        let message = message(self.pushed, bytes);
        let frame = message.frame().to_vec();
        let content = if is_shared { Content::Shared(Arc::new(message)) } else { own(&frame) };
        let kept = |pair: &Self| pair.twin.items.iter().filter(|item| item.topic() == Some(Topic::Required)).count();
        let kept_before = kept(self);
        let expected = self.twin.push(&frame, topic, self.limits, self.overflow);
        assert_eq!(self.queue.try_queue(content, topic, self.limits, self.overflow), expected);
        assert_eq!(kept(self), kept_before);
        self.pushed += 1;
        match expected {
            Pushed::Queued { dropped } => {
                self.dropped += dropped as usize;
                self.latest.insert(topic, frame);
                self.assert_bounded();
            }
            Pushed::Dropped => self.dropped += 1,
            Pushed::Overflowed => {
                self.dropped += 1;
                self.drop_waiting();
            }
        }
    }

    /// After a message that was queued, either the limits hold, or it waits alone or with those that have to stay.
    fn assert_bounded(&self) {
        let (messages, bytes) = self.twin.waiting();
        let others =
            self.twin.items.iter().filter(|item| item.waits() && item.topic() != Some(Topic::Required)).count() - 1;
        let fits = messages <= self.limits.max_queued_messages && bytes <= self.limits.max_queued_bytes;
        assert!(fits || others == 0, "{messages} messages and {bytes} bytes wait for {:?}", self.limits);
    }

    /// The socket takes a share of what comes next, or all of it.
    fn took(&mut self, share: Option<Index>) {
        if self.queue.file().is_some() {
            assert!(self.twin.items[0].bytes.is_empty() && next_bytes(&self.queue).is_empty());
            assert_eq!(self.queue.took(0), 0);
            self.queue.file_sent();
            self.twin.items.remove(0);
            return;
        }
        let next = next_bytes(&self.queue);
        let upto = self.twin.items.iter().take(GATHERED).take_while(|item| !item.bytes.is_empty());
        assert_eq!(next, upto.flat_map(|item| &item.bytes[item.gone..]).copied().collect::<Vec<_>>());
        let bytes = share.map_or(next.len(), |share| share.index(next.len() + 1));
        self.taken.extend(&next[..bytes]);
        assert_eq!(self.queue.took(bytes), self.twin.took(bytes));
    }

    fn drop_waiting(&mut self) {
        let expected = self.twin.drop_waiting();
        assert_eq!(self.queue.drop_waiting(), expected);
        self.dropped += expected as usize;
    }

    /// That both are alike, and that what each number says is so.
    fn check(&self) {
        let Self { queue, twin, .. } = self;
        let pieces = queue.pieces.iter().enumerate().map(|(at, piece)| Item {
            bytes: piece.bytes().to_vec(),
            kind: piece.kind,
            gone: if at == 0 { queue.sent_bytes } else { 0 },
            is_begun: at == 0 && queue.is_begun,
        });
        let pieces: Vec<Item> = pieces.collect();
        assert_eq!(pieces, twin.items);
        assert_eq!((queue.waiting_messages, queue.waiting_bytes), twin.waiting());
        assert_eq!(queue.bytes(), pieces.iter().map(|piece| piece.bytes.len()).sum::<usize>());
        assert_eq!(queue.piece_bytes, queue.pieces.iter().map(Piece::kept_bytes).sum::<usize>());
        let inside = pieces.iter().filter(|piece| piece.topic().is_some()).count();
        assert_eq!((queue.is_empty(), queue.messages()), (pieces.is_empty(), inside));
        assert_eq!(self.pushed, twin.delivered + self.dropped + inside);
        let begun = pieces.first().map_or(&[][..], |first| &first.bytes[..first.gone]);
        assert_eq!(self.taken, [&twin.gone, begun].concat(), "the socket took what is no sequence of whole pieces");
        if self.overflow == Overflow::KeepLatest {
            self.assert_latest();
        }
    }

    /// At most one message of each topic waits, and no newer one came.
    fn assert_latest(&self) {
        for (topic, latest) in self.latest.iter().filter(|(topic, _)| **topic != Topic::None) {
            let waiting: Vec<_> =
                self.twin.items.iter().filter(|item| item.waits() && item.topic() == Some(*topic)).collect();
            assert!(waiting.len() <= 1, "{} of topic {topic:?} wait", waiting.len());
            assert!(waiting.iter().all(|item| item.bytes == *latest), "not the newest of topic {topic:?} waits");
        }
    }

    /// Takes all that is left, and counts once more.
    fn finish(mut self) {
        while !self.queue.is_empty() {
            self.took(None);
            self.check();
        }
        assert_eq!(self.pushed, self.twin.delivered + self.dropped);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_outbox_does_what_its_twin_does(
        start in start(),
        steps in prop::collection::vec(step(), 0..120),
        max_queued_messages in 1..8_usize,
        max_queued_bytes in 1..600_usize,
        overflow in select(POLICIES.to_vec()),
    ) {
        let limits = QueueLimits { max_queued_bytes, max_queued_messages };
        let mut pair = Pair { limits, overflow, ..Pair::default() };
        pair.start(start);
        pair.check();
        for step in steps {
            pair.step(step);
            pair.check();
        }
        pair.finish();
    }
}

type Place = (std::ops::Range<usize>, bool);

/// A head and frames of every form: the bytes, how many of them are the head, and where each piece is and whether it is
/// a message.
fn turn() -> (Vec<u8>, usize, Vec<Place>) {
    let head = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n".to_vec();
    let head_bytes = head.len();
    let list = [
        (head, false),
        (message(1, 0).frame().to_vec(), true),
        (control(Opcode::Ping, 2), false),
        (SharedFrame::new(MessageKind::Text, b"").frame().to_vec(), true),
        (message(3, 300).frame().to_vec(), true),
        (control(Opcode::Pong, 4), false),
        (message(5, 66_000).frame().to_vec(), true),
        (control(Opcode::Close, 6), false),
    ];
    let (mut all, mut pieces) = (Vec::new(), Vec::new());
    for (piece, is_message) in list {
        pieces.push((all.len()..all.len() + piece.len(), is_message));
        all.extend(piece);
    }
    (all, head_bytes, pieces)
}

/// An queue with what of that turn is left, and how many messages were all gone.
fn left(sent: usize) -> (WriteQueue, u32) {
    let (all, head_bytes, _) = turn();
    let mut queue = WriteQueue::new(0);
    let delivered = queue.queue_unsent(&all, head_bytes, sent, Topic::None);
    (queue, delivered)
}

#[test]
fn rest_of_a_turn_is_queued_from_every_byte_on() {
    let (all, _, pieces) = turn();
    // Between the edges of pieces each byte is like the next.
    let near = |sent: &usize| pieces.iter().any(|(piece, _)| piece.end.abs_diff(*sent) < 20) || *sent == 4999;
    for sent in (0..=all.len()).filter(near) {
        let (mut queue, delivered) = left(sent);
        let messages = || pieces.iter().filter(|(_, is_message)| *is_message).map(|(piece, _)| piece);
        assert_eq!(delivered as usize, messages().filter(|piece| piece.end <= sent).count(), "{sent} sent");
        assert_eq!(queue.messages(), messages().filter(|piece| piece.end > sent).count(), "{sent} sent");
        assert_eq!(queue.waiting_messages, messages().filter(|piece| piece.start >= sent).count(), "{sent} sent");
        assert!(drain(&mut queue, 10_007) == all[sent..], "{sent} sent");
        assert_eq!((queue.messages(), queue.waiting_messages, queue.waiting_bytes), (0, 0, 0));
    }
}

#[test]
fn what_a_turn_has_begun_and_what_is_no_message_stays() {
    let (all, _, pieces) = turn();
    for sent in pieces.iter().flat_map(|(piece, _)| [piece.start, piece.start + 1, piece.end - 1]) {
        let (mut queue, _) = left(sent);
        let (dropped, stay): (Vec<_>, Vec<_>) =
            pieces.iter().partition(|(piece, is_message)| *is_message && piece.start >= sent);
        assert_eq!(queue.drop_waiting() as usize, dropped.len(), "{sent} sent");
        let stay = stay.iter().flat_map(|(piece, _)| &all[piece.start.max(sent)..piece.end.max(sent)]);
        assert!(drain(&mut queue, usize::MAX).iter().eq(stay), "{sent} sent");
    }
}

#[test]
fn an_empty_queue_takes_any_one_message() {
    let limits = QueueLimits { max_queued_bytes: 1, max_queued_messages: 1 };
    for overflow in POLICIES {
        let mut queue = WriteQueue::new(0);
        queue.queue_control(own(&control(Opcode::Ping, 0)));
        let (first, second) = (message(1, 1000), message(2, 1000));
        assert_eq!(
            queue.try_queue(own(first.frame()), Topic::Number(1), limits, overflow),
            Pushed::Queued { dropped: 0 }
        );
        let expected = match overflow {
            Overflow::Close => Pushed::Overflowed,
            Overflow::DropNewest => Pushed::Dropped,
            Overflow::DropOldest | Overflow::KeepLatest => Pushed::Queued { dropped: 1 },
        };
        assert_eq!(queue.try_queue(own(second.frame()), Topic::Number(2), limits, overflow), expected, "{overflow:?}");
        // What was begun counts no more, and the queue is as good as empty.
        queue.took(control(Opcode::Ping, 0).len() + 1);
        assert_eq!(
            queue.try_queue(own(second.frame()), Topic::Number(2), limits, overflow),
            Pushed::Queued { dropped: 0 }
        );
        assert_eq!((queue.messages(), queue.waiting_messages), (2, 1), "{overflow:?}");
    }
}

#[test]
fn what_the_window_was_made_with_is_dropped_for_no_message() {
    let limits = QueueLimits { max_queued_bytes: 100, max_queued_messages: 2 };
    let turn: Vec<u8> = (0..5).flat_map(|number| message(number, 50).frame().to_vec()).collect();
    for overflow in POLICIES {
        let mut queue = WriteQueue::new(0);
        queue.queue_unsent(&turn, 0, 0, Topic::Required);
        for number in 5..50 {
            queue.try_queue(own(message(number, 50).frame()), numbered(number as u32 % 3), limits, overflow);
        }
        let rest = match overflow {
            Overflow::Close | Overflow::DropNewest => Vec::new(),
            // Beyond the limits it waits alone.
            Overflow::DropOldest | Overflow::KeepLatest => message(49, 50).frame().to_vec(),
        };
        assert!(drain(&mut queue, 7) == [&turn[..], &rest].concat(), "{overflow:?}");
    }
}

#[path = "write_queue_cases.rs"]
mod cases;
