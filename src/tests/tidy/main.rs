//! The house rules that a machine can check: what each module imports, how long a file and a function may be, where
//! `unsafe` may be, and what is at the top level.
//!
//! Rust accepts import cycles inside a crate, so the direction of the arrows is held here. A finding names the file
//! and the line; a rule that no longer fits is changed here, in the commit that says why.

mod circles;
mod house;
mod panics;
mod parameters;
mod readmes;
mod routes;
mod words;

use house::HOUSE;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

const MAX_FILE_LINES: usize = 500;
const MAX_FUNCTION_LINES: usize = 75;

/// The only files that may have `unsafe`.
const UNSAFE_ROOMS: [&str; 3] = ["net/sys", "proto/mask", "tests/proto/heap"];

/// What the core must not name: it knows no socket, no file, no thread and no clock.
const FORBIDDEN_IN_PROTO: [&str; 9] = [
    "std::net",
    "std::fs",
    "std::thread",
    "std::os",
    "std::process",
    "std::env",
    "Instant::now",
    "std::time::Instant",
    "SystemTime",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// One Rust source.
struct Source {
    path: PathBuf,
    text: String,
    /// The text with comments, strings and characters blanked out, line for line and byte for byte.
    code: String,
}

impl Source {
    /// Its path under `src` without `.rs`, or its whole path if it is elsewhere.
    fn name(&self) -> String {
        let inside = self.path.strip_prefix(root().join("src")).unwrap_or(&self.path);
        inside.with_extension("").to_string_lossy().into_owned()
    }

    /// Whether it is part of what is built, and not a test or a benchmark.
    fn is_house(&self) -> bool {
        self.path.starts_with(root().join("src")) && !self.name().starts_with("tests/")
    }

    /// The code before `#[cfg(test)]`: tests come last.
    fn shipped(&self) -> &str {
        self.code.split_once("#[cfg(test)]").map_or(&self.code, |(before, _)| before)
    }

    fn place(&self, at: usize) -> String {
        let line = self.code[..at].matches('\n').count() + 1;
        format!("{}:{line}", self.path.strip_prefix(root()).unwrap_or(&self.path).display())
    }
}

/// Names that `.gitignore` has, as far as this repository uses its syntax.
fn ignored() -> BTreeSet<String> {
    let text = fs::read_to_string(root().join(".gitignore")).unwrap_or_default();
    text.lines().map(|line| line.trim_matches('/').to_owned()).filter(|name| !name.is_empty()).collect()
}

/// All files under a directory that is part of the repository.
fn files(directory: &str) -> Vec<PathBuf> {
    let ignored = ignored();
    let mut found = Vec::new();
    let mut open = vec![root().join(directory)];
    while let Some(path) = open.pop() {
        let entries = fs::read_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for entry in entries.map(|entry| entry.expect("an entry").path()) {
            let name = entry.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if ignored.contains(&name) {
                continue;
            }
            if entry.is_dir() { &mut open } else { &mut found }.push(entry);
        }
    }
    found.sort();
    found
}

fn sources() -> Vec<Source> {
    let rust =
        files("src").into_iter().chain(files("bench")).filter(|path| path.extension().is_some_and(|e| e == "rs"));
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Source { code: blanked(&text), path, text }
    };
    rust.map(read).collect()
}

/// Blanks what is not code, so that braces and names in it do not count.
fn blanked(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = at + not_code(&bytes[at..], at.checked_sub(1).map(|before| bytes[before]));
        for byte in &mut code[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end.max(at + 1);
    }
    String::from_utf8(code).expect("blanks are text")
}

/// How long a comment, string or character at the front of `rest` is; 0 for code.
fn not_code(rest: &[u8], before: Option<u8>) -> usize {
    let until = |end: &[u8], from: usize| {
        let found = rest[from..].windows(end.len()).position(|window| window == end);
        found.map_or(rest.len(), |at| from + at + end.len())
    };
    let in_name = before.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    match rest {
        [b'/', b'/', ..] => until(b"\n", 0),
        [b'/', b'*', ..] => until(b"*/", 2),
        [b'"', ..] => quoted(rest, b'"'),
        [b'r', b'"' | b'#', ..] if !in_name => {
            let hashes = rest[1..].iter().take_while(|&&byte| byte == b'#').count();
            let end = [&b"\""[..], &b"#".repeat(hashes)].concat();
            if rest.get(1 + hashes) == Some(&b'"') { until(&end, 2 + hashes) } else { 0 }
        }
        [b'\'', b'\\', ..] => quoted(rest, b'\''),
        // A character, of any number of bytes; a lifetime has no quote after it.
        [b'\'', next, ..] if *next != b'\'' => {
            let bytes = match next {
                0..=0x7f => 1,
                0x80..=0xdf => 2,
                0xe0..=0xef => 3,
                _ => 4,
            };
            if rest.get(1 + bytes) == Some(&b'\'') { bytes + 2 } else { 0 }
        }
        _ => 0,
    }
}

fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// The paths that `code` names, with their places: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn paths(code: &str) -> Vec<(usize, Vec<String>)> {
    let bytes = code.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let is_start = name_bytes(&code[at..]) > 0 && !code[..at].ends_with("::");
        if !is_start {
            at += 1;
            continue;
        }
        let mut here = Vec::new();
        let end = at + path(&code[at..], &[], &mut here);
        found.extend(here.into_iter().filter(|path| path.len() > 1).map(|path| (at, path)));
        at = end;
    }
    found
}

fn name_bytes(code: &str) -> usize {
    code.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').unwrap_or(code.len())
}

/// Reads one path, or a group of them, from the front of `code`; returns how long that was.
fn path(code: &str, before: &[String], found: &mut Vec<Vec<String>>) -> usize {
    let mut path = before.to_vec();
    let mut at = 0;
    loop {
        let bytes = name_bytes(&code[at..]);
        path.push(code[at..at + bytes].to_owned());
        at += bytes;
        if !code[at..].starts_with("::") {
            found.push(path);
            return at.max(1);
        }
        at += 2;
        if code[at..].starts_with('{') {
            return at + group(&code[at..], &path, found);
        }
        if name_bytes(&code[at..]) == 0 {
            found.push(path); // `a::<T>` or `a::*`
            return at;
        }
    }
}

fn group(code: &str, before: &[String], found: &mut Vec<Vec<String>>) -> usize {
    let mut at = 1;
    while at < code.len() && !code[at..].starts_with('}') {
        at += if name_bytes(&code[at..]) > 0 { path(&code[at..], before, found) } else { 1 };
    }
    at + 1
}

/// The file that a path of this crate leads to, under `src` and without `.rs`; what it names in there does not matter.
fn module_of(source: &Source, path: &[String]) -> Option<String> {
    let name = source.name();
    let mut base: Vec<&str> = name.split('/').filter(|part| !matches!(*part, "mod" | "lib" | "main")).collect();
    let rest = match path[0].as_str() {
        "crate" | "steadfast" => {
            base.clear();
            &path[1..]
        }
        "self" => &path[1..],
        "super" => {
            let ups = path.iter().take_while(|part| *part == "super").count();
            base.truncate(base.len().saturating_sub(ups));
            &path[ups..]
        }
        _ => return None,
    };
    let exists = |parts: &[&str]| {
        let file = root().join("src").join(parts.join("/"));
        file.with_extension("rs").is_file() || file.join("mod.rs").is_file()
    };
    for part in rest {
        base.push(part);
        if !exists(&base) {
            base.pop();
            break;
        }
    }
    Some(base.join("/"))
}

fn is_in(name: &str, rooms: &[&str]) -> bool {
    rooms.iter().any(|room| name == *room || name.strip_prefix(room).is_some_and(|rest| rest.starts_with('/')))
}

/// Dependencies as `Cargo.toml` has them, in the spelling of Rust.
fn crates() -> BTreeSet<String> {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("Cargo.toml");
    let section = manifest.split("\n[dependencies]\n").nth(1).and_then(|rest| rest.split("\n[").next());
    let names = section.expect("dependencies").lines().filter_map(|line| line.split_once('='));
    names.map(|(name, _)| name.trim().replace('-', "_")).collect()
}

/// Fails with all findings at once.
fn assert_none(findings: &[String]) {
    let list = findings.iter().fold(String::new(), |mut list, finding| {
        let _ = write!(list, "\n  {finding}");
        list
    });
    assert!(findings.is_empty(), "{} findings:{list}", findings.len());
}

#[test]
fn modules_import_only_what_the_house_permits() {
    let crates = crates();
    let mut findings = Vec::new();
    for source in sources().iter().filter(|source| source.is_house()) {
        let name = source.name();
        let Some(room) = HOUSE.iter().find(|room| is_in(&name, room.names)) else {
            findings.push(format!("src/{name}.rs has no rule in the table of this test"));
            continue;
        };
        let own = name.strip_suffix("/mod").unwrap_or(&name);
        for (at, path) in paths(source.shipped()) {
            let what = path.join("::");
            let place = source.place(at);
            if crates.contains(&path[0]) && !room.crates.contains(&path[0].as_str()) {
                findings.push(format!("{place}: {what}: not a crate for this module"));
            }
            let Some(module) = module_of(source, &path) else { continue };
            // Its parent, where what is declared belongs to all of the directory, and its own children.
            let near = own.starts_with(&module) || is_in(&module, &[own]);
            if !module.is_empty() && !near && !is_in(&module, room.modules) {
                findings.push(format!("{place}: {what}: not a module for this one"));
            }
        }
    }
    assert_none(&findings);
}

