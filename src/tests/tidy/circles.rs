//! Circles of imports: files that import from each other, in however many steps.
//!
//! An import leads to the file that declares the name: what a file re-exports is looked for where it comes from. So a `mod.rs`
//! that only declares modules and re-exports is in no circle. One that declares a type is, if it imports from a submodule that
//! uses the type. Calls of methods are no imports.

use super::{Source, name_bytes, path, paths, root, sources, words};
use std::collections::{BTreeMap, BTreeSet};

/// For each file, the files that it imports from.
type Graph = BTreeMap<String, BTreeSet<String>>;

/// The circles that are known, each with all of its files. A circle may be listed only while it is being cut.
const KNOWN: &[&[&str]] = &[];

/// The longest chain of re-exports that is followed.
const MAX_CHAIN: usize = 8;

/// The files of each circle, in order.
fn circles(graph: &Graph) -> Vec<Vec<String>> {
    let reached: BTreeMap<&str, BTreeSet<&str>> =
        graph.keys().map(|file| (file.as_str(), reached_from(graph, file))).collect();
    let reaches = |from: &str, to: &str| reached.get(from).is_some_and(|files| files.contains(to));
    let mut found = BTreeSet::new();
    for file in graph.keys().filter(|file| reaches(file, file)) {
        let circle = graph.keys().filter(|other| reaches(file, other) && reaches(other, file));
        found.insert(circle.cloned().collect::<Vec<_>>());
    }
    found.into_iter().collect()
}

/// The files that `file` imports from, and those that they import from.
fn reached_from<'g>(graph: &'g Graph, file: &str) -> BTreeSet<&'g str> {
    let mut reached = BTreeSet::new();
    let mut open = vec![file];
    while let Some(at) = open.pop() {
        for next in graph.get(at).into_iter().flatten() {
            if reached.insert(next.as_str()) {
                open.push(next);
            }
        }
    }
    reached
}

/// What differs between the circles that were found and those that are `known`.
fn findings(graph: &Graph, known: &[&[&str]]) -> Vec<String> {
    let found = circles(graph);
    let mut findings = Vec::new();
    for circle in found.iter().filter(|circle| !known.iter().any(|known| circle == known)) {
        findings.push(format!("{} files import from each other:", circle.len()));
        for file in circle {
            let to: Vec<&str> = graph[file].iter().filter(|to| circle.contains(to)).map(String::as_str).collect();
            findings.push(format!("  src/{file}.rs imports from {}", to.join(", ")));
        }
    }
    for stale in known.iter().filter(|known| !found.iter().any(|circle| circle == *known)) {
        findings.push(format!("stale: this is no circle any more: {}", stale.join(", ")));
    }
    findings
}

/// The files of the crate, and the names that each re-exports, with the paths that these come from.
struct House {
    reexports: BTreeMap<String, BTreeMap<String, Vec<String>>>,
}

impl House {
    fn new(sources: &[Source]) -> Self {
        Self { reexports: sources.iter().map(|source| (source.name(), reexported(source))).collect() }
    }

    /// The file of a module, if the module has one.
    fn file_of(&self, module: &[String]) -> Option<String> {
        let name = module.join("/");
        let names = if name.is_empty() { ["lib".into(), "main".into()] } else { [format!("{name}/mod"), name] };
        names.into_iter().find(|name| self.reexports.contains_key(name))
    }

    /// The file that declares what `path` names in `file`; `None` for what does not belong to this crate.
    fn declares(&self, file: &str, path: &[String], chain: usize) -> Option<String> {
        let own = file.split('/').filter(|part| !matches!(*part, "mod" | "lib" | "main"));
        let mut module: Vec<String> = own.map(str::to_owned).collect();
        let rest = match path.first()?.as_str() {
            "crate" | "steadfast" => {
                module.clear();
                &path[1..]
            }
            "self" => &path[1..],
            "super" => {
                let ups = path.iter().take_while(|part| *part == "super").count();
                module.truncate(module.len().saturating_sub(ups));
                &path[ups..]
            }
            submodule => {
                self.file_of(&[&module[..], &[submodule.to_owned()]].concat())?;
                path
            }
        };
        for name in rest {
            module.push(name.clone());
            if self.file_of(&module).is_some() {
                continue;
            }
            module.pop();
            let at = self.file_of(&module)?;
            let from = self.reexports[&at].get(name).filter(|_| chain < MAX_CHAIN);
            return from.and_then(|from| self.declares(&at, from, chain + 1)).or(Some(at));
        }
        self.file_of(&module)
    }

