//! End to end: raw bytes over real sockets, against a server in this process and against the binary.
//!
//! Nothing here measures time against the speed of the host: what is waited for is an event, and a wait that takes
//! longer than [`wire::PATIENCE`] is a failure.

mod accept_errors;
mod bad_frames;
mod bad_heads;
mod bodies;
mod client;
mod connect;
mod connect_peer;
mod connect_refused;
mod deadlines;
mod docs;
mod examples;
mod flags;
mod flood;
mod flood_loss;
#[path = "../support/host.rs"]
mod host;
mod hostile;
mod http;
mod letter;
#[path = "../support/limits.rs"]
mod limits;
mod little_memory;
mod memory;
mod pauses;
mod policy;
mod pressure;
mod quota;
mod reactor_errors;
mod regressions;
mod reports;
mod schema;
mod stop;
mod strictness;
mod tokens;
mod unix;
#[path = "../support/wire.rs"]
mod wire;
