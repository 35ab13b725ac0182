//! The shell: the only place that names mio, libc and socket2.

pub(crate) mod beneath;
mod clock;
mod core;
pub mod counters;
pub mod date;
mod ending;
pub mod fd_table;
pub mod link;
pub mod listener;
pub mod mailbox;
mod memory;
mod outbox;
mod outgoing;
pub mod pairs;
mod pings;
pub mod pool;
mod progress;
mod quota;
pub mod reactor;
mod refusal;
pub mod room;
pub mod slots;
pub mod sources;
pub mod sweep;
pub mod sys;
mod timing;
mod turn;
