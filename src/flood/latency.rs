//! Latencies: recorded by workers, merged over threads, seconds and hosts, and written so that they can be merged
//! again.

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

/// What a latency measures. The names are those of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", try_from = "String")]
pub enum Measure {
    /// From connect(2) to the open connection.
    Connect,
    /// The same, for a connection that a storm had reset.
    Reconnect,
    /// From a message to its reply, one in flight on each connection.
    Reply,
    /// The same, for the trickle of messages during a hold.
    Hold,
    /// The same, for the message that checks whether a connection is alive.
    Alive,
    /// At a constant rate, from the time a message was due to its reply.
    Response,
    /// At a constant rate, from the time a message was sent to its reply.
    Service,
    /// At a constant rate, from the time a message was due to the time it was sent, where only the flood itself delayed
    /// it.
    Lag,
    /// From the timestamp in a pushed message to its arrival.
    Age,
}

/// All measures, in the order of reports.
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

/// From a string, so that an error in a map names the unknown measure.
impl TryFrom<String> for Measure {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let known = MEASURES.into_iter().find(|measure| measure.name() == name);
        known.ok_or_else(|| format!("{name:?} is not measured"))
    }
}

impl Measure {
    /// Returns the name of the measure in a report.
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

/// A histogram of latencies in microseconds, to three significant digits, up to ten minutes.
#[derive(Clone, Debug)]
pub struct Latency(Form);

/// A histogram that is added to has a counter for each possible step; one that is only kept is packed.
#[derive(Clone, Debug)]
enum Form {
    Whole(Box<Histogram<u64>>),
    /// The number of samples, and the histogram in format V2 of HdrHistogram: about two bytes for each step that has
    /// samples; deflated, if it was read so.
    Packed(u64, Box<[u8]>),
}

impl Default for Latency {
    fn default() -> Self {
        Self(Form::Packed(0, Box::default()))
    }
}

impl PartialEq for Latency {
    /// Compares the samples, not the capacity.
    fn eq(&self, other: &Self) -> bool {
        self.steps() == other.steps()
    }
}

/// Makes an empty histogram with room for latencies up to `longest_us`.
fn histogram(longest_us: u64) -> Histogram<u64> {
    // The bounds are constants that the library accepts, which every test confirms.
    Histogram::new_with_bounds(1, longest_us, DIGITS).expect("constant bounds")
}

/// Makes an empty histogram that grows with its samples: 16 KiB for 2 ms, 48 KiB for 30 ms. Room for ten minutes would
/// be 172 KiB, and there are many of them.
fn growing() -> Histogram<u64> {
    let mut histogram = histogram(2);
    histogram.auto(true);
    histogram
}

fn record(histogram: &mut Histogram<u64>, us: u64, count: u64) {
    // This fails only for a value beyond what the histogram can grow to, and `MAX_US` is not.
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

    /// Adds one sample.
    #[inline]
    pub fn record(&mut self, us: u64) {
        record(self.whole_mut(), us, 1);
    }

    /// Adds all samples of `other`, exactly as if they had been recorded here.
    pub fn add(&mut self, other: &Self) {
        let whole = self.whole_mut();
        other.steps().into_iter().for_each(|(us, count)| record(whole, us, count));
    }

    /// Reduces the memory to what the samples need, until more are added.
    pub(super) fn pack(&mut self) {
        let mut bytes = Vec::new();
        // Writing to a `Vec` cannot fail, and the unpacked form is equally valid.
        if V2Serializer::new().serialize(&self.whole(), &mut bytes).is_ok() {
            self.0 = Form::Packed(self.samples(), bytes.into());
        }
    }

    /// Returns the number of samples.
    pub fn samples(&self) -> u64 {
        match &self.0 {
            Form::Whole(histogram) => histogram.len(),
            Form::Packed(samples, _) => *samples,
        }
    }

    /// Returns the latency that the given share of the samples, from 0 to 1, did not exceed; `None` without samples.
    pub fn quantile_us(&self, share: f64) -> Option<u64> {
        (self.samples() > 0).then(|| self.whole().value_at_quantile(share))
    }

    /// Returns the mean; `None` without samples.
    pub fn mean_us(&self) -> Option<f64> {
        (self.samples() > 0).then(|| self.whole().mean())
    }

    /// Returns the longest latency; `None` without samples.
    pub fn max_us(&self) -> Option<u64> {
        (self.samples() > 0).then(|| self.whole().max())
    }

    /// Returns the non-empty steps of the histogram in order: the upper bound of each and its number of samples.
    pub fn steps(&self) -> Vec<(u64, u64)> {
        steps(&self.whole())
    }
}

/// The form in a report: figures to read, and the whole histogram to merge, in format V2 of HdrHistogram, deflated, in
/// base 64.
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

/// The members that are read; the figures follow from the histogram.
#[derive(Deserialize)]
struct Read {
    samples: u64,
    histogram: String,
}

impl Serialize for Latency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Equal samples become equal text, however they were added.
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
        let read = Read::deserialize(deserializer)?;
        Self::read(read.samples, &read.histogram).map_err(D::Error::custom)
    }
}

impl Latency {
    /// Reads the histogram of a report, which must have `samples` samples.
    pub(super) fn read(samples: u64, text: &str) -> Result<Self, String> {
        let (read, deflated) = histogram::read(text).map_err(|error| format!("histogram: {error}"))?;
        if read.len() != samples {
            return Err("histogram: its number of samples differs from that of the report".into());
        }
        let mut latency = Self(Form::Whole(Box::new(read)));
        latency.pack();
        // A few deflated bytes may inflate to many: keep the deflated form if it is shorter, so that a report takes no
        // more memory than its file is long.
        match latency.0 {
            Form::Packed(_, plain) if plain.len() > deflated.len() => Ok(Self(Form::Packed(samples, deflated.into()))),
            form => Ok(Self(form)),
        }
    }
}

/// Latencies by measure; a measure without samples is absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Latencies(pub BTreeMap<Measure, Latency>);

impl Latencies {
    /// Adds one sample.
    #[inline]
    pub fn record(&mut self, measure: Measure, us: u64) {
        self.0.entry(measure).or_default().record(us);
    }

    /// Adds all samples of `other`.
    pub fn add(&mut self, other: &Self) {
        for (measure, latency) in &other.0 {
            self.0.entry(*measure).or_default().add(latency);
        }
    }

    pub(super) fn pack(&mut self) {
        self.0.values_mut().for_each(Latency::pack);
    }

    /// Returns the latencies of one measure, empty if there are none.
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
    fn histogram_does_not_depend_on_the_order_of_its_samples() {
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
    fn histogram_of_short_latencies_is_small() {
        let room = |latency: &Latency| latency.whole().distinct_values() * size_of::<u64>();
        assert_eq!([room(&of([])), room(&of([2_000])), room(&of([30_000]))], [16 << 10, 16 << 10, 48 << 10]);
    }
}
