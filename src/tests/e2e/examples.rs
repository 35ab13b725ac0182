//! The examples, as they are: each is run and talked to, and is as short as was promised.

use crate::host::Running;
use crate::wire::{CLOSE, Frame, TEXT, UPGRADE, Wire, close_body, frame};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Once;
use std::time::{Duration, Instant};

/// Where cargo puts the examples: beside the folder of the tests. It builds them before it runs all tests, and not before it
/// runs some.
fn program(name: &str) -> PathBuf {
    static BUILT: Once = Once::new();
    BUILT.call_once(|| {
        let build = Command::new(env!("CARGO")).args(["build", "--quiet", "--examples"]).status();
        assert!(build.expect("cargo").success(), "the examples do not build");
    });
    let tests = std::env::current_exe().expect("this program");
    tests.ancestors().nth(2).expect("the folder above").join("examples").join(name)
}

fn start(name: &str) -> (Running, SocketAddr) {
    let mut command = Command::new(program(name));
    command.arg("127.0.0.1:0").stdin(Stdio::null());
    let mut running = Running::spawn(command);
    let line = running.next_line().expect("a line");
    let address = line.strip_prefix("listening on ").and_then(|address| address.parse().ok());
    (running, address.unwrap_or_else(|| panic!("no address: {line}")))
}

fn open(address: SocketAddr, path: &str) -> Wire {
    let mut wire = Wire::connect(address);
    wire.send(UPGRADE.replace("/echo", path).as_bytes());
    wire.assert_upgraded();
    wire
}

fn text(payload: &str) -> Frame {
    Frame { first: TEXT, payload: payload.into() }
}

#[test]
fn echo() {
    let (_running, address) = start("echo");
    let mut wire = open(address, "/");
    wire.echo(b"again");
}

#[test]
fn push() {
    let (_running, address) = start("push");
    let mut wires: Vec<Wire> = (0..5).map(|_| open(address, "/")).collect();
    for wire in &mut wires {
        let seconds = |frame: Frame| String::from_utf8(frame.payload).expect("text").parse::<u64>().expect("seconds");
        let (first, second) = (seconds(wire.frame()), seconds(wire.frame()));
        assert!(second >= first, "{first}, then {second}");
    }
}

#[test]
fn chat() {
    let (_running, address) = start("chat");
    let mut ada = open(address, "/rooms/kitchen");
    let mut stranger = open(address, "/rooms/cellar");
    let mut bob = open(address, "/rooms/kitchen");
    assert_eq!(ada.frame(), text("somebody comes"));
    bob.send(&frame(TEXT, b"hello"));
    assert_eq!(ada.frame(), text("hello"));
    // That somebody came, before him, may have been on its way to his reactor still when he did.
    let heard = std::iter::repeat_with(|| bob.frame()).find(|heard| *heard != text("somebody comes"));
    assert_eq!(heard, Some(text("hello")));
    drop(bob);
    assert_eq!(ada.frame(), text("somebody leaves"));
    stranger.assert_silent();
}

#[test]
fn authorized() {
    let (_running, address) = start("authorized");
    let upgrade = UPGRADE.replace("/echo", "/");
    let mut wire = Wire::connect(address);
    wire.send(upgrade.as_bytes());
    let refused = wire.answer();
    assert_eq!((refused.status, refused.field("WWW-Authenticate")), (401, Some("Bearer")));
    let mut wire = Wire::connect(address);
    wire.send(upgrade.replace("\r\n\r\n", "\r\nAuthorization: Bearer sesame\r\n\r\n").as_bytes());
    wire.assert_upgraded();
    assert_eq!(wire.frame(), text("welcome"));
    wire.echo(b"inside");
}

#[test]
fn rooms() {
    let (_running, address) = start("rooms");
    let ask = |room: &str, cookie: &str| {
        let mut wire = Wire::connect(address);
        let request = UPGRADE.replace("/echo", &format!("/rooms/{room}"));
        wire.send(request.replace("\r\n\r\n", &format!("\r\n{cookie}\r\n")).as_bytes());
        wire
    };
    for cookie in ["", "Cookie: token=wrong\r\n", "Cookie: x=sesame\r\n", "X-Cookie: token=sesame\r\n"] {
        let refused = ask("kitchen", cookie).answer();
        assert_eq!((refused.status, refused.field("WWW-Authenticate")), (401, Some("Cookie")), "{cookie}");
    }
    let enter = |room: &str, token: &str| {
        let mut wire = ask(room, &format!("Cookie: a=b; token={token}\r\n"));
        wire.assert_upgraded();
        wire
    };
    let mut ada = enter("caf%C3%A9", "sesame");
    assert_eq!(ada.frame(), text("ada has come to café"));
    let mut stranger = enter("cellar", "open");
    assert_eq!(stranger.frame(), text("bob has come to cellar"));
    let mut bob = enter("caf%c3%a9", "open");
    assert_eq!(ada.frame(), text("bob has come to café"));
    bob.send(&frame(TEXT, b"hello"));
    assert_eq!(ada.frame(), text("bob: hello"));
    drop(bob);
    assert_eq!(ada.frame(), text("bob has left"));
    stranger.assert_silent();
}

