//! What a client connects to: `ws://HOST:PORT/PATH`, as RFC 6455 section 3 has it. Nothing is resolved here, so that a
//! name that cannot be found is no mistake in writing.

use std::fmt;
use std::str::FromStr;

/// A WebSocket URL.
///
/// ```
/// use steadfast::client::Url;
/// let url: Url = "ws://localhost/chat?room=1".parse()?;
/// assert_eq!((url.host.as_str(), url.port, url.path.as_str()), ("localhost", 80, "/chat?room=1"));
/// assert!("wss://localhost/".parse::<Url>().is_err()); // there is no TLS here
/// # Ok::<(), steadfast::client::BadUrl>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// A name or an address; that of IPv6 in brackets.
    pub host: String,
    /// 80 where none is written.
    pub port: u16,
    /// Path and query, beginning with a slash.
    pub path: String,
}

impl Url {
    /// The value of the field Host: the port stands in it unless it is 80.
    pub fn authority(&self) -> String {
        if self.port == 80 { self.host.clone() } else { format!("{}:{}", self.host, self.port) }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ws://{}{}", self.authority(), self.path)
    }
}

/// Why a text is no URL that can be connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadUrl {
    /// It has no scheme.
    NoScheme,
    /// A scheme of TLS.
    Tls,
    /// Another scheme than `ws`.
    Scheme,
    /// A user's name before the host (RFC 6455 section 3 has no place for it).
    User,
    /// No host, or one with a character that no host has.
    Host,
    /// A port that is not one from 1 to 65535.
    Port,
    /// A path with a space, a control character, or one that has to be percent-encoded.
    Path,
}

impl fmt::Display for BadUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoScheme => "the scheme is missing",
            Self::Tls => "TLS is not spoken here, unless a proxy such as stunnel speaks it for this program",
            Self::Scheme => "that scheme is not spoken here",
            Self::User => "a name or a password in the URL is not sent; a header Authorization would be",
            Self::Host => "the host is missing, or has a character that no host has",
            Self::Port => "the port is not one from 1 to 65535",
            Self::Path => "the path has a space, a control character or a letter that has to be percent-encoded",
        })?;
        f.write_str("; expected one such as ws://127.0.0.1:8080/echo")
    }
}

impl std::error::Error for BadUrl {}

impl FromStr for Url {
    type Err = BadUrl;

    fn from_str(url: &str) -> Result<Self, BadUrl> {
        let (scheme, rest) = url.split_once("://").ok_or(BadUrl::NoScheme)?;
        match scheme.to_ascii_lowercase().as_str() {
            "ws" => {}
            "wss" | "https" => return Err(BadUrl::Tls),
            _ => return Err(BadUrl::Scheme),
        }
        // RFC 6455 section 3: "Fragment identifiers are meaningless in the context of WebSocket URIs".
        let rest = rest.split_once('#').map_or(rest, |(rest, _fragment)| rest);
        let (authority, path) = rest.find(['/', '?']).map_or((rest, ""), |at| rest.split_at(at));
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(BadUrl::Path);
        }
        if authority.contains('@') {
            return Err(BadUrl::User);
        }
        let (host, port) = match authority.rsplit_once(':') {
            // The last colon in brackets is part of the address.
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| BadUrl::Port)?),
            _ => (authority, 80),
        };
        if port == 0 {
            return Err(BadUrl::Port);
        }
        let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let is_host = match bracketed {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)),
        };
        if !is_host {
            return Err(BadUrl::Host);
        }
        Ok(Self { host: host.to_owned(), port, path })
    }
}
