//! Normal forms of request paths, so that each path has one route (RFC 3986 section 6.2.2).

use std::borrow::Cow;

/// Decodes the percent-encoded characters that need no encoding: letters, digits, and `-._~`. Decoding others would
/// change the meaning of the path; the digits of their encodings become upper case. Invalid encodings stay as they are.
pub(crate) fn normal(path: &str) -> Cow<'_, str> {
    let Some(first) = memchr::memchr(b'%', path.as_bytes()) else { return Cow::Borrowed(path) };
    let (mut normal, mut rest) = (path[..first].to_owned(), &path[first..]);
    while let Some(next) = rest.chars().next() {
        match encoded(rest) {
            Some(byte) if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => normal.push(byte.into()),
            Some(byte) => normal += &format!("%{byte:02X}"),
            None => normal.push(next),
        }
        rest = &rest[encoded(rest).map_or(next.len_utf8(), |_| 3)..];
    }
    Cow::Owned(normal)
}

/// Returns the byte that is percent-encoded at the front of `text`, if there is one.
fn encoded(text: &str) -> Option<u8> {
    let digits =
        text.strip_prefix('%')?.get(..2).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    u8::from_str_radix(digits, 16).ok()
}

/// Percent-encodes what some reader of a URI may interpret: all but letters, digits, `-._~`, slashes, and existing
/// encodings. Browsers interpret a backslash as a slash.
pub(crate) fn encode(path: &str) -> String {
    let mut encoded_path = String::with_capacity(path.len() + 16);
    for (at, byte) in path.bytes().enumerate() {
        let is_plain = byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
        // A percent sign is ASCII, so it is at a character boundary.
        if is_plain || (byte == b'%' && encoded(&path[at..]).is_some()) {
            encoded_path.push(byte.into());
        } else {
            encoded_path += &format!("%{byte:02X}");
        }
    }
    encoded_path
}
