//! Steadfast holds a million WebSocket connections on one Linux host, and proves it: a server with one single-threaded
//! epoll reactor per core, and a flood that opens connections, checks every reply, holds, and accounts for each.
//!
//! # The map
//!
//! ```text
//!   socket -> ring -> http | frame -> session -> driver -> output -> socket
//!             (lent)  (sans-IO: no socket, no clock)       (write queue, if the socket is full)
//!
//!   proto    the core: bytes in, events out, bytes out, in both roles
//!   net      the shell: descriptor tables, listeners, the reactor; only it uses mio, libc and socket2
//!   server   handlers, routes, topics, start and stop  } drivers of reactors;
//!   flood    plan, workers, ledger, report             } neither imports the other
//!   client   one connection, without a reactor
//!   stats    memory and CPU time, from proc(5)
//!   doctor   how many connections this host holds, which limit stops it, and how to raise that
//! ```
//!
//! One thread does all of that for its share of the connections. An idle connection owns nothing but its slot: its session
//! keeps what has arrived in part, and its write queue what the socket has not taken yet. Both are bounded, and are freed
//! when they are empty. Threads send each other commands through mailboxes. Imports point downwards only: `proto` imports
//! nothing of `net`, and `net` nothing of the drivers. A test checks that.
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
//! [`proto`] is always built. It is all that `default-features = false` builds, with 13 dependencies; `server` has 28.
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
// A single driver uses only a part of the modules below it; the build with all features finds what no driver uses.
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
#[cfg(all(feature = "client", feature = "server"))]
pub mod testing;

/// Compiles the code of the top-level README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct ReadmeDoctests;
