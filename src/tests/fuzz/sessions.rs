//! Sessions under random input, and what must hold for each. Beside the feeding that the tests of the core have, this
//! file is the only one here that uses a session: when its API changes, these two change.

use crate::bodies::read_responses;
use crate::feed::{Pace, Peer, Record, Seen, Start, run};
use crate::naive::{Expected, Place, Reader};
use crate::script::{Script, pieces};
use crate::wire;
use steadfast::proto::close::CloseCode;
use steadfast::proto::frame::{Expect, Role};
use steadfast::proto::http::{HeadLimits, Request};
use steadfast::proto::session::{Limits, MessageKind, State};
use steadfast::proto::upgrade::{self, Origins, Policy};

/// What a session may keep besides bytes that have arrived: one cache line.
const RECORD_BYTES: usize = 64;

/// A client's key precedes the response that it waits for.
const KEY_BYTES: usize = 24;

/// Up to this length a head is judged at every arrival, and a longer one not before its end.
const EAGER_HEAD_BYTES: usize = 512;

/// Limits as they are, and such as short inputs can break.
pub(crate) fn limits(choice: u8) -> Limits {
    let all = Limits::default();
    match choice % 4 {
        0 => all,
        1 => {
            Limits { max_message_bytes: 200, max_body_bytes: 50, max_fragments: 5, max_control_frames_per_s: 8, ..all }
        }
        2 => Limits { head: head_limits(40, 180), max_message_bytes: 10, max_control_frames_per_s: 2, ..all },
        _ => Limits { head: head_limits(600, 700), max_message_bytes: u64::MAX >> 1, max_fragments: 2, ..all },
    }
}

pub(crate) fn head_limits(max_request_line_bytes: usize, max_head_bytes: usize) -> HeadLimits {
    HeadLimits { max_request_line_bytes, max_head_bytes }
}

/// What a frame's header is judged against.
pub(crate) fn expect(place: Place) -> Expect {
    Expect {
        role: place.role,
        in_message: place.open_message.is_some(),
        message_bytes: place.open_message.unwrap_or(0),
        compressed: false,
        max_message_bytes: place.max_message_bytes,
        extension_bits: place.extension_bits,
    }
}

/// Whether a server that lets every page in upgrades this request.
pub(crate) fn upgrades(request: &Request<'_>) -> bool {
    let policy = Policy { origins: Origins::Any, ..Policy::default() };
    upgrade::check_request(request, &policy).is_ok()
}

/// The state of a session, and what has passed before the bytes of the fuzzer.
pub(crate) struct Entry {
    start: Start,
    before: Vec<u8>,
    seen: Vec<Seen>,
    sent: Vec<u8>,
    /// The state after all that, if it is one that reads frames.
    frames: Option<(Role, State)>,
}

impl Entry {
    pub(crate) fn at(start: Start) -> Self {
        let frames = match start {
            Start::Open(role) => Some((role, State::Open)),
            Start::Closing(role) => Some((role, State::Closing)),
            _ => None,
        };
        Self { start, before: Vec::new(), seen: Vec::new(), sent: Vec::new(), frames }
    }

    /// A server whose client upgrades first.
    pub(crate) fn upgraded() -> Self {
        Self {
            start: Start::Server,
            before: wire::UPGRADE.into(),
            seen: vec![Seen::request("GET", "/echo", "example.com")],
            sent: wire::UPGRADED.into(),
            frames: Some((Role::Server, State::Open)),
        }
    }

    /// A client whose server accepts first.
    pub(crate) fn accepted() -> Self {
        let frames = Some((Role::Client, State::Open));
        Self {
            start: Start::Handshake,
            before: wire::accepted().into(),
            seen: vec![Seen::Opened],
            sent: vec![],
            frames,
        }
    }

    fn role(&self) -> Role {
        self.frames.map_or(Role::Server, |(role, _)| role)
    }

    /// What it must come to, if that can be told from outside.
    fn expected(&self, limits: &Limits, input: &[u8]) -> Option<Expected> {
        if matches!(self.start, Start::HttpClient) {
            return Some(read_responses(input, limits.head));
        }
        let (role, state) = self.frames?;
        let mut expected = Reader::new(role, state, limits).read(input);
        expected.seen.splice(0..0, self.seen.iter().cloned());
        expected.sent.splice(0..0, self.sent.iter().copied());
        Some(expected)
    }
}

