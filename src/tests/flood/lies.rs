//! Reconciliation: the server's figures differ from the flood's, or cannot be compared.

use crate::host::{Local, Serve, quick};
use crate::rig::{Flooding, assert_sums, assert_whole, flood, foreign, phases, read_frame, read_head};
use crate::wire::{CLOSE, Wire};
use serde_json::Value;
use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use steadfast::server::Config;

/// The names of the figures that do not agree.
fn disputed(report: &Value) -> Vec<&str> {
    let figures = report["reconciliation"]["figures"].as_array().unwrap_or_else(|| panic!("no figures: {report}"));
    let wrong = figures.iter().filter(|figure| figure["agrees"] == false);
    wrong.map(|figure| figure["what"].as_str().expect("a name")).collect()
}

/// All was well, but for what the server says.
fn assert_disputed(ended: &crate::host::Ended, report: &Value, planned: u64, what: &[&str]) {
    assert_sums(ended, report, planned);
    let mut disputed = disputed(report);
    // Whoever asks through another program may still be there when he asks again.
    disputed.retain(|name| *name != "connections left" || what.contains(name));
    assert_eq!(disputed, what, "{}", report["reconciliation"]);
    assert_eq!(report["reconciliation"]["agrees"], false);
    assert_eq!(report["connections"]["lost"], 0, "{report}");
    assert_eq!((ended.code(), &report["ok"]), (1, &Value::Bool(false)), "{ended:?}");
}

#[test]
fn another_client_of_the_server_is_reported_as_a_difference() {
    let local = Local::start(quick());
    let url = format!("ws://{}/echo", local.address);
    let mut flooding = Flooding::start(
        &[&[url.as_str(), "--connections", "20"], &phases(&["ramp", "reply", "hold for_s=2"])[..]].concat(),
    );
    flooding.reaches("hold");
    let mut guest = Wire::websocket(local.address);
    guest.echo(b"one more");
    let (ended, report) = flooding.ended();
    let what = ["connections upgraded", "messages to the server", "messages from the server", "connections left"];
    assert_disputed(&ended, &report, 20, &what);
}

/// In front of `server`: hands on the handshake and the Close, and answers the messages itself.
fn swallowing(server: SocketAddr) -> SocketAddr {
    foreign(move |mut client| {
        let head = read_head(&mut client)?;
        let mut upstream = TcpStream::connect(server)?;
        upstream.write_all(head.as_bytes())?;
        if !head.contains("Upgrade: websocket") {
            return relay(client, upstream);
        }
        let answer = read_head(&mut upstream)?;
        client.write_all(answer.as_bytes())?;
        loop {
            let (frame, payload) = read_frame(&mut client)?;
            if frame[0] == CLOSE {
                upstream.write_all(&frame)?;
                return relay(client, upstream);
            }
            client.write_all(&[&[frame[0], payload.len() as u8], &payload[..]].concat())?;
        }
    })
}

/// Hands on what either says, until both have ended.
fn relay(client: TcpStream, server: TcpStream) -> io::Result<()> {
    let one_way = |from: TcpStream, to: TcpStream| {
        // An end with an error is an end.
        let _ = io::copy(&mut &from, &mut &to);
        let _ = to.shutdown(Shutdown::Write);
    };
    let (from, to) = (client.try_clone()?, server.try_clone()?);
    let up = thread::spawn(move || one_way(from, to));
    one_way(server, client);
    up.join().map_err(|_| io::ErrorKind::Other.into())
}

#[test]
fn messages_that_did_not_reach_the_server_are_reported_as_a_difference() {
    let local = Local::start(quick());
    let url = format!("ws://{}/echo", swallowing(local.address));
    let (ended, report) = flood(&[&url, "--connections", "20", "--messages", "3", "--trickle", "0"]);
    assert_eq!(report["replies"], 80, "{report}");
    assert_disputed(&ended, &report, 20, &["messages to the server", "messages from the server"]);
}

/// One address with two servers: `which` chooses the server of each connection.
fn in_turn(servers: [SocketAddr; 2], which: fn(usize) -> usize) -> SocketAddr {
    let next = AtomicUsize::new(0);
    foreign(move |client| {
        let server = servers[which(next.fetch_add(1, Ordering::Relaxed))];
        relay(client, TcpStream::connect(server)?)
    })
}

#[test]
fn several_servers_at_one_address_are_not_reconciled() {
    let servers = [(); 2].map(|()| Local::start(quick()));
    let addresses = [&servers[0], &servers[1]].map(|local| local.address);
    // The second way the first two questions go to the same one, and what was two is found out in the end.
    for which in [|number| number % 2, |number| usize::from(number > 2 && number % 2 == 0)] as [fn(usize) -> usize; 2] {
        let url = format!("ws://{}/echo", in_turn(addresses, which));
        let (ended, report) = flood(&[&url, "--connections", "20"]);
        assert_whole(&ended, &report, 20);
        assert_eq!(report["reconciliation"], Value::Null);
    }
}

#[test]
fn several_targets_are_not_reconciled() {
    let (one, two) = (Local::start(quick()), Local::start(quick()));
    let raw = Local::start(Config { protocol: steadfast::server::Protocol::Tcp, ..quick() });
    let [ws, other, http] = [
        format!("ws://{}/echo", one.address),
        format!("ws://{}/echo", two.address),
        format!("http://{}/", one.address),
    ];
    let tcp = format!("tcp://{}", raw.address);
    for urls in [&[ws.as_str(), &other][..], &[&http], &[&tcp]] {
        let (ended, report) = flood(&[urls, &["--connections", "10"]].concat());
        assert_whole(&ended, &report, 10);
        assert_eq!(report["reconciliation"], Value::Null, "{urls:?}");
    }
}

#[test]
fn restarted_server_is_not_reconciled() {
    let server = Serve::start(&[]);
    let address = server.address().to_string();
    let url = format!("ws://{address}/echo");
    let mut flooding = Flooding::start(
        &[&[url.as_str(), "--connections", "10"], &phases(&["ramp", "reply", "hold for_s=2"])[..]].concat(),
    );
    flooding.reaches("hold");
    server.stop();
    let again = Serve::of(crate::host::steadfast("", &["serve", "--listen", &address]));
    let (ended, report) = flooding.ended();
    assert_sums(&ended, &report, 10);
    assert_eq!(report["lost_by_cause"], serde_json::json!({ "close code 1001": 10 }));
    assert_eq!((&report["reconciliation"], ended.code()), (&Value::Null, 1));
    again.stop();
}
