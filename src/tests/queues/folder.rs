//! A folder that is served, and how it is asked for.

use crate::host::{Local, Scratch, Serve, text};
use crate::probe::tight;
use crate::wire::{Answer, Wire};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};
use steadfast::server::{QueueLimits, Server};

/// When all files were modified last, with half a second that no date can say.
pub(crate) const MODIFIED: &str = "Sun, 09 Sep 2001 01:46:40 GMT";
const MODIFIED_MS: u64 = 1_000_000_000_500;

/// What is in [`Folder::secret`].
pub(crate) const SECRET: &str = "nobody's business";

/// A folder with a file beside it that is not to be seen; both are gone when the test is over.
#[derive(Debug)]
pub(crate) struct Folder(Scratch);

impl Folder {
    pub(crate) fn new() -> Self {
        let folder = Self(Scratch::new());
        std::fs::create_dir(folder.path("")).expect("a folder");
        std::fs::write(folder.secret(), SECRET).expect("a file");
        folder
    }

    /// A path below the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.file("served").join(name)
    }

    pub(crate) fn secret(&self) -> PathBuf {
        self.0.file("secret")
    }

    /// A file, with what folders it needs.
    pub(crate) fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
        std::fs::write(&path, content).expect("a file");
        let modified = SystemTime::UNIX_EPOCH + Duration::from_millis(MODIFIED_MS);
        let file = std::fs::File::options().write(true).open(&path).expect("the file");
        file.set_modified(modified).expect("a time");
        path
    }

    pub(crate) fn link(&self, name: &str, to: &str) {
        std::os::unix::fs::symlink(to, self.path(name)).expect("a symbolic link");
    }

    /// A server of this process that has it below `/f/`, with little room for each connection in the kernel.
    pub(crate) fn serve(&self) -> Local {
        let server = Server::from(tight(QueueLimits::default())).stats("/stats");
        Local::serve(server.files("/f/*", self.path("")).expect("a folder"))
    }

    /// `steadfast serve` that has it at all paths without another use.
    pub(crate) fn start(&self, more: &[&str]) -> Serve {
        Serve::start(&[&["--reactors", "1", "--static", text(&self.path(""))], more].concat())
    }
}

/// Bytes that come nowhere again at the same distance from their neighbours.
pub(crate) fn content(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at * 7 + at / 256 * 13 + at / 65_536) as u8).collect()
}

/// A request; `more` is field lines, each with its CRLF.
pub(crate) fn request(method: &str, target: &str, more: &str) -> Vec<u8> {
    format!("{method} {target} HTTP/1.1\r\nHost: a\r\n{more}\r\n").into_bytes()
}

pub(crate) fn ask(wire: &mut Wire, method: &str, target: &str, more: &str) -> Answer {
    wire.send(&request(method, target, more));
    if method == "HEAD" { wire.answer_without_body() } else { wire.answer() }
}

/// The answer to a GET on a connection of its own.
pub(crate) fn get(address: SocketAddr, target: &str) -> Answer {
    ask(&mut Wire::connect(address), "GET", target, "")
}
