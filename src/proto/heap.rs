//! What the allocator takes for a block, so that a limit on memory counts what the process really has.

/// From this length on malloc maps a block by itself and unmaps it when it is freed (mallopt(3), M_MMAP_THRESHOLD).
pub const MAPPED_FROM_BYTES: usize = 128 << 10;

const PAGE_BYTES: usize = 4096;

/// Bytes of memory that a block of `bytes` takes, malloc's own included: blocks of 16 bytes of which eight are its header,
/// and at least 32; whole pages where it is mapped.
#[inline]
pub const fn block_bytes(bytes: usize) -> usize {
    match bytes {
        0 => 0,
        1..=24 => 32,
        25..MAPPED_FROM_BYTES => (bytes + 8).next_multiple_of(16),
        _ => bytes.saturating_add(16).saturating_add(PAGE_BYTES - 1) & !(PAGE_BYTES - 1),
    }
}

/// The same for a buffer with room for `capacity` of which the first `bytes` have been written: of a block that is mapped, pages
/// that were never written take nothing.
pub(super) const fn written_bytes(bytes: usize, capacity: usize) -> usize {
    if capacity < MAPPED_FROM_BYTES {
        return block_bytes(capacity);
    }
    // Malloc's own header is in the first page.
    bytes.saturating_add(16).saturating_add(PAGE_BYTES - 1) & !(PAGE_BYTES - 1)
}

/// Whether a block of `bytes` can be had now: for those who would end the process if it could not.
pub(super) fn is_available(bytes: usize) -> bool {
    Vec::<u8>::new().try_reserve_exact(bytes).is_ok()
}
