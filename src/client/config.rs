//! The configuration of a client, and why a setting cannot be sent.

use super::url::Url;
use crate::proto::extension::Compression;
use crate::proto::session::Limits;
use crate::proto::upgrade::{BadSetting, request_lines};

/// The configuration of a client.
#[derive(Clone, Debug)]
pub struct Config {
    /// The URL to connect to.
    pub url: Url,
    /// Subprotocols to offer, in order of preference, without duplicates.
    pub subprotocols: Vec<String>,
    /// The Origin field, which browsers send: `https://example.org`, or `null`.
    pub origin: Option<String>,
    /// Additional fields for the request, each as `Name: value`; see
    /// [`field_line`](crate::proto::http_write::field_line).
    pub fields: Vec<String>,
    /// Settings of permessage-deflate; `None` does not offer it.
    pub compression: Option<Compression>,
    /// Limits for what the peer sends.
    pub limits: Limits,
    /// Time to connect and upgrade, in seconds. Resolving the name is not counted, since that cannot be interrupted.
    pub connect_timeout_s: u32,
}

impl Config {
    /// Makes the configuration of a connection to `url` with defaults: no compression, no subprotocol, no Origin, and
    /// ten seconds to connect.
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

    /// Returns the lines of all fields besides those of the handshake itself.
    pub(super) fn lines(&self) -> Result<String, BadSetting> {
        request_lines(self.origin.as_deref(), &self.subprotocols, &self.fields)
    }
}
