//! Reads the kernel's slab caches, slabinfo(5); readable by root only.

use super::tree::Tree;
use std::collections::{HashMap, HashSet};

/// Objects in use and their sizes in bytes, by cache.
#[derive(Debug, Default)]
pub(super) struct Slabs(HashMap<String, (f64, f64)>);

impl Slabs {
    /// Reads the caches; empty if they may not be read.
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

    /// Returns how many objects of each cache each of `sockets` has taken since `before`, and the bytes of one,
    /// including its share of the slab's unusable space.
    ///
    /// The count is rounded to a whole number, which removes the host's other activity. It is negative where accept(2)
    /// frees an object, such as the connection request. Free objects in slabs do not matter; the growth of all slabs is
    /// smaller on a host that has held many connections before.
    pub(super) fn objects_since(&self, before: &Self, sockets: usize) -> Objects {
        let taken = self.0.iter().filter_map(|(name, &(used, bytes))| {
            let objects = ((used - before.0.get(name)?.0) / sockets as f64).round();
            (objects != 0.0).then(|| (name.clone(), (objects, bytes)))
        });
        taken.collect()
    }
}

/// The objects of one socket by cache: their number, and the bytes of each.
pub(super) type Objects = HashMap<String, (f64, f64)>;

/// Returns the bytes of a socket: of each cache the median over several readings, since other processes may open or
/// close as many sockets once, but hardly each time. `None` without readings.
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
