//! A function takes at most five parameters: more of them are parts of a thing that has no name yet.

use super::{assert_none, blanked, sources, words};

/// The most parameters of a function, `self` included.
const MAX_PARAMETERS: usize = 5;

/// The functions of `code` with their places, names and numbers of parameters. A type such as `fn(u8)` is none.
fn functions(code: &str) -> Vec<(usize, String, usize)> {
    let mut found = Vec::new();
    for at in words(code, "fn") {
        let rest = code[at + 2..].trim_start();
        let name: String = rest.chars().take_while(|letter| letter.is_ascii_alphanumeric() || *letter == '_').collect();
        let Some(count) = parameters(&rest[name.len()..]).filter(|_| !name.is_empty()) else { continue };
        found.push((at, name, count));
    }
    found
}

/// How many parameters a function has, where `rest` follows its name: generics, if there are any, and the list.
fn parameters(rest: &str) -> Option<usize> {
    let (mut depth, mut count, mut is_list, mut has_content) = (0_usize, 0, false, false);
    let mut before = ' ';
    for letter in rest.chars() {
        match letter {
            '(' if depth == 0 => (is_list, depth) = (true, 1),
            '(' | '[' | '{' | '<' => depth += 1,
            ')' if depth == 1 && is_list => return Some(count + usize::from(has_content)),
            '>' if before == '-' || before == '=' => {}
            ')' | ']' | '}' | '>' => depth = depth.checked_sub(1)?,
            ',' if depth == 1 && is_list => (count, has_content) = (count + 1, false),
            letter if letter.is_whitespace() => {}
            _ => has_content |= is_list,
        }
        has_content |= is_list && depth > 1;
        before = letter;
    }
    None
}

#[test]
fn functions_take_few_parameters() {
    let mut findings = Vec::new();
    for source in sources().iter().filter(|source| source.is_house()) {
        let many = functions(source.shipped()).into_iter().filter(|&(_, _, count)| count > MAX_PARAMETERS);
        findings.extend(many.map(|(at, name, count)| format!("{}: {name} takes {count} parameters", source.place(at))));
    }
    assert_none(&findings);
}

#[test]
fn parameters_are_counted() {
    let code = blanked(
        "fn none() {}\n\
         fn one<'a, T: Fn(u8, u8) -> u8>(&'a self) where T: Copy { let _ = |a: u8, b: u8| a; }\n\
         fn two(a: (u8, u8), b: impl Fn(u8, u8) -> Vec<[u8; 2]>,) -> (u8, u8, u8) {}\n\
         // fn comment(a: u8, b: u8, c: u8)\n\
         type Call = fn(u8, u8, u8, u8);\n\
         fn six(\n    &mut self,\n    a: u8,\n    (b, c): (u8, u8),\n    d: &str,\n    e: Map<u8, u8>,\n    f: u8,\n) {}\n",
    );
    let found: Vec<_> = functions(&code).into_iter().map(|(_, name, count)| (name, count)).collect();
    let expected = [("none", 0), ("one", 1), ("two", 2), ("six", 6)];
    assert_eq!(found, expected.map(|(name, count)| (name.to_owned(), count)));
}
