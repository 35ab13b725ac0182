//! Files by HTTP: what is said of them, and under which names they are.

use crate::folder::{Folder, MODIFIED, ask, content, get, request};
use crate::host::Local;
use crate::wire::{UPGRADE, Wire, frame};
use std::net::SocketAddr;
use steadfast::server::Server;

const TYPES: [(&str, &str); 11] = [
    ("page.html", "text/html; charset=utf-8"),
    ("style.css", "text/css; charset=utf-8"),
    ("code.js", "text/javascript; charset=utf-8"),
    ("words.txt", "text/plain; charset=utf-8"),
    ("data.json", "application/json"),
    ("image.png", "image/png"),
    ("IMAGE.PNG", "image/png"),
    ("code.wasm", "application/wasm"),
    ("none", "application/octet-stream"),
    ("some.unheardof", "application/octet-stream"),
    ("below/it/page.html", "text/html; charset=utf-8"),
];

#[test]
fn a_file_has_its_type_length_and_date() {
    let folder = Folder::new();
    let local = folder.serve();
    // One connection for all of it: an answer that were longer than it says would spoil the next.
    let mut wire = Wire::connect(local.address);
    for (number, (name, content_type)) in TYPES.into_iter().enumerate() {
        let bytes = content(number * 700);
        folder.file(name, &bytes);
        let target = format!("/f/{name}");
        let answer = ask(&mut wire, "GET", &target, "");
        assert_eq!((answer.status, answer.closes()), (200, false), "{answer:?}");
        assert_eq!(answer.field("Content-Type"), Some(content_type), "{answer:?}");
        assert_eq!(answer.field("Last-Modified"), Some(MODIFIED), "{answer:?}");
        assert_eq!(answer.field("X-Content-Type-Options"), Some("nosniff"), "{answer:?}");
        assert!(answer.body == bytes, "{name} came otherwise");
        let head = ask(&mut wire, "HEAD", &target, "");
        let rest = |head: &str| head.lines().filter(|line| !line.starts_with("Date:")).collect::<String>();
        assert_eq!(rest(&head.head), rest(&answer.head));
        assert_eq!(head.field("Content-Length"), Some(&*bytes.len().to_string()));
        // A query is nothing to a file.
        assert!(ask(&mut wire, "GET", &format!("{target}?version=1"), "").body == bytes);
        assert!(ask(&mut wire, "GET", &format!("http://a{target}"), "").body == bytes);
    }
}

#[test]
fn what_has_not_changed_is_not_sent_again() {
    let folder = Folder::new();
    folder.file("page.html", b"<p>");
    let local = folder.serve();
    let mut wire = Wire::connect(local.address);
    let since = |date: &str| format!("If-Modified-Since: {date}\r\n");
    let cases = [
        (since(MODIFIED), 304),
        (since("Sun, 09 Sep 2001 01:46:41 GMT"), 304),
        (since("Fri, 01 Jan 2100 00:00:00 GMT"), 304),
        (since("Sun, 09 Sep 2001 01:46:39 GMT"), 200),
        (since("Thu, 01 Jan 1970 00:00:00 GMT"), 200),
        // RFC 9110 section 5.6.7: the forms that are obsolete, and not dead.
        (since("Sunday, 09-Sep-01 01:46:40 GMT"), 304),
        (since("Sun Sep  9 01:46:40 2001"), 304),
        // Section 13.1.3: what is no date is ignored, and so is all of it beside If-None-Match.
        (since("yesterday"), 200),
        (since(""), 200),
        (since("\u{7f}"), 400),
        (since(MODIFIED) + "If-None-Match: \"tag\"\r\n", 200),
    ];
    for (line, status) in cases {
        for method in ["GET", "HEAD"] {
            let answer = ask(&mut wire, method, "/f/page.html", &line);
            assert_eq!(answer.status, status, "{method} with {line:?}: {answer:?}");
            if status == 400 {
                wire = Wire::connect(local.address);
                continue;
            }
            assert_eq!(answer.field("Last-Modified"), Some(MODIFIED), "{answer:?}");
            let body = if status == 200 && method == "GET" { &b"<p>"[..] } else { b"" };
            assert_eq!((&*answer.body, answer.closes()), (body, false), "{answer:?}");
            assert_eq!(answer.field("Content-Length"), (status == 200).then_some("3"), "{answer:?}");
        }
    }
}

