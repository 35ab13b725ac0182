//! What a seed makes of a run: which faults are injected, how often, and how the server is started.

use std::fmt::Write as _;

/// splitmix64.
#[derive(Clone, Debug)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// That many bytes; about half of the calls make bytes that compress well.
    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mask = if self.below(2) == 0 { 0x03 } else { 0xff };
        (0..count).map(|_| self.next() as u8 & mask).collect()
    }

    /// A length, as likely a few bytes as many.
    pub(crate) fn length(&mut self, most: usize) -> usize {
        let most = most >> (2 * self.below(7));
        self.below(most + 1)
    }
}

/// Everything that differs from seed to seed.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// Connections are reset, and refused their registration: those ones, and no others, may end.
    pub(crate) is_fatal: bool,
    pub(crate) server: String,
    pub(crate) client: String,
    pub(crate) has_own_tables: bool,
    pub(crate) takes_over: bool,
}

/// Faults that must not lose anything, with the highest rate that leaves a run short enough, in thousandths.
const HARMLESS: [(&str, usize); 12] = [
    ("again", 400),
    ("storm", 300),
    ("shorten", 500),
    ("eintr", 300),
    ("accept_error", 200),
    ("accept_aborted", 300),
    ("single", 500),
    ("shuffle", 1000),
    ("duplicate", 300),
    ("spurious", 300),
    ("delay", 500),
    ("clock", 64),
];

impl Plan {
    pub(crate) fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let is_fatal = dice.below(3) == 0;
        Self {
            seed,
            is_fatal,
            server: faults(&mut dice, is_fatal),
            client: faults(&mut dice, is_fatal && seed.is_multiple_of(2)),
            has_own_tables: dice.below(4) == 0,
            takes_over: dice.below(2) == 0,
        }
    }

    /// Dice for what the clients of a scenario do.
    pub(crate) fn dice(&self, which: u64) -> Dice {
        Dice(self.seed.wrapping_mul(1_000_003).wrapping_add(which))
    }
}

fn faults(dice: &mut Dice, is_fatal: bool) -> String {
    let mut text = format!("seed={}", dice.next() >> 1);
    for (name, most) in HARMLESS {
        // A third of them is not there at all: what one fault hides, another run shows.
        let most = most >> dice.below(4);
        let rate = if dice.below(3) == 0 { 0 } else { 1 + dice.below(most) };
        write!(text, ",{name}={rate}").expect("a string takes all");
    }
    if is_fatal {
        write!(text, ",reset={},enospc={}", 50 + dice.below(300), 50 + dice.below(150)).expect("a string takes all");
    }
    text
}
