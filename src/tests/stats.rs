//! What is read from proc(5): there, plausible, and null where it cannot be had.

use steadfast::flood::{Cpu, Memory};

const MIB: u64 = 1 << 20;

#[test]
fn this_process_is_read_by_either_name() {
    let block = vec![7_u8; 64 << 20];
    let (own, named) = (Memory::read(None), Memory::read(Some(std::process::id())));
    for memory in [own, named] {
        let user_bytes = memory.user_bytes.expect("RssAnon");
        assert!((64 * MIB..1 << 40).contains(&user_bytes), "{user_bytes} bytes");
        let slab_bytes = memory.slab_bytes.expect("Slab");
        assert!((MIB..1 << 44).contains(&slab_bytes), "{slab_bytes} bytes");
        assert!(memory.sockets.is_some());
    }
    assert_eq!(block.iter().step_by(4096).count(), 16 << 10, "the block is in use up to here");
}

#[test]
fn growth_is_shared_out() {
    let at = |user_bytes, slab_bytes, sockets| Memory {
        user_bytes: Some(user_bytes),
        slab_bytes: Some(slab_bytes),
        sockets: Some(sockets),
    };
    let (before, now) = (at(MIB, MIB, 10), at(MIB + 64_000, MIB + 4_100_000, 2_010));
    assert_eq!(now.user_bytes_per_connection(&before, 1_000), Some(64.0));
    assert_eq!(now.kernel_bytes_per_socket(&before), Some(2_050.0));
    // Nothing is less than nothing.
    assert_eq!(before.user_bytes_per_connection(&now, 1_000), Some(0.0));
    assert_eq!(now.user_bytes_per_connection(&before, 0), None);
    // Too few sockets say nothing about one.
    assert_eq!(at(MIB, 2 * MIB, 500).kernel_bytes_per_socket(&before), None);
    assert_eq!(now.user_bytes_per_connection(&Memory::default(), 1_000), None);
    assert_eq!(Memory::default().kernel_bytes_per_socket(&before), None);
}

#[test]
fn memory_of_a_missing_process_is_unknown() {
    // Beyond the largest process id of Linux, 2^22.
    let missing = Memory::read(Some(u32::MAX));
    assert_eq!(missing.user_bytes, None);
    assert_eq!(Cpu::read(u32::MAX), None);
}

#[test]
fn time_is_counted_up() {
    let before = Cpu::read(std::process::id()).expect("this process");
    let mut sum = 0_u64;
    let now = loop {
        sum = (0..1_000_000_u64).fold(sum, |sum, number| sum.wrapping_mul(31).wrapping_add(number));
        let now = Cpu::read(std::process::id()).expect("this process");
        // Until a clock tick of the kernel has passed in here.
        if now.total_s() > before.total_s() {
            break now;
        }
    };
    let used = now.since(&before);
    assert!(used.user_s >= 0.0 && used.system_s >= 0.0 && used.total_s() > 0.0, "{used:?}, {sum}");
}
