//! What tuning guides still recommend for many connections, and why it is not a limit.

use std::fmt::Write;

/// Each recommendation, and why it does not help.
pub(super) const MYTHS: [(&str, &str); 13] = [
    (
        "net.ipv4.tcp_tw_recycle",
        "was removed in Linux 4.12. Before that it broke clients that share an address through NAT.",
    ),
    (
        "net.ipv4.tcp_tw_reuse, to hold connections",
        "lets a new outgoing connection take the port of one in TIME_WAIT. A held connection is not in TIME_WAIT, and a \
         server opens no outgoing connections.",
    ),
    (
        "net.ipv4.tcp_fin_timeout",
        "is how long a closed socket waits for the peer's FIN (FIN_WAIT_2). It is not the time in TIME_WAIT, which is 60 s \
         and fixed. It does not affect held connections.",
    ),
    (
        "net.core.rmem_max, wmem_max, and the minima of tcp_rmem, tcp_wmem",
        "are not allocated for each socket: an idle one has no buffer. The maxima limit what one socket may queue.",
    ),
    (
        "net.ipv4.tcp_mem, to hold connections",
        "limits queued data. Idle connections queue nothing; it matters for broadcasts and stalled readers.",
    ),
    (
        "net.ipv4.tcp_keepalive_*",
        "is not a limit, and affects only sockets with SO_KEEPALIVE. A WebSocket is checked by its own pings.",
    ),
    (
        "net.core.netdev_max_backlog, on loopback",
        "is a queue of packets between a network card's interrupt and the stack, for each core. On loopback it is filled and \
         emptied in one step, and idle connections send no packets.",
    ),
    (
        "net.ipv4.tcp_max_syn_backlog, with syncookies",
        "applies only if net.ipv4.tcp_syncookies is 0. Otherwise the queue of handshakes is as long as that for accept(2).",
    ),
    (
        "net.core.somaxconn, to hold connections",
        "limits the connections that wait for accept(2), and they wait only briefly. The backlog of listen(2) limits them too.",
    ),
    (
        "ulimit -n in /etc/security/limits.conf, for a service",
        "is read by pam_limits at login. A systemd service has no login: its limit is LimitNOFILE=.",
    ),
    (
        "ulimit -n 1000000, as the first thing to do",
        "is not needed here: RLIMIT_NOFILE limits one descriptor table, and each reactor can have its own.",
    ),
    (
        "65,535 ports are the most connections of a server",
        "A port is used up only on the client's side, for each pair of addresses. All accepted connections share the server's port.",
    ),
    (
        "fs.file-max, as root",
        "does not apply with CAP_SYS_ADMIN. For other processes it does; its default is a tenth of the memory in KiB.",
    ),
];

pub(super) fn text() -> String {
    let mut text = "\nWhat guides recommend although it is not a limit:\n".to_owned();
    for (name, why) in MYTHS {
        let _ = write!(text, "\n  {name}\n      {why}\n");
    }
    text
}
