//! Peers that do not keep up, and all else that is bounded: real sockets whose other end does not read.

#[allow(dead_code, reason = "what the other tests use of it")]
#[path = "../support/host.rs"]
mod host;
#[allow(dead_code, reason = "what the other tests use of it")]
#[path = "../support/wire.rs"]
mod wire;
#[allow(dead_code, reason = "what the other tests use of it")]
#[path = "../support/witness.rs"]
mod witness;

mod alive;
mod compress;
mod control;
mod counting;
mod dates;
mod drain;
mod endings;
mod fairness;
mod files;
mod flags;
mod folder;
mod grace;
mod kernel;
mod limits;
mod paths;
mod policies;
mod probe;
mod sending;
mod sources;
mod turns;
