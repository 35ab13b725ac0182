//! Queries and cookies against readers that are as naive as can be.

use super::*;
use proptest::prelude::*;

/// The URL Standard's parser of application/x-www-form-urlencoded, byte by byte; for names and values.
fn naive_decode(text: &str) -> String {
    let (bytes, mut decoded, mut at) = (text.as_bytes(), Vec::new(), 0);
    while at < bytes.len() {
        let digit = |at: usize| bytes.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        match (bytes[at], digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high * 16 + low) as u8);
                at += 2;
            }
            (b'+', ..) => decoded.push(b' '),
            (byte, ..) => decoded.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn naive_pairs(query: &str) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    for pair in query.split('&') {
        if pair.is_empty() {
            continue;
        }
        let (name, value) = match pair.find('=') {
            Some(at) => (&pair[..at], &pair[at + 1..]),
            None => (pair, ""),
        };
        pairs.push((naive_decode(name), naive_decode(value)));
    }
    pairs
}

/// The cookies of a field, split from the front: name up to the first equals sign, value up to the next semicolon.
fn naive_cookies(mut field: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut cookies = Vec::new();
    loop {
        let end = field.iter().position(|byte| *byte == b';').unwrap_or(field.len());
        let mut pair = field[..end].to_vec();
        while pair.first().is_some_and(|byte| b" \t".contains(byte)) {
            pair.remove(0);
        }
        while pair.last().is_some_and(|byte| b" \t".contains(byte)) {
            pair.pop();
        }
        if let Some(equals) = pair.iter().position(|byte| *byte == b'=') {
            cookies.push((pair[..equals].to_vec(), pair[equals + 1..].to_vec()));
        }
        if end == field.len() {
            return cookies;
        }
        field = &field[end + 1..];
    }
}

proptest! {
    #[test]
    fn query_is_read_as_the_naive_reader_does(query in "([ab=&+%26éC3A9fF]|%[0-9a-fA-F]{2}|%C3%A9){0,24}") {
        let expected = naive_pairs(&query);
        let found: Vec<_> = pairs(&query).map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
        prop_assert_eq!(&found, &expected);
        for (name, _) in &expected {
            let first = expected.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
            let found = value(&query, name);
            prop_assert_eq!(found.as_deref(), first);
        }
        prop_assert_eq!(value(&query, "not there"), None);
    }

    #[test]
    fn path_is_decoded_as_a_query_without_plus_signs(text in "([ab/%2C3fFé]|%[0-9a-fA-F]{2}){0,24}") {
        prop_assert_eq!(decode(&text).into_owned(), naive_decode(&text));
    }

    #[test]
    fn cookies_are_read_as_the_naive_reader_does(field in prop::collection::vec(
        prop::sample::select(b"ab=; \t\"%,\xff\xc3\xa9".to_vec()), 0..24,
    )) {
        for (name, _) in naive_cookies(&field) {
            let Ok(name) = String::from_utf8(name) else { continue };
            let expected = naive_cookies(&field).into_iter().filter(|(known, _)| *known == name.as_bytes());
            let expected = expected.filter_map(|(_, value)| String::from_utf8(value).ok()).next();
            prop_assert_eq!(cookie(&field, &name), expected.as_deref());
        }
        prop_assert_eq!(cookie(&field, "not there"), None);
    }
}

#[test]
fn what_is_no_encoding_stays_and_what_is_no_utf8_is_replaced() {
    for (raw, decoded) in [
        ("", ""),
        ("a%20b", "a b"),
        ("a+b", "a b"),
        ("a%2Bb", "a+b"),
        ("%e4%B8%96", "世"),
        ("%", "%"),
        ("%4", "%4"),
        ("%4g%41", "%4gA"),
        ("%%41", "%A"),
        ("%2541", "%41"),
        ("%+1", "% 1"),
        ("%ff", "\u{fffd}"),
        ("%E4%B8", "\u{fffd}"),
        ("%00", "\0"),
    ] {
        assert_eq!(value(&format!("x={raw}"), "x").as_deref(), Some(decoded), "{raw}");
        if !raw.contains('+') {
            assert_eq!(decode(raw), decoded, "{raw}");
        }
    }
}

#[test]
fn nothing_is_copied_where_nothing_is_decoded() {
    let borrowed = |value: Option<Cow<'_, str>>| matches!(value, Some(Cow::Borrowed(_)));
    assert!(borrowed(value("a=1&token=sesame", "token")));
    assert!(borrowed(value("a&token", "token")));
    assert!(!borrowed(value("token=%41", "token")));
    assert!(matches!(decode("kitchen"), Cow::Borrowed("kitchen")));
}

#[test]
fn cookie_is_taken_as_it_is() {
    for (field, value) in [
        ("session=a", Some("a")),
        ("a=b; session=c; session=d", Some("c")),
        ("a=b;session=c", Some("c")),
        ("session=\"a b\"", Some("\"a b\"")),
        ("session=%41+", Some("%41+")),
        ("session=a=b", Some("a=b")),
        ("session=", Some("")),
        ("session", None),
        ("session =a", None),
        ("Session=a", None),
        ("xsession=a", None),
        ("", None),
    ] {
        assert_eq!(cookie(field.as_bytes(), "session"), value, "{field}");
    }
    assert_eq!(cookie(b"session=\xff; session=a", "session"), Some("a"));
    assert_eq!(cookie(b"a=b=c", "a=b"), None);
}
