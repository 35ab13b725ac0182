//! What can be learned of the server: from its `/stats` if it is one of ours, from proc(5) if its process is named.

use super::orders::Orders;
use super::report::SideMemory;
use super::target::Scheme;
use super::{Config, fetch};
use crate::stats::{Cpu, Memory};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A server that is asked once is asked again in vain if it takes longer.
const ASK_TIMEOUT: Duration = Duration::from_secs(3);

/// The server, as the flood sees it.
#[derive(Debug)]
pub(super) struct ServerView<'a> {
    config: &'a Config,
    memory_before: Memory,
    cpu_before: Option<Cpu>,
    orders: Arc<Orders>,
    /// Whether it may be one of ours. A stranger that speaks WebSocket is asked for `/stats` once, and not again; one
    /// that serves pages, and counts them, only when its first page says whose it is.
    asked_in_vain: bool,
}

impl<'a> ServerView<'a> {
    pub(super) fn new(config: &'a Config, orders: Arc<Orders>) -> Self {
        Self { config, memory_before: Memory::default(), cpu_before: None, orders, asked_in_vain: false }
    }

    /// Remembers how things stand before the first connection.
    pub(super) fn begin(&mut self) {
        self.memory_before = Memory::read(self.config.server_pid);
        self.cpu_before = self.cpu();
        self.asked_in_vain = self.is_websocket() && self.cpu_before.is_none();
    }

    /// CPU time of the server since [`ServerView::begin`].
    pub(super) fn cpu_since_begin(&self) -> Option<Cpu> {
        Some(self.cpu()?.since(&self.cpu_before?))
    }

    fn cpu(&self) -> Option<Cpu> {
        match self.config.server_pid {
            Some(pid) => Cpu::read(pid),
            None => serde_json::from_value(self.stats()?.get("cpu")?.clone()).ok(),
        }
    }

    /// Memory of the server for each of `connections` that are open.
    pub(super) fn memory(&self, connections: u64) -> SideMemory {
        if let Some(pid) = self.config.server_pid {
            let now = Memory::read(Some(pid));
            return SideMemory {
                user_bytes_per_connection: now.user_bytes_per_connection(&self.memory_before, connections),
                kernel_bytes_per_connection: now.kernel_bytes_per_socket(&self.memory_before),
            };
        }
        let stats = self.stats();
        let figure = |name: &str| stats.as_ref()?.get("memory")?.get(name)?.as_f64();
        SideMemory {
            user_bytes_per_connection: figure("user_bytes_per_connection"),
            kernel_bytes_per_connection: figure("kernel_bytes_per_connection"),
        }
    }

    fn is_websocket(&self) -> bool {
        self.config.targets.first().is_some_and(|target| target.scheme == Scheme::Ws)
    }

    /// `/stats`, if the first target is a server that has it.
    fn stats(&self) -> Option<Value> {
        let known = self.orders.is_ours.load(Ordering::Relaxed);
        if self.asked_in_vain || !(known || self.is_websocket()) {
            return None;
        }
        let target = self.config.targets.first()?;
        let (status, body) =
            fetch::get(*target.addresses.first()?, target.hosts.first()?, "/stats", ASK_TIMEOUT).ok()?;
        let stats: Value = serde_json::from_slice(&body).ok().filter(|_| status == 200)?;
        (stats.get("server")? == "steadfast").then_some(stats)
    }
}
