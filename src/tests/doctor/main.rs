//! The doctor: what it reads of hosts that are made up, what it makes of that, and the binary on this host and in network
//! namespaces of its own.

#[allow(dead_code, reason = "what the other tests use of it")]
#[path = "../support/host.rs"]
mod host;
#[allow(dead_code, reason = "what the other tests use of it")]
#[path = "../support/wire.rs"]
mod wire;

mod apply;
mod command;
mod forecast;
mod groups;
mod made_up;
mod reading;
mod warnings;
