//! The threads of reactors: how they start, and how their end is reported.

use super::sys;
use std::any::Any;
use std::cell::Cell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{Builder, JoinHandle};

/// The stack of a reactor, in bytes. Calls nest a dozen deep, and untouched pages cost nothing.
const STACK_BYTES: usize = 256 << 10;

thread_local! {
    static IS_REACTOR: Cell<bool> = const { Cell::new(false) };
}

/// Returns whether the calling thread is that of a reactor, whose calls must not wait for what a reactor does.
pub fn is_reactor() -> bool {
    IS_REACTOR.get()
}

/// A thread for one reactor.
#[derive(Clone, Copy, Debug)]
pub struct Thread {
    /// The word for it in errors: `reactor` or `worker`.
    pub kind: &'static str,
    /// The first part of its name, before its number.
    pub name: &'static str,
    /// Its number.
    pub index: usize,
    /// Whether it has a descriptor table of its own: a copy of that of the thread that starts it.
    pub own_table: bool,
}

/// Why a thread has no reactor.
#[derive(Debug)]
pub enum MakeError<E> {
    /// It cannot have a descriptor table of its own: an error of unshare(2), which a seccomp filter may forbid.
    OwnTable(io::Error),
    /// The function that makes the reactor returned this.
    Make(E),
    /// That function panicked. The text names the thread.
    Panic(String),
}

/// Why a reactor has ended before it was stopped.
#[derive(Debug)]
pub enum Failure {
    /// epoll_wait(2) failed.
    Wait(io::Error),
    /// The reactor panicked. The text names the thread.
    Panic(String),
}

impl Thread {
    /// Starts the thread, which calls `make` after it has its descriptor table. `make` returns the function that runs
    /// the reactor to its end. Before that function is called, `made` is called; or with the reason, where there is no
    /// such function. `failed` is called where the function returned an error or panicked.
    ///
    /// # Errors
    /// As pthread_create(3).
    pub fn spawn<E, R: FnOnce() -> io::Result<()>>(
        self,
        make: impl FnOnce() -> Result<R, E> + Send + 'static,
        made: impl FnOnce(Result<(), MakeError<E>>) + Send + 'static,
        failed: impl FnOnce(Failure) + Send + 'static,
    ) -> io::Result<JoinHandle<()>> {
        let body = move || {
            IS_REACTOR.set(true);
            if self.own_table
                && let Err(error) = sys::unshare_files()
            {
                return made(Err(MakeError::OwnTable(error)));
            }
            let run = match catch_unwind(AssertUnwindSafe(make)) {
                Ok(Ok(run)) => run,
                Ok(Err(error)) => return made(Err(MakeError::Make(error))),
                Err(payload) => return made(Err(MakeError::Panic(self.panicked(&*payload)))),
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

    fn panicked(self, payload: &(dyn Any + Send)) -> String {
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        format!("{} {} panicked: {}", self.kind, self.index, text.unwrap_or("no message"))
    }
}

#[cfg(test)]
mod tests {
    use super::{Failure, MakeError, Thread};
    use std::io;
    use std::sync::mpsc::{Receiver, channel};

    const THREAD: Thread = Thread { kind: "worker", name: "test", index: 3, own_table: false };

    type Run = fn() -> io::Result<()>;

    /// Runs a thread to its end; returns what it reported, in order.
    fn reports<R: FnOnce() -> io::Result<()>>(
        make: impl FnOnce() -> Result<R, String> + Send + 'static,
    ) -> Vec<String> {
        let (reports, reported): (_, Receiver<String>) = channel();
        let failures = reports.clone();
        let made = move |made: Result<(), MakeError<String>>| {
            let text = match made {
                Ok(()) => "made".into(),
                Err(MakeError::OwnTable(error)) => error.to_string(),
                Err(MakeError::Make(text) | MakeError::Panic(text)) => text,
            };
            reports.send(text).expect("the test listens");
        };
        let failed = move |failure| {
            let text = match failure {
                Failure::Wait(error) => format!("wait: {error}"),
                Failure::Panic(text) => text,
            };
            failures.send(text).expect("the test listens");
        };
        THREAD.spawn(make, made, failed).expect("a thread").join().expect("no panic leaves the thread");
        reported.iter().collect()
    }

    #[test]
    fn outcomes_of_a_thread_are_reported_in_order() {
        let runs: Run = || Ok(());
        assert_eq!(reports(move || Ok(runs)), ["made"]);
        let named = || std::thread::current().name().map(str::to_owned).map_or(Ok(|| Ok(())), Err);
        assert_eq!(reports(named), ["test-3"]);
        assert_eq!(reports(|| Ok(|| Err(io::Error::other("no events")))), ["made", "wait: no events"]);
        let panics: Run = || panic!("run {}", 1);
        assert_eq!(reports(move || Ok(panics)), ["made", "worker 3 panicked: run 1"]);
        let cannot_make: fn() -> Result<Run, String> = || panic!("make");
        assert_eq!(reports(cannot_make), ["worker 3 panicked: make"]);
    }
}
