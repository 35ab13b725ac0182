//! The kernel's slabs by what they hold, slabinfo(5): for root alone.

use super::tree::Tree;
use std::collections::{HashMap, HashSet};

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

    /// How many objects of each cache each of `sockets` has taken since `before`, and the bytes of one, the share of what a slab
    /// cannot use included.
    ///
    /// That is a whole number, so what else the host does meanwhile falls to rounding; below zero where accept(2) gives one back,
    /// as the request that waited for it. Objects that lay free in slabs do not matter: the growth of all slabs is less on a host that has held many connections before.
    pub(super) fn objects_since(&self, before: &Self, sockets: usize) -> Objects {
        let taken = self.0.iter().filter_map(|(name, &(used, bytes))| {
            let objects = ((used - before.0.get(name)?.0) / sockets as f64).round();
            (objects != 0.0).then(|| (name.clone(), (objects, bytes)))
        });
        taken.collect()
    }
}

/// Objects of one socket by their caches: how many, and the bytes of each.
pub(super) type Objects = HashMap<String, (f64, f64)>;

/// Bytes of a socket, from what was seen several times: of each cache the median, since others may open or close as many at
/// one time, but hardly each time. `None` where nothing was seen.
pub(super) fn median_bytes(seen: &[Objects]) -> Option<f64> {
    let names: HashSet<&String> = seen.iter().flat_map(HashMap::keys).collect();
    let of_cache = |name| {
        let of_one = |one: &Objects| one.get(name).map_or(0.0, |(objects, bytes)| objects * bytes);
        let mut bytes: Vec<f64> = seen.iter().map(of_one).collect();
        bytes.sort_by(f64::total_cmp);
        bytes[bytes.len() / 2]
    };
    Some(names.into_iter().map(of_cache).sum()).filter(|&sum: &f64| sum > 0.0)
}
