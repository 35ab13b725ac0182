//! Signals that end a server.

use super::error::RunError;
use super::handle::Handle;
use crate::net::thread as reactor_thread;
use signal_hook::consts::{SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io;
use std::thread;

/// The signals that end a server: SIGINT and SIGTERM stop it, as [`Handle::stop`]; SIGQUIT drains it, as [`Handle::drain`].
///
/// From [`StopSignals::catch`] on, the signals do not end the process. Catch them before the server starts, so that one that
/// comes early is not lost. [`super::Server::run_until_signal`] does all of this in one call.
///
/// ```no_run
/// use steadfast::server::{Server, StopSignals};
///
/// let signals = StopSignals::catch()?;
/// let server = Server::new().listen("127.0.0.1:8080")?.spawn()?;
/// println!("listening on {}", server.endpoints()[0]);
/// signals.join(&server)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct StopSignals(Signals);

impl StopSignals {
    /// Catches SIGINT, SIGTERM and SIGQUIT.
    ///
    /// # Errors
    /// As sigaction(2).
    pub fn catch() -> io::Result<Self> {
        Signals::new([SIGINT, SIGTERM, SIGQUIT]).map(Self)
    }

    /// Waits until a server has ended, and ends it when a signal comes. A second signal does not wait for connections that
    /// have yet to close: this call returns [`RunError::Interrupted`] at once, and a program that then returns from `main`
    /// ends.
    ///
    /// # Errors
    /// [`RunError::Interrupted`]; [`RunError::Reactor`] as [`Handle::join`]; [`RunError::OnReactorThread`] in a handler.
    pub fn join(mut self, server: &Handle) -> Result<(), RunError> {
        if reactor_thread::is_reactor() {
            return Err(RunError::OnReactorThread);
        }
        let (joining, handle) = (server.clone(), self.0.handle());
        let joined = thread::Builder::new().name("join".into()).spawn(move || {
            let ended = joining.join();
            handle.close(); // the loop below ends
            ended
        });
        let joined = joined.map_err(RunError::Signals)?;
        let mut is_asked = false;
        for signal in self.0.forever() {
            if std::mem::replace(&mut is_asked, true) {
                return Err(RunError::Interrupted);
            }
            match signal {
                SIGQUIT => server.drain(),
                _ => server.stop(),
            }
        }
        match joined.join() {
            Ok(ended) => ended.map_err(RunError::Reactor),
            Err(_) => Err(RunError::Reactor(io::Error::other("the thread that waits for the server panicked"))),
        }
    }
}
