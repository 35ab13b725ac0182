//! What guides still recommend for many connections, and why it is none of the walls.

use std::fmt::Write;

/// What is recommended, and what is true of it.
pub(super) const MYTHS: [(&str, &str); 13] = [
    (
        "net.ipv4.tcp_tw_recycle",
        "is gone since Linux 4.12. Before that it broke clients behind one address of a translator.",
    ),
    (
        "net.ipv4.tcp_tw_reuse, to hold connections",
        "lets a new outgoing connection take the port of one in TIME_WAIT. Who is held is not in TIME_WAIT; a server, which \
         connects to nobody, has no use of it.",
    ),
    (
        "net.ipv4.tcp_fin_timeout",
        "is how long a closed socket waits for the peer's FIN (FIN_WAIT_2). It is not the time in TIME_WAIT, which is 60 s \
         and fixed, and no held connection waits for either.",
    ),
    (
        "net.core.rmem_max, wmem_max, and the minima of tcp_rmem, tcp_wmem",
        "are not set aside for each socket: an idle one has no buffer. The maxima bound what a single one may queue.",
    ),
    (
        "net.ipv4.tcp_mem, to hold connections",
        "counts what is queued. Idle connections queue nothing; broadcasts and readers that stall do, and for them it binds.",
    ),
    (
        "net.ipv4.tcp_keepalive_*",
        "is no limit, and acts only on sockets that set SO_KEEPALIVE. Whether a WebSocket is alive its own pings tell.",
    ),
    (
        "net.core.netdev_max_backlog, on loopback",
        "is a queue of packets between a network card's interrupt and the stack, for each core. On loopback it is filled and \
         emptied in one go; who holds idle connections sends no packets at all.",
    ),
    (
        "net.ipv4.tcp_max_syn_backlog, with syncookies",
        "binds only where net.ipv4.tcp_syncookies is 0. Else the queue of handshakes is as long as that for accept(2).",
    ),
    (
        "net.core.somaxconn, to hold connections",
        "bounds those that wait for accept(2), for moments. What listen(2) was asked for bounds it as well.",
    ),
    (
        "ulimit -n in /etc/security/limits.conf, for a service",
        "is read by pam_limits at a login. A service of systemd has no login: its limit is LimitNOFILE=.",
    ),
    (
        "ulimit -n 1000000, as the first thing to do",
        "is not needed here: RLIMIT_NOFILE bounds a descriptor table, and each reactor can have one of its own.",
    ),
    (
        "65,535 ports are the most connections of a server",
        "A port is used up on the side that connects, for each pair of addresses. All that a server accepts share one.",
    ),
    (
        "fs.file-max, as root",
        "does not bind those with CAP_SYS_ADMIN. For others it does; its default is a tenth of the memory, in KiB.",
    ),
];

pub(super) fn text() -> String {
    let mut text = "\nWhat guides recommend, and is no wall:\n".to_owned();
    for (name, why) in MYTHS {
        let _ = write!(text, "\n  {name}\n      {why}\n");
    }
    text
}
