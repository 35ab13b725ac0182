//! Steadfast
pub mod net;
pub mod proto;
pub mod server;
pub mod stats;
