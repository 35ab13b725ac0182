//! The URLs of a flood: what is understood, and what is said to the rest.

use steadfast::flood::target::{Scheme, Target};

fn target(url: &str) -> Target {
    url.parse().unwrap_or_else(|error| panic!("{url}: {error}"))
}

#[test]
fn each_scheme_with_its_own_defaults() {
    let cases = [
        ("ws://127.0.0.1:8080/echo", Scheme::Ws, "127.0.0.1:8080", "127.0.0.1:8080", "/echo"),
        ("ws://127.0.0.1", Scheme::Ws, "127.0.0.1:80", "127.0.0.1", "/"),
        ("WS://127.0.0.1/", Scheme::Ws, "127.0.0.1:80", "127.0.0.1", "/"),
        ("http://127.0.0.1:80/a?b=c", Scheme::Http, "127.0.0.1:80", "127.0.0.1", "/a?b=c"),
        ("http://[::1]/", Scheme::Http, "[::1]:80", "[::1]", "/"),
        ("http://[::1]:81/", Scheme::Http, "[::1]:81", "[::1]:81", "/"),
        ("tcp://127.0.0.1:7000", Scheme::Tcp, "127.0.0.1:7000", "127.0.0.1:7000", "/"),
        ("tcp://[::1]:7000/", Scheme::Tcp, "[::1]:7000", "[::1]:7000", "/"),
    ];
    for (url, scheme, address, host, path) in cases {
        let target = target(url);
        assert_eq!((target.scheme, target.path.as_str(), target.to_string()), (scheme, path, url.to_owned()));
        assert_eq!(target.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(), [address], "{url}");
        assert_eq!(target.hosts, [host], "{url}");
    }
}

#[test]
fn a_query_may_stand_without_a_path() {
    let target = target("http://127.0.0.1:81?a=b");
    assert_eq!((target.hosts[0].as_str(), target.path.as_str()), ("127.0.0.1:81", "/?a=b"));
}

#[test]
fn a_range_of_ports_is_an_address_and_a_host_for_each() {
    let target = target("ws://127.0.0.1:79-81/x");
    let ports: Vec<u16> = target.addresses.iter().map(|address| address.port()).collect();
    assert_eq!(ports, [79, 80, 81]);
    assert_eq!(target.hosts, ["127.0.0.1:79", "127.0.0.1", "127.0.0.1:81"]);
}

#[test]
fn invalid_target_is_rejected_with_a_reason_and_an_example() {
    let cases = [
        ("", "scheme is missing"),
        ("127.0.0.1:80", "scheme is missing"),
        ("://127.0.0.1/", "not a supported scheme"),
        ("ftp://127.0.0.1/", "\"ftp\" is not a supported scheme"),
        ("wss://127.0.0.1/", "TLS"),
        ("https://127.0.0.1/", "TLS"),
        ("ws://", "host is missing"),
        ("ws://:80/", "host is missing"),
        ("tcp://127.0.0.1", "port is missing"),
        ("tcp://[::1]", "port is missing"),
        ("ws://127.0.0.1:0/", "\"0\" is not a port from 1 to 65535"),
        ("ws://127.0.0.1:65536/", "65535"),
        ("ws://127.0.0.1:/", "\"\" is not a port"),
        ("ws://127.0.0.1:9-8/", "9-8 is empty"),
        ("ws://127.0.0.1/a b", "space"),
        ("ws://127.0.0.1/a\r\nX: y", "space or a control"),
    ];
    for (url, what) in cases {
        let error = url.parse::<Target>().expect_err(url).to_string();
        assert!(error.contains(what), "{url:?}: no {what:?} in {error:?}");
        assert!(error.contains("ws://127.0.0.1:8080/echo"), "{url:?}: {error:?}");
        assert_eq!(error.lines().count(), 1, "{url:?}: {error:?}");
    }
}
