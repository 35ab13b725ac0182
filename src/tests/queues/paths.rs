//! No way out of a folder that is served, and nothing in it that holds a server up.

use crate::folder::{Folder, SECRET, ask, get};
use crate::host::{BINARY, Serve, has_strace, text};
use crate::wire::Wire;
use std::fs::Permissions;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};

/// Targets below the folder that lead, or seem to lead, to what is not in it.
const OUT: [&str; 40] = [
    "../secret",
    "..%2fsecret",
    "..%2Fsecret",
    "%2e%2e/secret",
    "%2E%2E/secret",
    "%2e%2e%2fsecret",
    ".%2e/secret",
    "%2e./secret",
    "below/../../secret",
    "below/%2e%2e/%2e%2e/secret",
    "below/..%2f..%2fsecret",
    "below/../page.html",
    "./page.html",
    "%2e/page.html",
    "..",
    "../",
    "%2e%2e",
    "%2e%2e/",
    "...",
    "..;/secret",
    "..%5csecret",
    "%252e%252e/secret",
    "..%c0%afsecret",
    "%c0%ae%c0%ae/secret",
    "/etc/passwd",
    "//etc/passwd",
    "%2fetc%2fpasswd",
    "%2f%2fetc/passwd",
    "out",
    "out-absolute",
    "out-folder/secret",
    "out-folder/served/page.html",
    "out-and-in",
    "root/etc/passwd",
    "proc/etc/passwd",
    "loop",
    "dangling",
    "page.html%00",
    "page.html%00.png",
    "%00",
];

/// Targets of what begins with a dot.
const HIDDEN: [&str; 7] =
    [".hidden", "%2ehidden", "below/.hidden", "below/%2ehidden", ".folder/page.html", ".folder/", ".folder"];

fn folder() -> Folder {
    let folder = Folder::new();
    for name in ["page.html", "below/page.html", "below/index.html", ".hidden", "below/.hidden", ".folder/page.html"] {
        folder.file(name, b"page");
    }
    folder.link("out", "../secret");
    folder.link("out-absolute", text(&folder.secret()));
    folder.link("out-folder", "..");
    folder.link("out-and-in", "../served/page.html");
    folder.link("root", "/");
    folder.link("proc", "/proc/self/root");
    folder.link("loop", "loop");
    folder.link("dangling", "nothing");
    folder
}

fn assert_missing(address: SocketAddr, prefix: &str) {
    let mut wire = Wire::connect(address);
    for target in OUT.iter().chain(&HIDDEN) {
        for method in ["GET", "HEAD"] {
            let answer = ask(&mut wire, method, &format!("{prefix}{target}"), "");
            assert_eq!(answer.status, 404, "{prefix}{target}: {answer:?}");
            assert!(!String::from_utf8_lossy(&answer.body).contains(SECRET), "{target}");
            assert_eq!(answer.field("Location"), None, "{target}: {answer:?}");
        }
    }
    assert_eq!(ask(&mut wire, "GET", &format!("{prefix}page.html"), "").body, b"page");
}

#[test]
fn nothing_outside_of_the_folder_is_seen_and_nothing_with_a_dot() {
    let folder = folder();
    let local = folder.serve();
    assert_missing(local.address, "/f/");
    // The target of a proxy's request is no way around that.
    assert_missing(local.address, "http://a/f/");
    let server = folder.start(&[]);
    assert_missing(server.address(), "/");
    server.stop();
}

/// A server that may not call openat2(2), as with some seccomp filters.
fn filtered(folder: &Folder, error: &str) -> Serve {
    let mut command = Command::new("strace");
    // -D keeps the server our child, to be signalled and waited for.
    command.args(["-D", "-f", "-qq", "-o", "/dev/null", "-e", "trace=openat2", "-e"]);
    command.arg(format!("inject=openat2:error={error}"));
    command.args([BINARY, "serve", "--listen", "127.0.0.1:0", "--reactors", "1", "--static", text(&folder.path(""))]);
    command.stdin(Stdio::null());
    Serve::of(command)
}

