//! Descriptor tables: the limits that they live under, and how many of them a number of connections needs.

use super::sys;
use std::io;

/// Descriptors of a table that are kept for other things than connections: standard streams, epoll, the wake-up,
/// files read for `/stats`.
pub const RESERVE: usize = 64;

/// How many reactors hold how many connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Threads, each with an epoll instance and a slab.
    pub reactors: usize,
    /// Whether each has a descriptor table of its own.
    pub own_tables: bool,
    /// The most connections that one reactor takes.
    pub per_reactor: usize,
    /// The most connections in all; exactly as many fit.
    pub max_connections: usize,
}

/// What a plan starts from.
#[derive(Clone, Copy, Debug)]
pub struct PlanRequest {
    /// The most connections in all; `None` for as many as one table holds.
    pub max_connections: Option<usize>,
    /// The number of reactors; `None` for as many as it takes, and at least one for each core.
    pub reactors: Option<usize>,
    /// Cores to spread over.
    pub cores: usize,
    /// Descriptors that one table may hold.
    pub table: usize,
    /// Descriptors of a table that listeners take, on top of the 64 that each keeps for other things.
    pub listeners: usize,
    /// Whether connections fall to reactors by the hash of SO_REUSEPORT, or are dealt out evenly.
    pub hashed: bool,
}

/// Why there is no plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanError {
    /// A table has no room for a connection beside what it must hold: this many descriptors would do.
    TableTooSmall {
        /// The smallest table that would do.
        needed: usize,
    },
    /// The reactors asked for hold fewer connections than were asked for.
    TooFewReactors {
        /// As many reactors as it takes.
        needed: usize,
    },
}

impl Plan {
    /// Plans for `wanted`.
    ///
    /// A kernel deals connections out to the listeners of a SO_REUSEPORT group by a hash, so reactors fill as a
    /// binomial distribution does: tables are planned for its mean and six standard deviations, which one reactor
    /// in a billion exceeds. What is exact is the sum, which all reactors count together.
    ///
    /// # Errors
    /// [`PlanError`], with the number that would do.
    ///
    /// ```
    /// use steadfast::server::{Plan, PlanRequest};
    /// let wanted = PlanRequest {
    ///     max_connections: Some(1_000_000), reactors: None, cores: 2, table: 20_000, listeners: 1, hashed: true,
    /// };
    /// let plan = Plan::new(wanted).unwrap();
    /// assert_eq!((plan.reactors, plan.own_tables, plan.max_connections), (53, true, 1_000_000));
    /// ```
    pub fn new(wanted: PlanRequest) -> Result<Self, PlanError> {
        wanted.plan().map_err(|fewest| match fewest {
            Some(needed) => PlanError::TooFewReactors { needed },
            None => PlanError::TableTooSmall { needed: wanted.smallest_table() },
        })
    }

    /// The same, without finding out what would do instead, which takes much longer.
    pub fn find(wanted: PlanRequest) -> Option<Self> {
        wanted.plan().ok()
    }

    /// Descriptors that the fullest table holds when the plan is full, with so many listeners.
    pub fn fullest_table(&self, listeners: usize) -> usize {
        if self.own_tables {
            // Each holds the wake-ups of all.
            RESERVE + listeners + self.reactors + self.per_reactor
        } else {
            RESERVE + self.reactors * (listeners + 3) + self.max_connections
        }
    }
}

impl PlanRequest {
    /// The plan; or else how many reactors would do, if any number does.
    fn plan(&self) -> Result<Plan, Option<usize>> {
        // In a shared table each reactor's listeners, epoll instance and wake-up count.
        let sharing = self.reactors.unwrap_or(self.cores).max(1);
        let shared = self.table.saturating_sub(RESERVE + sharing * (self.listeners + 3));
        // Who names no number gets one table's worth; tables of their own where sharing one leaves not even half of it.
        let one_table = if 2 * shared >= self.room(sharing) { shared } else { self.room(sharing) };
        let asked = self.max_connections.unwrap_or(one_table);
        if asked <= shared && asked > 0 {
            return Ok(Plan { reactors: sharing, own_tables: false, per_reactor: asked, max_connections: asked });
        }
        let least = self.least_tables(asked).ok_or(None)?;
        let over_cores = if self.fits(asked, least.max(self.cores)) { least.max(self.cores) } else { least };
        let reactors = self.reactors.unwrap_or(over_cores);
        if !self.fits(asked, reactors) {
            return Err(Some(least));
        }
        let per_reactor = self.room(reactors).min(asked);
        Ok(Plan { reactors, own_tables: true, per_reactor, max_connections: asked })
    }

    /// What a table of its own has room for, when there are so many: each holds the wake-ups of all.
    fn room(&self, tables: usize) -> usize {
        self.table.saturating_sub(RESERVE + self.listeners + tables)
    }

    fn fits(&self, connections: usize, tables: usize) -> bool {
        let mean = connections as f64 / tables as f64;
        let spread = if self.hashed && tables > 1 { 6.0 * mean.sqrt() } else { 0.0 };
        (mean + spread).ceil() <= self.room(tables) as f64
    }

    /// The smallest table with which there is a plan.
    fn smallest_table(&self) -> usize {
        let would_do = |table: usize| Self { table, ..*self }.plan().is_ok();
        let mut too_small = self.table;
        let mut enough = (too_small + 1).next_power_of_two();
        while !would_do(enough) {
            too_small = enough;
            enough *= 2;
        }
        while too_small + 1 < enough {
            let middle = too_small.midpoint(enough);
            if would_do(middle) {
                enough = middle;
            } else {
                too_small = middle;
            }
        }
        enough
    }

    /// The fewest tables that hold `connections`; more wake-ups leave each less room, so there may be no such number.
    fn least_tables(&self, connections: usize) -> Option<usize> {
        (1..self.table.min(1 << 16)).find(|&tables| self.fits(connections, tables)).filter(|_| connections > 0)
    }
}

/// Raises the soft limit on descriptors to the hard one; returns the limit that now holds for each table.
///
/// # Errors
/// As getrlimit(2) and setrlimit(2).
pub fn raise_limit() -> io::Result<usize> {
    let (soft, hard) = sys::nofile()?;
    if soft < hard {
        sys::set_nofile(hard, hard)?;
    }
    // Without a limit, fs.nr_open still bounds a table; its default serves as the number to plan with.
    Ok(usize::try_from(hard).unwrap_or(usize::MAX).min(1 << 30))
}

#[cfg(test)]
#[path = "../tests/unit/fd_table.rs"]
mod tests;
