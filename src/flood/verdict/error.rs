//! The error type of assertions.

use std::fmt;

/// Why a text is not an assertion, or not one about this flood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadAssertion(pub(super) String);

impl fmt::Display for BadAssertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadAssertion {}