#[test]
fn a_folder_is_served_as_safely_where_a_filter_forbids_openat2() {
    if !has_strace() {
        return;
    }
    let folder = folder();
    folder.link("in.css", "page.html");
    folder.link("below/up.html", "../page.html");
    folder.link("way", "below");
    for error in ["ENOSYS", "EPERM", "EACCES"] {
        let server = filtered(&folder, error);
        assert_missing(server.address(), "/");
        for target in ["/in.css", "/below/up.html", "/way/page.html", "/way/", "/below/"] {
            let answer = get(server.address(), target);
            assert_eq!((answer.status, &*answer.body), (200, &b"page"[..]), "{error} {target}: {answer:?}");
        }
        server.stop();
    }
}

#[test]
fn a_link_that_stays_inside_is_as_good_as_a_file() {
    let folder = folder();
    folder.link("in.css", "page.html");
    folder.link("below/up.html", "../page.html");
    folder.link("way", "below");
    folder.link("far", "way/up.html");
    let local = folder.serve();
    // The name is what was asked for, and so is its type.
    for (target, content_type) in [
        ("in.css", "text/css; charset=utf-8"),
        ("below/up.html", "text/html; charset=utf-8"),
        ("way/page.html", "text/html; charset=utf-8"),
        ("way/", "text/html; charset=utf-8"),
        ("far", "application/octet-stream"),
    ] {
        let answer = get(local.address, &format!("/f/{target}"));
        assert_eq!((answer.status, &*answer.body), (200, &b"page"[..]), "{target}: {answer:?}");
        assert_eq!(answer.field("Content-Type"), Some(content_type), "{target}");
    }
    assert_eq!(get(local.address, "/f/way").field("Location"), Some("/f/way/"));
}

#[test]
fn path_that_is_no_file_does_not_block() {
    let folder = folder();
    let made = Command::new("mkfifo").arg(folder.path("pipe")).status();
    assert!(made.expect("mkfifo(1)").success());
    let _listener = UnixListener::bind(folder.path("socket")).expect("a socket");
    let local = folder.serve();
    let mut wire = Wire::connect(local.address);
    for target in ["/f/pipe", "/f/socket", "/f/pipe/", "/f/socket/x", "/f/pipe"] {
        assert_eq!(ask(&mut wire, "GET", target, "").status, 404, "{target}");
        assert_eq!(ask(&mut wire, "GET", "/f/page.html", "").body, b"page");
    }
    // Nor does a client that writes there.
    let writer = std::fs::File::options().read(true).write(true).open(folder.path("pipe")).expect("both ends");
    assert_eq!(ask(&mut wire, "GET", "/f/pipe", "").status, 404);
    drop(writer);
}

/// A server that may read no more than the owner of a file may: root, too, without its capabilities.
fn unprivileged(folder: &Folder) -> Option<Serve> {
    if std::fs::File::open(folder.path("closed")).is_err() {
        return Some(folder.start(&[]));
    }
    let drop_all = ["--bounding-set=-all", "--inh-caps=-all"];
    let probe = Command::new("setpriv").args(drop_all).arg("true").stderr(Stdio::null()).status();
    if !probe.is_ok_and(|status| status.success()) {
        println!("skipped: this is root, and setpriv(1) is not here");
        return None;
    }
    let mut command = Command::new("setpriv");
    command.args(drop_all).args([BINARY, "serve", "--listen", "127.0.0.1:0", "--static", text(&folder.path(""))]);
    command.stdin(Stdio::null());
    Some(Serve::of(command))
}

#[test]
fn what_the_server_may_not_read_is_not_there() {
    let folder = folder();
    for name in ["closed", "closed-folder/page.html"] {
        folder.file(name, SECRET.as_bytes());
    }
    for name in ["closed", "closed-folder"] {
        std::fs::set_permissions(folder.path(name), Permissions::from_mode(0o0)).expect("a mode");
    }
    if let Some(server) = unprivileged(&folder) {
        for target in ["/closed", "/closed-folder/page.html", "/closed-folder/", "/closed-folder"] {
            let answer = get(server.address(), target);
            assert_eq!(answer.status, 404, "{target}: {answer:?}");
        }
        assert_eq!(get(server.address(), "/page.html").body, b"page");
        server.stop();
    }
    // So that a user who is not root can clean up.
    std::fs::set_permissions(folder.path("closed-folder"), Permissions::from_mode(0o700)).expect("a mode");
}
