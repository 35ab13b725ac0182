//! A server that ends exactly every hundredth connection, for `bench/kills.sh`: `kills ADDRESS:PORT CONNECTIONS HOW`, where
//! HOW is `close` or `abort`, instead of the answer to its first message, or `hold`, when all have been answered.

mod kill;

use kill::{How, killing};
use steadfast::server::Server;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, connections, how] = &arguments[..] else { return Err("kills ADDRESS:PORT CONNECTIONS HOW".into()) };
    let how = match how.as_str() {
        "close" => How::Close,
        "abort" => How::Abort,
        "hold" => How::CloseInHold,
        _ => return Err("HOW is close, abort or hold".into()),
    };
    let planned: u64 = connections.parse()?;
    // Besides the flood's connections there is one that requests /stats.
    let server = Server::new().listen(address)?.max_connections(planned as usize + 100);
    let server = killing(server, how, 100, planned).spawn()?;
    println!("ready at {}", server.endpoints()[0]);
    Ok(server.join()?)
}
