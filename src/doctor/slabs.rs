//! The kernel's slabs by what they hold, slabinfo(5): for root alone.

use super::host::Tree;
use std::collections::HashMap;

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

    /// How many objects of each cache each of `pairs` connections has taken since `before`.
    ///
    /// That is a whole number, so what else the host does meanwhile falls to rounding. And objects that lay free in slabs do not
    /// matter: the growth of all slabs is less on a host that has held many connections before.
    pub(super) fn objects_per_pair(&self, before: &Self, pairs: usize) -> Objects {
        let taken = self.0.iter().filter_map(|(name, &(used, bytes))| {
            let objects = ((used - before.0.get(name)?.0) / pairs as f64).round();
            (objects > 0.0).then(|| (name.clone(), (objects, bytes)))
        });
        Objects(taken.collect())
    }
}

/// Objects of a connection, and the bytes of each, the share of what a slab cannot use included.
#[derive(Debug)]
pub(super) struct Objects(HashMap<String, (f64, f64)>);

impl Objects {
    /// What was seen both times: something else may have taken as many, but hardly twice.
    pub(super) fn least(mut self, other: &Self) -> Self {
        self.0.retain(|name, (objects, _)| {
            *objects = other.0.get(name).map_or(0.0, |(others, _)| objects.min(*others));
            *objects > 0.0
        });
        self
    }

    /// All of them; `None` where none were seen.
    pub(super) fn bytes(&self) -> Option<f64> {
        Some(self.0.values().map(|(objects, bytes)| objects * bytes).sum()).filter(|&sum: &f64| sum > 0.0)
    }
}
