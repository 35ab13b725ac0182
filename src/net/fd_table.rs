//! Descriptor tables: their limits, and how many of them a number of connections needs.

use super::sys;
use std::io;

/// Descriptors of a table that are reserved for other things than connections: standard streams, epoll, the eventfd,
/// files read for `/stats`.
pub const RESERVE: usize = 64;

/// A plan: how many reactors hold how many connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Threads, each with an epoll instance and a slab.
    pub reactors: usize,
    /// Whether each reactor has a descriptor table of its own.
    pub own_tables: bool,
    /// The most connections of one reactor.
    pub per_reactor: usize,
    /// The most connections of all reactors together; exactly as many fit.
    pub max_connections: usize,
}

/// The input for a plan.
#[derive(Clone, Copy, Debug)]
pub struct PlanRequest {
    /// The most connections; `None` for as many as one table holds.
    pub max_connections: Option<usize>,
    /// The number of reactors; `None` for as many as are needed, and at least one for each core.
    pub reactors: Option<usize>,
    /// The number of cores.
    pub cores: usize,
    /// The size of one descriptor table.
    pub table: usize,
    /// Descriptors of a table that listeners take, in addition to the 64 that each keeps for other things.
    pub listeners: usize,
    /// Whether connections are spread over reactors by the hash of SO_REUSEPORT, or evenly.
    pub hashed: bool,
}

/// Why there is no plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanError {
    /// A table has no room for a connection beside what it must hold.
    TableTooSmall {
        /// The smallest table that is enough.
        needed: usize,
    },
    /// The given number of reactors holds fewer connections than requested.
    TooFewReactors {
        /// The number of reactors that is enough.
        needed: usize,
    },
}

impl Plan {
    /// Plans for `wanted`.
    ///
    /// The kernel spreads connections over the listeners of a SO_REUSEPORT group by a hash, so the number of
    /// connections of a reactor follows a binomial distribution. Tables are planned for its mean and six standard
    /// deviations, which one reactor in a billion exceeds. The sum is exact: all reactors count
    /// together.
    ///
    /// # Errors
    /// [`PlanError`], with the number that is enough.
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

    /// Plans as [`Plan::new`] does, without finding out what would be enough instead, which takes much longer.
    pub fn find(wanted: PlanRequest) -> Option<Self> {
        wanted.plan().ok()
    }

    /// Returns how many descriptors the fullest table holds when the plan is full, with this many listeners.
    pub fn fullest_table(&self, listeners: usize) -> usize {
        if self.own_tables {
            // Each table has the eventfds of all reactors.
            RESERVE + listeners + self.reactors + self.per_reactor
        } else {
            RESERVE + self.reactors * (listeners + 3) + self.max_connections
        }
    }
}

impl PlanRequest {
    /// Returns the plan, or else the number of reactors that is enough, if there is one.
    fn plan(&self) -> Result<Plan, Option<usize>> {
        // A shared table has the listeners, the epoll instance and the eventfd of each reactor.
        let sharing = self.reactors.unwrap_or(self.cores).max(1);
        let shared = self.table.saturating_sub(RESERVE + sharing * (self.listeners + 3));
        // Without a number, one table is filled; reactors get tables of their own where a shared one would hold less
        // than half of that.
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

    /// Returns how many connections a table of its own holds, where there are this many tables: each has the eventfds
    /// of all reactors.
    fn room(&self, tables: usize) -> usize {
        self.table.saturating_sub(RESERVE + self.listeners + tables)
    }

    fn fits(&self, connections: usize, tables: usize) -> bool {
        let mean = connections as f64 / tables as f64;
        let spread = if self.hashed && tables > 1 { 6.0 * mean.sqrt() } else { 0.0 };
        (mean + spread).ceil() <= self.room(tables) as f64
    }

    /// Returns the smallest table with which there is a plan.
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

    /// Returns the fewest tables that hold `connections`. Each further table takes a descriptor of all others, so there
    /// may be no such number.
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
    // Without a limit, fs.nr_open still bounds a table; its default is the number to plan with.
    Ok(usize::try_from(hard).unwrap_or(usize::MAX).min(1 << 30))
}

#[cfg(test)]
#[path = "../tests/net/fd_table.rs"]
mod tests;
