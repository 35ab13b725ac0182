//! RFC 1951 by hand: an inflater as naive as can be, which also tells how far back a match reached; and a writer of
//! blocks, among them those that no compressor makes.

/// Bits as they stand in a stream, the lowest of each byte first.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: usize) -> Result<usize, String> {
        let mut value = 0;
        for shift in 0..count {
            let byte = self.bytes.get(self.at / 8).ok_or("the stream stops in the middle of a block")?;
            value |= usize::from(byte >> (self.at % 8) & 1) << shift;
            self.at += 1;
        }
        Ok(value)
    }

    fn align(&mut self) {
        self.at = self.at.next_multiple_of(8);
    }
}

/// Symbols by the lengths of their codes (section 3.2.2): how many there are of each length, and all in their order.
struct Code {
    counts: [usize; 16],
    symbols: Vec<usize>,
}

impl Code {
    fn new(lengths: &[u8]) -> Self {
        let of = |length: u8| (0..lengths.len()).filter(move |&symbol| lengths[symbol] == length);
        let mut counts = std::array::from_fn(|length| of(length as u8).count());
        counts[0] = 0;
        Self { counts, symbols: (1..=15).flat_map(of).collect() }
    }

    fn symbol(&self, bits: &mut Bits<'_>) -> Result<usize, String> {
        let (mut code, mut first, mut index) = (0, 0, 0);
        for count in &self.counts[1..] {
            code |= bits.take(1)?;
            if code < first + count {
                return self.symbols.get(index + code - first).copied().ok_or_else(|| "too many codes".to_owned());
            }
            index += count;
            first = (first + count) << 1;
            code <<= 1;
        }
        Err("a code without a symbol".to_owned())
    }
}

const LENGTHS: [usize; 29] =
    [3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258];
const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// One direction of a connection, from its first compressed message on.
#[derive(Default)]
pub(super) struct Naive {
    /// All that came, in which matches look back.
    all: Vec<u8>,
    /// The largest distance of any match.
    pub(super) farthest: usize,
    /// A block was marked as the last one.
    pub(super) saw_last: bool,
}

impl Naive {
    /// Inflates a message, its tail put back (RFC 7692 section 7.2.2) unless it is there, which has to end where a block
    /// ends. No bytes at all are an empty message.
    pub(super) fn message(&mut self, payload: &[u8]) -> Result<Vec<u8>, String> {
        let tail = [0, 0, 0xff, 0xff];
        let has_tail = payload.is_empty() || payload.ends_with(&tail);
        let whole = if has_tail { payload.to_vec() } else { [payload, &tail].concat() };
        let mut bits = Bits { bytes: &whole, at: 0 };
        let from = self.all.len();
        while bits.at < 8 * whole.len() {
            let last = bits.take(1)?;
            match bits.take(2)? {
                0 => self.stored(&mut bits)?,
                1 => {
                    let fixed = [[8; 144].as_slice(), &[9; 112], &[7; 24], &[8; 8]].concat();
                    self.symbols(&mut bits, &Code::new(&fixed), &Code::new(&[5; 30]))?;
                }
                2 => {
                    let (literals, distances) = dynamic(&mut bits)?;
                    self.symbols(&mut bits, &literals, &distances)?;
                }
                _ => return Err("a block of the third kind".to_owned()),
            }
            if last == 1 {
                self.saw_last = true;
                bits.align();
            }
        }
        Ok(self.all[from..].to_vec())
    }

    fn stored(&mut self, bits: &mut Bits<'_>) -> Result<(), String> {
        bits.align();
        let (length, check) = (bits.take(16)?, bits.take(16)?);
        if length != !check & 0xffff {
            return Err("a stored block with two lengths".to_owned());
        }
        for _ in 0..length {
            let byte = bits.take(8)? as u8;
            self.all.push(byte);
        }
        Ok(())
    }

    fn symbols(&mut self, bits: &mut Bits<'_>, literals: &Code, distances: &Code) -> Result<(), String> {
        loop {
            match literals.symbol(bits)? {
                byte @ 0..=255 => self.all.push(byte as u8),
                256 => return Ok(()),
                symbol => {
                    let symbol = symbol - 257;
                    let extra = if (8..28).contains(&symbol) { symbol / 4 - 1 } else { 0 };
                    let length = LENGTHS.get(symbol).ok_or("a length that is none")? + bits.take(extra)?;
                    let symbol = distances.symbol(bits)?;
                    let extra = (symbol / 2).saturating_sub(1);
                    let base = if symbol < 4 { symbol } else { (2 + symbol % 2) << extra };
                    let distance = base + 1 + bits.take(extra)?;
                    let from = self.all.len().checked_sub(distance).ok_or("a match before the beginning")?;
                    self.farthest = self.farthest.max(distance);
                    for at in from..from + length {
                        self.all.push(self.all[at]);
                    }
                }
            }
        }
    }
}

