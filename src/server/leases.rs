//! The limit of long files that are sent at a time, in all and to one source.

use crate::net::sources::Source;
use std::collections::HashMap;
use std::sync::Arc;

/// The leases of one reactor. A file that is being sent holds one until it is closed.
#[derive(Debug)]
pub(super) struct Leases {
    max: usize,
    /// The leases of each source: one reference here, and one more for each open file. Peers without an address share one
    /// entry.
    by_source: HashMap<Option<Source>, Arc<()>>,
}

impl Leases {
    pub(super) fn new(max: u32) -> Self {
        Self { max: max as usize, by_source: HashMap::new() }
    }

    /// Takes one more lease for `source`, if one is free. A source may hold half of the leases that the others do not hold,
    /// but always one: a source that takes as many as it can leaves as many to the next.
    pub(super) fn take(&mut self, source: Option<Source>) -> Option<Arc<()>> {
        self.by_source.retain(|_, lease| Arc::strong_count(lease) > 1);
        let taken = |lease: &Arc<()>| Arc::strong_count(lease) - 1;
        let own = self.by_source.get(&source).map_or(0, taken);
        let all: usize = self.by_source.values().map(taken).sum();
        let left_by_others = self.max.saturating_sub(all - own);
        if all >= self.max || own >= (left_by_others / 2).max(1) {
            return None;
        }
        Some(Arc::clone(self.by_source.entry(source).or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::Leases;
    use crate::net::sources::{Source, SourcePrefixes};
    use std::net::Ipv4Addr;

    fn source(number: u32) -> Option<Source> {
        Some(SourcePrefixes::default().source_of(Ipv4Addr::from_bits(number).into()))
    }

    #[test]
    fn a_source_gets_half_of_what_others_leave() {
        let mut leases = Leases::new(32);
        let mut held = Vec::new();
        for (number, expected) in [16, 8, 4, 2, 1, 1, 0].into_iter().enumerate() {
            let got: Vec<_> = std::iter::from_fn(|| leases.take(source(number as u32))).collect();
            assert_eq!(got.len(), expected, "source {number}");
            held.push(got);
        }
        held[0].truncate(15);
        assert!(leases.take(source(0)).is_none(), "it has far more than its share");
        held[6].extend(leases.take(source(6)));
        assert_eq!(held[6].len(), 1, "what one source gives back, a new one gets");
        held.clear();
        let again: Vec<_> = std::iter::from_fn(|| leases.take(None)).collect();
        assert_eq!(again.len(), 16, "all were given back");
    }

    #[test]
    fn few_leases_are_shared_too() {
        for max in 1..4 {
            let mut leases = Leases::new(max);
            let held: Vec<_> = (0..8).filter_map(|number| leases.take(source(number))).collect();
            assert_eq!(held.len(), max as usize);
        }
    }
}
