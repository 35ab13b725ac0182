//! Content negotiation for pages: the field Accept (RFC 9110 section 12.5.1).

use crate::proto::http::{Fields, tokens};

/// What the field Accept of a request says about `text/html`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Html {
    /// Accepted by name or as `text/*`.
    Wanted,
    /// Not mentioned, or only by `*/*`, which programs that cannot render a page send too.
    Unsaid,
    /// Ruled out by a weight of 0.
    Refused,
}

impl Html {
    /// Reads it from the fields of a request. The most specific media range decides (RFC 9110 section 12.5.1); of several
    /// equally specific ones, one with a weight above 0.
    pub(super) fn of(fields: &Fields<'_>) -> Self {
        let ranges = fields.values("accept").flat_map(tokens);
        match ranges.filter_map(specificity).max() {
            Some((_, false)) => Self::Refused,
            Some((2.., true)) => Self::Wanted,
            Some((_, true)) | None => Self::Unsaid,
        }
    }
}

/// Returns how specific a media range is and whether its weight is above 0, if it matches `text/html`. Parameters other than
/// the weight are ignored.
fn specificity(range: &[u8]) -> Option<(u8, bool)> {
    let mut parts = range.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
    let known: [(&[u8], u8); 3] = [(b"text/html", 3), (b"text/*", 2), (b"*/*", 1)];
    let name = parts.next()?;
    let (_, specificity) = known.into_iter().find(|(known, _)| name.eq_ignore_ascii_case(known))?;
    Some((specificity, !parts.any(is_weight_of_0)))
}

/// Whether a parameter is the weight `q=0`, with up to three decimals (RFC 9110 section 12.4.2).
fn is_weight_of_0(parameter: &[u8]) -> bool {
    let Some((b"q=" | b"Q=", weight)) = parameter.split_at_checked(2) else { return false };
    weight.first() == Some(&b'0') && weight.iter().all(|byte| b"0.".contains(byte))
}
