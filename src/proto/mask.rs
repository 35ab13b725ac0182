//! Masking (RFC 6455 section 5.3): the fast function, a naive one to compare it with, and the source of fresh masks.

/// The masking key of one frame, in the order of its bytes on the wire.
pub type Mask = [u8; 4];

/// Below this many bytes, the call of the wide function costs more than it saves.
const WIDE_BYTES: usize = 128;

/// XORs `data` with `mask`, the first byte of `data` with the first byte of `mask`.
///
/// Masking and unmasking are the same operation (RFC 6455 section 5.3).
///
/// ```
/// let mut data = *b"Hello";
/// steadfast::proto::mask::apply(&mut data, [0x37, 0xfa, 0x21, 0x3d]);
/// assert_eq!(data, [0x7f, 0x9f, 0x4d, 0x51, 0x58]); // the example of RFC 6455 section 5.7
/// ```
#[inline]
pub fn apply(data: &mut [u8], mask: Mask) {
    if data.len() < WIDE_BYTES {
        words(data, mask);
    } else {
        wide(data, mask);
    }
}

/// Returns the mask for the bytes from `bytes` on, of a payload that arrives in pieces.
#[inline]
pub fn advance(mask: Mask, bytes: usize) -> Mask {
    let mut mask = mask;
    mask.rotate_left(bytes & 3);
    mask
}

/// Does the same as [`apply`] in an obvious way; the property tests compare the two.
pub fn apply_naive(data: &mut [u8], mask: Mask) {
    for (i, byte) in data.iter_mut().enumerate() {
        *byte ^= mask[i & 3];
    }
}

#[inline(always)]
fn words(data: &mut [u8], mask: Mask) {
    let mask_u32 = u32::from_ne_bytes(mask);
    let mask_u64 = u64::from(mask_u32) << 32 | u64::from(mask_u32);
    let (eights, rest) = data.as_chunks_mut::<8>();
    for eight in eights {
        *eight = (u64::from_ne_bytes(*eight) ^ mask_u64).to_ne_bytes();
    }
    let (fours, rest) = rest.as_chunks_mut::<4>();
    for four in fours {
        *four = (u32::from_ne_bytes(*four) ^ mask_u32).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(mask) {
        *byte ^= key;
    }
}

/// Masks in one loop over blocks of 128 bytes, which the compiler turns into the widest vectors that the caller may
/// use.
#[inline(always)]
fn blocks(data: &mut [u8], mask: Mask) {
    let mask_u32 = u32::from_ne_bytes(mask);
    let mask_u64 = u64::from(mask_u32) << 32 | u64::from(mask_u32);
    let (blocks, rest) = data.as_chunks_mut::<128>();
    for block in blocks {
        let (eights, _) = block.as_chunks_mut::<8>();
        for eight in eights {
            *eight = (u64::from_ne_bytes(*eight) ^ mask_u64).to_ne_bytes();
        }
    }
    words(rest, mask);
}

#[cfg(target_arch = "x86_64")]
fn wide(data: &mut [u8], mask: Mask) {
    #[target_feature(enable = "avx2")]
    fn blocks_avx2(data: &mut [u8], mask: Mask) {
        blocks(data, mask);
    }
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor was just asked, and has AVX2; the function itself is safe code.
        #[expect(unsafe_code, reason = "a call into code compiled for AVX2")]
        unsafe {
            blocks_avx2(data, mask);
        }
    } else {
        blocks(data, mask);
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn wide(data: &mut [u8], mask: Mask) {
    blocks(data, mask);
}

/// Random bytes for masks and handshake keys, which are fetched from the system in blocks.
///
/// A client's masks must be unpredictable (RFC 6455 section 10.3), so they come from the source that the shell
/// provides, getrandom(2) on Linux. One fetch serves 256 frames.
pub struct RandomSource {
    fill: fn(&mut [u8]),
    block: [u8; 1024],
    used: usize,
}

impl RandomSource {
    /// Creates a source that refills its block by calling `fill`, which must fill all of the slice.
    pub fn new(fill: fn(&mut [u8])) -> Self {
        Self { fill, block: [0; 1024], used: 1024 }
    }

    /// Returns the next `N` random bytes (at most 1,024); each byte is used once.
    pub fn take<const N: usize>(&mut self) -> [u8; N] {
        if self.used + N > self.block.len() {
            (self.fill)(&mut self.block);
            self.used = 0;
        }
        let mut bytes = [0; N];
        bytes.copy_from_slice(&self.block[self.used..self.used + N]);
        self.used += N;
        bytes
    }
}

impl std::fmt::Debug for RandomSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RandomSource") // never the bytes to come
    }
}
