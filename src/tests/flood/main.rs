//! The flood: its scenario, its latencies, its ledger, and what the server says of it.
//!
//! Nothing here measures time against the speed of the host. A server that is stopped for a second has stalled for a
//! second at the least, and what is asserted of latencies are the bounds that follow from that.

#[allow(dead_code, reason = "what the other tests use of it")]
#[path = "../support/host.rs"]
mod host;
#[allow(dead_code, reason = "what the other tests use of it")]
#[path = "../support/wire.rs"]
mod wire;

mod bounds;
mod full;
mod kill;
mod latency;
mod ledger;
mod lies;
mod manners;
mod offers;
mod rate;
mod receivers;
mod refusals;
mod rig;
mod scenario;
mod shards;
mod sizes;
mod storms;
