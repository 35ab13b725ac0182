//! The core, sans-IO: bytes in, events out, bytes out, in both roles. Nothing here knows a socket or a clock.

pub mod body;
pub mod close;
mod event;
pub mod frame;
pub mod http;
pub mod mask;
mod partial;
pub mod ring;
pub mod session;
pub mod upgrade;
pub mod utf8;
