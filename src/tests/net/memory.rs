//! Which connections are picked when memory is short.

use super::*;
use crate::net::slots::Slots;
use crate::proto::session::Session;
use proptest::prelude::*;
use std::fs::File;

fn ids(count: usize) -> Vec<ConnectionId> {
    let mut slots = Slots::<()>::with_capacity(count);
    let file = || File::open("/dev/null").expect("a file").into();
    (0..count).map(|_| slots.insert(file(), Session::raw(), 0, ())).collect()
}

fn memory(sizes: &[usize]) -> (MemoryUse, Vec<ConnectionId>) {
    let (mut memory, ids) = (MemoryUse::new(MemoryLimit::new(u64::MAX)), ids(sizes.len()));
    for (&id, &bytes) in ids.iter().zip(sizes) {
        memory.count(id, (bytes, KeptFor::Waits), true, 0);
    }
    (memory, ids)
}

#[test]
fn size_classes_are_in_order_and_an_eighth_wide() {
    for bytes in (1..100_000).chain([usize::MAX >> 1, usize::MAX]) {
        let class = size_class(bytes);
        assert!(class < CLASSES, "{bytes}: {class}");
        assert!(bytes == 1 || size_class(bytes - 1) <= class, "{bytes}: {class}");
        assert!(bytes < 64 || size_class(bytes - bytes / 7) < class, "{bytes}: {class}");
    }
}

proptest! {
    #[test]
    fn the_largest_are_picked_and_no_more_than_it_takes(
        sizes in proptest::collection::vec(1_usize..1 << 20, 1..50),
        excess in 1_usize..1 << 24,
    ) {
        let (memory, ids) = memory(&sizes);
        let picked = memory.pick(excess, |kept| Some(size_class(kept.bytes)));
        let size = |id: &ConnectionId| sizes[ids.iter().position(|other| other == id).expect("one of them")];
        let sum: usize = picked.iter().map(size).sum();
        prop_assert!(sum >= excess || picked.len() == sizes.len());
        if let Some(least) = picked.iter().map(size).min() {
            let last = picked.iter().map(size).filter(|&size| size_class(size) == size_class(least)).max();
            prop_assert!(sum - last.unwrap_or(0) < excess, "fewer than {} would do for {excess}", picked.len());
            let left = ids.iter().filter(|id| !picked.contains(id)).map(size).max().unwrap_or(0);
            prop_assert!(size_class(left) <= size_class(least), "{left} stays, and {least} goes");
        }
    }

    #[test]
    fn what_is_told_is_near_the_sum_and_nothing_when_all_have_gone(
        changes in proptest::collection::vec((0_usize..10, 0_usize..10_000), 1..100),
    ) {
        let buffers = MemoryLimit::new(1 << 20);
        let (mut memory, ids) = (MemoryUse::new(Arc::clone(&buffers)), ids(10));
        let mut sizes = [0; 10];
        for (at, bytes) in changes {
            match bytes {
                0..1000 => memory.forget(ids[at]),
                _ => memory.count(ids[at], (bytes, KeptFor::Window), false, 0),
            }
            sizes[at] = if bytes < 1000 { 0 } else { bytes };
            let sum: usize = sizes.iter().sum();
            prop_assert_eq!(memory.used_bytes(), sum);
            prop_assert!(buffers.used_bytes().abs_diff(sum) < UNREPORTED_BYTES);
        }
        ids.iter().for_each(|&id| memory.forget(id));
        prop_assert_eq!((memory.used_bytes(), buffers.used_bytes()), (0, 0));
    }
}

#[test]
fn time_begins_with_each_message_and_not_while_the_connection_waits_for_us() {
    let (mut memory, ids) = (MemoryUse::new(MemoryLimit::new(u64::MAX)), ids(1));
    let steps = [
        (KeptFor::Unfinished, true, 10, 0),
        (KeptFor::Unfinished, false, 20, 10),
        (KeptFor::Unfinished, true, 30, 0),
        (KeptFor::Waits, false, 40, 0),
        (KeptFor::Waits, false, 45, 0),
        (KeptFor::Unfinished, false, 50, 0),
        (KeptFor::Unfinished, false, 60, 10),
        (KeptFor::Window, false, 70, 0),
        (KeptFor::Window, false, 80, 0),
    ];
    for (reason, begins, tick, age) in steps {
        memory.count(ids[0], (100, reason), begins, tick);
        assert_eq!(memory.kept[&ids[0]].age_ticks(tick), age, "{reason:?} at {tick}");
    }
    assert_eq!(memory.kept[&ids[0]].age_ticks(100), 20, "a window grows old while it is not used");
}
