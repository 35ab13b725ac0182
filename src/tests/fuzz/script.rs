//! How an input says what is to be done with it: its first bytes are choices, the rest is what the session gets.

/// The choices at the front of an input. Where they end, every further one is 0, so that short inputs mean something.
#[derive(Clone, Copy)]
pub(crate) struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.slice(1).first().copied().unwrap_or(0)
    }

    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.byte())
    }

    pub(crate) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::from(self.byte()) % choices.len()]
    }

    /// The next `length` bytes, or as many as there are.
    pub(crate) fn slice(&mut self, length: usize) -> &'a [u8] {
        let (slice, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        slice
    }

    pub(crate) fn rest(self) -> &'a [u8] {
        self.0
    }
}

/// More pieces than that take time, and find nothing new.
const MANY: usize = 1_000;

/// Cuts `input` into pieces of these lengths, over and over: up to 127 bytes as they are, above that in steps of 16, so
/// that one byte covers both; 0 is all that is left, and so is the last of `MANY`.
pub(crate) fn pieces(input: &[u8], lengths: [u8; 4]) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    let mut rest = input;
    for length in lengths.into_iter().cycle() {
        let length = match length {
            0 => rest.len(),
            _ if pieces.len() + 1 == MANY => rest.len(),
            short @ 1..=127 => usize::from(short),
            long => (usize::from(long) - 120) * 16,
        };
        let (piece, more) = rest.split_at(length.min(rest.len()));
        pieces.push(piece);
        rest = more;
        if rest.is_empty() {
            return pieces;
        }
    }
    pieces
}
