//! What most of these tests need: a flood and its report, and other servers.

use crate::host::{Ended, Running, Scratch, steadfast, text};
use crate::wire::CLOSE;
use serde_json::Value;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

/// A flood under way.
#[derive(Debug)]
pub(crate) struct Flooding {
    pub(crate) running: Running,
    file: PathBuf,
    /// The lines that were waited for.
    reached: Vec<String>,
    _scratch: Scratch,
}

impl Flooding {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let scratch = Scratch::new();
        let file = scratch.file("report.json");
        let running = Running::spawn(steadfast("", &[&["flood", "--json", text(&file)], arguments].concat()));
        Self { running, file, reached: Vec::new(), _scratch: scratch }
    }

    /// Waits for the first line of a phase.
    pub(crate) fn reaches(&mut self, phase: &str) {
        self.reached.push(self.running.error_line(&format!("{phase} ")));
    }

    /// Waits until it has ended; returns its output and its report.
    pub(crate) fn ended(self) -> (Ended, Value) {
        let mut ended = self.running.ended();
        ended.err.splice(0..0, self.reached);
        let report = std::fs::read(&self.file).unwrap_or_default();
        let report = serde_json::from_slice(&report).unwrap_or_else(|error| panic!("no report: {error}: {ended:?}"));
        (ended, report)
    }
}

/// Runs a flood to its end.
pub(crate) fn flood(arguments: &[&str]) -> (Ended, Value) {
    Flooding::start(arguments).ended()
}

/// The arguments for `phases`, one after the other.
pub(crate) fn phases<'a>(phases: &[&'a str]) -> Vec<&'a str> {
    phases.iter().flat_map(|phase| ["--phase", phase]).collect()
}

pub(crate) fn number(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap_or_else(|| panic!("no {name}: {value}"))
}

/// The counts of `names`, of the report's connections.
pub(crate) fn counts<const N: usize>(report: &Value, names: [&str; N]) -> [u64; N] {
    names.map(|name| number(&report["connections"], name))
}

/// What the states of a row sum to.
fn sum(states: &Value) -> u64 {
    let states = states.as_object().unwrap_or_else(|| panic!("no states: {states}"));
    assert_eq!(states.len(), 9, "{states:?}");
    states.values().filter_map(Value::as_u64).sum()
}

/// Every connection is in exactly one state: in the end, at the end of each phase and each second, and in each line that
/// told where the flood stood. Each is closed or lost, and each that is lost has a cause.
pub(crate) fn assert_sums(ended: &Ended, report: &Value, planned: u64) {
    assert_eq!(sum(&report["states"]), planned, "{report}");
    for rows in ["phases", "timeline"] {
        let rows = report[rows].as_array().expect("rows");
        assert!(!rows.is_empty(), "{report}");
        rows.iter().for_each(|row| assert_eq!(sum(&row["states"]), planned, "{row}"));
    }
    let lines: Vec<&String> = ended.err.iter().filter(|line| line.contains(" s: ")).collect();
    assert!(!lines.is_empty(), "{ended:?}");
    for line in lines {
        let states = line.split_once("; ").map_or("", |(_, states)| states).split(", ");
        let counts = states.map(|state| state.split_once(' ').and_then(|(_, count)| count.parse::<u64>().ok()));
        assert_eq!(counts.map(|count| count.expect("a count")).sum::<u64>(), planned, "{line}");
    }
    let [closed, lost, all] = counts(report, ["closed", "lost", "planned"]);
    assert_eq!((closed + lost, all), (planned, planned), "{report}");
    let causes = report["lost_by_cause"].as_object().expect("causes");
    assert_eq!(causes.values().filter_map(Value::as_u64).sum::<u64>(), lost, "{report}");
}

/// All went as the scenario says, and the server says the same.
pub(crate) fn assert_whole(ended: &Ended, report: &Value, planned: u64) {
    assert_sums(ended, report, planned);
    assert_eq!((ended.code(), &report["ok"]), (0, &Value::Bool(true)), "{ended:?} {report}");
    assert_eq!(counts(report, ["opened", "closed", "lost"]), [planned, planned, 0], "{report}");
}

/// The server is one of ours and alone, and says the same as the flood.
pub(crate) fn assert_agrees(report: &Value) {
    assert_eq!(report["reconciliation"]["agrees"], true, "{}", report["reconciliation"]);
}

/// A server that treats every connection in its own way, each in its own thread.
pub(crate) fn foreign(treat: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("its address");
    let treat = Arc::new(treat);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let treat = Arc::clone(&treat);
            // How it ends is the flood's business.
            thread::spawn(move || drop(treat(stream)));
        }
    });
    address
}

/// Reads until the peer has gone.
pub(crate) fn until_gone(stream: &mut TcpStream) -> io::Result<()> {
    io::copy(stream, &mut io::sink()).map(drop)
}

/// Reads a request, and not a byte of what follows it.
pub(crate) fn read_head(stream: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.extend(byte);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// Grants the upgrade that `head` asks for, with more field lines.
pub(crate) fn grant(stream: &mut TcpStream, head: &str, fields: &str) -> io::Result<()> {
    let key = head.split("Sec-WebSocket-Key: ").nth(1).and_then(|rest| rest.split("\r\n").next()).unwrap_or_default();
    let accept = steadfast::proto::upgrade::accept_key(key.as_bytes());
    let accept = String::from_utf8_lossy(&accept);
    let head = format!(
        "HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{fields}Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    stream.write_all(head.as_bytes())
}

/// One short frame: as it came, and its payload without the mask.
pub(crate) fn read_frame(stream: &mut TcpStream) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let mut frame = vec![0; 6];
    stream.read_exact(&mut frame)?;
    let length = usize::from(frame[1] & 0x7f);
    assert!(length < 126, "no short frame");
    frame.resize(6 + length, 0);
    stream.read_exact(&mut frame[6..])?;
    let mask = &frame[2..6];
    let payload = frame[6..].iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
    Ok((frame, payload))
}

/// Sends every short frame back, up to the Close and with it.
pub(crate) fn echo_frames(stream: &mut TcpStream) -> io::Result<()> {
    loop {
        let (frame, payload) = read_frame(stream)?;
        stream.write_all(&[&[frame[0], payload.len() as u8], &payload[..]].concat())?;
        if frame[0] == CLOSE {
            return Ok(());
        }
    }
}

/// A WebSocket echo server that is not Steadfast; each head is passed to `see`, which decides whether it is upgraded.
pub(crate) fn stranger(see: impl Fn(&str) -> bool + Send + Sync + 'static) -> SocketAddr {
    foreign(move |mut stream| {
        let head = read_head(&mut stream)?;
        if !head.contains("Upgrade: websocket") {
            return Ok(()); // asked for its /stats
        }
        if !see(&head) {
            return until_gone(&mut stream);
        }
        grant(&mut stream, &head, "")?;
        echo_frames(&mut stream)
    })
}
