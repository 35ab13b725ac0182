//! The limit of a descriptor table, in a process that may raise its own.

use super::raise_limit;
use crate::net::sys;

#[test]
fn the_limit_is_raised_to_what_is_allowed() {
    let table = raise_limit().expect("a limit");
    let (soft, hard) = sys::nofile().expect("both limits");
    assert_eq!(soft, hard);
    assert_eq!(table as u64, hard.min(1 << 30));
}
