//! Latencies: recorded by the workers, merged over threads, seconds and hosts, and written so that they can be merged again.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer as Reader, Serializer as _, V2DeflateSerializer};
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;

/// The longest that is told apart: ten minutes. What is longer counts as that.
const MAX_US: u64 = 600_000_000;

/// What a latency is measured of; the names of a report, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
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
pub struct Latency(Histogram<u64>);

impl Default for Latency {
    fn default() -> Self {
        // The bounds are constants that the library accepts; were they not, no test would get past this line.
        Self(Histogram::new_with_bounds(1, MAX_US, 3).expect("constant bounds"))
    }
}

impl PartialEq for Latency {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Latency {
    /// Adds one.
    #[inline]
    pub fn record(&mut self, us: u64) {
        self.0.saturating_record(us);
    }

    /// Adds all of `other`'s: exactly as if they had been recorded here.
    pub fn add(&mut self, other: &Self) {
        // All have the same bounds, so adding cannot fail.
        let _ = self.0.add(&other.0);
    }

    /// How many there are.
    pub fn samples(&self) -> u64 {
        self.0.len()
    }

    /// What the given share of them, from 0 to 1, took at most; `None` without samples.
    pub fn quantile_us(&self, share: f64) -> Option<u64> {
        (!self.0.is_empty()).then(|| self.0.value_at_quantile(share))
    }

    /// Their mean; `None` without samples.
    pub fn mean_us(&self) -> Option<f64> {
        (!self.0.is_empty()).then(|| self.0.mean())
    }

    /// The longest; `None` without samples.
    pub fn max_us(&self) -> Option<u64> {
        (!self.0.is_empty()).then(|| self.0.max())
    }

    /// The least latency of each step of the histogram that has samples, and how many: what a chart draws.
    pub fn steps(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.0.iter_recorded().map(|step| (step.value_iterated_to(), step.count_since_last_iteration()))
    }
}

/// As a report has them: figures to read, and the whole histogram to merge, in the format V2 of HdrHistogram, deflated,
/// in base 64.
#[derive(Serialize, Deserialize)]
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

impl Serialize for Latency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut bytes = Vec::new();
        V2DeflateSerializer::new()
            .serialize(&self.0, &mut bytes)
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
        let written = Written::deserialize(deserializer)?;
        let bytes = BASE64_STANDARD.decode(&written.histogram).map_err(|error| D::Error::custom(error.to_string()))?;
        let read: Histogram<u64> = Reader::new()
            .deserialize(&mut bytes.as_slice())
            .map_err(|error| D::Error::custom(format!("histogram: {error}")))?;
        let mut latency = Self::default();
        latency.0.add(&read).map_err(|error| D::Error::custom(format!("histogram: {error}")))?;
        if latency.samples() != written.samples {
            return Err(D::Error::custom("histogram: it has not as many samples as the report says"));
        }
        Ok(latency)
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

    /// Those of one measure, empty if there are none.
    pub fn of(&self, measure: Measure) -> Latency {
        self.0.get(&measure).cloned().unwrap_or_default()
    }
}