/// Runs a session as `script` has it. Its next bytes: one for the limits (bits 0 and 1), whether the rest is sketches
/// of frames (2) or bytes as they are, whether the stream ends after them (3), and how far into the ring they begin (4
/// to 7); then four for the lengths of pieces.
pub(crate) fn drive(entry: &Entry, mut script: Script<'_>) {
    let flags = script.byte();
    let lengths = script.bytes();
    let limits = limits(flags);
    let sketched = flags & 4 != 0 && entry.frames.is_some();
    let mut frames = if sketched { drawn(entry.role(), script) } else { script.rest().to_vec() };
    end_heads(&mut frames, entry.before.len());
    let ends = flags & 8 != 0;
    let input = [&*entry.before, &*frames].concat();
    let whole = cuts_change_nothing(entry.start, limits, &input, lengths, (flags >> 4).into(), ends);
    let before_fits = entry.before.len() <= limits.head.max_head_bytes;
    if let Some(expected) = entry.expected(&limits, &frames).filter(|_| before_fits) {
        compare(entry.role(), &whole, expected, ends);
    }
    memory_is_bounded(entry.start, limits, pieces(&input, lengths));
}

/// Returns every head an end. A fault in a long one is told as soon as it is there if the head came at once, and else when
/// it ends: without an end, how it is cut makes a difference.
pub(crate) fn end_heads(input: &mut Vec<u8>, before_bytes: usize) {
    if before_bytes + input.len() > EAGER_HEAD_BYTES {
        input.extend(b"\r\n\r\n");
    }
}

/// Feeds `input` whole, in single bytes, and in pieces at each pace; returns what all of them came to.
pub(crate) fn cuts_change_nothing(
    start: Start,
    limits: Limits,
    input: &[u8],
    lengths: [u8; 4],
    offset: usize,
    ends: bool,
) -> Record {
    let whole = run(start, limits, [input], ends, (0, Pace::AtOnce));
    let bytewise = run(start, limits, pieces(input, [1; 4]), ends, (offset, Pace::AtOnce));
    assert_eq!(whole, bytewise, "whole, and in single bytes");
    for pace in [Pace::AtOnce, Pace::Lagging] {
        let cut = run(start, limits, pieces(input, lengths), ends, (offset, pace));
        assert_eq!(whole, cut, "whole, and in pieces of {lengths:?}, {pace:?}");
    }
    whole
}

fn memory_is_bounded(start: Start, limits: Limits, pieces: Vec<&[u8]>) {
    let ring_bytes = pieces.iter().map(|piece| piece.len()).max().unwrap_or(0);
    let mut peer = Peer::new(start, limits, ring_bytes);
    let largest = limits.head.max_head_bytes as u64 + 1 + KEY_BYTES as u64;
    let largest = largest.saturating_add(limits.max_body_bytes).max(limits.max_message_bytes.saturating_add(125));
    let mut arrived = 0;
    for piece in pieces {
        peer.feed(piece);
        arrived += piece.len();
        let bytes = (arrived + KEY_BYTES).min(usize::try_from(largest).unwrap_or(usize::MAX));
        // Twice what has arrived is what doubling costs at worst.
        let kept = peer.session.partial_bytes();
        assert!(kept <= RECORD_BYTES + 2 * bytes, "{kept} bytes kept of {arrived}");
    }
}

/// `whole` is what plain reading of the input comes to.
fn compare(role: Role, whole: &Record, mut expected: Expected, ends: bool) {
    let mut state = expected.state;
    if !expected.faults.is_empty() {
        let at = expected.seen.len();
        let Some(Seen::Failed(fault)) = whole.seen.get(at) else {
            panic!("none of {:?} was seen: {whole:?}", expected.faults);
        };
        assert!(expected.faults.contains(fault), "{fault:?} is none of {:?}", expected.faults);
        expected.seen.push(Seen::Failed(*fault));
        if state == State::Open {
            let body = wire::close_body(u16::from(fault.code()), fault.reason());
            expected.sent.extend(wire::from(role, wire::CLOSE, body));
        }
        state = State::Closed;
    }
    if ends {
        let (seen, then) = expected.at_end.unwrap_or_else(|| Expected::over(state == State::Closed));
        expected.seen.extend(seen);
        state = then;
    }
    assert_eq!(*whole, Record { seen: expected.seen, sent: expected.sent, state });
}

