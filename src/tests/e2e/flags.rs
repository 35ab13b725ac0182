//! What cannot be done as asked: one clear line on stderr that names it, and exit code 2.

use crate::host::{Running, Scratch, Serve, has_strace, run, steadfast, text};
use crate::wire::Wire;
use std::ffi::OsStr;
use std::net::TcpListener;
use std::process::Command;
use steadfast::server::{Deadlines, Server};

/// One line that has all of `words`, and nothing else.
pub(crate) fn assert_refused(setup: &str, arguments: &[&str], words: &[&str]) -> String {
    let ended = run(setup, arguments);
    assert_eq!((ended.code(), ended.out.len(), ended.err.len()), (2, 0, 1), "{arguments:?}: {ended:?}");
    let line = ended.err[0].clone();
    for word in words {
        assert!(line.contains(word), "{arguments:?}: no {word:?} in {line:?}");
    }
    line
}

#[test]
fn contradictory_settings_are_refused() {
    let cases: [(&[&str], &[&str]); 5] = [
        (&["--ping-interval-s", "6", "--idle-timeout-s", "3"], &["6 s (--ping-interval-s)", "timeout of 3 s", "2 s"]),
        (&["--ping-interval-s", "200"], &["ping interval of 200 s", "timeout of 100 s", "99 s"]),
        (&["--ping-interval-s", "100"], &["ping interval of 100 s", "timeout of 100 s"]),
        (&["--drain-s", "100", "--drain-hard-s", "5"], &["100 s", "5 s", "--drain-hard-s", "--drain-s"]),
        (
            &["--max-message-bytes", "2000000", "--max-queued-bytes", "2000000", "--max-buffer-bytes", "5999999"],
            &["--max-buffer-bytes 5999999", "three times --max-message-bytes 2000000"],
        ),
    ];
    for (arguments, words) in cases {
        assert_refused("", &[&["serve"], arguments].concat(), words);
    }
    let deadlines = Deadlines { ping_s: 2, idle_s: 2, ..Deadlines::default() };
    let refused = Server::new().deadlines(deadlines).spawn().map(|_| ()).expect_err("refused by the library too");
    assert!(refused.to_string().contains("ping interval of 2 s"), "{refused}");
}

#[test]
fn serve_refuses_flags_out_of_range() {
    let cases: [(&[&str], &[&str]); 21] = [
        (&["--max-connections", "0"], &["--max-connections", "'0'", "1"]),
        (&["--max-connections", "many"], &["--max-connections", "'many'"]),
        (&["--reactors", "0"], &["--reactors", "'0'", "1..=4096"]),
        (&["--reactors", "4097"], &["--reactors", "'4097'", "1..=4096"]),
        (&["--max-head-bytes", "63"], &["--max-head-bytes", "'63'", "64..="]),
        (&["--max-request-line-bytes", "15"], &["--max-request-line-bytes", "'15'", "16..="]),
        (&["--max-message-bytes", "0"], &["--max-message-bytes", "'0'", "1..="]),
        (&["--max-fragments", "0"], &["--max-fragments", "'0'"]),
        (&["--head-timeout-s", "0"], &["--head-timeout-s", "'0'", "1..=86400"]),
        (&["--ping-interval-s=-1"], &["--ping-interval-s", "-1", "1..="]),
        (&["--protocol", "udp"], &["--protocol", "'udp'", "ws", "tcp"]),
        (&["--origin", "example.org"], &["--origin", "example.org", "https://example.org"]),
        (&["--origin", "https://example.org/"], &["--origin", "https://example.org/\"", "expected"]),
        (&["--origin", "https://*"], &["--origin", "https://*\"", "https://*.example.org"]),
        (&["--origin", "https://"], &["--origin", "expected"]),
        (&["--listen", "here"], &["--listen", "here", "127.0.0.1:8080"]),
        (&["--listen", "127.0.0.1:65536"], &["--listen", "65536", "65535"]),
        (&["--listen", "127.0.0.1:7009-7000"], &["--listen", "7009-7000"]),
        (&["--listen", "unix:"], &["--listen", "unix:", "path"]),
        (&["--listen"], &["--listen"]),
        (&["--no-such-flag"], &["--no-such-flag"]),
    ];
    for (arguments, words) in cases {
        assert_refused("", &[&["serve"], arguments].concat(), words);
    }
}

