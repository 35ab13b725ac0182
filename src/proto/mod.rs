//! The core, sans-IO: bytes in, events out, bytes out, in both roles. It knows no socket and no clock.

mod authority;
pub mod body;
pub mod close;
pub mod deflate;
mod event;
pub mod extension;
pub mod frame;
mod head;
pub mod heap;
pub mod http;
mod http_check;
mod http_read;
pub mod http_write;
mod kept;
mod limits;
pub mod mask;
pub mod origin;
mod output;
mod partial;
pub(crate) mod path;
pub mod quote;
mod reason;
pub mod ring;
pub mod session;
pub mod shared_frame;
pub mod upgrade;
pub mod utf8;
