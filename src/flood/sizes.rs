//! The lengths of messages: fixed, or drawn from a distribution.

use std::fmt;
use std::str::FromStr;

/// The longest message, in bytes.
const MAX_BYTES: u32 = 1 << 30;

/// An exponential distribution is cut off at this many times its mean; one message of 20,000 is that long.
const TAIL: u32 = 10;

/// The distribution of message lengths. The length depends only on the message's number, so that a reply can be checked
/// without keeping the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sizes {
    /// All the same length.
    Fixed(u32),
    /// Uniform, from the first length to the second, inclusive.
    Uniform(u32, u32),
    /// Exponential with this mean, limited to 1 to ten times the mean.
    Exponential(u32),
    /// A list of lengths with weights.
    Weighted(Vec<(u32, u32)>),
}

impl Sizes {
    /// Returns the longest possible length, in bytes.
    pub fn max_bytes(&self) -> usize {
        let max = match self {
            Self::Fixed(bytes) | Self::Uniform(_, bytes) => *bytes,
            Self::Exponential(mean) => mean.saturating_mul(TAIL).min(MAX_BYTES),
            Self::Weighted(list) => list.iter().map(|(bytes, _)| *bytes).max().unwrap_or(1),
        };
        max as usize
    }

    /// Returns the length of the message with this number, in bytes.
    #[inline]
    pub fn of(&self, number: u64) -> usize {
        match self {
            Self::Fixed(bytes) => *bytes as usize,
            _ => self.draw(scatter(number)),
        }
    }

    fn draw(&self, random: u64) -> usize {
        let share = (random >> 11) as f64 / (1_u64 << 53) as f64;
        match self {
            Self::Fixed(bytes) => *bytes as usize,
            Self::Uniform(least, most) => *least as usize + (share * f64::from(most - least + 1)) as usize,
            Self::Exponential(mean) => {
                let drawn = -f64::from(*mean) * (1.0 - share).ln();
                (drawn.round() as usize).clamp(1, self.max_bytes())
            }
            Self::Weighted(list) => {
                let sum: u64 = list.iter().map(|(_, weight)| u64::from(*weight)).sum();
                let mut at = (share * sum as f64) as u64;
                for &(bytes, weight) in list {
                    if at < u64::from(weight) {
                        return bytes as usize;
                    }
                    at -= u64::from(weight);
                }
                list.last().map_or(1, |(bytes, _)| *bytes as usize)
            }
        }
    }
}

/// Spreads consecutive numbers over 64 bits: the finalizer of SplitMix64.
fn scatter(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Why a text does not describe message lengths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadSizes(String);

impl fmt::Display for BadSizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}; expected bytes from 1 to {MAX_BYTES}: 20, or a range 20-2000, or exp:MEAN, or lengths with weights \
             64:90,4096:10",
            self.0
        )
    }
}

impl std::error::Error for BadSizes {}

impl FromStr for Sizes {
    type Err = BadSizes;

    /// `BYTES`, `LEAST-MOST`, `exp:MEAN` or `BYTES:WEIGHT,BYTES:WEIGHT,…`
    fn from_str(text: &str) -> Result<Self, BadSizes> {
        let bytes = |text: &str| match text.parse::<u32>() {
            Ok(bytes) if (1..=MAX_BYTES).contains(&bytes) => Ok(bytes),
            _ => Err(BadSizes(format!("{text:?} is not a length"))),
        };
        if let Some(mean) = text.strip_prefix("exp:") {
            return bytes(mean).map(Self::Exponential);
        }
        if text.contains(':') {
            let pair = |part: &str| {
                let (length, weight) =
                    part.split_once(':').ok_or_else(|| BadSizes(format!("{part:?} has no weight")))?;
                match weight.parse::<u32>() {
                    Ok(weight) if weight > 0 => bytes(length).map(|length| (length, weight)),
                    _ => Err(BadSizes(format!("{weight:?} is not a weight"))),
                }
            };
            return text.split(',').map(pair).collect::<Result<_, _>>().map(Self::Weighted);
        }
        match text.split_once('-') {
            None => bytes(text).map(Self::Fixed),
            Some((least, most)) => match (bytes(least)?, bytes(most)?) {
                (least, most) if least < most => Ok(Self::Uniform(least, most)),
                (least, most) => Err(BadSizes(format!("the range {least}-{most} does not go up"))),
            },
        }
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(bytes) => write!(f, "{bytes}"),
            Self::Uniform(least, most) => write!(f, "{least}-{most}"),
            Self::Exponential(mean) => write!(f, "exp:{mean}"),
            Self::Weighted(list) => {
                let pairs: Vec<String> = list.iter().map(|(bytes, weight)| format!("{bytes}:{weight}")).collect();
                f.write_str(&pairs.join(","))
            }
        }
    }
}
