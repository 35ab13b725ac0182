//! Sockets that listen: what keeps others from their address, and what connections inherit.

use super::{SocketBuffers, listen_tcp, reserve};
use socket2::{Domain, Socket, Type};
use std::net::SocketAddr;

#[test]
fn an_address_is_reserved_for_this_process_and_shared_within_it() {
    let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    let reserved = reserve(any).expect("a reservation");
    assert_ne!(reserved.address.port(), 0);
    let buffers = SocketBuffers::default();
    let twice = [listen_tcp(reserved.address, buffers, None), listen_tcp(reserved.address, buffers, None)];
    assert!(twice.iter().all(Result::is_ok), "{twice:?}");
    let other = reserve(reserved.address).expect_err("someone listens there");
    assert_eq!(other.kind(), std::io::ErrorKind::AddrInUse);
}

#[test]
fn accepted_connections_inherit_keepalive() {
    let address = "127.0.0.1:0".parse().expect("an address");
    for (keepalive_s, expected) in [(None, None), (Some(60), Some((60, 10, 3))), (Some(1), Some((1, 1, 3)))] {
        let listener = Socket::from(listen_tcp(address, SocketBuffers::default(), keepalive_s).expect("a listener"));
        let address = listener.local_addr().expect("its address");
        let client = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        client.connect(&address).expect("a connection");
        listener.set_nonblocking(false).expect("blocking");
        let (accepted, _) = listener.accept().expect("a connection");
        let found = accepted.keepalive().expect("SO_KEEPALIVE").then(|| {
            let seconds = |time: std::io::Result<std::time::Duration>| time.expect("an option").as_secs();
            let retries = accepted.tcp_keepalive_retries().expect("TCP_KEEPCNT");
            (seconds(accepted.tcp_keepalive_time()), seconds(accepted.tcp_keepalive_interval()), retries)
        });
        assert_eq!(found, expected);
    }
}
