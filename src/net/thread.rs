//! The thread of a reactor: how it starts, and how its end is reported.

use super::sys;
use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{Builder, JoinHandle};

/// Bytes of a reactor's stack. Its calls nest a dozen deep, and pages that it does not touch cost nothing.
const STACK_BYTES: usize = 256 << 10;

/// A thread for one reactor.
#[derive(Clone, Copy, Debug)]
pub struct Thread {
    /// What errors call it: `reactor` or `worker`.
    pub kind: &'static str,
    /// The first part of its name, which ends with its number.
    pub name: &'static str,
    /// Its number among its kind.
    pub index: usize,
    /// Whether it gets a descriptor table of its own: a copy of that of the thread that starts it.
    pub own_table: bool,
    /// The flag that asks for fewer connections, for the error where a table of its own is forbidden.
    pub flag: &'static str,
}

/// Why a reactor that ran has ended before it was told to.
#[derive(Debug)]
pub enum Failure {
    /// It could not wait for events: an error of epoll_wait(2).
    Wait(io::Error),
    /// It panicked. The text names the thread.
    Panic(String),
}

impl Thread {
    /// Starts the thread, which calls `make` when it has its descriptor table. `make` returns the function that runs the
    /// reactor to its end. `made` is called before that one is, and with the reason where there is none; `failed` is called
    /// after it, where it ended with an error or by a panic.
    ///
    /// # Errors
    /// As pthread_create(3).
    pub fn spawn<R: FnOnce() -> io::Result<()>>(
        self,
        make: impl FnOnce() -> Result<R, String> + Send + 'static,
        made: impl FnOnce(Result<(), String>) + Send + 'static,
        failed: impl FnOnce(Failure) + Send + 'static,
    ) -> io::Result<JoinHandle<()>> {
        let body = move || {
            let run = match catch_unwind(AssertUnwindSafe(|| self.take_table().and_then(|()| make()))) {
                Ok(Ok(run)) => run,
                Ok(Err(error)) => return made(Err(error)),
                Err(payload) => return made(Err(self.panicked(&*payload))),
            };
            made(Ok(()));
            match catch_unwind(AssertUnwindSafe(run)) {
                Ok(Ok(())) => {}
                Ok(Err(error)) => failed(Failure::Wait(error)),
                Err(payload) => failed(Failure::Panic(self.panicked(&*payload))),
            }
        };
        Builder::new().name(format!("{}-{}", self.name, self.index)).stack_size(STACK_BYTES).spawn(body)
    }

    /// Gives the calling thread its own descriptor table, if it is to have one.
    fn take_table(self) -> Result<(), String> {
        if !self.own_table {
            return Ok(());
        }
        sys::unshare_files().map_err(|error| {
            format!(
                "cannot give a {} a descriptor table of its own: unshare(CLONE_FILES): {error}; a seccomp filter may forbid \
                 it: raise RLIMIT_NOFILE instead, or ask for fewer {}",
                self.kind, self.flag
            )
        })
    }

    fn panicked(self, payload: &(dyn Any + Send)) -> String {
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        format!("{} {} panicked: {}", self.kind, self.index, text.unwrap_or("no message"))
    }
}
