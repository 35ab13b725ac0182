//! The memory that the allocator hands out for a session, including its own overhead: exact, where the memory of a
//! process is not.
#![expect(unsafe_code, reason = "an allocator; each block has its SAFETY line")]

use super::feed::{Peer, Start};
use super::wire::{self, BINARY, MORE, OPEN_BINARY, OPEN_TEXT, TEXT, both_roles};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;

use steadfast::proto::frame::RSV1;
use steadfast::proto::session::Limits;

/// The system's allocator, with the bytes counted that each thread holds; tests of other threads do not disturb.
struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
}

/// The bytes that this thread holds; fewer than none where it has given back what another one had.
fn held() -> isize {
    HELD.get()
}

/// What a block takes of the heap: all that may be used of it, and the word that malloc keeps in front.
fn block_bytes(block: *mut u8) -> usize {
    // SAFETY: `block` is null, or was given by this allocator and not taken back.
    let usable = unsafe { libc::malloc_usable_size(block.cast()) };
    if block.is_null() { 0 } else { usable + size_of::<usize>() }
}

fn replace(before: usize, now: usize) {
    HELD.set(HELD.get() - before as isize + now as isize);
}

// SAFETY: every call is handed on to the system's allocator as it is; what is added allocates nothing.
unsafe impl GlobalAlloc for Counting {
    // SAFETY: what the caller has to see to is what System wants.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        let block = unsafe { System.alloc(layout) };
        replace(0, block_bytes(block));
        block
    }

    // SAFETY: what the caller has to see to is what System wants.
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        replace(block_bytes(block), 0);
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }

    // SAFETY: what the caller has to see to is what System wants.
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let before = block_bytes(block);
        // SAFETY: as above.
        let moved = unsafe { System.realloc(block, layout, new_size) };
        if !moved.is_null() {
            replace(before, block_bytes(moved));
        }
        moved
    }
}

#[test]
fn blocks_are_counted_while_they_are_held() {
    let before = held();
    let mut block = black_box(Vec::<u8>::with_capacity(1000));
    assert!((1008..1100).contains(&(held() - before)), "{} bytes", held() - before);
    block.reserve_exact(100_000);
    assert!((100_008..110_000).contains(&(held() - before)), "{} bytes", held() - before);
    drop(black_box(block));
    assert_eq!(held(), before);
}

#[test]
fn what_is_only_announced_takes_64_bytes_of_the_heap_at_most() {
    let limits = Limits { max_message_bytes: u64::MAX >> 1, ..Limits::default() };
    for role in both_roles() {
        for first in [TEXT, BINARY, OPEN_TEXT, OPEN_BINARY] {
            for length in [1, 126, 65_536, 1 << 30, u64::MAX >> 1] {
                let header = wire::header(first, wire::mask_to(role), length, wire::shortest(length));
                // All of a header, or the part that has arrived.
                for bytes in 1..=header.len() {
                    let mut peer = Peer::new(Start::Open(role), limits, 64);
                    let before = held();
                    peer.feed(&header[..bytes]);
                    let taken = held() - before;
                    assert!(peer.session.has_partial() && taken >= peer.session.partial_bytes() as isize);
                    assert!(taken <= 64, "{taken} bytes for {bytes} of {} to a {role:?}", header.len());
                    peer.session.abandon();
                    assert_eq!(held(), before);
                }
            }
        }
    }
}

/// What a session says that it keeps covers what the allocator gave it, and is not far above that.
fn assert_counted(peer: &Peer, before: isize, what: &str) {
    let (taken, kept) = (held() - before, peer.session.kept_bytes() as isize);
    assert!(kept >= taken && kept - taken <= 2048 + taken / 8, "{kept} bytes are counted of {taken} for {what}");
}

/// A deflate block that stores `payload`, as the first of a message.
fn stored(payload: &[u8]) -> Vec<u8> {
    let length = payload.len() as u16;
    [&[0][..], &length.to_le_bytes(), &(!length).to_le_bytes(), payload].concat()
}

#[test]
fn all_that_a_session_keeps_is_counted() {
    let payload = vec![7; 100];
    for role in both_roles() {
        // What the thread shares is there before.
        let mut peer = Peer::new(Start::Deflated(role, ""), Limits::default(), 1 << 20);
        peer.feed(&wire::to(role, BINARY | RSV1, stored(&payload)));
        for fragments in [1, 10, 1000] {
            let frames = (1..fragments).map(|_| wire::to(role, MORE, &payload));
            let open =
                std::iter::once(wire::to(role, OPEN_BINARY, &payload)).chain(frames).collect::<Vec<_>>().concat();
            let mut peer = Peer::new(Start::Open(role), Limits::default(), open.len());
            let before = held();
            peer.feed(&open);
            assert_counted(&peer, before, "fragments");
            peer.session.abandon();
            assert_eq!((peer.session.kept_bytes(), held()), (0, before));
        }
        for parameters in ["", "; server_max_window_bits=9", "; server_max_window_bits=15"] {
            let mut peer = Peer::new(Start::Deflated(role, parameters), Limits::default(), 1 << 20);
            let frame = wire::to(role, OPEN_BINARY | RSV1, stored(&payload));
            peer.feed(&wire::to(role, BINARY | RSV1, stored(&payload))); // the buffer for a piece is the thread's
            let before = held() - peer.session.kept_bytes() as isize;
            peer.feed(&frame);
            assert_counted(&peer, before, "a compressed fragment");
            assert!(peer.session.kept_bytes() > 40_000, "a window is counted");
        }
    }
}
