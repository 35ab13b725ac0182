//! What a client asks for, and what of it cannot be sent.

use super::url::Url;
use crate::proto::extension::Compression;
use crate::proto::session::Limits;
use crate::proto::upgrade::{BadSetting, request_lines};

/// What to connect to, and how.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where.
    pub url: Url,
    /// Subprotocols to offer, the best first, each once.
    pub subprotocols: Vec<String>,
    /// The field Origin, which browsers send: `https://example.org`, or `null`.
    pub origin: Option<String>,
    /// More fields for the request, each as `Name: value`; see [`field_line`](crate::proto::http_write::field_line).
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