#[test]
fn flood_refuses_flags_out_of_range() {
    let url = "tcp://127.0.0.1:1";
    let cases: [(&[&str], &[&str]); 18] = [
        (&[], &["URL"]),
        (&[url, "--connections", "0"], &["--connections", "'0'", "1..="]),
        (&[url, "--connect-rate", "0"], &["--connect-rate", "'0'"]),
        (&[url, "--in-flight", "0"], &["--in-flight", "'0'", "1..="]),
        (&[url, "--payload", "0"], &["--payload", "0"]),
        (&[url, "--messages", "65536"], &["--messages", "'65536'"]),
        (&[url, "--hold", "soon"], &["--hold", "'soon'", "30"]),
        (&[url, "--hold", "NaN"], &["--hold", "NaN"]),
        (&[url, "--source", "here"], &["--source", "'here'", "10.0.0.1"]),
        (&[url, "--source", "127.0.0.9-127.0.0.1"], &["--source", "range"]),
        (&[url, "--json", "no-such-directory/x.json"], &["--json", "no-such-directory/x.json"]),
        (&[url, "http://127.0.0.1:1/"], &[url, "http://127.0.0.1:1/", "scheme"]),
        (&["127.0.0.1:1"], &["127.0.0.1:1", "scheme", "ws://"]),
        (&["wss://127.0.0.1/"], &["wss://127.0.0.1/", "TLS"]),
        (&["ftp://127.0.0.1/"], &["ftp", "ws://"]),
        (&["tcp://127.0.0.1"], &["tcp://127.0.0.1", "port"]),
        (&["ws://127.0.0.1:0/"], &["ws://127.0.0.1:0/", "65535"]),
        (&["ws://:80/"], &["ws://:80/", "host"]),
    ];
    for (arguments, words) in cases {
        assert_refused("", &[&["flood"], arguments].concat(), words);
    }
}

#[test]
fn connect_refuses_flags_out_of_range() {
    let url = "ws://127.0.0.1:1/";
    let cases: [(&[&str], &[&str]); 21] = [
        (&[], &["URL"]),
        (&["127.0.0.1:1"], &["127.0.0.1:1", "scheme", "ws://"]),
        (&["wss://127.0.0.1/"], &["wss://127.0.0.1/", "TLS", "ws://"]),
        (&["http://127.0.0.1/"], &["http://127.0.0.1/", "scheme", "ws://"]),
        (&["ws://127.0.0.1:1-2/"], &["ws://127.0.0.1:1-2/", "65535"]),
        (&["ws://a@127.0.0.1/"], &["ws://a@127.0.0.1/", "Authorization"]),
        (&[url, "--ping=0"], &["--ping", "'0'", "0.1"]),
        (&[url, "--ping=often"], &["--ping", "'often'"]),
        (&[url, "--ping", "1"], &["'1'"]),
        (&[url, "--every", "0"], &["--every", "'0'", "0.001"]),
        (&[url, "--every", "NaN"], &["--every", "NaN"]),
        (&[url, "--max-message-bytes", "0"], &["--max-message-bytes", "'0'", "1..="]),
        (&[url, "--connect-timeout-s", "0"], &["--connect-timeout-s", "'0'", "1..=86400"]),
        (&[url, "--header", "X"], &["--header", "\"X\"", "no colon"]),
        (&[url, "--header", "X: a\r\nY: b"], &["--header", "control character", "CR"]),
        (&[url, "--header", "X: a\nb"], &["--header", "control character", "LF"]),
        (&[url, "--header", "Host: a"], &["--header", "Host", "itself"]),
        (&[url, "--header", "Origin: null", "--origin", "null"], &["--origin", "twice"]),
        (&[url, "--origin", "example.org"], &["--origin", "https://example.org"]),
        (&[url, "--subprotocol", "a b"], &["--subprotocol", "\"a b\"", "token"]),
        (&[url, "--compression-takeover"], &["--compression"]),
    ];
    for (arguments, words) in cases {
        assert_refused("", &[&["connect"], arguments].concat(), words);
    }
}

#[test]
fn more_connections_than_ports_are_refused() {
    let arguments = ["flood", "tcp://127.0.0.1:1", "--connections", "1000000", "--source", "127.0.0.1"];
    assert_refused("", &arguments, &["1000000 connections", "--source", "and there are 1"]);
}

#[test]
fn port_of_another_program_is_refused() {
    let other = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = other.local_addr().expect("its address").to_string();
    assert_refused("", &["serve", "--listen", &address], &[&address, "in use", "another port"]);
    // Nor is it found too late: the ports before it are given up.
    assert_refused("", &["serve", "--listen", "127.0.0.1:0", "--listen", &address], &[&address, "in use"]);
}

