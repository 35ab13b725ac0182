//! The core, sans-IO: bytes in, events out, bytes out, in both roles. Nothing here knows a socket or a clock.

pub mod answer;
mod authority;
pub mod body;
pub mod close;
pub mod deflate;
mod event;
mod exchange;
pub mod extension;
pub mod frame;
mod head;
pub mod heap;
pub mod http;
mod kept;
pub mod mask;
pub mod origin;
mod partial;
pub(crate) mod path;
pub mod quote;
mod reason;
pub mod ring;
mod rules;
pub mod session;
pub mod shared;
pub mod upgrade;
pub mod utf8;
