//! Steadfast holds a million WebSocket connections on one Linux host, and proves it: a server with one single-threaded
//! epoll reactor per core, and a flood that opens connections, checks every reply, holds, and accounts for each.
//!
//! # The map
//!
//! ```text
//!   socket -> ring -> http | frame -> session -> driver -> output -> socket
//!             (lent)  (sans-IO: no socket, no clock)       (what is refused: write queue)
//!
//!   proto    the core: bytes in, events out, bytes out, in both roles
//!   net      the shell: descriptor tables, listeners, the reactor; the only place that names mio, libc, socket2
//!   server   handlers, routes, topics, start and stop  } drivers of reactors;
//!   flood    plan, workers, ledger, report             } neither knows the other
//!   client   one connection, without a reactor
//!   stats    what proc(5) tells of memory and time
//!   doctor   how many connections this host holds, what stops it there, and what would change that
//! ```
//!
//! One thread does all of that for its share of the connections, alone. An idle connection owns nothing but its slot:
//! what has arrived in part is kept by its session, what could not be sent by its write queue, message by message and
//! bounded, and both are gone when they are empty. What one thread has for another goes through a mailbox. Arrows point downwards
//! only: `proto` uses nothing of `net`, `net` nothing of the drivers. A test holds the sources to that.
//!
//! # A server
//!
//! ```no_run
//! use steadfast::server::{Handler, Message, Peer, Server};
//!
//! struct Echo;
//!
//! impl Handler for Echo {
//!     fn message(&mut self, peer: &mut Peer, message: Message) {
//!         peer.send(message);
//!     }
//! }
//!
//! let server = Server::new().listen("127.0.0.1:8080")?.max_connections(1_000_000).route("/echo", || Echo).spawn()?;
//! println!("{} reactors", server.plan().reactors);
//! server.join()?; // until another thread calls `stop`
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod client;
pub mod doctor;
pub mod flood;
#[allow(unreachable_pub, reason = "in the shell, `pub` is for the drivers and `pub(super)` for the shell itself")]
mod net;
pub mod proto;
pub mod server;
mod stats;

/// Compiles the code of the top-level README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct ReadmeDoctests;
