//! The routes of `steadfast serve`: echo, push at an interval, broadcast, chat, and for comparison polling and long polling;
//! most have a page for a browser.

mod chat;
mod echo;
mod name;
mod page;
mod push;
mod query;

pub use chat::{Chat, Rooms};
pub use echo::{Broadcast, Echo};
pub use push::{Push, Ticker};

use self::page::page;
use super::{Overflow, Reply, Request, Response, Server};
use std::sync::Arc;
use std::time::Duration;

/// The settings of the routes.
#[derive(Clone, Copy, Debug)]
pub struct DemoRoutes {
    /// How often `/push` pushes the time.
    pub push_interval: Duration,
    /// The overflow policy of `/broadcast` and `/chat`.
    pub overflow: Overflow,
    /// Whether `/` is left to a folder that is served at all other paths.
    pub leaves_index: bool,
}

impl Default for DemoRoutes {
    fn default() -> Self {
        Self { push_interval: Duration::from_secs(3), overflow: Overflow::default(), leaves_index: false }
    }
}

impl DemoRoutes {
    /// Adds the routes to a server.
    ///
    /// ```
    /// use steadfast::server::Server;
    /// use steadfast::server::demo::DemoRoutes;
    /// let server = DemoRoutes::default().add_to(Server::new().listen("127.0.0.1:0")?).spawn()?;
    /// server.stop();
    /// server.join()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn add_to(self, server: Server) -> Server {
        let ticker = Ticker::new(self.push_interval);
        let rooms = Arc::new(Rooms::default());
        let chat = page(include_str!("../pages/chat.html"));
        let server = match self.leaves_index {
            true => server,
            false => server.front_page("/", page(include_str!("../pages/index.html"))),
        };
        server
            .route_with(&["/", "/echo"], Overflow::Close, || Echo)
            .get_static("/echo", page(include_str!("../pages/echo.html")))
            .post("/echo", |request| Response::bytes(request.body().to_vec()))
            // A newer time replaces an older one that has not been sent.
            .route_with(&["/push"], Overflow::KeepLatest, move || Push::new(ticker))
            .get_static("/push", page(include_str!("../pages/push.html")))
            .route_with(&["/broadcast"], self.overflow, || Broadcast)
            .route_with(&["/chat", "/chat/*"], self.overflow, move || Chat::new(Arc::clone(&rooms)))
            .get_static("/chat", chat.clone())
            .get_static("/chat/*", chat)
            .get_static("/compare", page(include_str!("../pages/compare.html")))
            .get("/poll", move |request: &Request<'_>| counted(request, ticker.text(ticker.now())))
            .get("/long-poll", move |request: &Request<'_>| long_poll(request, ticker))
            .stats("/stats")
    }
}

/// Makes a JSON response that tells the length of the request's head, which a script in a browser cannot see.
fn counted(request: &Request<'_>, document: String) -> Response {
    let field = format!("X-Request-Bytes: {}", request.head_bytes());
    Response::json(document).with_field(&field).expect("a number has no line break")
}

/// Responds with the current tick if it is not the one that the client has (`after`), and else waits for the next one.
fn long_poll(request: &Request<'_>, ticker: Ticker) -> Reply {
    let after = request.query("after").and_then(|after| after.parse::<u64>().ok());
    let now = ticker.now();
    let response = counted(request, ticker.text(now));
    match after {
        // Its publication may still be on its way to this reactor, so the wait is for a later tick. A client with a tick that
        // is yet to come has it from an earlier run of the server, and gets the current one.
        Some(after) if after == now => {
            Reply::next_where(push::TOPIC, response, move |text| push::tick_of(text).is_some_and(|tick| tick > after))
        }
        _ => Reply::Now(response),
    }
}
