//! Reads files that flags name.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Reads a file of at most `max_bytes` bytes. The name may be that of a device without end.
pub(super) fn read_bounded(path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(max_bytes + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max_bytes {
        return Err(io::Error::other(format!("it is longer than {max_bytes} bytes")));
    }
    Ok(bytes)
}
