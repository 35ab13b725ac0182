//! Words that may not return: the plain ones for them are in the rules of prose.

use super::{assert_none, files, root};
use std::fs;
use std::path::{Path, PathBuf};

/// Each with what to say in its place.
const FORBIDDEN: [(&str, &str); 3] = [
    ("whoever", "the thing itself: a connection, a client, a thread"),
    ("right would be", "expected"),
    ("at the most", "at most"),
];

/// Whole words that may not return to [`PLAIN`], each with what to say in its place.
const FORBIDDEN_IN_PLAIN: [(&str, &str); 14] = [
    ("nobody", "no connection, no client, no thread"),
    ("somebody", "a person, a program"),
    ("anybody", "any connection, any client, any thread"),
    ("behind", "after"),
    ("stands", "is"),
    ("stood", "was"),
    ("lies", "is"),
    ("doom", "schedule to be freed"),
    ("doomed", "scheduled to be freed"),
    ("so many", "this many, or the number"),
    ("so much", "this much, or the number"),
    ("has come", "has arrived"),
    ("in vain", "without success"),
    ("under way", "in progress"),
];

/// Parts of the repository that are in plain English throughout.
const PLAIN: [&str; 11] = [
    ".github/",
    "scripts/",
    "src/README.md",
    "src/cli/",
    "src/client/",
    "src/doctor/",
    "src/flood/",
    "src/lib.rs",
    "src/net/",
    "src/proto/",
    "src/stats/",
];

/// Sources, scripts and documents that people read; tests keep their own words.
fn texts() -> Vec<PathBuf> {
    let is_test = |path: &Path| path.starts_with(root().join("src/tests"));
    let is_text = |path: &Path| {
        let extension = path.extension().and_then(|extension| extension.to_str());
        matches!(extension, Some("rs" | "md" | "sh" | "py"))
    };
    let inside = ["src", "scripts", ".github"].into_iter().flat_map(files);
    let all = inside.chain([root().join("README.md")]);
    all.filter(|path| is_text(path) && !is_test(path)).collect()
}

/// Whether `line` has `word` by itself, and not as a part of a longer one.
fn has_word(line: &str, word: &str) -> bool {
    let in_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let alone = |at: usize| !line[..at].ends_with(in_name) && !line[at + word.len()..].starts_with(in_name);
    line.match_indices(word).any(|(at, _)| alone(at))
}

fn findings(text: &str, is_plain: bool) -> Vec<String> {
    let mut findings = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.to_lowercase();
        let anywhere = FORBIDDEN.iter().filter(|(word, _)| line.contains(word));
        let in_plain = FORBIDDEN_IN_PLAIN.iter().filter(|(word, _)| is_plain && has_word(&line, word));
        let found = anywhere.chain(in_plain);
        findings.extend(found.map(|(word, right)| format!("{}: {word:?}: say {right}", number + 1)));
    }
    findings
}

#[test]
fn words_that_need_translation_do_not_return() {
    let mut all = Vec::new();
    for path in texts() {
        let text = fs::read_to_string(&path).expect("a text");
        let place = path.strip_prefix(root()).unwrap_or(&path).display().to_string();
        let is_plain = PLAIN.iter().any(|part| place.starts_with(part));
        all.extend(findings(&text, is_plain).into_iter().map(|finding| format!("{place}:{finding}")));
    }
    assert_none(&all);
}

#[test]
fn a_forbidden_word_is_found_with_its_line() {
    let text = "one\n// Whoever reads this\nat most\n";
    assert_eq!(findings(text, false), ["2: \"whoever\": say the thing itself: a connection, a client, a thread"]);
}

#[test]
fn plain_parts_forbid_more_words_and_only_whole_ones() {
    let text = "// Behind it.\nfn is_behind() {}\n// believes\n// what lies there\n";
    assert_eq!(findings(text, false), [""; 0]);
    assert_eq!(findings(text, true), ["1: \"behind\": say after", "4: \"lies\": say is"]);
}
