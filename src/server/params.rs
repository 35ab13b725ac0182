//! Values by name: parameters of a query, and cookies. Nothing is copied unless something is decoded.

use percent_encoding::percent_decode_str;
use std::borrow::Cow;

/// Decodes a segment of a path (RFC 3986 section 2.1). A percent sign without two hexadecimal digits stays, and bytes that are
/// not UTF-8 become U+FFFD: this is the percent-decoding of the URL Standard, and its "UTF-8 decode without BOM".
pub(super) fn decode(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

/// Decodes a name or a value of a query: as [`decode`], and a plus sign is a space (URL Standard, section 5.1).
fn decode_form(text: &str) -> Cow<'_, str> {
    if !text.contains('+') {
        return decode(text);
    }
    // Before percent-decoding, so that %2B stays a plus sign.
    let spaced = text.replace('+', " ");
    Cow::Owned(decode(&spaced).into_owned())
}

/// The names and values of a query, in order (URL Standard, section 5.1, application/x-www-form-urlencoded).
pub(super) fn pairs(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    raw_pairs(query).map(|(name, value)| (decode_form(name), decode_form(value)))
}

fn raw_pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// The value of the first parameter `name` of a query.
pub(super) fn value<'q>(query: &'q str, name: &str) -> Option<Cow<'q, str>> {
    raw_pairs(query).find(|(known, _)| decode_form(known) == name).map(|(_, value)| decode_form(value))
}

/// The value of the first cookie `name` of a field Cookie (RFC 6265 section 4.2.1) that is UTF-8, as it is: neither quotes nor
/// percent signs have a meaning in it (section 5.4).
pub(super) fn cookie<'f>(field: &'f [u8], name: &str) -> Option<&'f str> {
    field.split(|&byte| byte == b';').map(<[u8]>::trim_ascii).find_map(|pair| {
        let (known, value) = pair.split_at_checked(memchr::memchr(b'=', pair)?)?;
        if known != name.as_bytes() {
            return None;
        }
        std::str::from_utf8(&value[1..]).ok()
    })
}

#[cfg(test)]
#[path = "../tests/server/params.rs"]
mod tests;
