//! The scenario of a flood: phases, one after the other.
//!
//! A phase is written as a TOML table, or on one line that begins with its kind:
//!
//! ```
//! use steadfast::flood::scenario::{Phase, Scenario};
//!
//! let scenario: Scenario = "
//!     [[phase]]
//!     do = 'ramp'
//!     over_s = 10
//!
//!     [[phase]]
//!     do = 'rate'
//!     per_s = 1
//!     for_s = 60
//! ".parse().unwrap();
//! assert_eq!(scenario.phases, ["ramp over_s=10".parse::<Phase>().unwrap(), "rate per_s=1 for_s=60".parse().unwrap()]);
//! ```

use super::read::MAX_PHASES;
use serde::Deserialize;
use std::fmt;
use std::str::FromStr;
use toml::{Spanned, Table};

/// The longest phase in seconds, a month.
const MAX_S: f64 = 2_678_400.0;
/// The most messages per second on one connection: intervals are whole microseconds.
pub(super) const MAX_PER_S: f64 = 1_000.0;

/// The most keys of a phase, twice as many as any phase has.
const MAX_KEYS: usize = 8;

/// One phase of a flood.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "do", rename_all = "lowercase", deny_unknown_fields)]
pub enum Phase {
    /// Opens connections, as fast as they are accepted unless `per_s`, `over_s` or `steps` is given.
    Ramp {
        /// How many connections; all that are left if absent.
        connections: Option<u32>,
        /// Connects per second.
        per_s: Option<f64>,
        /// Opens them evenly over this many seconds.
        over_s: Option<f64>,
        /// Opens them in this many steps over `over_s`, each as fast as connections are accepted.
        steps: Option<u32>,
    },
    /// Sends messages on each connection, one after the other, as fast as they are answered. Ends with the last reply.
    Reply {
        /// Messages on each connection.
        #[serde(default = "one")]
        messages: u16,
    },
    /// Holds all connections, with a trickle of messages over all of them.
    Hold {
        /// The duration in seconds.
        for_s: f64,
        /// Messages per second, over all connections.
        #[serde(default)]
        trickle_per_s: f64,
    },
    /// Sends one message on each connection, to see whether it is still alive.
    Check {},
    /// Sends messages at a constant rate, each at its due time. If the previous reply is still outstanding, the message
    /// is sent after it, and its response time counts from its due time.
    Rate {
        /// The duration in seconds.
        for_s: f64,
        /// Messages per second on each connection.
        per_s: Option<f64>,
        /// Messages per second over all connections that are open when the phase begins.
        total_per_s: Option<f64>,
    },
    /// Receives pushed messages, and measures their age if they have a timestamp.
    Receive {
        /// The longest duration in seconds.
        for_s: f64,
        /// Ends when each connection has received this many messages.
        messages: Option<u32>,
    },
    /// As `Receive`, with some connections that read slowly or not at all.
    Slow {
        /// The duration in seconds.
        for_s: f64,
        /// The share of the connections that is slow, from 0 to 1.
        share: f64,
        /// Bytes that each of those reads per second; 0 reads nothing.
        #[serde(default)]
        bytes_per_s: u32,
    },
    /// Resets a share of the connections at once, and opens them again. Ends when the last of them is open or lost.
    Storm {
        /// The share of the connections, from 0 to 1.
        share: f64,
    },
    /// Closes all connections. This is always the last phase, and need not be named.
    Drain {
        /// Closes them evenly over this many seconds; as fast as possible if absent.
        over_s: Option<f64>,
    },
}

fn one() -> u16 {
    1
}

/// Why a text is not a phase or a scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadScenario(String);

