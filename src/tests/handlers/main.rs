//! Handlers over real sockets: what they are told, and what they may do.

#[allow(dead_code, reason = "what the other tests use of it")]
#[path = "../support/host.rs"]
mod host;
#[allow(dead_code, reason = "what the other tests use of it")]
#[path = "../support/inflate.rs"]
mod inflate;
#[path = "../support/limits.rs"]
mod limits;
#[allow(dead_code, reason = "what the other tests use of it")]
#[path = "../support/wire.rs"]
mod wire;
#[allow(dead_code, reason = "what the other tests use of it")]
#[path = "../support/witness.rs"]
mod witness;

mod blocking;
mod callbacks;
mod chat;
mod closing;
mod compression;
mod errors;
mod hooks;
#[cfg(feature = "log")]
mod logging;
mod panics;
mod publishing;
mod requests;
mod rig;
mod routes;
mod sending;
mod signals;
mod stale;
mod states;
mod testing;
mod ticks;
mod timers;
mod tour;
mod waiting;
