//! Calls that wait for a reactor, on the thread of a reactor.

use crate::host::Local;
use crate::rig::{hear, say, single, websocket_at};
use std::io;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, OnceLock};
use steadfast::server::{Handle, Handler, Message, Peer, SendError, Server};

/// What the blocking calls return on the thread of a reactor.
#[derive(Debug)]
struct Outcomes {
    wait: SendError,
    receivers: SendError,
    join: io::ErrorKind,
    run: String,
}

/// Makes all blocking calls of a server for each message.
struct Blocking {
    server: Arc<OnceLock<Handle>>,
    outcomes: Sender<Outcomes>,
}

impl Handler for Blocking {
    fn message(&mut self, peer: &mut Peer, _message: Message) {
        let server = self.server.get().expect("the test has set it");
        let outcomes = Outcomes {
            wait: server.send(peer.id(), "to itself").wait().expect_err("it would wait for itself"),
            receivers: server.receivers("any").expect_err("it would wait for itself"),
            join: server.join().expect_err("it would wait for itself").kind(),
            run: Server::new().run().expect_err("it would never return").to_string(),
        };
        self.outcomes.send(outcomes).expect("the test hears of it");
    }
}

/// Has a connection of `local` make the calls, for the server `target`.
fn outcomes_of(target: impl FnOnce(&Local) -> Handle) -> crate::wire::Wire {
    let (outcomes, told) = channel();
    let server = Arc::new(OnceLock::new());
    let known = Arc::clone(&server);
    let make = move || Blocking { server: Arc::clone(&known), outcomes: outcomes.clone() };
    let local = Local::serve(Server::from(single()).route("/", make));
    let set = server.set(target(&local));
    assert!(set.is_ok());
    let mut wire = websocket_at(local.address, "/");
    say(&mut wire, "go");
    let Outcomes { wait, receivers, join, run } = hear(&told);
    assert_eq!(
        (wait, receivers, join),
        (SendError::OnReactorThread, SendError::OnReactorThread, io::ErrorKind::Deadlock)
    );
    assert!(run.contains("reactor's thread"), "{run}");
    wire
}

#[test]
fn blocking_calls_in_a_handler_are_errors_and_the_message_is_sent() {
    let mut wire = outcomes_of(|local| local.server.clone());
    assert_eq!(crate::rig::text(&mut wire), "to itself");
}

#[test]
fn blocking_calls_in_a_handler_of_another_server_are_errors() {
    let other = Local::serve(Server::from(single()));
    outcomes_of(|_| other.server.clone());
}