impl BadScenario {
    fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for BadScenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadScenario {}

impl Phase {
    /// Returns the kind of the phase, as it is written.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Ramp { .. } => "ramp",
            Self::Reply { .. } => "reply",
            Self::Hold { .. } => "hold",
            Self::Check {} => "check",
            Self::Rate { .. } => "rate",
            Self::Receive { .. } => "receive",
            Self::Slow { .. } => "slow",
            Self::Storm { .. } => "storm",
            Self::Drain { .. } => "drain",
        }
    }

    /// Returns the length of the phase in seconds, if it is given.
    pub(super) fn length_s(&self) -> Option<f64> {
        match self {
            Self::Hold { for_s, .. }
            | Self::Rate { for_s, .. }
            | Self::Receive { for_s, .. }
            | Self::Slow { for_s, .. } => Some(*for_s),
            _ => None,
        }
    }

    /// Checks the parameters.
    fn check(&self) -> Result<(), BadScenario> {
        let seconds = |name: &str, value: f64| within(self.kind(), name, value, 0.0, MAX_S);
        let rate = |name: &str, value: f64| within(self.kind(), name, value, 0.001, 1e9);
        let share = |value: f64| within(self.kind(), "share", value, 0.0, 1.0);
        let each = |value: &Option<f64>, check: &dyn Fn(f64) -> Result<(), BadScenario>| value.map_or(Ok(()), check);
        match self {
            Self::Ramp { connections, per_s, over_s, steps } => {
                if *connections == Some(0) {
                    return Err(BadScenario::new("ramp: connections is 0; expected at least 1"));
                }
                each(&steps.map(f64::from), &|value| within("ramp", "steps", value, 1.0, 100_000.0))?;
                if per_s.is_some() && (over_s.is_some() || steps.is_some()) {
                    return Err(BadScenario::new("ramp: per_s sets the speed already; leave out over_s and steps"));
                }
                if steps.is_some() && over_s.is_none() {
                    return Err(BadScenario::new("ramp: steps need over_s, such as steps=10 over_s=60"));
                }
                each(per_s, &|value| rate("per_s", value))?;
                each(over_s, &|value| seconds("over_s", value))
            }
            Self::Reply { .. } | Self::Check {} => Ok(()),
            Self::Hold { for_s, trickle_per_s } => {
                seconds("for_s", *for_s)?;
                if *trickle_per_s == 0.0 { Ok(()) } else { rate("trickle_per_s", *trickle_per_s) }
            }
            Self::Rate { for_s, per_s, total_per_s } => {
                within("rate", "for_s", *for_s, 0.001, MAX_S)?;
                each(per_s, &|value| within("rate", "per_s", value, 0.000_1, MAX_PER_S))?;
                each(total_per_s, &|value| within("rate", "total_per_s", value, 0.001, 1e9))?;
                match (per_s, total_per_s) {
                    (Some(_), None) | (None, Some(_)) => Ok(()),
                    _ => Err(BadScenario::new("rate: expected one of per_s (for each connection) or total_per_s")),
                }
            }
            Self::Receive { for_s, messages } => {
                each(&messages.map(f64::from), &|value| within("receive", "messages", value, 1.0, 4e9))?;
                seconds("for_s", *for_s)
            }
            Self::Slow { for_s, share: part, .. } => {
                seconds("for_s", *for_s)?;
                share(*part)
            }
            Self::Storm { share: part } => share(*part),
            Self::Drain { over_s } => each(over_s, &|value| seconds("over_s", value)),
        }
    }
}

fn within(phase: &str, name: &str, value: f64, least: f64, most: f64) -> Result<(), BadScenario> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(BadScenario::new(format!("{phase}: {name} is {value}; expected {least} to {most}")))
}

impl FromStr for Phase {
    type Err = BadScenario;

    /// `NAME KEY=VALUE KEY=VALUE …`
    fn from_str(text: &str) -> Result<Self, BadScenario> {
        let mut words = text.split_ascii_whitespace();
        let name = words.next().unwrap_or_default();
        let table: Vec<&str> = words.collect();
        let toml = format!("do = {name:?}\n{}", table.join("\n"));
        let right = |wrong: &str| BadScenario::new(format!("{wrong}; expected e.g. 'hold for_s=30'"));
        let table: Table = toml::from_str(&toml).map_err(|error| right(error.message()))?;
        let phase = Self::of(&table).map_err(|wrong| right(&wrong))?;
        phase.check().map(|()| phase)
    }
}

