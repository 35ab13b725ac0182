//! A reactor that cannot wait for events any more: the server ends, and says which one it was.

use crate::host::{BINARY, Serve, has_strace};
use crate::wire::{UPGRADE, Wire};
use std::process::{Command, Stdio};

/// A server each of whose reactors fails at its 40th call of epoll_wait(2), and at all that follow.
fn failing(error: &str) -> Serve {
    let mut command = Command::new("strace");
    // -D keeps the server our child, to be signalled and waited for.
    command.args(["-D", "-f", "-qq", "-o", "/dev/null", "-e", "trace=?epoll_wait,epoll_pwait", "-e"]);
    command.arg(format!("inject=?epoll_wait,epoll_pwait:error={error}:when=40+"));
    command.args([BINARY, "serve", "--listen", "127.0.0.1:0", "--reactors", "3"]).stdin(Stdio::null());
    Serve::of(command)
}

#[test]
fn epoll_error_ends_the_server_and_names_the_reactor() {
    if !has_strace() {
        return;
    }
    for (error, words) in [("EBADF", "Bad file descriptor"), ("EINVAL", "Invalid argument")] {
        let server = failing(error);
        // One reactor has work until it fails; sleeping reactors must be woken.
        let mut wire = Wire::connect(server.address());
        wire.send(UPGRADE.as_bytes());
        wire.assert_upgraded();
        let Serve { running, .. } = server;
        let ended = running.ended();
        assert_eq!((ended.code(), ended.err.len()), (1, 1), "{ended:?}");
        let text = &ended.err[0];
        let number = text.strip_prefix("steadfast: reactor ").and_then(|rest| rest.chars().next());
        assert!(matches!(number, Some('0'..='2')), "{text}");
        assert!(text.contains(&format!(" cannot wait for events: epoll_wait: {words}")), "{text}");
    }
}
