//! Prices of what a client subscribes to: `cargo run --release --example prices [ADDRESS:PORT]`, then
//! `steadfast connect ws://127.0.0.1:8080/` and a line such as `{"subscribe": "EURUSD"}`.

use serde_json::{Value, json};
use std::thread;
use std::time::Duration;
use steadfast::server::{Handle, Handler, Message, Overflow, Peer, Server};

const SYMBOLS: [(&str, f64); 3] = [("EURUSD", 1.08), ("GBPUSD", 1.27), ("USDJPY", 156.2)];

struct Prices;

/// The symbol that a field of a command names.
fn symbol(name: &Value) -> Option<&'static str> {
    SYMBOLS.iter().map(|(symbol, _)| *symbol).find(|symbol| name == symbol)
}

impl Handler for Prices {
    fn message(&mut self, peer: &mut Peer, message: Message) {
        let command: Value = message.text().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let reply = match (symbol(&command["subscribe"]), symbol(&command["unsubscribe"])) {
            (Some(symbol), _) => {
                peer.subscribe(symbol);
                json!({ "subscribed": symbol })
            }
            (None, Some(symbol)) => {
                peer.unsubscribe(symbol);
                json!({ "unsubscribed": symbol })
            }
            (None, None) => json!({
                "error": "expected {\"subscribe\": SYMBOL} or {\"unsubscribe\": SYMBOL}",
                "symbols": SYMBOLS.map(|(symbol, _)| symbol),
            }),
        };
        peer.send(&reply.to_string());
    }
}

/// Publishes a new price of each symbol ten times a second, on the topic of that name.
fn feed(server: &Handle) {
    for step in 0_u32.. {
        for (symbol, price) in SYMBOLS {
            let price = price * (1.0 + f64::from(step).sin() / 1000.0);
            server.publish(symbol, &json!({ "symbol": symbol, "price": price, "step": step }).to_string());
        }
        thread::sleep(Duration::from_millis(100));
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".into());
    // A client that is too slow for every price gets the latest of each symbol.
    let server = Server::new().listen(&address)?.route_with(&["/"], Overflow::KeepLatest, || Prices).spawn()?;
    println!("listening on {}", server.endpoints()[0]);
    let publisher = server.clone();
    thread::spawn(move || feed(&publisher));
    Ok(server.join()?)
}
