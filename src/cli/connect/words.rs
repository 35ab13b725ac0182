//! What a connection says to people. All that comes from the peer is shown so that it cannot drive a terminal.

use crate::cli::escape::escaped;
use std::fmt::Write;
use steadfast::client::{Config, ConnectError, Ending, Refused};
use steadfast::proto::close::{CloseCode, CloseStatus};
use steadfast::proto::extension::NegotiatedCompression;
use steadfast::proto::http_write::reason_phrase;
use steadfast::proto::session::MessageKind;

/// So many bytes of a binary message are shown.
const SHOWN_BYTES: usize = 64;

/// A payload that may be text or not.
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

/// `label: text`, and the label alone where there is none.
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

/// A pong to none of our pings.
pub(super) fn pong(bytes: &[u8]) -> String {
    labelled("pong", &payload(bytes))
}

/// The peer's Close.
pub(super) fn close(status: CloseStatus, reason: &str) -> String {
    labelled(&format!("close ({})", u16::from(status)), &escaped(reason))
}

pub(super) fn compression(agreed: NegotiatedCompression) -> String {
    if agreed.is_on() { format!("{agreed:?}") } else { "none, the server does not offer it".to_owned() }
}

/// Who closed, with which code and reason.
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

/// What a peer that does not answer our Close in time is told of.
pub(super) fn unanswered(waited_s: u64) -> String {
    let (sent, came) = (CloseCode::NORMAL, CloseStatus::ABNORMAL);
    format!("closed by us with {sent}, and the peer did not answer within {waited_s} s: {came}")
}

/// Why there is no connection, and what may help.
pub(super) fn not_connected(error: &ConnectError, config: &Config) -> String {
    match error {
        ConnectError::Refused(refused) => {
            let said = labelled(&format!("the server answers {}", status(refused.status)), &advice(refused, config));
            escaped(&said)
        }
        ConnectError::TimedOut => format!("no answer within {} s (--connect-timeout-s)", config.connect_timeout_s),
        ConnectError::NotHttp(_) => format!("{error}; is that the port of a WebSocket server?"),
        ConnectError::HungUp(_) => format!("{error}; does that port speak TLS, or another protocol?"),
        error => error.to_string(),
    }
}

/// A status code in words: RFC 9110 section 15.
fn status(status: u16) -> String {
    format!("{status} {}", reason_phrase(status))
}

fn advice(refused: &Refused, config: &Config) -> String {
    let field = |name: &str| refused.field(name);
    match refused.status {
        200..=299 => "a page, and no WebSocket, is at that path".to_owned(),
        300..=399 => match field("location") {
            Some(location) => format!("it redirects to {location}; that is not followed, but may be connected to"),
            None => "it redirects, and does not say where".to_owned(),
        },
        400 => "it may want a --subprotocol or a --header that it was not sent".to_owned(),
        401 => {
            let wanted = field("www-authenticate").map(|wanted| format!("it asks for {wanted}; ")).unwrap_or_default();
            format!("{wanted}--header 'Authorization: ...' says who you are")
        }
        403 => match &config.origin {
            Some(origin) => format!("it may take another --origin than {origin}, or want a token in a --header"),
            None => "it may want an --origin that it knows, or a token in a --header".to_owned(),
        },
        404 | 410 => format!("there is nothing at {}", config.url.path),
        426 => {
            let wanted: Vec<String> = [("upgrade", "Upgrade"), ("sec-websocket-version", "Sec-WebSocket-Version")]
                .iter()
                .filter_map(|(name, shown)| Some(format!("{shown}: {}", field(name)?)))
                .collect();
            let wanted = if wanted.is_empty() { "another protocol".to_owned() } else { wanted.join(", ") };
            format!("it asks for {wanted}; WebSocket version 13 was offered, unless a proxy on the way took that out")
        }
        _ => field("retry-after").map(|wait| format!("it says Retry-After: {wait}")).unwrap_or_default(),
    }
}
