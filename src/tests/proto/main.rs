//! The sans-IO core against transcripts, every cut of them, naive twins and random input.

mod closing;
mod faults;
mod feed;
mod garbage;
mod handshake;
mod heads;
mod memory;
mod messages;
mod pair;
mod properties;
mod requests;
mod responses;
mod wire;