#[test]
fn state() {
    let (_running, address) = start("state");
    let (mut one, mut other) = (open(address, "/"), open(address, "/"));
    one.send(&frame(TEXT, b"40"));
    other.send(&frame(TEXT, b"-1"));
    assert_eq!((one.frame(), other.frame()), (text("40 in 1 entries"), text("-1 in 1 entries")));
    one.send(&frame(TEXT, b"2"));
    assert_eq!(one.frame(), text("42 in 2 entries"));
    other.send(&frame(TEXT, b"many"));
    assert_eq!(other.frame().payload, close_body(1007, b"that is no number"));
}

/// The JSON of the next message.
fn json(wire: &mut Wire) -> serde_json::Value {
    let frame = wire.frame();
    assert_eq!(frame.first, TEXT);
    serde_json::from_slice(&frame.payload).expect("JSON")
}

#[test]
fn prices() {
    let (_running, address) = start("prices");
    let mut wire = open(address, "/");
    for wrong in ["", "EURUSD", "[]", r#"{"subscribe": "DOGE"}"#, r#"{"subscribe": ["EURUSD"]}"#] {
        wire.send(&frame(TEXT, wrong.as_bytes()));
        let refused = json(&mut wire);
        assert!(refused["error"].is_string() && refused["symbols"][2] == "USDJPY", "{wrong}: {refused}");
    }
    wire.send(&frame(TEXT, br#"{"subscribe": "EURUSD"}"#));
    assert_eq!(json(&mut wire)["subscribed"], "EURUSD");
    let (first, second) = (json(&mut wire), json(&mut wire));
    assert_eq!((&first["symbol"], &second["symbol"]), (&"EURUSD".into(), &"EURUSD".into()));
    assert_eq!(first["step"].as_u64().map(|step| step + 1), second["step"].as_u64());
    assert!((1.07..1.09).contains(&first["price"].as_f64().expect("a price")), "{first}");
    wire.send(&frame(TEXT, br#"{"unsubscribe": "EURUSD"}"#));
    // What had been published before comes first.
    while json(&mut wire)["unsubscribed"] != "EURUSD" {}
    wire.assert_silent();
}

/// The coin and the players' places in the next picture of the field that has `count` players; and what else came before it.
fn field(wire: &mut Wire, count: usize) -> (i32, Vec<i32>, Vec<String>) {
    let mut others = Vec::new();
    loop {
        let text = String::from_utf8(wire.frame().payload).expect("text");
        let Some((coin, players)) = text.strip_prefix("coin ").and_then(|rest| rest.split_once(", players ")) else {
            others.push(text);
            continue;
        };
        let players: Vec<i32> = players.split_whitespace().map(|at| at.parse().expect("a number")).collect();
        if players.len() == count {
            return (coin.parse().expect("a number"), players, others);
        }
    }
}

#[test]
fn game() {
    let (running, address) = start("game");
    let (mut one, mut two) = (open(address, "/"), open(address, "/"));
    let began = Instant::now();
    let (coin, players, _) = field(&mut one, 2);
    assert_eq!((coin, &players[..]), (3, &[0, 0][..]));
    for _ in 0..10 {
        field(&mut one, 2);
    }
    let ten_ticks = began.elapsed();
    assert!((Duration::from_millis(400)..Duration::from_secs(5)).contains(&ten_ticks), "{ten_ticks:?}");
    for word in ["left", "right", "right", "right", "jump"] {
        two.send(&frame(TEXT, word.as_bytes()));
    }
    let mut told = Vec::new();
    while told.len() < 2 {
        told.extend(field(&mut two, 2).2);
    }
    told.sort();
    assert_eq!(told, ["expected left or right", "you have the coin"]);
    // The other player sees it, and is told nothing.
    let mut players = loop {
        let (coin, players, others) = field(&mut one, 2);
        assert_eq!(others, [""; 0]);
        if coin == 10 {
            break players;
        }
    };
    players.sort_unstable();
    assert_eq!(players, [0, 3]);
    drop(two);
    field(&mut one, 1);
    // It ends as a server does.
    running.signal("TERM");
    let close = std::iter::repeat_with(|| one.frame()).find(|frame| frame.first == CLOSE).expect("a Close");
    one.send(&frame(CLOSE, &close.payload));
    assert_eq!(running.ended().code(), 0);
}

#[test]
fn examples_are_short() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/examples");
    let files: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("examples").map(|entry| entry.expect("one").path()).collect();
    assert!(files.len() >= 8, "{files:?}");
    for file in files {
        let lines = std::fs::read_to_string(&file).expect("a text").lines().count();
        // The first five show one thing each; the others are small programs.
        let is_program = ["prices", "game", "rooms"].iter().any(|name| file.ends_with(format!("{name}.rs")));
        let max = if is_program { 75 } else { 40 };
        assert!(lines < max, "{}: {lines} lines", file.display());
    }
}
