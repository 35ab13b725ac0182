//! Texts about a connection. Text from the peer is escaped, so that it cannot control a terminal.

use crate::cli::io::escaped;
use std::fmt::Write;
use steadfast::client::{Config, ConnectError, Ending, Refused};
use steadfast::proto::close::{CloseCode, CloseStatus};
use steadfast::proto::extension::NegotiatedCompression;
use steadfast::proto::http_write::reason_phrase;
use steadfast::proto::session::MessageKind;

/// How many bytes of a binary message are shown.
const SHOWN_BYTES: usize = 64;

/// Formats a payload: as text if it is UTF-8, or else in hexadecimal.
fn payload(bytes: &[u8]) -> String {
    std::str::from_utf8(bytes).map_or_else(|_| hex(bytes), escaped)
}

fn hex(bytes: &[u8]) -> String {
    let shown: Vec<String> = bytes.iter().take(SHOWN_BYTES).map(|byte| format!("{byte:02x}")).collect();
    let mut line = shown.join(" ");
    if bytes.len() > SHOWN_BYTES {
        // Writing to a String cannot fail.
        let _ = write!(line, " ... and {} more", bytes.len() - SHOWN_BYTES);
    }
    line
}

/// Formats `label: text`, or the label alone if there is no text.
fn labelled(label: &str, text: &str) -> String {
    if text.is_empty() { label.to_owned() } else { format!("{label}: {text}") }
}

pub(super) fn message(kind: MessageKind, bytes: &[u8]) -> String {
    match kind {
        MessageKind::Text => format!("text: {}", escaped(&String::from_utf8_lossy(bytes))),
        MessageKind::Binary => {
            let unit = if bytes.len() == 1 { "byte" } else { "bytes" };
            labelled(&format!("binary ({} {unit})", bytes.len()), &hex(bytes))
        }
    }
}

pub(super) fn ping(bytes: &[u8]) -> String {
    labelled("ping", &payload(bytes))
}

/// Formats a pong that answers none of our pings.
pub(super) fn pong(bytes: &[u8]) -> String {
    labelled("pong", &payload(bytes))
}

/// Formats the peer's Close.
pub(super) fn close(status: CloseStatus, reason: &str) -> String {
    labelled(&format!("close ({})", u16::from(status)), &escaped(reason))
}

pub(super) fn compression(agreed: NegotiatedCompression) -> String {
    if agreed.is_on() { format!("{agreed:?}") } else { "none, the server declined it".to_owned() }
}

/// Formats which side closed, with the code and the reason.
pub(super) fn ending(ending: &Ending, closing: bool) -> String {
    match ending {
        Ending::ByPeer { code: theirs, reason } => {
            labelled(&format!("closed by the peer with {}", theirs), &escaped(reason))
        }
        Ending::ByUs { code: theirs, reason } => labelled(
            &format!("closed by us with {}, and the peer answered with {}", CloseCode::NORMAL, theirs),
            &escaped(reason),
        ),
        Ending::Failed(fault) => format!("closed by us with {}: {}", fault.code(), fault.reason()),
        Ending::Abnormal(error) => {
            let error = error.map(|kind| format!(": {kind}")).unwrap_or_default();
            let whose = if closing { "the Close that we sent was not answered" } else { "the peer sent no Close" };
            format!("ended by the peer with {}: {whose}{error}", CloseStatus::ABNORMAL)
        }
    }
}

/// Formats the end of a connection whose peer did not answer our Close in time.
pub(super) fn unanswered(waited_s: u64) -> String {
    let (sent, came) = (CloseCode::NORMAL, CloseStatus::ABNORMAL);
    format!("closed by us with {sent}, and the peer did not answer within {waited_s} s: {came}")
}

/// Formats why there is no connection, and what may help.
pub(super) fn not_connected(error: &ConnectError, config: &Config) -> String {
    match error {
        ConnectError::Refused(refused) => {
            let said = labelled(&format!("the server answers {}", status(refused.status)), &advice(refused, config));
            escaped(&said)
        }
        ConnectError::TimedOut => format!("no answer within {} s (--connect-timeout-s)", config.connect_timeout_s),
        ConnectError::NotHttp(_) => format!("{error}; is this the port of a WebSocket server?"),
        ConnectError::HungUp(_) => format!("{error}; does this port speak TLS or another protocol?"),
        error => error.to_string(),
    }
}

/// Formats a status code with its reason phrase: RFC 9110 section 15.
fn status(status: u16) -> String {
    format!("{status} {}", reason_phrase(status))
}

fn advice(refused: &Refused, config: &Config) -> String {
    let field = |name: &str| refused.field(name);
    match refused.status {
        200..=299 => "there is a page at that path, not a WebSocket".to_owned(),
        300..=399 => match field("location") {
            Some(location) => format!("it redirects to {location}; redirects are not followed, connect there instead"),
            None => "it redirects without a Location".to_owned(),
        },
        400 => "it may require a --subprotocol or a --header".to_owned(),
        401 => {
            let scheme = field("www-authenticate").map(|scheme| format!("it asks for {scheme}; ")).unwrap_or_default();
            format!("{scheme}use --header 'Authorization: ...'")
        }
        403 => match &config.origin {
            Some(origin) => format!("it may require another --origin than {origin}, or a token in a --header"),
            None => "it may require an --origin that it allows, or a token in a --header".to_owned(),
        },
        404 | 410 => format!("there is nothing at {}", config.url.path),
        426 => {
            let upgrades: Vec<String> = [("upgrade", "Upgrade"), ("sec-websocket-version", "Sec-WebSocket-Version")]
                .iter()
                .filter_map(|(name, shown)| Some(format!("{shown}: {}", field(name)?)))
                .collect();
            let upgrades = if upgrades.is_empty() { "another protocol".to_owned() } else { upgrades.join(", ") };
            format!("it asks for {upgrades}; WebSocket version 13 was offered, but a proxy may have removed that")
        }
        _ => field("retry-after").map(|wait| format!("it sends Retry-After: {wait}")).unwrap_or_default(),
    }
}
