//! Plans, parsers and reports: what the library computes, without a server to talk to.

#[path = "net/endpoints.rs"]
mod endpoints;
#[path = "support/limits.rs"]
mod limits;
#[path = "flood/merges.rs"]
mod merges;
#[path = "support/mutants.rs"]
mod mutants;
#[path = "net/plans.rs"]
mod plans;
#[path = "flood/reading.rs"]
mod reading;
#[path = "flood/reports.rs"]
mod reports;
mod stats;
#[path = "net/tables.rs"]
mod tables;
#[path = "flood/targets.rs"]
mod targets;
#[path = "client/urls.rs"]
mod urls;
#[path = "flood/verdicts.rs"]
mod verdicts;
