//! What a session owns: nothing while it idles, never more than what has arrived, whatever was announced.

use super::feed::{Peer, Seen, Start};
use super::wire::{self, BINARY, LAST, MORE, OPEN_BINARY, OPEN_TEXT, PING, TEXT, both_roles};
use steadfast::proto::close::Fault;
use steadfast::proto::http::{HeadError, HeadLimits};
use steadfast::proto::ring::Ring;
use steadfast::proto::session::{Limits, Session, State};

/// What may be kept besides bytes that have arrived: one cache line.
const RECORD_BYTES: usize = 64;

#[test]
fn an_idle_session_is_sixteen_bytes() {
    assert!(size_of::<Session>() <= 16);
    assert!(size_of::<Option<Session>>() <= 16);
}

#[test]
fn a_declared_length_allocates_nothing() {
    let limits = Limits { max_message_bytes: u64::MAX >> 1, ..Limits::default() };
    for role in both_roles() {
        let kept = |first: u8, length: u64| {
            let mut peer = Peer::new(Start::Open(role), limits, 64);
            peer.feed(&wire::header(first, wire::mask_to(role), length, wire::shortest(length)));
            assert!(peer.session.has_partial() && peer.seen.is_empty());
            peer.session.partial_bytes()
        };
        for first in [TEXT, BINARY, OPEN_TEXT, OPEN_BINARY] {
            for length in [1, 126, 65_536, 1 << 30, 1 << 40, u64::MAX >> 1] {
                assert!(kept(first, length) <= RECORD_BYTES, "{role:?}: {length}");
                assert_eq!(kept(first, length), kept(first, 1), "{role:?}: {length}");
            }
        }
    }
}

/// Twice what has arrived is what doubling costs at worst.
#[test]
fn memory_grows_with_what_arrives_and_no_further() {
    let limits = Limits { max_message_bytes: 1 << 30, ..Limits::default() };
    for role in both_roles() {
        for (step, steps) in [(1, 3_000), (1_000, 300)] {
            let mut peer = Peer::new(Start::Open(role), limits, 4_096);
            peer.feed(&wire::header(BINARY, wire::mask_to(role), 1 << 30, wire::shortest(1 << 30)));
            for arrived in 1..=steps {
                peer.feed(&vec![0x55; step]);
                let kept = peer.session.partial_bytes();
                assert!(kept <= RECORD_BYTES + 2 * arrived * step, "{kept} after {arrived} of {step}");
            }
        }
        // A frame that is nearly there takes no more than it declared.
        let mut peer = Peer::new(Start::Open(role), limits, 4_096);
        peer.feed(&wire::header(BINARY, wire::mask_to(role), 1_000, wire::shortest(1_000)));
        for _ in 0..999 {
            peer.feed(b"x");
            assert!(peer.session.partial_bytes() <= RECORD_BYTES + 1_000);
        }
    }
}

#[test]
fn a_thousand_small_fragments_stay_small() {
    for role in both_roles() {
        for payload in ["x", ""] {
            let mut peer = Peer::new(Start::Open(role), Limits::default(), 64);
            peer.feed(&wire::to(role, OPEN_BINARY, payload));
            for fragments in 2..=1_024 {
                peer.feed(&wire::to(role, MORE, payload));
                let kept = peer.session.partial_bytes();
                assert!(kept <= RECORD_BYTES + 2 * payload.len() * fragments, "{kept} in {fragments} fragments");
            }
            assert!(peer.seen.is_empty() && peer.session.state() == State::Open);
            peer.feed(&wire::to(role, LAST, payload));
            assert_eq!(peer.seen, [Seen::Failed(Fault::TooManyFragments)]);
            assert_eq!(peer.session.partial_bytes(), 0);
        }
    }
}

