//! The memory that the allocator takes for a block, so that a limit on memory counts what the process really has.

/// From this length on, malloc maps a block by itself, and unmaps it when it is freed (mallopt(3), M_MMAP_THRESHOLD).
pub const MAPPED_FROM_BYTES: usize = 128 << 10;

const PAGE_BYTES: usize = 4096;

/// Returns how many bytes of memory a block of `bytes` takes, including malloc's own: multiples of 16 bytes with eight
/// for a header, at least 32; whole pages where it is mapped.
#[inline]
pub const fn block_bytes(bytes: usize) -> usize {
    match bytes {
        0 => 0,
        1..=24 => 32,
        25..MAPPED_FROM_BYTES => (bytes + 8).next_multiple_of(16),
        _ => bytes.saturating_add(16).saturating_add(PAGE_BYTES - 1) & !(PAGE_BYTES - 1),
    }
}

/// Returns the same for a buffer with room for `capacity` of which the first `bytes` have been written: in a block that
/// is mapped, pages that were never written take no memory.
pub(super) const fn written_bytes(bytes: usize, capacity: usize) -> usize {
    if capacity < MAPPED_FROM_BYTES {
        return block_bytes(capacity);
    }
    // Malloc's own header is in the first page.
    bytes.saturating_add(16).saturating_add(PAGE_BYTES - 1) & !(PAGE_BYTES - 1)
}

/// Returns whether a block of `bytes` can be allocated now: for callers of libraries that end the process if it cannot.
pub(super) fn is_available(bytes: usize) -> bool {
    Vec::<u8>::new().try_reserve_exact(bytes).is_ok()
}
