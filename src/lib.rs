//! Steadfast
pub mod flood;
pub mod net;
pub mod proto;
pub mod server;
pub mod stats;
