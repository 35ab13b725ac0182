//! What a client asks for, and what of it cannot be sent.

use super::error::BadSetting;
use super::url::Url;
use crate::proto::answer::{field_line, is_token};
use crate::proto::extension::Compression;
use crate::proto::session::Limits;

/// What to connect to, and how.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where.
    pub url: Url,
    /// Subprotocols to offer, the best first, each once.
    pub subprotocols: Vec<String>,
    /// The field Origin, which browsers send: `https://example.org`, or `null`.
    pub origin: Option<String>,
    /// More fields for the request, each as `Name: value`; see [`field_line`].
    pub fields: Vec<String>,
    /// Whether to offer permessage-deflate, and its bounds.
    pub compression: Option<Compression>,
    /// What the peer may make grow.
    pub limits: Limits,
    /// Time to connect and be upgraded, in seconds. Looking up a name is not counted: nobody can interrupt that.
    pub connect_timeout_s: u32,
}

impl Config {
    /// A connection to `url`, without anything that has to be asked for: no compression, no subprotocol, no origin, and
    /// ten seconds to be opened.
    pub fn to(url: Url) -> Self {
        Self {
            url,
            subprotocols: Vec::new(),
            origin: None,
            fields: Vec::new(),
            compression: None,
            limits: Limits::default(),
            connect_timeout_s: 10,
        }
    }

    /// The lines of all fields that are not the handshake's own.
    pub(super) fn lines(&self) -> Result<String, BadSetting> {
        request_lines(self.origin.as_deref(), &self.subprotocols, &self.fields)
    }
}

/// The field lines of a request that are not the handshake's own, each with its CRLF: the `origin` if there is one, and
/// `fields`, each as `Name: value`. The `subprotocols` are judged too, which the handshake writes.
///
/// # Errors
/// [`BadSetting`], the first of them.
///
/// ```
/// use steadfast::client::request_lines;
/// let lines = request_lines(Some("https://example.org"), &[], &["X-From: load".to_owned()]);
/// assert_eq!(lines.as_deref(), Ok("X-From: load\r\nOrigin: https://example.org\r\n"));
/// ```
pub fn request_lines(origin: Option<&str>, subprotocols: &[String], fields: &[String]) -> Result<String, BadSetting> {
    let wrong = |(at, name): &(usize, &String)| !is_token(name) || subprotocols[..*at].contains(name);
    if let Some((_, name)) = subprotocols.iter().enumerate().find(wrong) {
        return Err(BadSetting::Subprotocol(name.clone()));
    }
    let mut lines = String::new();
    for field in fields {
        let line = field_line(field).map_err(|bad| BadSetting::Field(field.clone(), bad))?;
        let is_origin = line.split(':').next().is_some_and(|name| name.eq_ignore_ascii_case("origin"));
        if is_origin && origin.is_some() {
            return Err(BadSetting::TwoOrigins);
        }
        lines += &line;
    }
    if let Some(origin) = origin {
        let graphic = origin.bytes().all(|byte| byte.is_ascii_graphic());
        if !graphic || (origin != "null" && !origin.contains("://")) {
            return Err(BadSetting::Origin(origin.to_owned()));
        }
        lines += &format!("Origin: {origin}\r\n");
    }
    Ok(lines)
}
