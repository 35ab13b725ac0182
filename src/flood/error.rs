//! Why a flood does not begin.

use std::fmt;

/// Why a flood did not begin: what was asked, what was found, what to do.
#[derive(Debug)]
pub struct FloodError(String);

impl FloodError {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for FloodError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for FloodError {}
