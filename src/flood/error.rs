//! The error type of a flood.

use std::fmt;

/// Why a flood did not start. The text says what was asked, what was found and what to do.
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
