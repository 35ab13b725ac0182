//! Reads a report from JSON. Every declared size is checked before it is used, and an error names the member.

use super::report::{PhaseReport, Report, SCHEMA, Second, SideMemory, Timing};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::fmt;

/// The longest duration and the latest time: 30,000 years.
const MAX_S: f64 = 1e12;

/// The largest number of bytes.
const MAX_BYTES: f64 = 1e18;

/// The most phases of a report, and of a scenario.
pub(super) const MAX_PHASES: usize = 1_000;

/// The most assertions, warnings and reconciled figures.
const MAX_FIGURES: usize = 1_000;

/// The most causes of losses; there are some dozens of them, and system errors.
const MAX_CAUSES: usize = 10_000;

/// The most shards of a flood.
const MAX_SHARDS: usize = 100_000;

/// Why a text is not a report: the member, as a path such as `phases[2].seconds`, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadReport(String);

impl fmt::Display for BadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadReport {}

#[derive(Deserialize)]
struct Head {
    schema: Option<String>,
}

impl Report {
    /// Reads a report from the JSON that a flood has written.
    ///
    /// # Errors
    /// [`BadReport`] if the text is not JSON, has another schema or lacks a member, or if a value is one that no flood
    /// writes, such as a histogram that declares more than it has.
    pub fn from_json(text: &[u8]) -> Result<Self, BadReport> {
        let bad = |what: String| BadReport(format!("it is not a report: {what}"));
        match parsed::<Head>(text).map_err(bad)?.schema {
            Some(schema) if schema == SCHEMA => {}
            Some(schema) => return Err(BadReport(format!("its schema is {schema:?}; expected {SCHEMA:?}"))),
            None => return Err(bad(format!("it has no \"schema\"; expected {SCHEMA:?}"))),
        }
        let whole = |what: String| BadReport(format!("it is not a complete report: {what}"));
        let report: Self = parsed(text).map_err(whole)?;
        check(&report).map_err(whole)?;
        Ok(report)
    }
}

fn parsed<T: DeserializeOwned>(text: &[u8]) -> Result<T, String> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let error = error.into_inner();
        match path.as_str() {
            _ if !error.is_data() => format!("it is not JSON: {error}"),
            "." => error.to_string(),
            path => format!("{path}: {error}"),
        }
    })?;
    reader.end().map_err(|error| format!("it is not JSON: {error}"))?;
    Ok(value)
}

/// Checks that every number and every list is within the bounds of a flood.
fn check(report: &Report) -> Result<(), String> {
    check_lengths(report)?;
    seconds("started_at_s", report.started_at_s)?;
    seconds("seconds", report.seconds)?;
    seconds("close_seconds", report.close_seconds)?;
    for measure in super::latency::MEASURES {
        let Timing { seconds: took, per_second, .. } = report.timing(measure);
        seconds(&format!("{}.seconds", measure.name()), *took)?;
        within(&format!("{}.per_second", measure.name()), *per_second, 0.0, MAX_BYTES)?;
    }
    for (side, memory) in [("server", &report.memory.server), ("client", &report.memory.client)] {
        let SideMemory { user_bytes_per_connection, kernel_bytes_per_connection, .. } = memory;
        for (name, bytes) in [("user", user_bytes_per_connection), ("kernel", kernel_bytes_per_connection)] {
            let member = || format!("memory.{side}.{name}_bytes_per_connection");
            bytes.map_or(Ok(()), |bytes| within(&member(), bytes, 0.0, MAX_BYTES))?;
        }
    }
    for (side, cpu) in [("server", report.cpu.server), ("client", report.cpu.client)] {
        let Some(cpu) = cpu else { continue };
        seconds(&format!("cpu.{side}.user_s"), cpu.user_s)?;
        seconds(&format!("cpu.{side}.system_s"), cpu.system_s)?;
    }
    for (at, PhaseReport { began_s, seconds: took, .. }) in report.phases.iter().enumerate() {
        seconds(&format!("phases[{at}].began_s"), *began_s)?;
        seconds(&format!("phases[{at}].seconds"), *took)?;
    }
    check_timeline(&report.timeline)
}

fn check_lengths(report: &Report) -> Result<(), String> {
    let figures = report.reconciliation.as_ref().map_or(0, |both| both.figures.len());
    let lengths: [(&str, usize, usize); 6] = [
        ("shards", report.shards.len(), MAX_SHARDS),
        ("lost_by_cause", report.lost_by_cause.len(), MAX_CAUSES),
        ("phases", report.phases.len(), MAX_PHASES),
        ("reconciliation.figures", figures, MAX_FIGURES),
        ("warnings", report.warnings.len(), MAX_FIGURES),
        ("assertions", report.assertions.len(), MAX_FIGURES),
    ];
    match lengths.into_iter().find(|(_, length, most)| length > most) {
        Some((name, length, most)) => Err(format!("{name}: it has {length} members; expected at most {most}")),
        None => Ok(()),
    }
}

fn check_timeline(rows: &[Second]) -> Result<(), String> {
    let mut before_s = 0.0;
    for (at, row) in rows.iter().enumerate() {
        seconds(&format!("timeline[{at}].at_s"), row.at_s)?;
        if row.at_s < before_s {
            return Err(format!("timeline[{at}].at_s: {} is earlier than the previous row, {before_s}", row.at_s));
        }
        before_s = row.at_s;
    }
    Ok(())
}

fn seconds(member: &str, value: f64) -> Result<(), String> {
    within(member, value, 0.0, MAX_S)
}

fn within(member: &str, value: f64, least: f64, most: f64) -> Result<(), String> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(format!("{member}: {value} is out of range; expected {least} to {most:e}"))
}
