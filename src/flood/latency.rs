//! Latencies: recorded by the workers, merged over threads, seconds and hosts, and written so that they can be merged again.

use super::histogram::{self, DIGITS, MAX_US};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer as Reader, Serializer as _, V2DeflateSerializer, V2Serializer};
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// What a latency is measured of; the names of a report, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", try_from = "String")]
pub enum Measure {
    /// From connect(2) to the open connection.
    Connect,
    /// The same for one that was dropped by a storm before.
    Reconnect,
    /// From a message to its answer, one in flight on a connection.
    Reply,
    /// The same for the trickle of messages while the connections are held.
    Hold,
    /// The same when each is asked whether it is alive.
    Alive,
    /// From when a message was due, at a constant rate, to its answer.
    Response,
    /// From when that message was sent to its answer.
    Service,
    /// From when a message was due to when it was sent, where nothing but the flood itself was in its way.
    Lag,
    /// From the stamp in a message that a server pushed to its arrival.
    Age,
}

/// All of them, in the order in which they are told.
pub const MEASURES: [Measure; 9] = [
    Measure::Connect,
    Measure::Reconnect,
    Measure::Reply,
    Measure::Hold,
    Measure::Alive,
    Measure::Response,
    Measure::Service,
    Measure::Lag,
    Measure::Age,
];

/// By a text, so that an error in a map tells of which one it is.
impl TryFrom<String> for Measure {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let known = MEASURES.into_iter().find(|measure| measure.name() == name);
        known.ok_or_else(|| format!("{name:?} is not measured"))
    }
}

impl Measure {
    /// Its name in a report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Reconnect => "reconnect",
            Self::Reply => "reply",
            Self::Hold => "hold",
            Self::Alive => "alive",
            Self::Response => "response",
            Self::Service => "service",
            Self::Lag => "lag",
            Self::Age => "age",
        }
    }
}

/// Latencies in microseconds, to three digits, from one to ten minutes.
#[derive(Clone, Debug)]
pub struct Latency(Form);

/// A histogram is for adding to; one that only waits to be read is packed, since it has a counter for each step there could be.
#[derive(Clone, Debug)]
enum Form {
    Whole(Box<Histogram<u64>>),
    /// How many samples, and the format V2 of HdrHistogram: some two bytes for each step that has any; deflated, if it
    /// was read so.
    Packed(u64, Box<[u8]>),
}

impl Default for Latency {
    fn default() -> Self {
        Self(Form::Packed(0, Box::default()))
    }
}

impl PartialEq for Latency {
    /// However much room they have.
    fn eq(&self, other: &Self) -> bool {
        self.steps() == other.steps()
    }
}

/// With room for latencies up to `longest_us`.
fn histogram(longest_us: u64) -> Histogram<u64> {
    // The bounds are constants that the library accepts; were they not, no test would get past this line.
    Histogram::new_with_bounds(1, longest_us, DIGITS).expect("constant bounds")
}

/// Room for ten minutes would be 172 KiB, and there are many of them. It grows with what it has: 16 KiB for 2 ms, 48 KiB for 30.
fn growing() -> Histogram<u64> {
    let mut histogram = histogram(2);
    histogram.auto(true);
    histogram
}

fn record(histogram: &mut Histogram<u64>, us: u64, count: u64) {
    // It can only fail to grow to what no address could reach.
    let _ = histogram.record_n(us.min(MAX_US), count);
}

fn steps(histogram: &Histogram<u64>) -> Vec<(u64, u64)> {
    histogram.iter_recorded().map(|step| (step.value_iterated_to(), step.count_since_last_iteration())).collect()
}

impl Latency {
    fn whole(&self) -> Cow<'_, Histogram<u64>> {
        match &self.0 {
            Form::Whole(histogram) => Cow::Borrowed(histogram),
            Form::Packed(0, _) => Cow::Owned(growing()),
            Form::Packed(_, bytes) => {
                let mut histogram =
                    Reader::new().deserialize(&mut &bytes[..]).expect("it was written by this, or checked");
                histogram.auto(true);
                Cow::Owned(histogram)
            }
        }
    }

    #[inline]
    fn whole_mut(&mut self) -> &mut Histogram<u64> {
        if let Form::Packed(..) = self.0 {
            self.0 = Form::Whole(Box::new(self.whole().into_owned()));
        }
        match &mut self.0 {
            Form::Whole(histogram) => histogram,
            Form::Packed(..) => unreachable!("it has just been unpacked"),
        }
    }

    /// Adds one.
    #[inline]
    pub fn record(&mut self, us: u64) {
        record(self.whole_mut(), us, 1);
    }

    /// Adds all of `other`'s: exactly as if they had been recorded here.
    pub fn add(&mut self, other: &Self) {
        let whole = self.whole_mut();
        other.steps().into_iter().for_each(|(us, count)| record(whole, us, count));
    }

    /// Takes no more memory than its samples need; until more are added.
    pub(super) fn pack(&mut self) {
        let mut bytes = Vec::new();
        // Writing to a Vec cannot fail, and what is not packed is as right.
        if V2Serializer::new().serialize(&self.whole(), &mut bytes).is_ok() {
            self.0 = Form::Packed(self.samples(), bytes.into());
        }
    }

    /// How many there are.
    pub fn samples(&self) -> u64 {
        match &self.0 {
            Form::Whole(histogram) => histogram.len(),
            Form::Packed(samples, _) => *samples,
        }
    }

    /// What the given share of them, from 0 to 1, took at most; `None` without samples.
    pub fn quantile_us(&self, share: f64) -> Option<u64> {
        (self.samples() > 0).then(|| self.whole().value_at_quantile(share))
    }

    /// Their mean; `None` without samples.
    pub fn mean_us(&self) -> Option<f64> {
        (self.samples() > 0).then(|| self.whole().mean())
    }

    /// The longest; `None` without samples.
    pub fn max_us(&self) -> Option<u64> {
        (self.samples() > 0).then(|| self.whole().max())
    }

    /// The most that each step of the histogram stands for, in order, and how many samples it has: of those that have any.
    pub fn steps(&self) -> Vec<(u64, u64)> {
        steps(&self.whole())
    }
}

