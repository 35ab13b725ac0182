//! `--listen`: what it takes, and what it says to what it does not.

use proptest::prelude::*;
use std::net::SocketAddr;
use std::path::PathBuf;
use steadfast::server::Endpoint;

fn addresses(text: &str) -> Vec<String> {
    match text.parse() {
        Ok(Endpoint::Tcp(addresses)) => addresses.iter().map(ToString::to_string).collect(),
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn addresses_with_a_port_or_a_range() {
    assert_eq!(addresses("127.0.0.1:8080"), ["127.0.0.1:8080"]);
    assert_eq!(addresses("0.0.0.0:7000-7002"), ["0.0.0.0:7000", "0.0.0.0:7001", "0.0.0.0:7002"]);
    assert_eq!(addresses("[::1]:80"), ["[::1]:80"]);
    assert_eq!(addresses("[::]:1-2"), ["[::]:1", "[::]:2"]);
    assert_eq!(addresses("127.0.0.1:0"), ["127.0.0.1:0"]);
    assert_eq!(addresses("127.0.0.1:65535-65535"), ["127.0.0.1:65535"]);
    assert_eq!(addresses("0.0.0.0:7000-7099").len(), 100);
    assert_eq!(addresses("0.0.0.0:1-65535").len(), 65_535);
    // A name of this host; to which of its addresses is the host's business.
    assert!(addresses("localhost:80").iter().all(|address| address.ends_with(":80")));
}

#[test]
fn paths_of_unix_sockets() {
    for path in ["/run/steadfast.sock", "socket", "with: colon", "unix:", "@name", "./@name"] {
        let endpoint: Endpoint = format!("unix:{path}").parse().expect("a path");
        assert_eq!(endpoint, Endpoint::Unix(PathBuf::from(path)));
        assert_eq!(endpoint.to_string(), format!("unix:{path}"));
    }
}

#[test]
fn what_is_none_is_told_what_is_wrong_and_what_would_be_right() {
    let cases = [
        ("", "port is missing"),
        ("8080", "port is missing"),
        ("127.0.0.1", "port is missing"),
        (":8080", "address is missing"),
        ("127.0.0.1:", "\"\" is not a port"),
        ("127.0.0.1:http", "\"http\" is not a port"),
        ("127.0.0.1:65536", "\"65536\" is not a port from 0 to 65535"),
        ("127.0.0.1:-1", "is not a port"),
        ("127.0.0.1:1-", "\"\" is not a port"),
        ("127.0.0.1:1-2-3", "\"2-3\" is not a port"),
        ("127.0.0.1:7099-7000", "7099-7000 is empty"),
        ("unix:", "path of the unix socket is missing"),
        ("unix:@", "name of the abstract unix socket is missing"),
    ];
    for (text, what) in cases {
        let error = text.parse::<Endpoint>().expect_err(text).to_string();
        assert!(error.contains(what), "{text}: no {what:?} in {error:?}");
        assert!(error.contains("127.0.0.1:8080") && error.contains("unix:/run/"), "{text}: {error:?}");
        assert_eq!(error.lines().count(), 1, "{text}: {error:?}");
    }
}

#[test]
fn a_range_that_begins_with_the_kernels_choice_is_none() {
    // Port 0 is whichever is free; nothing follows it in a row.
    assert!("127.0.0.1:0-5".parse::<Endpoint>().is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_endpoint_is_shown_as_it_is_written(ip: std::net::IpAddr, first in 1_u16.., more in 0_u16..20) {
        let last = first.saturating_add(more);
        let host = SocketAddr::new(ip, first).to_string();
        let text = if first == last { host } else { format!("{host}-{last}") };
        let endpoint: Endpoint = text.parse().expect("an endpoint");
        prop_assert_eq!(endpoint.to_string(), text);
    }
}
