//! The READMEs: how long the first one is, and that the files, headings, scripts and figures they name exist.

use super::{assert_none, files, root};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const MAX_README_LINES: usize = 150;

/// The modules whose README is part of their documentation.
const MODULES: [&str; 4] = ["client", "doctor", "flood", "server"];

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn readme(name: &str) -> String {
    read(&root().join(name))
}

/// All documents in Markdown.
fn documents() -> Vec<PathBuf> {
    let inside = ["src", "bench", "scripts", ".github"].into_iter().flat_map(files);
    let all = inside.chain([root().join("README.md")]);
    all.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect()
}

/// The lines of a document that are outside of its code blocks.
fn prose(text: &str) -> Vec<&str> {
    let mut is_code = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        } else if !is_code {
            lines.push(line);
        }
    }
    lines
}

/// The lines of the first code block below a heading.
fn block_below<'a>(text: &'a str, heading: &str) -> Vec<&'a str> {
    let section = text.lines().skip_while(|line| *line != heading);
    section.skip_while(|line| !line.starts_with("```")).skip(1).take_while(|line| !line.starts_with("```")).collect()
}

/// The anchors of a document's headings, as code hosts make them.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = prose(text).into_iter().filter(|line| line.starts_with('#'));
    let anchor = |line: &str| {
        let letters = line.trim_start_matches('#').trim().to_lowercase();
        let letters = letters.chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
        letters.map(|letter| if letter == ' ' { '-' } else { letter }).collect()
    };
    headings.map(anchor).collect()
}

/// The targets of a document's links.
fn links(text: &str) -> Vec<&str> {
    let lines = prose(text);
    let found = lines.into_iter().flat_map(|line| line.split("](").skip(1));
    found.filter_map(|rest| rest.split(')').next()).collect()
}

/// The scripts that a text names: `scripts/NAME.sh`, `bench/NAME.sh`, and those in Python.
fn scripts(text: &str) -> BTreeSet<&str> {
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || "_/.".contains(letter);
    let words = text.split(|letter: char| !is_name(letter));
    let is_script = |word: &&str| {
        (word.starts_with("scripts/") || word.starts_with("bench/")) && (word.ends_with(".sh") || word.ends_with(".py"))
    };
    words.filter(is_script).collect()
}

#[test]
fn readme_is_short() {
    let lines = readme("README.md").lines().count();
    assert!(lines <= MAX_README_LINES, "README.md has {lines} lines, and at most {MAX_README_LINES} are allowed");
}

#[test]
fn links_lead_to_files_and_headings() {
    let mut findings = Vec::new();
    for document in documents() {
        let text = read(&document);
        for link in links(&text).into_iter().filter(|link| !link.contains("://")) {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => document.clone(),
                path => document.parent().unwrap_or(root()).join(path),
            };
            let is_there = target.exists() && (anchor.is_empty() || anchors(&read(&target)).contains(anchor));
            if !is_there {
                findings.push(format!("{}: {link}", document.display()));
            }
        }
    }
    assert_none(&findings);
}

#[test]
fn named_scripts_exist() {
    let mut findings = Vec::new();
    for document in documents() {
        let text = read(&document);
        let missing = scripts(&text).into_iter().filter(|script| !root().join(script).is_file());
        findings.extend(missing.map(|script| format!("{}: {script}", document.display())));
    }
    assert_none(&findings);
}

#[test]
fn every_script_is_documented() {
    let mut findings = Vec::new();
    for (directory, prefix) in [("bench", "bench/"), ("scripts", "")] {
        let text = readme(&format!("{directory}/README.md"));
        let entries = fs::read_dir(root().join(directory)).expect("a directory");
        let names = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
        for name in names.filter(|name| name.ends_with(".sh") || name.ends_with(".py")) {
            // A row begins with the script and its flags. Files that scripts read are named without the directory.
            let rows = [format!("| `{prefix}{name}"), format!("`{name}`")];
            if !rows.iter().any(|row| text.contains(row.as_str())) {
                findings.push(format!("{directory}/README.md has no row for {name}"));
            }
        }
    }
    assert_none(&findings);
}

/// What the first README shows of a report is part of the whole one.
#[test]
fn the_million_in_short_is_that_of_the_bench() {
    let (short, whole) = (readme("README.md"), readme("bench/README.md"));
    let short = block_below(&short, "## A million in twelve lines");
    let whole: BTreeSet<&str> = block_below(&whole, "## A million connections").into_iter().collect();
    assert_eq!(short.len(), 12);
    let unknown: Vec<String> =
        short.into_iter().filter(|line| !whole.contains(line)).map(|line| format!("not in bench: {line}")).collect();
    assert_none(&unknown);
}

/// Each row of the table against others names one script of the bench, and each figure is in `bench/README.md`.
#[test]
fn figures_against_others_are_those_of_the_bench() {
    let (short, bench) = (readme("README.md"), readme("bench/README.md"));
    let section = short.split("## Against others\n").nth(1).and_then(|rest| rest.split("\n## ").next());
    let rows = section.expect("the section").lines().filter(|line| line.starts_with("| ")).skip(1);
    let mut findings = Vec::new();
    let mut count = 0;
    for row in rows {
        count += 1;
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let command = cells.last().copied().unwrap_or_default().trim_matches('`');
        if scripts(command).len() != 1 || !bench.contains(scripts(command).first().copied().unwrap_or("?")) {
            findings.push(format!("no command: {row}"));
        }
        for cell in cells.iter().skip(1).take(2) {
            // 1 is the side that the other one is compared with.
            let figure = cell.split(", ").next().unwrap_or_default();
            if figure != "1" && !bench.contains(&format!(" {figure} ")) {
                findings.push(format!("bench/README.md has no {figure}: {row}"));
            }
        }
    }
    assert!(count >= 4, "{count} rows");
    assert_none(&findings);
}

#[test]
fn readmes_of_modules_are_their_documentation() {
    let mut findings = Vec::new();
    for module in MODULES {
        let source = readme(&format!("src/{module}/mod.rs"));
        if !source.starts_with("#![doc = include_str!(\"README.md\")]\n") {
            findings.push(format!("src/{module}/mod.rs does not include its README"));
        }
        // A block without a language would be compiled.
        let text = readme(&format!("src/{module}/README.md"));
        let fences = text.lines().filter(|line| line.starts_with("```")).enumerate();
        if fences.into_iter().any(|(at, fence)| at % 2 == 0 && fence == "```") {
            findings.push(format!("src/{module}/README.md has a block without a language"));
        }
    }
    assert_none(&findings);
}

#[test]
fn this_test_reads_markdown() {
    let text =
        "# A b-c `d`!\n[x](y.md#z) and [1](#2)\n```sh\n# no heading\n[no](link)\n```\nscripts/a.sh, `bench/b_c.py`.\n";
    assert_eq!(anchors(text), BTreeSet::from(["a-b-c-d".to_owned()]));
    assert_eq!(links(text), ["y.md#z", "#2"]);
    assert_eq!(scripts(text), BTreeSet::from(["bench/b_c.py", "scripts/a.sh"]));
    assert_eq!(block_below(text, "# A b-c `d`!"), ["# no heading", "[no](link)"]);
}