impl Phase {
    /// Reads a phase from a table; the error says what is wrong with it.
    fn of(table: &Table) -> Result<Self, String> {
        if table.len() > MAX_KEYS {
            return Err(format!("it has {} keys; expected at most {MAX_KEYS}", table.len()));
        }
        let read = |table: Table| table.try_into::<Self>().map_err(|error| error.message().to_owned());
        let Err(wrong) = read(table.clone()) else { return read(table.clone()) };
        // The error for an invalid value does not name its key. Find the key without which the error changes.
        let culprit = table.keys().filter(|key| *key != "do").find(|key| {
            let less = table.iter().filter(|(name, _)| name != key);
            read(less.map(|(name, value)| (name.clone(), value.clone())).collect()) != Err(wrong.clone())
        });
        Err(match culprit {
            Some(key) if !wrong.contains(&format!("`{key}`")) => format!("{key}: {wrong}"),
            _ => wrong,
        })
    }
}

/// The phases of a flood.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// The phases, in order.
    pub phases: Vec<Phase>,
}

/// A scenario as a TOML document.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    phase: Vec<Spanned<Table>>,
}

impl FromStr for Scenario {
    type Err = BadScenario;

    /// Parses a TOML document with a `[[phase]]` for each phase.
    fn from_str(text: &str) -> Result<Self, BadScenario> {
        let at = |start: usize, wrong: &str| {
            let line = text.bytes().take(start).filter(|byte| *byte == b'\n').count() + 1;
            BadScenario::new(format!("line {line}: {}", wrong.replace('\n', " ")))
        };
        let document: Document =
            toml::from_str(text).map_err(|error| at(error.span().map_or(0, |span| span.start), error.message()))?;
        let phases = document.phase.iter().map(|table| {
            let start = table.span().start;
            let phase = Phase::of(table.get_ref()).map_err(|wrong| at(start, &wrong))?;
            phase.check().map(|()| phase).map_err(|wrong| at(start, &wrong.0))
        });
        Ok(Self { phases: phases.collect::<Result<_, _>>()? })
    }
}

impl Scenario {
    /// Completes the scenario for `connections`: each ramp gets its number of connections, and a drain is added at the
    /// end.
    ///
    /// # Errors
    /// [`BadScenario`] if the scenario does not begin with a ramp, opens more or fewer connections, or continues after
    /// the drain.
    pub fn planned(&self, connections: u32) -> Result<Self, BadScenario> {
        if self.phases.len() >= MAX_PHASES {
            let (phases, most) = (self.phases.len(), MAX_PHASES - 1);
            return Err(BadScenario::new(format!("there are {phases} phases; expected at most {most}")));
        }
        self.phases.iter().try_for_each(Phase::check)?;
        let mut phases = self.phases.clone();
        let Some(Phase::Ramp { .. }) = phases.first() else {
            return Err(BadScenario::new("the first phase has to be a ramp, which opens connections"));
        };
        if !matches!(phases.last(), Some(Phase::Drain { .. })) {
            phases.push(Phase::Drain { over_s: None });
        }
        let drain_at = phases.iter().position(|phase| matches!(phase, Phase::Drain { .. })).unwrap_or_default();
        if drain_at + 1 < phases.len() {
            return Err(BadScenario::new("the drain closes all connections, so no phase can follow it"));
        }
        let mut left = connections;
        for phase in &mut phases {
            let Phase::Ramp { connections: wanted, .. } = phase else { continue };
            let more = wanted.unwrap_or(left);
            if more > left || more == 0 {
                return Err(BadScenario::new(format!(
                    "the ramps open more than the {connections} connections that were asked for"
                )));
            }
            *wanted = Some(more);
            left -= more;
        }
        if left > 0 {
            return Err(BadScenario::new(format!(
                "the ramps leave {left} of {connections} connections unopened; leave out connections= in the last one"
            )));
        }
        Ok(Self { phases })
    }

    /// Returns the name of each phase: its kind, with a number from the second of its kind on.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for (at, phase) in self.phases.iter().enumerate() {
            let before = self.phases[..at].iter().filter(|other| other.kind() == phase.kind()).count();
            let number = if before > 0 { (before + 1).to_string() } else { String::new() };
            names.push(phase.kind().to_owned() + &number);
        }
        names
    }

    pub(super) fn has(&self, kind: &str) -> bool {
        self.phases.iter().any(|phase| phase.kind() == kind)
    }
}
