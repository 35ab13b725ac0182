//! A request as the program sees it: in responders, hooks and when a WebSocket has been opened.

use crate::proto::extension::NegotiatedCompression;
use crate::proto::http;
use crate::proto::upgrade::ServerHandshake;
use std::borrow::Cow;

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
    /// What was negotiated, of a request for an upgrade that has not been refused.
    handshake: Option<&'a ServerHandshake<'a>>,
}

impl<'a> Request<'a> {
    /// A request of plain HTTP.
    pub(super) fn new(head: &'a http::Request<'a>) -> Self {
        Self { head, handshake: None }
    }

    /// A request for an upgrade, with the answer that is due.
    pub(super) fn upgrade(head: &'a http::Request<'a>, handshake: &'a ServerHandshake<'a>) -> Self {
        Self { head, handshake: Some(handshake) }
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
    pub fn normal_path(&self) -> Cow<'a, str> {
        self.head.normal_path()
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
