//! The flags of `serve` that bound what waits: told where they differ, and refused with what would be right.

use crate::host::{Scratch, Serve, run, text};
use crate::wire::Wire;

/// One line that has all of `words`, and exit code 2.
pub(crate) fn assert_refused(arguments: &[&str], words: &[&str]) {
    let arguments = [&["serve", "--listen", "127.0.0.1:0"], arguments].concat();
    let ended = run("", &arguments);
    assert_eq!((ended.code(), ended.out.len(), ended.err.len()), (2, 0, 1), "{arguments:?}: {ended:?}");
    for word in words {
        assert!(ended.err[0].contains(word), "{arguments:?}: no {word:?} in {:?}", ended.err[0]);
    }
}

#[test]
fn flags_of_queues_out_of_range() {
    let scratch = Scratch::new();
    let (folder, file) = (scratch.file("nothing"), scratch.file("file"));
    std::fs::write(&file, "").expect("a file");
    let cases: [(&[&str], &[&str]); 24] = [
        (&["--push-interval", "0"], &["--push-interval", "'0'", "0.001 to 86400"]),
        (&["--push-interval", "86401"], &["--push-interval", "'86401'", "0.001 to 86400"]),
        (&["--push-interval", "NaN"], &["--push-interval", "'NaN'", "0.001 to 86400"]),
        (&["--push-interval=-1"], &["--push-interval", "'-1'", "0.001 to 86400"]),
        (&["--overflow", "maybe"], &["--overflow", "'maybe'", "close", "drop-newest", "drop-oldest", "keep-latest"]),
        (&["--static", text(&folder)], &["--static", text(&folder), "expected"]),
        (&["--static", text(&file)], &["--static", text(&file), "expected"]),
        (&["--static", "/nonexistent"], &["--static", "/nonexistent", "expected"]),
        (&["--max-queued-bytes", "0"], &["--max-queued-bytes", "'0'", "1..="]),
        (&["--max-queued-bytes", "64k"], &["--max-queued-bytes", "'64k'"]),
        (&["--max-queued-messages", "0"], &["--max-queued-messages", "'0'", "1..="]),
        (&["--max-queued-bytes", "1048575"], &["--max-queued-bytes 1048575", "--max-message-bytes 1048576"]),
        (&["--max-message-bytes", "1048577"], &["--max-queued-bytes 1048576", "--max-message-bytes 1048577"]),
        (&["--queue-grace-s", "3601"], &["--queue-grace-s", "'3601'", "0..=3600"]),
        (&["--max-buffer-bytes", "1048575"], &["--max-buffer-bytes", "'1048575'", "1048576.."]),
        (&["--max-connections-per-source", "0"], &["--max-connections-per-source", "'0'", "1.."]),
        (&["--drain-s", "86401"], &["--drain-s", "'86401'", "0..=86400"]),
        (&["--drain-s=-1"], &["--drain-s", "-1", "0..=86400"]),
        (&["--drain-hard-s", "86401"], &["--drain-hard-s", "'86401'", "0..=86400"]),
        (&["--drain-hard-s", "soon"], &["--drain-hard-s", "'soon'"]),
        (&["--socket-notsent-lowat-bytes", "2147483648"], &["--socket-notsent-lowat-bytes", "0..=1073741824"]),
        (&["--stalled-timeout-s", "0"], &["--stalled-timeout-s", "'0'", "1..=86400"]),
        (&["--max-control-frames-per-s", "65536"], &["--max-control-frames-per-s", "'65536'", "65535"]),
        (&["--overflow"], &["--overflow", "close", "drop-newest", "drop-oldest", "keep-latest"]),
    ];
    for (arguments, words) in cases {
        assert_refused(arguments, words);
    }
}

#[test]
fn those_that_differ_are_told() {
    let cases: [(&[&str], &str); 12] = [
        (&["--max-queued-bytes", "2000000"], "max_queued_bytes 2000000 (default 1048576)"),
        (&["--max-queued-messages", "7"], "max_queued_messages 7 (default 1024)"),
        (&["--queue-grace-s", "0"], "queue_grace_s 0 (default 5)"),
        (&["--max-buffer-bytes", "4000000"], "max_buffer_bytes 4000000 (default a quarter of the memory)"),
        (&["--max-connections-per-source", "9"], "max_connections_per_source 9 (default no limit)"),
        (&["--socket-notsent-lowat-bytes", "0"], "socket_notsent_lowat_bytes 0 (default 131072)"),
        (&["--drain-s", "0"], "drain_s 0 (default 30)"),
        (&["--drain-hard-s", "90"], "drain_hard_s 90 (default 60)"),
        (&["--stats-max-age-ms", "0"], "stats_max_age_ms 0 (default 250)"),
        (&["--overflow", "drop-newest"], "overflow drop-newest (default close)"),
        (&["--overflow", "keep-latest"], "overflow keep-latest (default close)"),
        (&["--overflow", "close", "--max-queued-bytes", "1048576", "--drain-s", "30"], ""),
    ];
    for (arguments, words) in cases {
        let server = Serve::start(arguments);
        let limits = server.said.get(1).and_then(|line| line.strip_prefix("limits: ")).unwrap_or_default();
        assert_eq!(limits, words, "{arguments:?}");
        Wire::websocket(server.address()).echo(b"served");
        server.stop();
    }
}

#[test]
fn all_of_them_are_told_together() {
    let flags =
        "--max-queued-bytes 1048577 --max-queued-messages 7 --overflow drop-oldest --drain-s 1 --drain-hard-s 2";
    let server = Serve::start(&flags.split(' ').collect::<Vec<_>>());
    let [_, limits] = &server.said[..] else { panic!("{:?}", server.said) };
    for words in [
        "max_queued_bytes 1048577 (default 1048576)",
        "max_queued_messages 7 (default 1024)",
        "overflow drop-oldest (default close)",
        "drain_s 1 (default 30)",
        "drain_hard_s 2 (default 60)",
    ] {
        assert_eq!(limits.matches(words).count(), 1, "no {words:?} in {limits:?}");
    }
    server.stop();
}
