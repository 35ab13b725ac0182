//! The files of the unix sockets that a server listens on.

use crate::net::listener::SocketFile;

/// The files of a server's unix sockets. Dropping it removes them: when the server stops, and when it does not start.
#[derive(Debug, Default)]
pub(super) struct SocketFiles(Vec<SocketFile>);

impl SocketFiles {
    /// Adds a file that is to be removed with the others.
    pub(super) fn add(&mut self, file: SocketFile) {
        self.0.push(file);
    }
}

impl Drop for SocketFiles {
    fn drop(&mut self) {
        self.0.iter().for_each(SocketFile::remove);
    }
}
