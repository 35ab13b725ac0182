#![doc = include_str!("README.md")]
//!
//! # Where to start
//!
//! [`Host::probe`] reads what the host has, [`measure()`] what a connection costs it ([`Costs`]), and a [`Query`] says
//! what it should hold. [`examine`] compares the three and changes nothing; [`apply()`] sets what is too low.

mod apply;
pub mod fix;
pub mod groups;
pub mod host;
mod limit;
pub mod measure;
mod needs;
pub mod probe;
mod query;
mod rows;
pub mod tree;

pub use apply::{Applied, apply};
pub use fix::Fix;
pub use host::Host;
pub use limit::{Capacity, LIMITS, Limit};
pub use measure::{Costs, measure};
pub use query::{Query, Role};
pub use rows::{Row, Scope, Verdict};
pub use tree::Tree;

use needs::Case;
use serde::Serialize;

/// The version of the JSON document.
pub const SCHEMA: &str = "steadfast.doctor/1";

/// How many connections fit in each role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Forecast {
    /// If the host runs the server only.
    pub server: Capacity,
    /// If the host runs the client only.
    pub client: Capacity,
    /// If the host runs both, over loopback.
    pub both: Capacity,
}

impl Forecast {
    /// Returns the capacity in a role.
    pub fn of(&self, role: Role) -> Capacity {
        match role {
            Role::Server => self.server,
            Role::Client => self.client,
            Role::Both => self.both,
        }
    }
}

/// The result of [`examine`].
#[derive(Clone, Debug, Serialize)]
pub struct Diagnosis {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// The connections asked for.
    pub connections: u64,
    /// The ends that are on this host.
    pub role: Role,
    /// Whether the connections fit.
    pub fits: bool,
    /// A row for each limit, in the order of [`LIMITS`].
    pub rows: Vec<Row>,
    /// How many connections fit.
    pub forecast: Forecast,
    /// The costs that were used.
    pub costs: Costs,
}

/// Compares every limit with what the query needs. Reads only, changes nothing, and takes a few milliseconds.
///
/// ```
/// use steadfast::doctor::{Query, Costs, Host, Role, Tree, examine};
/// let host = Host::read(&Tree::new("/"));
/// let diagnosis = examine(&Query::new(100, Role::Both), &host, &Costs::default());
/// assert!(diagnosis.forecast.server.connections >= diagnosis.forecast.both.connections);
/// ```
pub fn examine(query: &Query, host: &Host, costs: &Costs) -> Diagnosis {
    let most = |role| Case { query: &Query { role, ..query.clone() }, host, costs }.capacity();
    let forecast = Forecast { server: most(Role::Server), client: most(Role::Client), both: most(Role::Both) };
    let case = Case { query, host, costs };
    Diagnosis {
        schema: SCHEMA,
        connections: query.connections,
        role: query.role,
        fits: forecast.of(query.role).connections >= query.connections,
        rows: LIMITS.map(|limit| rows::row(&case, limit)).into(),
        forecast,
        costs: costs.clone(),
    }
}

/// Returns a row for each limit that the query would exceed.
pub fn limits_hit(query: &Query, host: &Host, costs: &Costs) -> Vec<Row> {
    let case = Case { query, host, costs };
    let hit = LIMITS.into_iter().filter(|&limit| limit.is_hard() && !case.fits(limit, query.connections));
    hit.map(|limit| rows::row(&case, limit)).collect()
}