#[test]
fn the_core_knows_no_socket_and_no_clock() {
    let mut findings = Vec::new();
    for source in sources().iter().filter(|source| source.name().starts_with("proto/")) {
        for (at, path) in paths(source.shipped()) {
            let what = path.join("::");
            if FORBIDDEN_IN_PROTO.iter().any(|forbidden| what.contains(forbidden)) {
                findings.push(format!("{}: {what}", source.place(at)));
            }
        }
    }
    assert_none(&findings);
}

#[test]
fn files_stay_short() {
    let mut findings = Vec::new();
    for path in ["src", "bench", "scripts"].into_iter().flat_map(files) {
        // What is no text has no lines.
        let lines = fs::read_to_string(&path).map_or(0, |text| text.lines().count());
        if lines > MAX_FILE_LINES {
            findings.push(format!("{}: {lines} lines", path.strip_prefix(root()).unwrap_or(&path).display()));
        }
    }
    assert_none(&findings);
}

/// Where the body of the function begins that is found after `from`, and where it ends.
fn body(code: &str, from: usize) -> Option<(usize, usize)> {
    let mut depth = 0_i32;
    let mut start = None;
    for (at, byte) in code.bytes().enumerate().skip(from) {
        match (byte, start) {
            (b'(' | b'[', None) => depth += 1,
            (b')' | b']', None) => depth -= 1,
            (b';', None) if depth == 0 => return None,
            (b'{', None) if depth == 0 => (start, depth) = (Some(at), 1),
            (b'{', Some(_)) => depth += 1,
            (b'}', Some(start)) => {
                depth -= 1;
                if depth == 0 {
                    return Some((start, at));
                }
            }
            _ => {}
        }
    }
    None
}

/// Places where `word` is a whole word.
fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let in_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let alone = move |at: usize| !code[..at].ends_with(in_name) && !code[at + word.len()..].starts_with(in_name);
    code.match_indices(word).map(|(at, _)| at).filter(move |&at| alone(at))
}

#[test]
fn functions_stay_short() {
    let mut findings = Vec::new();
    for source in sources() {
        for at in words(&source.code, "fn") {
            let Some((_, end)) = body(&source.code, at) else { continue };
            let lines = source.code[at..end].matches('\n').count() + 1;
            if lines > MAX_FUNCTION_LINES {
                let name = source.code[at..].lines().next().unwrap_or_default();
                findings.push(format!("{}: {lines} lines: {name}", source.place(at)));
            }
        }
    }
    assert_none(&findings);
}

#[test]
fn unsafe_is_where_it_may_be_and_says_why_it_is_sound() {
    let mut findings = Vec::new();
    for source in sources() {
        for at in words(&source.code, "unsafe") {
            let place = source.place(at);
            if !UNSAFE_ROOMS.contains(&source.name().as_str()) {
                findings.push(format!("{place}: unsafe does not belong here"));
                continue;
            }
            let line = source.code[..at].matches('\n').count();
            let said = source.text.lines().skip(line.saturating_sub(4)).take(line.min(4) + 1);
            if !said.into_iter().any(|line| line.contains("SAFETY:")) {
                findings.push(format!("{place}: no SAFETY comment in the four lines above"));
            }
        }
    }
    assert_none(&findings);
}

#[test]
fn nothing_is_unwrapped() {
    let mut findings = Vec::new();
    for source in sources().iter().filter(|source| source.is_house()) {
        for (at, _) in source.shipped().match_indices(".unwrap()") {
            findings
                .push(format!("{}: an error has to be handled, or expect() says why there is none", source.place(at)));
        }
    }
    assert_none(&findings);
}

#[test]
fn the_top_level_is_what_the_house_has() {
    const HOUSEHOLD: [&str; 8] =
        ["Cargo.lock", "Cargo.toml", "LICENSE-APACHE", "LICENSE-MIT", "README.md", "bench", "scripts", "src"];
    let ignored = ignored();
    let entries = fs::read_dir(root()).expect("the top level");
    let names = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    let visible = names.filter(|name| !name.starts_with('.') && name != "target" && !ignored.contains(name));
    let found: BTreeSet<String> = visible.collect();
    assert_eq!(found, HOUSEHOLD.map(str::to_owned).into());
}

#[test]
fn this_test_reads_rust() {
    let code = r##"use a::{b, c::{d, e::f}, self}; /* x::y */ let s = "x::y { \" // "; 'l: loop { m::<u8>() } // x::y
        let c = ('{', '\'', '\u{7b}', r#"}"#, b"\\"); n::o::*"##;
    let all: Vec<String> = paths(&blanked(code)).into_iter().map(|(_, path)| path.join("::")).collect();
    assert_eq!(all, ["a::b", "a::c::d", "a::c::e::f", "a::self", "n::o"]);
    assert_eq!(blanked(code).matches(['{', '}']).count(), 6);
    let functions = "fn a(x: [u8; 4]) -> [u8; 2] {\n{\n}\n}\nfn b();\n";
    assert_eq!(body(functions, 0), Some((28, 34)));
    assert_eq!(body(functions, 36), None);
}
