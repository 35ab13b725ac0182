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
//! # Features
//!
//! | feature | what it builds |
//! |---|---|
//! | `server` | [`server`] |
//! | `flood` | [`flood`] |
//! | `client` | [`client`] |
//! | `doctor` | [`doctor`] |
//! | `signals` | `server`, and [`server::StopSignals`] |
//! | `log` | `server`, and records of its start, end and failures |
//! | `cli`, the default | all of these but `log`, and the program `steadfast` |
//!
//! [`proto`] is always there. It is all that `default-features = false` builds, with 13 dependencies; with `server` there are
//! 28.
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

#![cfg_attr(docsrs, feature(doc_cfg))]
// One driver alone uses a part of what is below it; the build with all of them finds what none uses.
#![cfg_attr(not(feature = "cli"), allow(dead_code, unused_imports, unreachable_pub))]

#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "doctor")]
pub mod doctor;
#[cfg(feature = "flood")]
pub mod flood;
#[cfg(feature = "_net")]
#[allow(unreachable_pub, reason = "in the shell, `pub` is for the drivers and `pub(super)` for the shell itself")]
mod net;
pub mod proto;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "_net")]
mod stats;

/// Compiles the code of the top-level README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct ReadmeDoctests;
