//! The READMEs of the modules document the flags of their commands and the rows of the doctor, and the first README shows
//! what the program prints.

use crate::connect_peer::piped;
use crate::host::{Serve, run};
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

/// The names of the limits in what the doctor prints: a line for each, up to an empty one.
fn rows<'a>(lines: impl Iterator<Item = &'a str>) -> BTreeSet<&'a str> {
    let lines = lines.skip_while(|line| !line.trim_start().starts_with("available ")).skip(1);
    let named = lines.take_while(|line| !line.is_empty()).filter(|line| !line.starts_with(' '));
    named.filter_map(|line| line.split("  ").next()).collect()
}

#[test]
fn doctor_rows_are_in_the_readme() {
    let readme = include_str!("../../doctor/README.md");
    let ended = run("", &["doctor", "--connections", "1000000", "--no-measure"]);
    let (printed, documented) = (rows(ended.out.iter().map(String::as_str)), rows(readme.lines()));
    assert!(printed.len() > 10, "{printed:?}");
    assert!(printed.is_subset(&documented), "{:?}", printed.difference(&documented));
}

/// A line without its figures and their units: these differ from run to run.
fn wording(line: &str) -> String {
    let is_word = |word: &&str| !word.contains(|letter: char| letter.is_ascii_digit()) && !["us", "ms"].contains(word);
    line.split_whitespace().filter(is_word).collect::<Vec<_>>().join(" ")
}

/// What `README.md` shows below a command, each line by its wording.
fn shown(command: &str) -> Vec<String> {
    let readme = include_str!("../../../README.md");
    let lines = readme.lines().skip_while(|line| !line.starts_with(&format!("$ {command}"))).skip(1);
    let lines = lines.take_while(|line| !line.starts_with("$ ") && !line.starts_with("```"));
    lines.filter(|line| !line.is_empty() && *line != "...").map(wording).collect()
}

fn wordings<'a>(lines: impl IntoIterator<Item = &'a String>) -> BTreeSet<String> {
    lines.into_iter().map(|line| wording(line)).collect()
}

#[test]
fn first_minute_of_the_readme_matches_the_output() {
    let server = Serve::start(&[]);
    let said = wordings(server.said.iter().chain([&"ready".to_owned()]));
    assert_eq!(shown("steadfast serve").into_iter().collect::<BTreeSet<_>>(), said);

    let url = format!("ws://{}/echo", server.address());
    let ended = piped(&url, &[], b"hi\n");
    let said = wordings(ended.out.iter().chain(&ended.err));
    assert_eq!(shown("echo hi | steadfast connect").into_iter().collect::<BTreeSet<_>>(), said);

    let ended = run("", &["flood", &url, "--connections", "100", "--hold", "1"]);
    let (shown, said) = (shown("steadfast flood"), wordings(&ended.out));
    assert!(shown.len() > 15, "{shown:?}");
    let unknown: Vec<_> = shown.iter().filter(|line| !said.contains(*line)).collect();
    assert!(unknown.is_empty(), "{unknown:?} is not in {said:?}");
    server.stop();
}
