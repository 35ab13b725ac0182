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

fn findings(text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.to_lowercase();
        let found = FORBIDDEN.iter().filter(|(word, _)| line.contains(word));
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
        all.extend(findings(&text).into_iter().map(|finding| format!("{place}:{finding}")));
    }
    assert_none(&all);
}

#[test]
fn a_forbidden_word_is_found_with_its_line() {
    let text = "one\n// Whoever reads this\nat most\n";
    assert_eq!(findings(text), ["2: \"whoever\": say the thing itself: a connection, a client, a thread"]);
}
