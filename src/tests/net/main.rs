//! The shell's plans and parsers: what needs no socket to be shown right.

mod endpoints;
mod memory;
mod merges;
mod plans;
mod records;
mod reports;
mod tables;
mod targets;
mod urls;
mod verdicts;