#[test]
fn port_of_another_steadfast_is_refused() {
    let first = Serve::start(&[]);
    let address = first.address().to_string();
    assert_refused("", &["serve", "--listen", &address], &[&address, "in use", "another port"]);
    let twice = ["serve", "--listen", "127.0.0.1:0", "--listen", &address, "--listen", &address];
    assert_refused("", &twice, &[&address, "in use"]);
    Wire::websocket(first.address()).echo(b"the first one is not disturbed");
    first.stop();
}

#[test]
fn foreign_address_is_refused() {
    // Kept for documentation, RFC 5737.
    assert_refused("", &["serve", "--listen", "192.0.2.1:8080"], &["192.0.2.1:8080", "address of this host"]);
}

#[test]
fn failed_start_leaves_no_socket_file() {
    let scratch = Scratch::new();
    let path = scratch.file("socket");
    let other = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = other.local_addr().expect("its address").to_string();
    let unix = format!("unix:{}", text(&path));
    assert_refused("", &["serve", "--listen", &unix, "--listen", &address], &[&address, "in use"]);
    assert!(!path.exists(), "a socket file of nobody");
}

/// The number after `before`.
fn number_after(line: &str, before: &str) -> u32 {
    let digits = line.split_once(before).map(|(_, rest)| rest.split(|next: char| !next.is_ascii_digit()).next());
    digits.flatten().and_then(|digits| digits.parse().ok()).unwrap_or_else(|| panic!("no {before:?} in {line:?}"))
}

#[test]
fn forbidden_unshare_is_reported() {
    if !has_strace() {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let url = format!("tcp://{}", listener.local_addr().expect("its address"));
    for (asked, flag) in [
        (&["serve", "--listen", "127.0.0.1:0", "--max-connections", "500"][..], "fewer --max-connections"),
        (&["flood", &url, "--connections", "500"], "fewer --connections"),
    ] {
        let arguments =
            ["-D", "-f", "-qq", "-o", "/dev/null", "-e", "trace=unshare", "-e", "inject=unshare:error=EPERM"];
        let mut command = steadfast("ulimit -n 200", asked);
        let shell: Vec<_> = command.get_args().map(OsStr::to_owned).collect();
        command = Command::new("strace");
        command.args(arguments).arg("sh").args(shell);
        let ended = Running::spawn(command).ended();
        assert_eq!((ended.code(), ended.out.len(), ended.err.len()), (2, 0, 1), "{ended:?}");
        for word in ["unshare", flag, "RLIMIT_NOFILE"] {
            assert!(ended.err[0].contains(word), "no {word:?} in {ended:?}");
        }
    }
}

#[test]
fn serve_names_a_sufficient_descriptor_limit() {
    for more in [&[][..], &["--max-connections", "1000"], &["--reactors", "8"]] {
        let arguments = [&["serve", "--listen", "127.0.0.1:0"], more].concat();
        let line = assert_refused("ulimit -n 64", &arguments, &["RLIMIT_NOFILE", "64", "ulimit -n"]);
        let needed = number_after(&line, "raise it to ");
        let server = Serve::start_under(&format!("ulimit -n {needed}"), more);
        Wire::websocket(server.address()).echo(b"enough");
        server.stop();
    }
}

#[test]
fn flood_names_a_sufficient_descriptor_limit() {
    let server = Serve::start(&[]);
    let url = format!("ws://{}/echo", server.address());
    let arguments = ["flood", &url, "--connections", "100"];
    let line = assert_refused("ulimit -n 64", &arguments, &["RLIMIT_NOFILE", "64", "ulimit -n"]);
    let ended = run(&format!("ulimit -n {}", number_after(&line, "raise it to ")), &arguments);
    assert_eq!(ended.code(), 0, "{ended:?}");
    server.stop();
}

#[test]
fn serve_names_a_sufficient_number_of_reactors() {
    let more = ["--max-connections", "500", "--reactors"];
    let arguments = [&["serve", "--listen", "127.0.0.1:0"], &more[..], &["2"]].concat();
    let line = assert_refused("ulimit -n 200", &arguments, &["--reactors 2", "RLIMIT_NOFILE 200"]);
    let needed = number_after(&line, "RLIMIT_NOFILE 200; ").to_string();
    Serve::start_under("ulimit -n 200", &[&more[..], &[&needed]].concat()).stop();
}
