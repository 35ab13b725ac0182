//! The shell's plans and parsers: what needs no socket to be shown right.

mod endpoints;
mod memory;
mod plans;
mod records;
mod tables;
mod targets;
mod urls;
