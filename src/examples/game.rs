//! A race for coins at 20 ticks a second: `cargo run --release --example game [ADDRESS:PORT]`, then
//! `steadfast connect ws://127.0.0.1:8080/` and lines with `left` or `right`. Ctrl-C ends it.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};
use steadfast::server::{Closed, ConnectionId, Handle, Handler, Message, Peer, Request, Server, StopSignals};

const TICK: Duration = Duration::from_millis(50);
const WIDTH: i32 = 16;

/// What the players do: from the reactors to the thread that has the state of the game.
enum Input {
    Join(ConnectionId),
    Move(ConnectionId, i32),
    Leave(ConnectionId),
}

struct Players(Sender<Input>);

impl Handler for Players {
    fn opened(&mut self, peer: &mut Peer, _request: &Request) {
        peer.subscribe("field");
        let _ = self.0.send(Input::Join(peer.id()));
    }

    fn message(&mut self, peer: &mut Peer, message: Message) {
        match message.text() {
            Some("left") => drop(self.0.send(Input::Move(peer.id(), -1))),
            Some("right") => drop(self.0.send(Input::Move(peer.id(), 1))),
            _ => drop(peer.send("expected left or right")),
        }
    }

    fn closed(&mut self, peer: &mut Peer, _closed: &Closed) {
        let _ = self.0.send(Input::Leave(peer.id()));
    }
}

/// Moves the players, shows everybody the field in each tick, and tells a player who gets the coin.
fn play(server: &Handle, inputs: &Receiver<Input>) {
    let (mut players, mut coin, mut next) = (HashMap::new(), 3, Instant::now());
    loop {
        for input in inputs.try_iter() {
            match input {
                Input::Join(id) => drop(players.insert(id, 0)),
                Input::Leave(id) => drop(players.remove(&id)),
                Input::Move(id, by) => drop(players.entry(id).and_modify(|at| *at = (*at + by).clamp(0, WIDTH - 1))),
            }
        }
        if let Some((winner, _)) = players.iter().find(|(_, at)| **at == coin) {
            drop(server.send(*winner, "you have the coin"));
            coin = (coin + 7) % WIDTH;
        }
        let positions: Vec<String> = players.values().map(i32::to_string).collect();
        server.publish("field", &format!("coin {coin}, players {}", positions.join(" ")));
        next += TICK;
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".into());
    let signals = StopSignals::catch()?;
    let (inputs, received) = channel();
    let server = Server::new().listen(&address)?.route("/", move || Players(inputs.clone())).spawn()?;
    println!("listening on {}", server.endpoints()[0]);
    let game = server.clone();
    thread::spawn(move || play(&game, &received));
    Ok(signals.join(&server)?)
}
