//! Computes what a number of connections needs of each limit, and from that how many fit.

use super::groups::MemoryGroup;
use super::host::Host;
use super::limit::{Capacity, LIMITS, Limit};
use super::measure::Costs;
use super::query::{Query, Role};
use crate::net::fd_table::{Plan, PlanError, PlanRequest};
use crate::net::listener::BACKLOG;

/// The end of the search: flags and plans allow no more connections.
const END: u64 = 1 << 32;

/// Addresses of 127.0.0.0/8 that a flood uses as sources: all but those that end with 0 or 255, and the last.
const LOOPBACK_SOURCES: u64 = 65_536 * 254 - 1;

/// Connects that a flood has in progress at a time by default.
pub(super) const IN_FLIGHT: u64 = 256;

/// The size of an entry of a descriptor table, a pointer. A table grows by doubling.
const DESCRIPTOR_BYTES: u64 = 8;

/// What a control group is charged for the record of a bound port (tcp_bind_bucket, Linux 6.18).
const PORT_BYTES: f64 = 136.0;

/// Pages that each core charges to a group in advance, half of them unused on average; it returns them at the limit.
const PAGES_IN_ADVANCE: u64 = 64;

/// Threads besides the reactors: the main thread, and one for signals.
const SERVER_THREADS: u64 = 2;
const CLIENT_THREADS: u64 = 1;

/// Returns the smallest table size with which the given reactors hold what is requested.
fn smallest_table(request: PlanRequest) -> usize {
    let (mut too_small, mut enough) = (request.table, 1 << 33);
    while too_small + 1 < enough {
        let middle = too_small.midpoint(enough);
        if Plan::find(PlanRequest { table: middle, ..request }).is_some() {
            enough = middle;
        } else {
            too_small = middle;
        }
    }
    enough
}

/// A query with the host and the costs to answer it from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case<'a> {
    pub(super) query: &'a Query,
    pub(super) host: &'a Host,
    pub(super) costs: &'a Costs,
}

