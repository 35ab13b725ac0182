//! The modules of the house, and what each may import.

/// A module, what it may import, and what it may name of the world outside.
pub(super) struct Room {
    /// Paths under `src`, without `.rs`; a directory includes all that is in it.
    pub(super) names: &'static [&'static str],
    /// Modules of this crate, in the same way.
    pub(super) modules: &'static [&'static str],
    /// Crates beside std.
    pub(super) crates: &'static [&'static str],
}

/// What each module may import. The first room that has a file's name, or the directory that it is in, is its rule.
pub(super) const HOUSE: &[Room] = &[
    Room { names: &["lib"], modules: &[], crates: &[] },
    Room { names: &["main"], modules: &["cli"], crates: &[] },
    // The core. Of these, `close` alone needs another: a reason has to be UTF-8.
    Room { names: &["proto/heap", "proto/mask", "proto/ring"], modules: &[], crates: &[] },
    Room { names: &["proto/utf8"], modules: &[], crates: &["simdutf8"] },
    Room { names: &["proto/head", "proto/path"], modules: &[], crates: &["memchr"] },
    Room { names: &["proto/http"], modules: &["proto/head", "proto/path"], crates: &["httparse", "memchr"] },
    Room { names: &["proto/close"], modules: &["proto/utf8"], crates: &[] },
    // Why a head was refused, in words.
    Room { names: &["proto/quote"], modules: &[], crates: &[] },
    Room {
        names: &["proto/reason"],
        modules: &["proto/head", "proto/http", "proto/quote"],
        crates: &["httparse", "memchr"],
    },
    Room { names: &["proto/authority"], modules: &[], crates: &["memchr"] },
    Room { names: &["proto/origin"], modules: &["proto/authority", "proto/http"], crates: &[] },
    Room { names: &["proto/http_write", "proto/body"], modules: &["proto/http"], crates: &[] },
    Room {
        names: &["proto/http_check"],
        modules: &["proto/authority", "proto/body", "proto/http", "proto/quote"],
        crates: &[],
    },
    Room { names: &["proto/frame"], modules: &["proto/close", "proto/mask"], crates: &[] },
    Room { names: &["proto/extension"], modules: &[], crates: &["memchr"] },
    Room {
        names: &["proto/deflate"],
        modules: &["proto/close", "proto/extension", "proto/heap"],
        crates: &["zlib_rs"],
    },
    Room {
        names: &["proto/upgrade"],
        modules: &[
            "proto/http_write",
            "proto/authority",
            "proto/extension",
            "proto/http",
            "proto/origin",
            "proto/quote",
        ],
        crates: &["base64", "sha1"],
    },
    Room { names: &["proto/limits"], modules: &["proto/http"], crates: &[] },
    Room {
        names: &["proto/output"],
        modules: &["proto/deflate", "proto/frame", "proto/http_write", "proto/mask"],
        crates: &[],
    },
    Room {
        names: &["proto/event"],
        modules: &["proto/close", "proto/frame", "proto/http", "proto/upgrade"],
        crates: &[],
    },
    Room {
        names: &["proto/shared_frame"],
        modules: &["proto/deflate", "proto/event", "proto/extension", "proto/frame"],
        crates: &[],
    },
    // The state of a session for what has arrived in part.
    Room {
        names: &["proto/partial"],
        modules: &[
            "proto/body",
            "proto/close",
            "proto/deflate",
            "proto/event",
            "proto/extension",
            "proto/frame",
            "proto/heap",
            "proto/http",
            "proto/mask",
            "proto/reason",
            "proto/utf8",
        ],
        crates: &["memchr"],
    },
    Room {
        names: &["proto/http_read"],
        modules: &[
            "proto/body",
            "proto/event",
            "proto/extension",
            "proto/http",
            "proto/limits",
            "proto/partial",
            "proto/reason",
            "proto/http_check",
            "proto/upgrade",
        ],
        crates: &[],
    },
    Room { names: &["proto/kept"], modules: &["proto/partial", "proto/session"], crates: &[] },
    Room { names: &["proto/session"], modules: &["proto"], crates: &[] },
    Room { names: &["proto/mod"], modules: &[], crates: &[] },
    // The shell.
    Room { names: &["net/sys"], modules: &[], crates: &["libc"] },
    // The only one that calls `httpdate`, which panics for a time that has no date.
    Room { names: &["net/date"], modules: &[], crates: &["httpdate"] },
    Room {
        names: &["net/beneath", "net/fd_table", "net/mailbox", "net/room", "net/thread"],
        modules: &["net/sys"],
        crates: &[],
    },
    Room { names: &["net/listener"], modules: &["net/sys"], crates: &["socket2"] },
    Room { names: &["net/pairs"], modules: &["net/sys"], crates: &["mio", "socket2"] },
    Room { names: &["net/counters", "net/mod"], modules: &[], crates: &[] },
    Room { names: &["net/sources"], modules: &[], crates: &["socket2"] },
    Room { names: &["net/refusal"], modules: &["net/sys", "proto/http_write"], crates: &["socket2"] },
    Room { names: &["net/limits", "net/memory_limit", "net/clock"], modules: &[], crates: &[] },
    Room { names: &["net/deadlines"], modules: &["net/clock"], crates: &[] },
    Room { names: &["net/id"], modules: &[], crates: &["mio"] },
    Room { names: &["net/cause"], modules: &["proto/close", "proto/http", "proto/upgrade"], crates: &[] },
    Room { names: &["net/progress"], modules: &["net/clock", "net/deadlines"], crates: &[] },
    // What waits for a socket is frames, some of them shared; where each ends is for `frame` to say.
    Room {
        names: &["net/write_queue"],
        modules: &["net/progress", "proto/frame", "proto/heap", "proto/shared_frame"],
        crates: &[],
    },
    Room { names: &["net/pool"], modules: &["proto/ring"], crates: &[] },
    // The record of a connection: its session, its queue, and why it ended; and the slab of all records.
    Room { names: &["net/connection"], modules: &["net/cause", "net/write_queue", "proto/session"], crates: &[] },
    Room { names: &["net/slots"], modules: &["net/connection", "net/id", "proto/session"], crates: &["slab"] },
    Room { names: &["net/pings"], modules: &["net/deadlines"], crates: &[] },
    Room {
        names: &["net/sweep"],
        modules: &["net/cause", "net/clock", "net/connection", "net/deadlines", "proto/session"],
        crates: &[],
    },
    Room {
        names: &["net/memory"],
        modules: &["net/memory_limit", "net/connection", "net/slots", "proto/frame", "proto/heap", "proto/ring"],
        crates: &[],
    },
    Room {
        names: &["net/settings"],
        modules: &[
            "net/memory_limit",
            "net/deadlines",
            "net/write_queue",
            "net/pool",
            "net/limits",
            "net/sources",
            "proto/extension",
            "proto/session",
        ],
        crates: &[],
    },
    Room {
        names: &["net/context"],
        modules: &["net/clock", "net/counters", "net/write_queue", "net/pool", "net/settings", "proto/session"],
        crates: &[],
    },
    // From here on with one connection: what it sends, and what a driver sees of it.
    Room {
        names: &["net/send"],
        modules: &["net/connection", "net/context", "net/counters", "net/write_queue", "net/sys", "proto"],
        crates: &[],
    },
    Room {
        names: &["net/conn"],
        modules: &[
            "net/cause",
            "net/connection",
            "net/context",
            "net/counters",
            "net/write_queue",
            "net/send",
            "net/slots",
            "net/sources",
            "net/sys",
            "proto",
        ],
        crates: &["socket2"],
    },
    // And from here on with all of a reactor. A circle among these is for the check of circles to find.
    Room {
        names: &[
            "net/accounting",
            "net/closing",
            "net/core",
            "net/deliver",
            "net/driver",
            "net/pressure",
            "net/process",
            "net/reactor",
            "net/timing",
        ],
        modules: &["net", "proto"],
        crates: &["libc", "mio", "socket2"],
    },
    // What others would write: from outside, by the library's name.
    Room { names: &["examples"], modules: &["server"], crates: &["serde_json"] },
    // What is built on both.
    Room { names: &["client"], modules: &["client", "net/sys", "proto"], crates: &[] },
    Room { names: &["stats"], modules: &[], crates: &["serde"] },
    // The ids and messages of handlers and threads: leaves that the rest of the server imports.
    Room { names: &["server/slot"], modules: &[], crates: &[] },
    Room { names: &["server/id"], modules: &["net/slots"], crates: &[] },
    Room { names: &["server/message"], modules: &["proto/session"], crates: &[] },
    Room { names: &["server/pattern"], modules: &["proto/path"], crates: &[] },
    Room { names: &["server/params"], modules: &[], crates: &["memchr", "percent_encoding"] },
    Room {
        names: &["server/request"],
        modules: &["proto/extension", "proto/http", "proto/upgrade", "server/params", "server/pattern"],
        crates: &[],
    },
    Room { names: &["server/status_code"], modules: &["proto/http_write"], crates: &[] },
    Room { names: &["server/refused"], modules: &["proto/http_write", "server/status_code"], crates: &[] },
    Room {
        names: &["server/response"],
        modules: &["proto/http_write", "server/refused", "server/request", "server/status_code"],
        crates: &[],
    },
    Room { names: &["server/socket_files"], modules: &["net/listener"], crates: &[] },
    Room { names: &["server/signals"], modules: &["server", "net/thread"], crates: &["signal_hook"] },
    Room { names: &["server/report"], modules: &["net/counters", "net/fd_table", "net/listener"], crates: &["log"] },
    Room {
        names: &["server"],
        modules: &["server", "net", "proto", "stats"],
        crates: &["base64", "memchr", "mime_guess", "percent_encoding", "serde_json", "sha2", "slab"],
    },
    // What the tests of a program connect to its server with: above both.
    Room {
        names: &["testing"],
        modules: &["client", "net/listener", "proto/close", "proto/session", "server"],
        crates: &[],
    },
    Room { names: &["flood/error"], modules: &[], crates: &[] },
    Room { names: &["flood/driver/phase"], modules: &["net/slots"], crates: &[] },
    // The address of a route is kept as the kernel wants it, and not made anew for each connect.
    Room { names: &["flood/plan"], modules: &["flood", "net/sys"], crates: &["socket2"] },
    // Reports are files that somebody else may have written: what they declare is checked before it is believed.
    Room { names: &["flood/histogram"], modules: &[], crates: &["base64", "flate2", "hdrhistogram"] },
    Room { names: &["flood/read"], modules: &["flood"], crates: &["serde", "serde_json", "serde_path_to_error"] },
    Room {
        names: &["flood"],
        modules: &["flood", "net", "proto", "stats"],
        crates: &["base64", "hdrhistogram", "serde", "serde_json", "toml"],
    },
    Room { names: &["doctor/query", "doctor/limit"], modules: &[], crates: &["serde"] },
    // What it looks at is a file or a limit; what it measures are sockets, which belong to `net`.
    Room {
        names: &["doctor"],
        modules: &["doctor", "net/fd_table", "net/listener", "net/pairs", "net/sys", "stats"],
        crates: &["serde"],
    },
    Room { names: &["cli/io"], modules: &["client"], crates: &[] },
    Room {
        names: &["cli"],
        // Configurations and reports, and of the layers below them only what a configuration is made of.
        modules: &[
            "cli",
            "client",
            "doctor",
            "flood",
            "server",
            "proto/http_write",
            "proto/close",
            "proto/extension",
            "proto/http",
            "proto/session",
            "proto/upgrade",
        ],
        crates: &["clap", "humantime", "indicatif", "plotters", "serde_json", "signal_hook"],
    },
];
