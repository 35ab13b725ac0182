//! The kernel's slabs by what they hold, slabinfo(5): for root alone.

use super::host::Tree;
use std::collections::HashMap;

/// A cache has to grow by this for each socket to be one of those that sockets are made of; what else the host does
/// meanwhile is seldom so much.
const MIN_GROWTH: f64 = 0.2;

/// The objects in use and their sizes, by the names of their caches.
#[derive(Debug, Default)]
pub(super) struct Slabs(HashMap<String, (f64, f64)>);

impl Slabs {
    /// Empty where they may not be read.
    pub(super) fn read(tree: &Tree, page_bytes: u64) -> Self {
        let text = tree.text("/proc/slabinfo").unwrap_or_default();
        // name, objects in use, objects, bytes of one, objects and pages of a slab
        let cache = |line: &str| {
            let mut fields = line.split_ascii_whitespace();
            let name = fields.next()?.to_owned();
            let mut number = || fields.next()?.parse::<f64>().ok();
            let (used, _, _, of_slab, pages) = (number()?, number()?, number()?, number()?, number()?);
            Some((name, (used, pages * page_bytes as f64 / of_slab.max(1.0))))
        };
        Self(text.lines().filter_map(cache).collect())
    }

    /// Bytes that each of `sockets` has taken since `before`, the share of what a slab cannot use included.
    ///
    /// This does not notice objects that lay free in slabs, so it tells what a socket takes where there are none left; the
    /// growth of all slabs is less on a host that has held many connections before.
    pub(super) fn bytes_per_socket(&self, before: &Self, sockets: u64) -> Option<f64> {
        let grown = self.0.iter().filter_map(|(name, &(used, bytes))| {
            let each = (used - before.0.get(name)?.0) / sockets as f64;
            (each >= MIN_GROWTH).then_some(each * bytes)
        });
        Some(grown.sum()).filter(|&sum: &f64| sum > 0.0)
    }
}
