//! Calls of the program's own code: handlers, responders, hooks. A panic in one of them ends its connection and no other; the
//! rule is that of [`super::Handler`].
//!
//! A program that is built with `panic = "abort"`, as `steadfast` is, ends at a panic, and there these calls cost nothing.

use crate::net::counters::Counters;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Calls the program's code; `None` if it panicked.
#[inline(always)]
pub(super) fn call<R>(work: impl FnOnce() -> R) -> Option<R> {
    // What the code has left half done is its own: the reactor lends it a connection, and each call on that is whole.
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => Some(result),
        Err(payload) => {
            forget(payload);
            None
        }
    }
}

/// The same, and counts a panic.
#[inline(always)]
pub(super) fn count<R>(counters: &Counters, work: impl FnOnce() -> R) -> Option<R> {
    let result = call(work);
    if result.is_none() {
        panicked(counters);
    }
    result
}

/// Counts a panic.
#[cold]
pub(super) fn panicked(counters: &Counters) {
    counters.handler_panics.add(1);
    #[cfg(feature = "log")]
    super::report::panicked();
}

/// Drops what a panic was called with, which may panic in its turn.
#[cold]
fn forget(payload: Box<dyn Any + Send>) {
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(again);
    }
}