/// As a report has them: figures to read, and the whole histogram to merge, in the format V2 of HdrHistogram, deflated,
/// in base 64.
#[derive(Serialize)]
struct Written {
    samples: u64,
    mean_us: Option<f64>,
    p50_us: Option<u64>,
    p90_us: Option<u64>,
    p95_us: Option<u64>,
    p99_us: Option<u64>,
    p99_9_us: Option<u64>,
    max_us: Option<u64>,
    histogram: String,
}

/// What is read of it: the figures follow from the histogram.
#[derive(Deserialize)]
struct Told {
    samples: u64,
    histogram: String,
}

impl Serialize for Latency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // The same samples are the same text, however they came together.
        let mut whole = histogram(MAX_US);
        self.steps().into_iter().for_each(|(us, count)| whole.saturating_record_n(us, count));
        let mut bytes = Vec::new();
        V2DeflateSerializer::new()
            .serialize(&whole, &mut bytes)
            .map_err(|error| S::Error::custom(error.to_string()))?;
        let written = Written {
            samples: self.samples(),
            mean_us: self.mean_us(),
            p50_us: self.quantile_us(0.5),
            p90_us: self.quantile_us(0.9),
            p95_us: self.quantile_us(0.95),
            p99_us: self.quantile_us(0.99),
            p99_9_us: self.quantile_us(0.999),
            max_us: self.max_us(),
            histogram: BASE64_STANDARD.encode(bytes),
        };
        written.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Latency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let told = Told::deserialize(deserializer)?;
        Self::read(told.samples, &told.histogram).map_err(D::Error::custom)
    }
}

impl Latency {
    /// The histogram of a report, which has to have so many samples.
    pub(super) fn read(samples: u64, text: &str) -> Result<Self, String> {
        let (read, deflated) = histogram::read(text).map_err(|error| format!("histogram: {error}"))?;
        if read.len() != samples {
            return Err("histogram: it has not as many samples as the report says".into());
        }
        let mut latency = Self(Form::Whole(Box::new(read)));
        latency.pack();
        // A few deflated bytes may be many: a report takes no more memory than its file is long.
        match latency.0 {
            Form::Packed(_, plain) if plain.len() > deflated.len() => Ok(Self(Form::Packed(samples, deflated.into()))),
            form => Ok(Self(form)),
        }
    }
}

/// Latencies by what they are of; what has no samples is not there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Latencies(pub BTreeMap<Measure, Latency>);

impl Latencies {
    /// Adds one.
    #[inline]
    pub fn record(&mut self, measure: Measure, us: u64) {
        self.0.entry(measure).or_default().record(us);
    }

    /// Adds all of `other`'s.
    pub fn add(&mut self, other: &Self) {
        for (measure, latency) in &other.0 {
            self.0.entry(*measure).or_default().add(latency);
        }
    }

    pub(super) fn pack(&mut self) {
        self.0.values_mut().for_each(Latency::pack);
    }

    /// Those of one measure, empty if there are none.
    pub fn of(&self, measure: Measure) -> Latency {
        self.0.get(&measure).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(samples: impl IntoIterator<Item = u64>) -> Latency {
        let mut latency = Latency::default();
        samples.into_iter().for_each(|us| latency.record(us));
        latency
    }

    #[test]
    fn however_it_grew_it_is_the_same() {
        let all = [0, 1, 7, 2_047, 2_048, 30_000, 1_000_000, MAX_US, MAX_US + 1, u64::MAX];
        let (whole, back) = (of(all), of(all.into_iter().rev()));
        let mut sum = of(all[5..].iter().copied());
        sum.add(&of(all[..5].iter().copied()));
        let mut grown = of([]);
        all.into_iter().for_each(|us| grown.add(&of([us])));
        let text = |latency: &Latency| serde_json::to_string(latency).expect("JSON");
        for other in [&back, &sum, &grown] {
            assert_eq!((other, text(other)), (&whole, text(&whole)));
        }
        let read: Latency = serde_json::from_str(&text(&whole)).expect("it was written so");
        assert_eq!((&read, text(&read)), (&whole, text(&whole)));
        assert_eq!((whole.samples(), whole.quantile_us(0.0)), (10, Some(0)));
        // To three digits.
        assert!(
            whole.max_us().is_some_and(|us| (MAX_US..MAX_US + MAX_US / 1000).contains(&us)),
            "{:?}",
            whole.max_us()
        );
        assert_ne!(whole, of(all[1..].iter().copied()));
    }

    #[test]
    fn short_ones_take_little_room() {
        let room = |latency: &Latency| latency.whole().distinct_values() * size_of::<u64>();
        assert_eq!([room(&of([])), room(&of([2_000])), room(&of([30_000]))], [16 << 10, 16 << 10, 48 << 10]);
    }
}
