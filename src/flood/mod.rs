#![doc = include_str!("README.md")]
//!
//! # Where to start
//!
//! Call [`run`] with a [`Config`]; it returns a [`report::Report`]. [`scenario`] has the phases; [`merge`] and
//! [`verdict`] work on reports.

mod command;
mod config;
mod coordinator;
mod driver;
mod error;
mod fetch;
mod histogram;
mod interrupt;
pub mod latency;
pub mod ledger;
pub mod merge;
mod page;
mod payload;
mod plan;
mod progress;
mod read;
pub mod report;
pub mod scenario;
mod server;
pub mod sizes;
pub mod target;
pub mod verdict;
mod worker_pool;

pub use crate::stats::{Cpu, Memory};
pub use config::{Config, Shard};
pub use error::FloodError;
pub use progress::Progress;
pub use read::BadReport;

use crate::proto::upgrade::request_lines;
use command::WorkerConfig;
use coordinator::Flood;
use plan::Routes;
use report::Report;
use scenario::Scenario;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};
use target::Scheme;
use worker_pool::WorkerPool;

/// Runs a flood to its end and returns its report. `observe` is called about ten times per second. When `interrupts`
/// becomes 1, open connections are closed within [`Config::interrupt_s`] and the rest is reset; when it becomes 2, all
/// are reset at once. The report of an interrupted flood says how far it came.
///
/// # Errors
/// [`FloodError`] if the flood cannot start: an invalid scenario, targets that are neither local nor confirmed as one's
/// own, too few ports or descriptors, or a thread that the system refuses.
pub fn run(config: &Config, interrupts: &AtomicU32, observe: &mut dyn FnMut(&Progress)) -> Result<Report, FloodError> {
    config.check_manners()?;
    let scenario = plan_scenario(config)?;
    let fields = request_lines(config.origin.as_deref(), &config.subprotocols, &config.fields)
        .map_err(|bad| FloodError::new(bad.to_string()))?;
    let own = config.own_connections().len();
    let routes = Routes::plan(config)?;
    let plan = worker_pool::plan(own)?;
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let active = cores.min(plan.reactors);
    let worker_config = Arc::new(WorkerConfig {
        routes,
        targets: config.targets.clone(),
        sizes: config.payload.clone(),
        compression: config.compression,
        subprotocols: config.subprotocols.clone(),
        fields,
        window: (config.in_flight as usize / active).max(1),
        shared_window: (config.in_flight as usize / plan.reactors).max(1),
        reply_timeout_s: config.reply_timeout_s,
        max_reply_bytes: config.max_reply_bytes,
        is_ours: AtomicBool::new(false),
    });
    let pool = WorkerPool::start(config, plan, worker_config, active)?;
    wait_for_start(config.start_at, interrupts);
    Flood::new(config, scenario, pool, interrupts, observe).run()
}

fn plan_scenario(config: &Config) -> Result<Scenario, FloodError> {
    let scenario = config.scenario.planned(config.connections).map_err(|bad| FloodError::new(bad.to_string()))?;
    let is_websocket = config.targets.iter().all(|target| target.scheme == Scheme::Ws);
    if !is_websocket && (scenario.has("receive") || scenario.has("slow")) {
        return Err(FloodError::new(
            "the phases receive and slow need a server that pushes; expected ws://, not http:// or tcp://",
        ));
    }
    let is_spoken = |scheme: Scheme| config.targets.iter().any(|target| target.scheme == scheme);
    let has_fields = config.origin.is_some() || !config.fields.is_empty();
    if is_spoken(Scheme::Tcp) && has_fields {
        return Err(FloodError::new(
            "tcp:// sends no request head for --header or --origin; expected ws:// or http://",
        ));
    }
    if !is_websocket && (!config.subprotocols.is_empty() || config.compression.is_some()) {
        return Err(FloodError::new("--subprotocol and --compression apply to WebSocket alone; expected ws://"));
    }
    if config.own_connections().is_empty() {
        return Err(FloodError::new(format!(
            "--connections {} are too few for --shard {}; expected at least one for each shard",
            config.connections,
            config.shard.map_or_else(String::new, |shard| shard.to_string())
        )));
    }
    Ok(scenario)
}

/// Waits until the common start of all shards, by this host's clock.
fn wait_for_start(start_at: Option<SystemTime>, interrupts: &AtomicU32) {
    let left = || start_at?.duration_since(SystemTime::now()).ok().filter(|left| !left.is_zero());
    while let Some(left) = left()
        && interrupts.load(Ordering::Relaxed) == 0
    {
        thread::sleep(left.min(Duration::from_millis(100)));
    }
}