    fn graph(&self, sources: &[Source]) -> Graph {
        let imports = |source: &Source| {
            let name = source.name();
            let paths = paths(source.shipped()).into_iter();
            let files = paths.filter_map(|(_, path)| self.declares(&name, &path, 0));
            (name.clone(), files.filter(|file| *file != name).collect())
        };
        sources.iter().map(imports).collect()
    }
}

/// The names that a file re-exports, with the paths that they come from.
fn reexported(source: &Source) -> BTreeMap<String, Vec<String>> {
    let code = source.shipped();
    let mut names = BTreeMap::new();
    for at in words(code, "use") {
        let line = code[..at].rsplit(['\n', ';', '{', '}']).next().unwrap_or_default();
        let rest = code[at..].trim_start_matches("use").trim_start();
        if !line.trim_start().starts_with("pub") || name_bytes(rest) == 0 {
            continue;
        }
        let mut found = Vec::new();
        path(rest, &[], &mut found);
        names.extend(found.into_iter().filter_map(|path| Some((path.last()?.clone(), path))));
    }
    names
}

#[test]
fn files_do_not_import_from_each_other() {
    let sources: Vec<Source> = sources().into_iter().filter(Source::is_house).collect();
    let graph = House::new(&sources).graph(&sources);
    // A check that reads no import finds no circle.
    assert!(graph["server/app"].contains("server/context") && graph["cli/serve"].contains("server/handle"));
    super::assert_none(&findings(&graph, KNOWN));
}

#[test]
fn circles_of_a_graph_are_found() {
    let graph = |arrows: &[(&str, &str)]| {
        let mut graph = Graph::new();
        for (from, to) in arrows {
            graph.entry((*to).to_owned()).or_default();
            graph.entry((*from).to_owned()).or_default().insert((*to).to_owned());
        }
        graph
    };
    let tree = [("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")];
    assert_eq!(circles(&graph(&tree)), Vec::<Vec<String>>::new());
    // One of two, and one of three that hangs on it; `x` and `y` lead there and away.
    let two = [("x", "a"), ("a", "b"), ("b", "a"), ("b", "c"), ("c", "d"), ("d", "e"), ("e", "c"), ("e", "y")];
    let two = graph(&two);
    assert_eq!(circles(&two), [vec!["a", "b"], vec!["c", "d", "e"]]);
    assert_eq!(findings(&two, &[&["a", "b"], &["c", "d", "e"]]), [""; 0]);
    // A list that has too few or too many files is wrong in both ways.
    assert_eq!(findings(&two, &[&["a", "b"]]).len(), 4);
    assert_eq!(findings(&two, &[&["a", "b"], &["c", "d"]]).len(), 5);
    assert_eq!(findings(&graph(&tree), &[&["a", "b"]]).len(), 1);
}

#[test]
fn imports_lead_to_the_file_that_declares_the_name() {
    let source = |name: &str, text: &str| Source {
        path: root().join("src").join(name),
        text: text.to_owned(),
        code: super::blanked(text),
    };
    let sources = [
        source("lib.rs", "pub mod a;\npub mod b;\n"),
        source(
            "a/mod.rs",
            "mod c;\nmod d;\npub use c::{C, e::E};\npub(crate) use d::D;\nuse c::Hidden;\npub struct Own;\n",
        ),
        source("a/c.rs", "use super::D;\npub struct C;\nfn f() { super::d::g() }\n// crate::b::B\n"),
        source("a/d.rs", "use std::fmt;\nuse super::{C, Own};\n"),
        source("b.rs", "use crate::a::{C, D, Own, d};\n#[cfg(test)]\nmod tests { use crate::lost::L; }\n"),
        source("main.rs", "use steadfast::a::E;\n"),
    ];
    let graph = House::new(&sources).graph(&sources);
    let imported = |file: &str| graph[file].iter().map(String::as_str).collect::<Vec<_>>().join(" ");
    assert_eq!(imported("lib"), "");
    assert_eq!(imported("a/mod"), "a/c a/d");
    assert_eq!(imported("a/c"), "a/d");
    assert_eq!(imported("a/d"), "a/c a/mod");
    assert_eq!(imported("b"), "a/c a/d a/mod");
    assert_eq!(imported("main"), "a/c");
    assert_eq!(circles(&graph), [vec!["a/c", "a/d", "a/mod"]]);
}
