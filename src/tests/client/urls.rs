//! The URL of a client: what is understood, and what is said to the rest.

use steadfast::client::{BadUrl, Url};

#[test]
fn what_is_understood() {
    for (text, host, port, path, shown) in [
        ("ws://127.0.0.1:8080/echo", "127.0.0.1", 8080, "/echo", "ws://127.0.0.1:8080/echo"),
        ("WS://localhost", "localhost", 80, "/", "ws://localhost/"),
        ("ws://a.b-c_d.:80?x=/y", "a.b-c_d.", 80, "/?x=/y", "ws://a.b-c_d./?x=/y"),
        ("ws://[::1]/a/b?c=d#e", "[::1]", 80, "/a/b?c=d", "ws://[::1]/a/b?c=d"),
        ("ws://[::1]:65535/%20", "[::1]", 65535, "/%20", "ws://[::1]:65535/%20"),
    ] {
        let url: Url = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!((url.host.as_str(), url.port, url.path.as_str()), (host, port, path), "{text}");
        assert_eq!(url.to_string(), shown);
    }
}

#[test]
fn what_is_not() {
    for (text, bad) in [
        ("", BadUrl::NoScheme),
        ("127.0.0.1:8080", BadUrl::NoScheme),
        ("wss://127.0.0.1/", BadUrl::Tls),
        ("https://127.0.0.1/", BadUrl::Tls),
        ("http://127.0.0.1/", BadUrl::Scheme),
        ("ws://", BadUrl::Host),
        ("ws://:80/", BadUrl::Host),
        ("ws://::1/", BadUrl::Host),
        ("ws://[::1/", BadUrl::Host),
        ("ws://[here]/", BadUrl::Host),
        ("ws://a b/", BadUrl::Host),
        ("ws://a\r\nX: y/", BadUrl::Port),
        ("ws://m\u{fc}nchen/", BadUrl::Host),
        ("ws://user:password@a/", BadUrl::User),
        ("ws://a:0/", BadUrl::Port),
        ("ws://a:65536/", BadUrl::Port),
        ("ws://a:/", BadUrl::Port),
        ("ws://a:1-2/", BadUrl::Port),
        ("ws://a/b c", BadUrl::Path),
        ("ws://a/b\r\nX: y", BadUrl::Path),
        ("ws://a/\u{fc}", BadUrl::Path),
    ] {
        let error = text.parse::<Url>().expect_err(text);
        assert_eq!(error, bad, "{text:?}");
        let said = error.to_string();
        assert!(said.contains("ws://127.0.0.1:8080/echo") && said.lines().count() == 1, "{said}");
    }
}
