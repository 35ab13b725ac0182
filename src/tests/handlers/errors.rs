//! Why a server of the library does not start.

use std::error::Error;
use std::io;
use std::net::{SocketAddr, TcpListener};
use steadfast::proto::extension::Compression;
use steadfast::proto::session::Limits;
use steadfast::proto::upgrade::{Origins, Policy};
use steadfast::server::{Config, Deadlines, Endpoint, QueueLimits, RunError, Server, SettingError, StartError};

fn refused(config: Config) -> StartError {
    Server::from(config).spawn().map(|_| ()).expect_err("it cannot start")
}

/// What cannot be, and the names of the fields that it names.
fn wrong_settings() -> Vec<(Config, Vec<&'static str>)> {
    let base = Config::default;
    let policy = |policy: Policy| Config { upgrade: policy, ..base() };
    let compression = |compression| policy(Policy { compression: Some(compression), ..Policy::default() });
    let deadlines = Deadlines { ping_s: 5, idle_s: 5, ..Deadlines::default() };
    let queue = QueueLimits { max_queued_bytes: 9, ..QueueLimits::default() };
    let limits = Limits { max_message_bytes: 10, ..Limits::default() };
    vec![
        (Config { max_connections: Some(0), ..base() }, vec!["max_connections"]),
        (Config { reactors: Some(0), ..base() }, vec!["reactors"]),
        (Config { reactors: Some(4097), ..base() }, vec!["reactors"]),
        (
            compression(Compression { max_window_bits: 16, ..Compression::default() }),
            vec!["upgrade.compression.max_window_bits"],
        ),
        (compression(Compression { level: 0, ..Compression::default() }), vec!["upgrade.compression.level"]),
        (Config { read_buffer_bytes: 4095, ..base() }, vec!["read_buffer_bytes"]),
        (Config { max_events_per_turn: 0, ..base() }, vec!["max_events_per_turn"]),
        (Config { max_accepts_per_turn: 0, ..base() }, vec!["max_accepts_per_turn"]),
        (Config { source_prefix_v4: 33, ..base() }, vec!["source_prefix_v4"]),
        (Config { source_prefix_v6: 0, ..base() }, vec!["source_prefix_v6"]),
        (Config { max_long_files: 0, ..base() }, vec!["max_long_files"]),
        (Config { tcp_keepalive_s: 40_000, ..base() }, vec!["tcp_keepalive_s"]),
        (policy(Policy { subprotocols: vec!["a b".into()], ..Policy::default() }), vec!["upgrade.subprotocols"]),
        (
            policy(Policy { origins: Origins::Listed(vec!["example.org".into()]), ..Policy::default() }),
            vec!["upgrade.origins"],
        ),
        (policy(Policy { hosts: vec!["a b".into()], ..Policy::default() }), vec!["upgrade.hosts"]),
        (Config { response_fields: vec!["no colon".into()], ..base() }, vec!["response_fields"]),
        (Config { deadlines, ..base() }, vec!["deadlines.ping_s", "deadlines.idle_s"]),
        (Config { drain_s: 9, drain_hard_s: 8, ..base() }, vec!["drain_s", "drain_hard_s"]),
        (Config { queue, ..base() }, vec!["queue.max_queued_bytes", "limits.max_message_bytes"]),
        (Config { limits, max_buffer_bytes: Some(9), ..base() }, vec!["max_buffer_bytes", "limits.max_message_bytes"]),
    ]
}

#[test]
fn invalid_settings_are_named_as_fields_and_as_the_program_calls_them() {
    for (config, fields) in wrong_settings() {
        let error = refused(config);
        let text = error.to_string();
        let renamed = error.with_names(&|field| format!("<{field}>"));
        for field in fields {
            assert!(text.contains(&format!("Config::{field}")), "no {field} in {text}");
            assert!(renamed.contains(&format!("<{field}>")), "no {field} in {renamed}");
        }
        assert!(!text.contains("--") && !renamed.contains("Config::"), "{text}, {renamed}");
        let StartError::Setting(setting) = &error else { panic!("{error:?}") };
        assert_eq!(error.source().map(ToString::to_string), Some(setting.to_string()));
        assert_eq!(setting.source().is_some(), matches!(setting, SettingError::ResponseField(..)));
    }
}

#[test]
fn address_in_use_is_an_error_with_its_address_and_source() {
    let other = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address: SocketAddr = other.local_addr().expect("its address");
    let config = || Config { listen: vec![Endpoint::Tcp(vec![address])], ..Config::default() };
    let error = refused(config());
    let StartError::Listen(at, cause) = &error else { panic!("{error:?}") };
    assert_eq!((*at, cause.kind()), (address, io::ErrorKind::AddrInUse));
    let source = error.source().and_then(|source| source.downcast_ref::<io::Error>()).expect("the cause");
    assert_eq!(source.kind(), io::ErrorKind::AddrInUse);
    let error = Server::from(config()).run().expect_err("nor does it run");
    assert!(matches!(error, RunError::Start(StartError::Listen(..))), "{error:?}");
    assert!(error.source().is_some_and(|start| start.source().is_some()));
}

#[test]
fn folder_that_does_not_exist_is_an_error_with_its_path_and_source() {
    let error = Server::new().files("/*", "no/such/folder").map(|_| ()).expect_err("it cannot be opened");
    let StartError::Folder(path, cause) = &error else { panic!("{error:?}") };
    assert_eq!((path.to_str(), cause.kind()), (Some("no/such/folder"), io::ErrorKind::NotFound));
    assert!(error.source().is_some());
}
