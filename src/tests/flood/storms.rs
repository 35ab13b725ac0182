//! Storms: exactly the given share is reset and reopened; a connection that does not reopen is lost.

use crate::host::Serve;
use crate::rig::{assert_agrees, assert_sums, assert_whole, counts, flood, number, phases, stranger};
use crate::wire::Wire;
use serde_json::json;
use std::io;
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

#[test]
fn storm_resets_and_reopens_exactly_its_share() {
    let server = Serve::start(&[]);
    let url = format!("ws://{}/echo", server.address());
    let scenario = phases(&["ramp", "reply", "storm share=0.29", "check", "storm share=1", "reply", "check"]);
    let (ended, report) = flood(&[&[url.as_str(), "--connections", "200"], &scenario[..]].concat());
    assert_whole(&ended, &report, 200);
    assert_agrees(&report);
    assert_eq!(counts(&report, ["opened", "reopened", "answered", "held"]), [200, 258, 200, 200], "{report}");
    assert_eq!([&report["reconnect"]["samples"], &report["connect"]["samples"]], [258, 200]);
    // Another is opened for this question.
    let stats = Wire::connect(server.address()).stats();
    assert_eq!(stats["counters"]["upgraded"], 458, "{stats}");
    let phases = report["phases"].as_array().expect("phases");
    let storms = phases.iter().filter(|phase| phase["kind"] == "storm");
    let told: Vec<_> = storms.map(|storm| (&storm["name"], &storm["latencies"]["reconnect"]["samples"])).collect();
    assert_eq!(told, [(&json!("storm"), &json!(58)), (&json!("storm2"), &json!(200))]);
    server.stop();
}

#[test]
fn storm_with_share_0_resets_nothing() {
    let server = Serve::start(&[]);
    let url = format!("ws://{}/echo", server.address());
    let scenario = phases(&["ramp", "storm share=0", "check"]);
    let (ended, report) = flood(&[&[url.as_str(), "--connections", "30"], &scenario[..]].concat());
    assert_whole(&ended, &report, 30);
    assert_eq!(counts(&report, ["reopened", "held"]), [0, 30]);
    server.stop();
}

#[test]
fn connection_refused_after_a_storm_is_lost() {
    const ALL: usize = 40;
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let url = format!("tcp://{}", listener.local_addr().expect("its address"));
    thread::spawn(move || {
        let streams: Vec<_> = listener.incoming().take(ALL).map_while(Result::ok).collect();
        drop(listener); // before the first is answered
        for stream in streams {
            thread::spawn(move || io::copy(&mut &stream, &mut &stream));
        }
    });
    let scenario = phases(&["ramp", "reply", "storm share=0.25", "check"]);
    let (ended, report) = flood(&[&[url.as_str(), "--connections", "40"], &scenario[..]].concat());
    assert_sums(&ended, &report, 40);
    assert_eq!(report["lost_by_cause"], json!({ "refused": 10 }), "{report}");
    assert_eq!(counts(&report, ["opened", "reopened", "held", "closed"]), [40, 0, 30, 30], "{report}");
    assert_eq!(ended.code(), 1, "{ended:?}");
}

#[test]
fn connection_without_upgrade_after_a_storm_is_lost() {
    let granted = AtomicUsize::new(0);
    // Of twenty that come back the first five are granted what they want.
    let address = stranger(move |_| granted.fetch_add(1, Ordering::Relaxed) < 45);
    let url = format!("ws://{address}/");
    let scenario = phases(&["ramp", "reply", "storm share=0.5", "check"]);
    let more = ["--connections", "40", "--connect-timeout-s", "1"];
    let (ended, report) = flood(&[&[url.as_str()], &more[..], &scenario[..]].concat());
    assert_sums(&ended, &report, 40);
    assert_eq!(report["lost_by_cause"], json!({ "timeout: connect": 15 }), "{report}");
    assert_eq!(counts(&report, ["opened", "reopened", "held", "closed"]), [40, 5, 25, 25], "{report}");
    assert_eq!((ended.code(), number(&report["reconnect"], "samples")), (1, 5), "{ended:?}");
}
