//! A request as the program sees it: in responders, hooks and when a WebSocket has been opened.

use super::params;
use super::pattern::Pattern;
use crate::proto::extension::NegotiatedCompression;
use crate::proto::http;
use crate::proto::upgrade::ServerHandshake;
use std::borrow::Cow;

/// The path of a request in its normal form, and the route's own path that it fits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Matched<'a> {
    pub(super) pattern: &'a Pattern,
    pub(super) path: &'a str,
}

/// A request: of plain HTTP, or for an upgrade.
///
/// It borrows what has been received. Nothing is decoded or copied until it is asked for.
///
/// ```
/// use steadfast::server::{Request, Response, Server};
///
/// fn greet(request: &Request) -> Response {
///     let language = request.header("accept-language").unwrap_or("en");
///     Response::text(format!("{} {} in {language}", request.method(), request.path()))
/// }
///
/// Server::new().get("/greeting", greet);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    head: &'a http::Request<'a>,
    route: Matched<'a>,
    /// What was negotiated, of a request for an upgrade that has not been refused.
    handshake: Option<&'a ServerHandshake<'a>>,
}

impl<'a> Request<'a> {
    /// A request of plain HTTP.
    pub(super) fn new(head: &'a http::Request<'a>, route: Matched<'a>) -> Self {
        Self { head, route, handshake: None }
    }

    /// A request for an upgrade, with the answer that is due.
    pub(super) fn upgrade(head: &'a http::Request<'a>, route: Matched<'a>, handshake: &'a ServerHandshake<'a>) -> Self {
        Self { head, route, handshake: Some(handshake) }
    }

    /// The method, e.g. `GET`; methods are case-sensitive (RFC 9110 section 9.1).
    pub fn method(&self) -> &'a str {
        self.head.method
    }

    /// The request target as it was received: path and query, or an absolute URI (RFC 9112 section 3.2).
    pub fn target(&self) -> &'a str {
        self.head.target
    }

    /// The path as it was received, percent-encoded, without the query.
    pub fn path(&self) -> &'a str {
        self.head.path()
    }

    /// The path as routes are matched: characters that need no percent-encoding are decoded (RFC 3986 section 6.2.2), see
    /// [`http::Request::normal_path`].
    pub fn normal_path(&self) -> &'a str {
        self.route.path
    }

    /// The value of a parameter of the route's path, e.g. of `room` in `/rooms/{room}`; that of `*` is what a trailing asterisk
    /// stands for. `None` if the route has no such parameter.
    ///
    /// It is percent-decoded: it may have any character, a slash or `..` too. A percent sign without two hexadecimal digits
    /// stays, and bytes that are not UTF-8 become U+FFFD.
    ///
    /// ```
    /// use steadfast::server::{Response, Server};
    ///
    /// let say = |request: &steadfast::server::Request| {
    ///     Response::text(format!("the room is {}", request.param("room").unwrap_or_default()))
    /// };
    /// Server::new().get("/rooms/{room}", say);
    /// ```
    pub fn param(&self, name: &str) -> Option<Cow<'a, str>> {
        let Matched { pattern, path } = self.route;
        pattern.param(path, name).map(params::decode)
    }

    /// The query as it was received, what follows the first question mark of the target; `None` if there is none.
    pub fn raw_query(&self) -> Option<&'a str> {
        self.head.target.split_once('?').map(|(_, query)| query)
    }

    /// The value of the first parameter `name` of the query. A parameter without a value has an empty one.
    ///
    /// Names and values are decoded as in the URL Standard, section 5.1 (application/x-www-form-urlencoded): a plus sign is a
    /// space, a percent sign without two hexadecimal digits stays, and bytes that are not UTF-8 become U+FFFD.
    ///
    /// ```
    /// use steadfast::server::{Response, Server};
    ///
    /// Server::new().get("/search", |request| match request.query("words") {
    ///     Some(words) => Response::text(format!("nothing has {words}")),
    ///     None => Response::text("search for what?"),
    /// });
    /// ```
    pub fn query(&self, name: &str) -> Option<Cow<'a, str>> {
        params::value(self.raw_query()?, name)
    }

    /// The names and values of all parameters of the query, in order, decoded as those of [`Request::query`].
    pub fn query_pairs(&self) -> impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)> + use<'a> {
        self.raw_query().into_iter().flat_map(params::pairs)
    }

    /// The value of the first cookie `name` (RFC 6265 section 4.2). Names are case-sensitive.
    ///
    /// It is not decoded: to a browser a cookie is opaque, and it returns what the server set, with quotes or percent signs if
    /// there are some (RFC 6265 section 5.4). A cookie whose value is not UTF-8 is left out.
    pub fn cookie(&self, name: &str) -> Option<&'a str> {
        self.header_values("cookie").find_map(|field| params::cookie(field, name))
    }

    /// The value of the first header field `name`; names are compared without case (RFC 9110 section 5.1). `None` if there is
    /// no such field, or if its value is not UTF-8.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.header_values(name).next().and_then(|value| std::str::from_utf8(value).ok())
    }

    /// The values of all header fields `name`, in order.
    pub fn header_values<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.head.fields.values(name)
    }

    /// The content, whole. It is empty for requests without content, and so for upgrades.
    pub fn body(&self) -> &'a [u8] {
        self.head.body
    }

    /// The subprotocol that was negotiated (RFC 6455 section 1.9), one of [`Policy::subprotocols`]; `None` if there is none,
    /// and for plain HTTP.
    ///
    /// [`Policy::subprotocols`]: crate::proto::upgrade::Policy::subprotocols
    pub fn subprotocol(&self) -> Option<&'a str> {
        self.handshake.and_then(|handshake| handshake.subprotocol)
    }

    /// The compression that was negotiated (RFC 7692); it is off for plain HTTP.
    pub fn compression(&self) -> NegotiatedCompression {
        self.handshake.map(|handshake| handshake.compression).unwrap_or_default()
    }

    /// The request line and the header fields, parsed: for what this type has no method for.
    pub fn head(&self) -> &'a http::Request<'a> {
        self.head
    }

    /// Bytes of the head, with the empty line at its end.
    pub fn head_bytes(&self) -> usize {
        self.head.head_bytes()
    }
}