/// RFC 9110 section 13.2.2: what is to be sent only if it has not changed. No file has an entity tag.
#[test]
fn changed_file_is_not_sent_for_if_unmodified_since() {
    let folder = Folder::new();
    folder.file("page.html", b"<p>");
    let local = folder.serve();
    let mut wire = Wire::connect(local.address);
    let earlier = "If-Unmodified-Since: Sun, 09 Sep 2001 01:46:39 GMT\r\n";
    let cases = [
        (format!("If-Unmodified-Since: {MODIFIED}\r\n"), 200),
        ("If-Unmodified-Since: Fri, 01 Jan 2100 00:00:00 GMT\r\n".to_owned(), 200),
        ("If-Unmodified-Since: yesterday\r\n".to_owned(), 200),
        (earlier.to_owned(), 412),
        (format!("{earlier}If-Modified-Since: {MODIFIED}\r\n"), 412),
        ("If-Match: \"tag\"\r\n".to_owned(), 412),
        ("If-Match: *\r\n".to_owned(), 200),
        // Beside If-Match the date does not count.
        (format!("{earlier}If-Match: *\r\n"), 200),
    ];
    for (lines, status) in cases {
        for method in ["GET", "HEAD"] {
            let answer = ask(&mut wire, method, "/f/page.html", &lines);
            assert_eq!((answer.status, answer.closes()), (status, false), "{method} with {lines:?}: {answer:?}");
            assert!(!answer.head.contains(" Error\r\n"), "{answer:?}");
            assert!((status == 200 && method == "GET") == (answer.body == b"<p>"), "{answer:?}");
        }
    }
}

#[test]
fn a_folder_is_its_index_and_its_name_ends_with_a_slash() {
    let folder = Folder::new();
    folder.file("index.html", b"top");
    folder.file("below/index.html", b"below");
    folder.file("below/with space/index.html", b"deep");
    folder.file("without/page.html", b"page");
    // A folder where the page should be is no page, and leads nowhere.
    folder.file("odd/index.html/page.html", b"page");
    let local = folder.serve();
    let mut wire = Wire::connect(local.address);
    for (target, body) in [("/f/", "top"), ("/f/below/", "below"), ("/f/below/with%20space/", "deep")] {
        let answer = ask(&mut wire, "GET", target, "");
        assert_eq!((answer.status, &*answer.body), (200, body.as_bytes()), "{target}: {answer:?}");
        assert_eq!(answer.field("Content-Type"), Some("text/html; charset=utf-8"), "{answer:?}");
    }
    for target in ["/f/below", "/f/below/with%20space", "/f/without", "/f/odd/index.html"] {
        for method in ["GET", "HEAD"] {
            let answer = ask(&mut wire, method, target, "");
            assert_eq!((answer.status, answer.closes()), (301, false), "{target}: {answer:?}");
            assert_eq!(answer.field("Location"), Some(&*format!("{target}/")), "{answer:?}");
        }
    }
    // A browser takes a backslash for a slash: as they came, these would lead to another host.
    folder.file("\\evil.com/index.html", b"ours");
    folder.file("a&b\"c<d>/index.html", b"ours");
    for (target, location) in [
        ("/f/\\evil.com", "/f/%5Cevil.com/"),
        ("/f/%5cevil.com", "/f/%5cevil.com/"),
        ("/f/a&b%22c<d>", "/f/a%26b%22c%3Cd%3E/"),
    ] {
        let answer = ask(&mut wire, "GET", target, "");
        assert_eq!((answer.status, answer.field("Location")), (301, Some(location)), "{target}: {answer:?}");
        assert_eq!(ask(&mut wire, "GET", location, "").body, b"ours", "{location}");
    }
    let at_root = Local::serve(Server::new().files("/*", folder.path("")).expect("a folder"));
    let answer = get(at_root.address, "/\\evil.com");
    assert_eq!((answer.status, answer.field("Location")), (301, Some("/%5Cevil.com/")), "{answer:?}");
    for target in ["/f/without/", "/f/nothing/", "/f/index.html/", "/f/below/index.html/more", "/f/odd/"] {
        assert_eq!(ask(&mut wire, "GET", target, "").status, 404, "{target}");
    }
}