impl Case<'_> {
    pub(super) fn role(&self) -> Role {
        self.query.role
    }

    /// Returns what the server, or else the client, requests of its descriptor tables.
    fn plan_request(&self, server: bool, connections: u64) -> PlanRequest {
        // A server plans for its own limit, however many connections arrive.
        let held = self.query.max_connections.filter(|_| server).unwrap_or(connections);
        PlanRequest {
            max_connections: Some(usize::try_from(held).unwrap_or(usize::MAX)),
            reactors: self.query.reactors.filter(|_| server),
            cores: self.host.cores as usize,
            table: usize::try_from(self.host.table()).unwrap_or(usize::MAX),
            listeners: if server { self.query.listeners } else { 0 },
            hashed: server,
        }
    }

    fn sides(&self) -> impl Iterator<Item = bool> + use<> {
        let role = self.role();
        [true, false].into_iter().filter(move |&server| if server { role.has_server() } else { role.has_client() })
    }

    /// Returns the plan of one side, if the host allows one.
    pub(super) fn plan(&self, server: bool, connections: u64) -> Option<Plan> {
        Plan::find(self.plan_request(server, connections)).filter(|plan| self.host.own_tables || !plan.own_tables)
    }

    /// Returns the descriptors in the fullest table; without a plan, the smallest table that would suffice.
    fn table_needed(&self, server: bool, connections: u64) -> u64 {
        let request = self.plan_request(server, connections);
        let plan = match Plan::new(request) {
            Ok(plan) if !self.host.own_tables && plan.own_tables => {
                // Then all reactors must share one table.
                let sharing = request.reactors.unwrap_or(request.cores).max(1);
                Plan { reactors: sharing, own_tables: false, ..plan }
            }
            Ok(plan) => plan,
            Err(PlanError::TableTooSmall { needed }) => return needed as u64,
            Err(PlanError::TooFewReactors { .. }) => return smallest_table(request) as u64,
        };
        plan.fullest_table(request.listeners) as u64
    }

    /// Returns how many reactors the server needs, if the given number is too small.
    pub(super) fn reactors_needed(&self) -> Option<u64> {
        match Plan::new(self.plan_request(true, self.query.connections)) {
            Err(PlanError::TooFewReactors { needed }) if self.role().has_server() => Some(needed as u64),
            _ => None,
        }
    }

    /// Returns the threads of both sides together; `None` if a side has no plan.
    fn threads(&self, connections: u64) -> Option<u64> {
        let of = |server| {
            let plan = self.plan(server, connections)?;
            Some(plan.reactors as u64 + if server { SERVER_THREADS } else { CLIENT_THREADS })
        };
        self.sides().map(of).sum()
    }

    fn reactors(&self, server: bool, connections: u64) -> u64 {
        self.plan(server, connections).map_or(1, |plan| plan.reactors as u64)
    }

    /// Returns the number of source addresses times the number of destinations.
    pub(super) fn pairs_of_addresses(&self) -> u64 {
        self.query.sources.unwrap_or(LOOPBACK_SOURCES).saturating_mul(self.query.destinations).max(1)
    }

    /// Returns the number of source addresses; by default as many as a flood uses on loopback, which leaves half of
    /// their ports free.
    pub(super) fn sources(&self) -> u64 {
        let each = (self.host.ports / 2).max(1).saturating_mul(self.query.destinations.max(1));
        self.query.sources.unwrap_or_else(|| self.query.connections.div_ceil(each).clamp(1, LOOPBACK_SOURCES))
    }

    /// Returns the memory of `connections` in bytes: in total, or what their control group is charged.
    fn bytes(&self, connections: u64, is_charged: bool) -> u64 {
        let of_side = |server| {
            let side = if server { &self.costs.server } else { &self.costs.client };
            let kernel = if is_charged { side.charged_bytes_per_socket } else { self.costs.kernel_bytes_per_socket };
            let (tables, of_table) = match self.plan(server, connections) {
                Some(plan) => (if plan.own_tables { plan.reactors as u64 } else { 1 }, plan.fullest_table(0) as u64),
                None => (1, connections),
            };
            let fixed = side.fixed_bytes
                + side.bytes_per_reactor * self.reactors(server, connections)
                + tables * of_table.next_power_of_two() * DESCRIPTOR_BYTES;
            let shared = if is_charged && !server { self.shared_ports(connections) * PORT_BYTES } else { 0.0 };
            fixed as f64 + connections as f64 * (kernel + side.bytes_per_connection as f64) - shared
        };
        self.sides().map(of_side).sum::<f64>().ceil() as u64
    }

    /// Returns how many connections of a client are expected to use a port number that another of its sources uses too.
    /// The kernel keeps one record for both, and the few thousand measured connections hardly share any.
    fn shared_ports(&self, connections: u64) -> f64 {
        let each = (self.host.ports / 2).max(1).saturating_mul(self.query.destinations.max(1));
        let sources = self.query.sources.unwrap_or_else(|| connections.div_ceil(each)).max(1) as f64;
        let of_source = connections as f64 / sources;
        // connect(2) uses ports of one parity first.
        let half = self.host.ports as f64 / 2.0;
        let from = if of_source <= half { half } else { self.host.ports as f64 };
        let used = from * (1.0 - (1.0 - (of_source / from).min(1.0)).powf(sources));
        (connections as f64 - used).max(0.0)
    }

    /// Returns the memory control group that has the least left.
    pub(super) fn tightest_group(&self) -> Option<&MemoryGroup> {
        self.host.memory_groups.iter().min_by_key(|group| group.available_bytes())
    }

    /// Returns how much of a limit is available for connections; `None` if it does not apply here or cannot be read.
    pub(super) fn have(&self, limit: Limit) -> Option<u64> {
        let host = self.host;
        match limit {
            Limit::Nofile => Some(host.table()),
            Limit::NrOpen => host.nr_open,
            Limit::FileMax => host.file_max.map(|max| max.saturating_sub(host.files)),
            Limit::EpollWatches => host.max_user_watches.map(|max| max.saturating_sub(host.watches)),
            Limit::Ports => Some(host.ports),
            Limit::MaxConnections => self.query.max_connections,
            Limit::Threads => {
                let of_host = host.threads_max.map(|max| max.saturating_sub(host.threads));
                let of_groups = host.pids_groups.iter().map(|group| group.limit.saturating_sub(group.used));
                of_host.into_iter().chain(of_groups).chain(host.nproc).min()
            }
            Limit::Conntrack => host.conntrack.map(|table| table.max.saturating_sub(table.count)),
            // Without proc(5) the memory is unknown.
            Limit::HostMemory => {
                (host.memory.total_bytes > 0).then_some(host.memory.available_bytes + host.memory.own_bytes)
            }
            Limit::GroupMemory => {
                let in_advance = host.cores * PAGES_IN_ADVANCE / 2 * host.page_bytes;
                self.tightest_group().map(|group| group.available_bytes() + host.memory.own_bytes + in_advance)
            }
            Limit::Backlog => host.somaxconn.map(|max| max.min(BACKLOG as u64)),
            Limit::TcpMem => host.tcp_mem_bytes.map(|[.., limit]| limit),
            Limit::Orphans => host.max_orphans,
            Limit::TimeWait => host.max_tw_buckets,
            Limit::Cpu => host.cpu.as_ref().map(|quota| quota.cores.ceil() as u64),
        }
    }

    /// Returns how much of a limit `connections` need; `None` if they need nothing.
    pub(super) fn need(&self, limit: Limit, connections: u64) -> Option<u64> {
        let (role, ends) = (self.role(), self.role().ends());
        let reactors = |server| self.reactors(server, connections);
        match limit {
            Limit::Nofile | Limit::NrOpen => self.sides().map(|server| self.table_needed(server, connections)).max(),
            Limit::FileMax => {
                // Each reactor also has an epoll instance, an eventfd and its listeners.
                let others = self.sides().map(|server| reactors(server) * (2 + self.listeners(server)));
                (!self.host.is_admin).then(|| ends * connections + others.sum::<u64>())
            }
            Limit::EpollWatches => {
                let others = self.sides().map(|server| reactors(server) * (1 + self.listeners(server)));
                Some(ends * connections + others.sum::<u64>())
            }
            Limit::Ports => role.has_client().then(|| connections.div_ceil(self.pairs_of_addresses())),
            Limit::MaxConnections => role.has_server().then_some(connections),
            Limit::Threads => self.threads(connections),
            // Both ends of a loopback connection share one entry.
            Limit::Conntrack => self.costs.is_tracked.then_some(connections),
            Limit::HostMemory => Some(self.bytes(connections, false)),
            Limit::GroupMemory => Some(self.bytes(connections, true)),
            Limit::Backlog => role.has_server().then_some(IN_FLIGHT),
            // Idle connections queue nothing.
            Limit::TcpMem => None,
            Limit::Orphans => Some(ends * connections),
            Limit::TimeWait => Some(connections),
            Limit::Cpu => None,
        }
    }

    fn listeners(&self, server: bool) -> u64 {
        if server { self.query.listeners as u64 } else { 0 }
    }

    /// Returns whether `connections` fit within a limit.
    pub(super) fn fits(&self, limit: Limit, connections: u64) -> bool {
        match limit {
            Limit::Nofile => connections == 0 || self.sides().all(|server| self.plan(server, connections).is_some()),
            // It limits the tables of the plan, which takes it into account.
            Limit::NrOpen => true,
            _ => match (self.have(limit), self.need(limit, connections)) {
                (Some(have), Some(need)) => need <= have,
                _ => true,
            },
        }
    }

    /// Returns the most connections that fit within a limit; `None` if it is no bound.
    pub(super) fn capacity_of(&self, limit: Limit) -> Option<u64> {
        // Beyond what the tables hold there is no plan, so threads cannot be counted.
        let end = if limit == Limit::Threads { self.capacity_of(Limit::Nofile) } else { None }.unwrap_or(END - 1);
        if self.fits(limit, end) {
            return None;
        }
        let (mut fits, mut too_many) = (0, end);
        while fits + 1 < too_many {
            let middle = fits.midpoint(too_many);
            if self.fits(limit, middle) {
                fits = middle;
            } else {
                too_many = middle;
            }
        }
        Some(fits)
    }

    /// Returns the most connections that fit within all limits, and the lowest limit.
    pub(super) fn capacity(&self) -> Capacity {
        let hard = LIMITS.into_iter().filter(|limit| limit.is_hard());
        let bounds = hard.filter_map(|limit| Some((self.capacity_of(limit)?, limit)));
        let first = bounds.min_by_key(|&(most, _)| most);
        Capacity { connections: first.map_or(END - 1, |(most, _)| most), limit: first.map(|(_, limit)| limit) }
    }
}