/// The two codes of a dynamic block (section 3.2.7).
fn dynamic(bits: &mut Bits<'_>) -> Result<(Code, Code), String> {
    let (literals, distances, codes) = (bits.take(5)? + 257, bits.take(5)? + 1, bits.take(4)? + 4);
    let mut lengths = [0; 19];
    for &at in &ORDER[..codes] {
        lengths[at] = bits.take(3)? as u8;
    }
    let code = Code::new(&lengths);
    let mut lengths: Vec<u8> = Vec::new();
    while lengths.len() < literals + distances {
        let (times, length) = match code.symbol(bits)? {
            16 => (3 + bits.take(2)?, *lengths.last().ok_or("nothing to repeat")?),
            17 => (3 + bits.take(3)?, 0),
            18 => (11 + bits.take(7)?, 0),
            length => (1, length as u8),
        };
        lengths.extend(vec![length; times]);
    }
    let distances = lengths.split_off(literals);
    Ok((Code::new(&lengths), Code::new(&distances)))
}

/// Writes the blocks of a message.
#[derive(Default)]
pub(super) struct Blocks {
    bytes: Vec<u8>,
    bits: usize,
}

impl Blocks {
    /// A number, its lowest bit first.
    pub(super) fn number(mut self, value: usize, bits: usize) -> Self {
        for shift in 0..bits {
            if self.bits.is_multiple_of(8) {
                self.bytes.push(0);
            }
            *self.bytes.last_mut().unwrap() |= ((value >> shift & 1) as u8) << (self.bits % 8);
            self.bits += 1;
        }
        self
    }

    /// A code, its highest bit first.
    fn code(self, code: usize, bits: usize) -> Self {
        (0..bits).rev().fold(self, |this, shift| this.number(code >> shift & 1, 1))
    }

    fn align(mut self) -> Self {
        self.bits = self.bits.next_multiple_of(8);
        self
    }

    /// Opens a block with the fixed codes, the last one of a stream or not.
    pub(super) fn fixed(self, last: bool) -> Self {
        self.number(usize::from(last), 1).number(1, 2)
    }

    pub(super) fn literals(self, bytes: impl AsRef<[u8]>) -> Self {
        bytes.as_ref().iter().fold(self, |this, &byte| match usize::from(byte) {
            low @ 0..=143 => this.code(0x30 + low, 8),
            high => this.code(0x190 + high - 144, 9),
        })
    }

    /// The last byte 258 times more, and that so often.
    pub(super) fn repeats(self, times: usize) -> Self {
        (0..times).fold(self, |this, _| this.length_and_distance(285, 0))
    }

    /// A match by its symbols, without their extra bits.
    pub(super) fn length_and_distance(self, length: usize, distance: usize) -> Self {
        let this = if length < 280 { self.code(length - 256, 7) } else { self.code(0xc0 + length - 280, 8) };
        this.code(distance, 5)
    }

    /// Ends a block.
    pub(super) fn end(self) -> Self {
        self.code(0, 7)
    }

    /// A block as it stands.
    pub(super) fn stored(self, bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref();
        let mut this = self.number(0, 3).align().number(bytes.len(), 16).number(!bytes.len() & 0xffff, 16);
        this.bytes.extend(bytes);
        this.bits += 8 * bytes.len();
        this
    }

    /// The message, with the beginning of an empty block whose rest a sender cuts off.
    pub(super) fn message(self) -> Vec<u8> {
        self.number(0, 3).bytes
    }

    /// What has been written, and nothing behind it.
    pub(super) fn into_unended(self) -> Vec<u8> {
        self.bytes
    }
}

/// A message in one block with the fixed codes.
pub(super) fn fixed(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    Blocks::default().fixed(false).literals(bytes).end().message()
}

#[test]
fn the_examples_of_the_rfc_are_read_and_written() {
    let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    let mut naive = Naive::default();
    assert_eq!((naive.message(&hello).unwrap(), naive.farthest), (b"Hello".to_vec(), 0));
    assert_eq!(naive.message(&[0xf2, 0x00, 0x11, 0x00, 0x00]).unwrap(), b"Hello");
    assert_eq!(naive.farthest, 5, "it looks back into the first");
    assert_eq!(fixed("Hello"), hello);
    assert_eq!(Blocks::default().stored("Hello").message(), b"\x00\x05\x00\xfa\xffHello\x00");
    let last = Blocks::default().fixed(true).literals("Hello").end().align().message();
    assert_eq!(last, [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00]);
    assert_eq!(Naive::default().message(&last).unwrap(), b"Hello");
    let run = Blocks::default().fixed(false).literals("a").repeats(4).end().message();
    assert_eq!(Naive::default().message(&run).unwrap(), vec![b'a'; 1 + 4 * 258]);
    assert!(Naive::default().message(&hello[..4]).is_err() && Naive::default().message(&[0xf2, 0x00, 0x11]).is_err());
}
