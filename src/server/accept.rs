//! What a client takes (RFC 9110 section 12.5.1), as far as a page needs to know it.

use crate::proto::http::{Fields, tokens};

/// What the fields Accept of a request say of `text/html`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Html {
    /// It is listed, by name or as `text/*`.
    Wanted,
    /// Nothing, or no more than `*/*`, which programs say that would not know what to do with a page.
    Unsaid,
    /// It is ruled out, by a weight of 0.
    Refused,
}

impl Html {
    /// RFC 9110 section 12.5.1: "Media ranges can be overridden by more specific media ranges": the most specific one decides,
    /// and of several that are alike the one with a weight above 0.
    pub(super) fn of(fields: &Fields<'_>) -> Self {
        let ranges = fields.values("accept").flat_map(tokens);
        match ranges.filter_map(specificity).max() {
            Some((_, false)) => Self::Refused,
            Some((2.., true)) => Self::Wanted,
            Some((_, true)) | None => Self::Unsaid,
        }
    }
}

/// How closely a media range fits `text/html`, if it does, and whether its weight is above 0. Other parameters than the weight
/// do not matter.
fn specificity(range: &[u8]) -> Option<(u8, bool)> {
    let mut parts = range.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
    let known: [(&[u8], u8); 3] = [(b"text/html", 3), (b"text/*", 2), (b"*/*", 1)];
    let name = parts.next()?;
    let (_, specificity) = known.into_iter().find(|(known, _)| name.eq_ignore_ascii_case(known))?;
    Some((specificity, !parts.any(is_weight_of_0)))
}

/// RFC 9110 section 12.4.2: `q=0`, with up to three zeros behind a point.
fn is_weight_of_0(parameter: &[u8]) -> bool {
    let Some((b"q=" | b"Q=", weight)) = parameter.split_at_checked(2) else { return false };
    weight.first() == Some(&b'0') && weight.iter().all(|byte| b"0.".contains(byte))
}
