//! The shell's plans and parsers: what needs no socket to be shown right.

mod endpoints;
#[path = "../support/limits.rs"]
mod limits;
mod memory;
mod merges;
#[path = "../unit/mutants.rs"]
mod mutants;
mod plans;
mod reading;
mod reports;
mod tables;
mod targets;
mod urls;
mod verdicts;
