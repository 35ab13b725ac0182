//! The READMEs of the modules document the flags of their commands.

use crate::host::run;
use std::collections::BTreeSet;

/// Flags that a README need not name: clap's own.
const GENERAL: [&str; 1] = ["--help"];

/// The commands, and the documents that have their flags.
const DOCUMENTS: [(&str, &str); 4] = [
    ("serve", include_str!("../../server/README.md")),
    ("flood", include_str!("../../flood/README.md")),
    ("connect", include_str!("../../client/README.md")),
    ("doctor", include_str!("../../doctor/README.md")),
];

/// The long flags in a text.
fn flags(text: &str) -> BTreeSet<&str> {
    let is_flag = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
    text.split(|letter: char| !is_flag(letter)).filter(|word| word.starts_with("--") && word.len() > 3).collect()
}

/// The flags that `--help` of a command lists: those at the beginning of a line.
fn flags_of(help: &[String]) -> BTreeSet<&str> {
    let lines =
        help.iter().map(|line| line.trim_start().trim_start_matches("-h, ")).filter(|line| line.starts_with("--"));
    lines.flat_map(|line| flags(line).into_iter().filter(move |flag| line.starts_with(flag))).collect()
}

#[test]
fn every_flag_is_in_the_readme_of_its_module() {
    for (command, document) in DOCUMENTS {
        let ended = run("", &[command, "--help"]);
        let (all, documented) = (flags_of(&ended.out), flags(document));
        assert!(all.len() > 5, "{command}: {all:?}");
        let missing: Vec<&&str> =
            all.iter().filter(|flag| !documented.contains(**flag) && !GENERAL.contains(flag)).collect();
        assert!(missing.is_empty(), "the README of {command} lacks {missing:?}");
    }
}

#[test]
fn readmes_name_no_flag_that_does_not_exist() {
    let mut known: BTreeSet<String> = ["--release", "--example"].map(str::to_owned).into();
    for command in [&["serve"][..], &["flood"], &["connect"], &["doctor"], &["report", "merge"], &["report", "show"]] {
        let ended = run("", &[command, &["--help"]].concat());
        known.extend(flags_of(&ended.out).into_iter().map(str::to_owned));
    }
    for (command, document) in DOCUMENTS {
        let unknown: Vec<&str> = flags(document).into_iter().filter(|flag| !known.contains(*flag)).collect();
        assert!(unknown.is_empty(), "the README of {command} names {unknown:?}");
    }
}
