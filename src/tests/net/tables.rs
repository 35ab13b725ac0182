//! A descriptor table for each reactor, inside a program that has more to do than serve.

use crate::limits::raise_nofile;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;
use steadfast::server::demo::DemoRoutes;
use steadfast::server::{Config, Endpoint, Handle, Server};

/// More connections than one table holds.
fn serve() -> Handle {
    let table = raise_nofile();
    let listen = vec!["127.0.0.1:0".parse().expect("an endpoint")];
    let server = DemoRoutes::default()
        .add_to(Server::from(Config { listen, max_connections: Some(table), ..Config::default() }))
        .spawn();
    let server = server.expect("a server");
    assert!(server.plan().own_tables, "{:?}", server.plan());
    server
}

#[test]
fn every_table_is_served_and_can_be_woken() {
    let server = serve();
    let Some(Endpoint::Tcp(addresses)) = server.endpoints().first() else { panic!("no address") };
    for _ in 0..50 {
        let mut client = TcpStream::connect(addresses[0]).expect("a connection");
        client.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        client.write_all(b"HEAD / HTTP/1.0\r\n\r\n").expect("it is taken");
        let mut answer = String::new();
        client.read_to_string(&mut answer).expect("an answer, then the end");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    server.stop();
    server.join().expect("no error");
}
