//! The sans-IO core against transcripts, every cut of them, naive twins and random input.

mod answers;
mod bodies;
mod closing;
mod compress;
mod deflate;
mod extension;
mod faults;
mod feed;
mod garbage;
mod handshake;
mod heads;
mod heap;
#[path = "../support/inflate.rs"]
mod inflate;
mod memory;
mod messages;
mod pair;
mod properties;
mod requests;
mod responses;
mod targets;
mod wire;
