//! WebSocket URLs: `ws://HOST:PORT/PATH`, RFC 6455 section 3. Names are not resolved here, so an unknown name is not a
//! syntax error.

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
    /// A name or an address; an IPv6 address is in brackets.
    pub host: String,
    /// The port, 80 if none is written.
    pub port: u16,
    /// Path and query, beginning with a slash.
    pub path: String,
}

impl Url {
    /// Returns the value of the Host field; it includes the port unless that is 80.
    pub fn authority(&self) -> String {
        if self.port == 80 { self.host.clone() } else { format!("{}:{}", self.host, self.port) }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ws://{}{}", self.authority(), self.path)
    }
}

/// Why a text is not a URL that can be connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadUrl {
    /// It has no scheme.
    NoScheme,
    /// The scheme is one of TLS.
    Tls,
    /// The scheme is not `ws`.
    Scheme,
    /// There is a user name before the host, which RFC 6455 section 3 does not have.
    User,
    /// There is no host, or it has an invalid character.
    Host,
    /// The port is not a number from 1 to 65535.
    Port,
    /// The path has a space, a control character or a character that has to be percent-encoded.
    Path,
}

impl fmt::Display for BadUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoScheme => "the scheme is missing",
            Self::Tls => "TLS is not supported; a proxy such as stunnel can provide it",
            Self::Scheme => "the scheme is not supported",
            Self::User => "a user name or a password in the URL is not sent; use a header Authorization",
            Self::Host => "the host is missing, or has an invalid character",
            Self::Port => "the port is not a number from 1 to 65535",
            Self::Path => "the path has a space, a control character or a character that has to be percent-encoded",
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