#[test]
fn control_frames_between_fragments_keep_no_memory() {
    let limits = Limits { max_control_frames_per_s: u16::MAX, ..Limits::default() };
    for role in both_roles() {
        let mut peer = Peer::new(Start::Open(role), limits, 256);
        peer.feed(&wire::to(role, OPEN_BINARY, "x"));
        for _ in 0..500 {
            peer.feed(&wire::to(role, PING, [7; 125]));
            assert!(peer.session.partial_bytes() <= RECORD_BYTES + 2 * 126);
        }
        peer.feed(&wire::to(role, LAST, "y"));
        assert_eq!(peer.seen.last(), Some(&Seen::Binary(b"xy".to_vec())));
    }
}

#[test]
fn complete_messages_keep_no_memory() {
    let owns_nothing = |start: Start, input: &[u8]| {
        for cut in 0..=input.len() {
            let mut peer = Peer::new(start, Limits::default(), input.len());
            peer.feed(&input[..cut]);
            peer.feed(&input[cut..]);
            assert_eq!(
                (peer.session.has_partial(), peer.session.partial_bytes()),
                (false, 0),
                "{start:?}, cut at {cut}"
            );
        }
    };
    owns_nothing(Start::Server, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    owns_nothing(Start::Server, wire::UPGRADE.as_bytes());
    owns_nothing(Start::Handshake, wire::accepted().as_bytes());
    owns_nothing(Start::HttpClient, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
    owns_nothing(Start::HttpClient, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n");
    for role in both_roles() {
        owns_nothing(Start::Open(role), &wire::to(role, TEXT, "hello"));
        owns_nothing(Start::Open(role), &wire::to(role, PING, ""));
        owns_nothing(Start::Open(role), &[wire::to(role, OPEN_TEXT, "a"), wire::to(role, LAST, "b")].concat());
    }
}

/// A head that comes byte by byte, `bytes` long.
fn drip(bytes: usize, limits: HeadLimits) -> Peer {
    let frame = "GET / HTTP/1.1\r\nHost: h\r\nX: \r\n\r\n".len();
    let head = format!("GET / HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n", "x".repeat(bytes - frame));
    let mut peer = Peer::new(Start::Server, Limits { head: limits, ..Limits::default() }, 1);
    for (arrived, byte) in head.bytes().enumerate() {
        peer.feed(&[byte]);
        assert!(peer.session.partial_bytes() <= RECORD_BYTES + 2 * (arrived + 1).max(8));
        let last = arrived + 1 == bytes;
        assert!(last || peer.seen.is_empty(), "an answer at byte {arrived}");
    }
    peer
}

#[test]
fn head_in_single_bytes_is_accepted_up_to_its_limit_and_refused_one_byte_later() {
    for max in [64, 511, 512, 513, HeadLimits::default().max_head_bytes] {
        let limits = HeadLimits { max_head_bytes: max, ..HeadLimits::default() };
        assert!(matches!(*drip(max, limits).seen, [Seen::Request { .. }]), "{max} of {max}");
        let over = drip(max + 1, limits);
        assert_eq!(over.seen, [Seen::BadHead(HeadError::TooLarge)], "a byte over {max}");
        assert_eq!(over.session.state(), State::Closed);
    }
}

#[test]
fn a_ring_holds_what_it_was_made_for() {
    let mut ring = Ring::new(8);
    assert_eq!((ring.capacity(), ring.is_empty(), ring.spare().len()), (8, true, 8));
    ring.spare()[..6].copy_from_slice(b"abcdef");
    ring.wrote(6);
    ring.parsed(2);
    assert_eq!((ring.unparsed().to_vec(), ring.spare().len()), (b"cdef".to_vec(), 2));
    let mut rest = ring.unparsed_only();
    assert_eq!((rest.unparsed().to_vec(), rest.capacity(), rest.spare().len()), (b"cdef".to_vec(), 4, 0));
    ring.parsed(4);
    assert_eq!((ring.is_empty(), ring.spare().len()), (true, 8), "an empty ring starts at zero again");
    ring.wrote(3);
    ring.clear();
    assert_eq!((ring.is_empty(), ring.spare().len()), (true, 8));
}

#[test]
#[should_panic(expected = "assertion failed")]
fn a_ring_cannot_be_parsed_beyond_what_was_written() {
    let mut ring = Ring::new(8);
    ring.wrote(3);
    ring.parsed(4);
}