/// Draws frames from sketches of them: the first byte of each; one that spoils it now and then; the length of its
/// payload, and that. Masks and lengths are as they should be, so that most of what is drawn is read.
pub(crate) fn drawn(role: Role, mut script: Script<'_>) -> Vec<u8> {
    let mut frames = Vec::new();
    while !script.is_empty() {
        let (first, spoils, length) = (script.byte(), script.byte(), script.byte());
        let mut payload = script.slice(length.into()).to_vec();
        let (mut masked, mut off_by) = (role == Role::Server, 0);
        match spoils >> 3 {
            1 => payload = payload.repeat(3),
            // Beyond 16 bits, and once is enough.
            2 if frames.len() < 65_000 => payload.resize(payload.len() + 65_500, b'x'),
            3 => masked = !masked,
            4 => off_by = 1,
            5 => off_by = u64::MAX >> (length % 64),
            _ => {}
        }
        let declared = (payload.len() as u64).wrapping_add(off_by);
        let form = match spoils & 7 {
            1 => wire::Form::Bits16,
            2 => wire::Form::Bits64,
            _ => wire::shortest(declared),
        };
        let mask = masked.then_some(wire::MASK);
        let key = mask.unwrap_or_default();
        frames.extend(wire::header(first, mask, declared, form));
        frames.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    }
    frames
}

/// One end of a pair: a session, all that went through it, and how much of what it sent has been delivered.
pub(crate) struct End {
    peer: Peer,
    delivered: usize,
    /// Messages that it sent, and payloads of pings.
    pub(crate) messages: Vec<Seen>,
    pub(crate) pings: Vec<Vec<u8>>,
    /// The code of the close that it began.
    pub(crate) began: Option<u16>,
}

/// As many bytes as are given to a session at once.
const RING_BYTES: usize = 8_192;

impl End {
    pub(crate) fn new(start: Start) -> Self {
        let limits = Limits { max_control_frames_per_s: u16::MAX, ..Limits::default() };
        let peer = Peer::new(start, limits, RING_BYTES);
        Self { peer, delivered: 0, messages: Vec::new(), pings: Vec::new(), began: None }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.peer.session.state() == State::Closed
    }

    pub(crate) fn seen(&self) -> &[Seen] {
        &self.peer.seen
    }

    /// All that it sent, from the first byte on.
    pub(crate) fn sent(&self) -> &[u8] {
        &self.peer.out.bytes
    }

    fn is_open(&self) -> bool {
        self.peer.session.state() == State::Open
    }

    pub(crate) fn send(&mut self, message: Seen) {
        let (kind, payload) = match &message {
            Seen::Text(text) => (MessageKind::Text, text),
            Seen::Binary(bytes) => (MessageKind::Binary, bytes),
            other => panic!("{other:?} is no message"),
        };
        let open = self.is_open();
        assert_eq!(self.peer.session.send(kind, payload, &mut self.peer.out), open);
        if open {
            self.messages.push(message);
        }
    }

    pub(crate) fn ping(&mut self, payload: Vec<u8>) {
        let may = self.is_open() && payload.len() <= 125;
        assert_eq!(self.peer.session.ping(&payload, &mut self.peer.out), may);
        if may {
            self.pings.push(payload);
        }
    }

    /// A handshake in progress is left alone: its result is not promised.
    pub(crate) fn close(&mut self, code: u16, reason: &str) {
        if self.is_open() {
            self.began = Some(code);
            let code = CloseCode::try_from(code).expect("a code that may be sent");
            self.peer.session.close(code, reason, &mut self.peer.out);
        }
    }

    /// Returns `to` at most `bytes` of what this one sent; whether there was anything.
    pub(crate) fn deliver(&mut self, bytes: usize, to: &mut Self) -> bool {
        let undelivered = &self.peer.out.bytes[self.delivered..];
        let piece = &undelivered[..undelivered.len().min(bytes).min(RING_BYTES)];
        self.delivered += piece.len();
        to.peer.feed(piece);
        !piece.is_empty()
    }

    /// What was kept of it when it is over.
    pub(crate) fn kept_bytes(&self) -> usize {
        self.peer.session.partial_bytes()
    }

    /// The request of a client that begins with one is no part of what a peer reports as sent.
    pub(crate) fn sends_first(&mut self, bytes: &[u8]) {
        self.peer.out.bytes.splice(0..0, bytes.iter().copied());
    }
}
