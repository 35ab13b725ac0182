//! Patterns of paths against a match that is as naive as can be.

use super::*;
use proptest::prelude::*;

fn pattern(text: &str) -> Pattern {
    Pattern::new(text).unwrap_or_else(|error| panic!("{error}"))
}

/// Whether a path fits, and what the parameters are: by taking one segment after the other off both.
fn naive(pattern: &[&str], path: &[&str]) -> Option<Vec<(String, String)>> {
    match (pattern, path) {
        (["*"], rest) if !rest.is_empty() => Some(vec![("*".to_owned(), rest.join("/"))]),
        ([], []) => Some(Vec::new()),
        ([first, more @ ..], [part, rest @ ..]) => {
            let mut params = naive(more, rest)?;
            match first.strip_prefix('{') {
                Some(_) if part.is_empty() => return None,
                Some(name) => params.push((name.trim_end_matches('}').to_owned(), (*part).to_owned())),
                None if first != part => return None,
                None => {}
            }
            Some(params)
        }
        _ => None,
    }
}

proptest! {
    #[test]
    fn pattern_fits_what_a_naive_match_fits_with_the_same_parameters(
        segments in prop::collection::vec(prop::sample::select(vec!["a", "b", "{x}", "{y}", "{z}", ""]), 1..5),
        is_prefix: bool,
        parts in prop::collection::vec(prop::sample::select(vec!["a", "b", "c%2F", ""]), 1..6),
    ) {
        let mut segments = segments;
        if is_prefix {
            segments.push("*");
        }
        let (text, path) = (format!("/{}", segments.join("/")), format!("/{}", parts.join("/")));
        let names: Vec<_> = segments.iter().filter(|segment| segment.starts_with('{')).collect();
        let has_twice = (1..names.len()).any(|at| names[..at].contains(&names[at]));
        match Pattern::new(&text) {
            Err(error) => prop_assert!(has_twice, "{error}"),
            Ok(pattern) => {
                prop_assert!(!has_twice);
                prop_assert_eq!(pattern.to_string(), text);
                let expected = naive(&segments, &parts);
                prop_assert_eq!(pattern.fits(&path), expected.is_some());
                for (name, value) in expected.into_iter().flatten() {
                    prop_assert_eq!(pattern.param(&path, &name), Some(&*value));
                }
                prop_assert_eq!(pattern.param(&path, "w"), None);
            }
        }
    }
}

#[test]
fn path_that_no_request_would_have_is_an_error() {
    type Error = fn(String) -> RouteError;
    let cases: [(&str, Error); 16] = [
        ("", RouteError::NotAPath),
        ("chat", RouteError::NotAPath),
        ("*", RouteError::NotAPath),
        ("/chat?room=1", RouteError::NotAPath),
        ("/chat#top", RouteError::NotAPath),
        ("/*/chat", RouteError::Asterisk),
        ("/a*b", RouteError::Asterisk),
        ("/**", RouteError::Asterisk),
        ("/{room}*", RouteError::Asterisk),
        ("/x/{room", RouteError::Parameter),
        ("/x/room}", RouteError::Parameter),
        ("/x-{room}", RouteError::Parameter),
        ("/{}", RouteError::Parameter),
        ("/{1st}", RouteError::Parameter),
        ("/{a-b}", RouteError::Parameter),
        ("/{a}/b/{a}/*", RouteError::SameParameter),
    ];
    for (text, error) in cases {
        assert_eq!(Pattern::new(text), Err(error(text.to_owned())), "{text}");
    }
    assert_eq!(Pattern::new("/{room}/x*"), Err(RouteError::Asterisk("/{room}/x*".to_owned())));
    // An encoded brace is a letter like others.
    assert!(pattern("/%7Broom%7D").fits("/%7Broom%7D"));
}

#[test]
fn asterisk_stands_for_all_that_follows() {
    for (text, path, rest) in [
        ("/*", "/a/b", "a/b"),
        ("/cha*", "/chat/x", "t/x"),
        ("/files/*", "/files/", ""),
        ("/{user}/files/*", "/ada/files/a/b", "a/b"),
        ("/{user}/*", "/ada/", ""),
    ] {
        let pattern = pattern(text);
        assert!(pattern.fits(path), "{text} {path}");
        assert_eq!((pattern.rest(path), pattern.param(path, "*")), (rest, Some(rest)), "{text} {path}");
    }
    assert_eq!(pattern("/a").param("/a", "*"), None);
}

#[test]
fn path_that_says_more_comes_first() {
    let order = ["/a/b", "/a/{x}", "/{x}/b", "/{x}/{y}", "/{x}/b/*", "/a/b*", "/a/*", "/{x}/*", "/a*", "/*"];
    for (at, first) in order.iter().enumerate() {
        for second in &order[at + 1..] {
            assert!(pattern(first).rank() <= pattern(second).rank(), "{first} before {second}");
            assert!(!pattern(first).is_like(&pattern(second)), "{first} like {second}");
        }
    }
    assert!(pattern("/{x}/b/*").is_like(&pattern("/{y}/b/*")));
}