#[test]
fn names_are_decoded_once_and_as_utf8() {
    let folder = Folder::new();
    let names = [
        ("with%20space.txt", "with space.txt"),
        ("gr%C3%BC%C3%9Fe.txt", "grüße.txt"),
        ("gr%c3%bc%c3%9fe%20%f0%9f%90%8e", "grüße 🐎"),
        ("100%25", "100%"),
        ("a%2520b", "a%20b"),
        ("a+b", "a+b"),
        ("what%3F", "what?"),
        ("a%23b", "a#b"),
        ("%22%3Cb%3E%22", "\"<b>\""),
        ("b%5Cc", "b\\c"),
        ("~tilde", "~tilde"),
        ("two..dots", "two..dots"),
        ("end.", "end."),
        ("a/b%2Fc", "a/b/c"),
    ];
    for (_, name) in names {
        folder.file(name, name.as_bytes());
    }
    let local = folder.serve();
    let mut wire = Wire::connect(local.address);
    for (target, name) in names {
        let answer = ask(&mut wire, "GET", &format!("/f/{target}"), "");
        assert_eq!((answer.status, &*answer.body), (200, name.as_bytes()), "{target}: {answer:?}");
    }
    for target in ["with+space.txt", "100%2525", "gr%FC%DFe.txt", "%C3", "a%20b"] {
        assert_eq!(ask(&mut wire, "GET", &format!("/f/{target}"), "").status, 404, "{target}");
    }
}

#[test]
fn files_are_to_be_read_and_nothing_else() {
    let folder = Folder::new();
    let path = folder.file("page.html", b"<p>");
    let local = folder.serve();
    let mut wire = Wire::connect(local.address);
    for (method, status) in [("PUT", 405), ("DELETE", 405), ("POST", 405), ("PATCH", 405), ("OPTIONS", 204)] {
        let mut wire = Wire::connect(local.address);
        let answer = ask(&mut wire, method, "/f/page.html", "Content-Length: 0\r\n");
        assert_eq!(
            (answer.status, answer.field("Allow")),
            (status, Some("GET, HEAD, OPTIONS")),
            "{method}: {answer:?}"
        );
    }
    assert_eq!(ask(&mut wire, "GET", "/f/nothing", "").status, 404);
    assert_eq!(ask(&mut wire, "GET", "/f", "").status, 404);
    // What was there is looked for each time.
    std::fs::write(&path, b"another one").expect("the file");
    assert_eq!(ask(&mut wire, "GET", "/f/page.html", "").body, b"another one");
    std::fs::remove_file(&path).expect("the file");
    assert_eq!(ask(&mut wire, "GET", "/f/page.html", "").status, 404);
    assert_eq!(ask(&mut wire, "GET", "/stats", "").status, 200);
}

/// What all of the tour has, whatever is in the folder.
fn assert_tour(address: SocketAddr) {
    for path in ["/", "/echo", "/chat/room"] {
        let mut wire = Wire::connect(address);
        wire.send(UPGRADE.replace("/echo", path).as_bytes());
        wire.assert_upgraded();
    }
    let mut wire = Wire::connect(address);
    assert_eq!(wire.stats()["server"], "steadfast");
    assert!(ask(&mut wire, "GET", "/echo", "Accept: text/html\r\n").body.starts_with(b"<!"));
    assert_eq!(ask(&mut wire, "GET", "/echo", "").status, 426);
}

#[test]
fn serve_has_a_folder_at_all_paths_without_another_use() {
    let folder = Folder::new();
    folder.file("page.html", b"page");
    folder.file("stats", b"not seen");
    folder.file("below/index.html", b"below");
    let server = folder.start(&[]);
    assert_tour(server.address());
    let page = get(server.address(), "/");
    assert!(page.status == 200 && page.body.starts_with(b"<!"), "the folder has no page, and the tour has: {page:?}");
    for (target, body) in [("/page.html", "page"), ("/below/", "below")] {
        assert_eq!(get(server.address(), target).body, body.as_bytes());
    }
    assert_eq!(get(server.address(), "/below").field("Location"), Some("/below/"));
    assert_eq!(get(server.address(), "/nothing").status, 404);
    // No WebSocket is there.
    let mut wire = Wire::connect(server.address());
    wire.send(UPGRADE.replace("/echo", "/page.html").as_bytes());
    assert_eq!(wire.answer().status, 200);
    drop(wire);
    server.stop();
    folder.file("index.html", b"the folder's own");
    let server = folder.start(&[]);
    assert_tour(server.address());
    assert_eq!(get(server.address(), "/").body, b"the folder's own");
    server.stop();
}

#[test]
fn a_file_and_a_websocket_over_one_connection() {
    let folder = Folder::new();
    let bytes = content(300_000);
    folder.file("large", &bytes);
    let server = folder.start(&[]);
    let mut wire = Wire::connect(server.address());
    let echo = frame(0x82, b"behind a file");
    wire.send(&[&request("GET", "/large", ""), UPGRADE.as_bytes(), &echo].concat());
    assert!(wire.answer().body == bytes);
    wire.assert_upgraded();
    assert_eq!(wire.frame().payload, b"behind a file");
    wire.echo(b"and on");
    drop(wire);
    server.stop();
}
