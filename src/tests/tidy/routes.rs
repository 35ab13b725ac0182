//! The routes of src/README.md exist: each step names a file, and functions that are in it.

use super::{assert_none, root};
use std::collections::HashMap;
use std::fs;

/// The most files that an echoed message may pass.
const MAX_ECHO_FILES: usize = 14;

/// The most times that it may come to the same file.
const MAX_VISITS: usize = 2;

#[derive(Debug, PartialEq, Eq)]
struct Step {
    file: String,
    functions: Vec<String>,
}

/// The routes of a document, by their headings: each is a list whose items begin with a number, a file and a colon.
fn routes(text: &str) -> Vec<(String, Vec<Step>)> {
    let mut routes: Vec<(String, Vec<Step>)> = Vec::new();
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            routes.push((heading.to_owned(), Vec::new()));
        }
        let is_item = line.split_once(". ").is_some_and(|(number, _)| number.parse::<u32>().is_ok());
        let quoted: Vec<&str> = line.split('`').skip(1).step_by(2).collect();
        if let (true, [file, functions @ ..], Some((_, steps))) = (is_item, &quoted[..], routes.last_mut()) {
            let is_function = |name: &&&str| name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
            let functions = functions.iter().filter(is_function).map(|&name| name.to_owned()).collect();
            steps.push(Step { file: (*file).to_owned(), functions });
        }
    }
    routes.retain(|(_, steps)| !steps.is_empty());
    routes
}

/// Returns what is wrong with a route, where `source` returns the text of a file.
fn findings(heading: &str, steps: &[Step], source: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut findings = Vec::new();
    for Step { file, functions } in steps {
        let Some(text) = source(file) else {
            findings.push(format!("{heading}: there is no {file}"));
            continue;
        };
        let has = |name: &String| text.contains(&format!("fn {name}(")) || text.contains(&format!("fn {name}<"));
        findings
            .extend(functions.iter().filter(|name| !has(name)).map(|name| format!("{heading}: {file} has no {name}")));
        if functions.is_empty() {
            findings.push(format!("{heading}: no function of {file} is named"));
        }
    }
    findings
}

#[test]
fn the_routes_of_the_architecture_exist() {
    let text = fs::read_to_string(root().join("src/README.md")).expect("the architecture");
    let routes = routes(&text);
    assert_eq!(routes.len(), 3, "{routes:?}");
    let source = |file: &str| fs::read_to_string(root().join("src").join(file)).ok();
    assert_none(&routes.iter().flat_map(|(heading, steps)| findings(heading, steps, source)).collect::<Vec<_>>());
}

#[test]
fn an_echoed_message_passes_few_files_and_none_more_than_twice() {
    let text = fs::read_to_string(root().join("src/README.md")).expect("the architecture");
    let (_, steps) = routes(&text).into_iter().find(|(heading, _)| heading == "An echoed message").expect("a route");
    let mut visits: HashMap<&str, usize> = HashMap::new();
    for step in &steps {
        *visits.entry(&step.file).or_default() += 1;
    }
    assert!(visits.len() <= MAX_ECHO_FILES, "{} files", visits.len());
    assert!(visits.values().all(|&count| count <= MAX_VISITS), "{visits:?}");
}

#[test]
fn a_route_that_is_wrong_is_found() {
    let text =
        "## A route\n\ntext\n\n1. `a.rs`: `run` calls `Thing` and `go_on`.\n2. `b.rs`: nothing.\n3. `c.rs`: `x`\n";
    let routes = routes(text);
    let [(heading, steps)] = &routes[..] else { panic!("{routes:?}") };
    assert_eq!(steps[0], Step { file: "a.rs".into(), functions: vec!["run".into(), "go_on".into()] });
    let source = |file: &str| (file != "c.rs").then(|| "fn run() {}".to_owned());
    let findings = findings(heading, steps, source);
    let expected = ["A route: a.rs has no go_on", "A route: no function of b.rs is named", "A route: there is no c.rs"];
    assert_eq!(findings, expected);
}
