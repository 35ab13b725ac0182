//! Changes what can be changed at once.

use super::fix::Fix;
use super::rows::Row;
use super::tree::{Tree, sysctl_path};
use serde::Serialize;
use std::fs;
use std::io;

/// A sysctl that was changed, or was to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Applied {
    /// Its name.
    pub name: &'static str,
    /// What it was.
    pub was: String,
    /// What it is now, as the kernel says it.
    pub is: String,
    /// Why it is not what was wanted; `None` if it is.
    pub error: Option<String>,
}

/// Sets every sysctl that `rows` want, as far as the kernel lets this process; what else they want is for others to do.
pub fn apply(rows: &[Row], tree: &Tree) -> Vec<Applied> {
    let sysctls = rows.iter().filter_map(|row| match &row.fix {
        Some(Fix::Sysctl { name, value, was }) => Some((*name, value, was)),
        _ => None,
    });
    sysctls.map(|(name, value, was)| set(tree, name, value, was)).collect()
}

fn set(tree: &Tree, name: &'static str, value: &str, was: &str) -> Applied {
    let path = tree.place(sysctl_path(name));
    // A file that is not there is none to be made.
    let written = fs::OpenOptions::new()
        .write(true)
        .truncate(true)
        .open(path)
        .and_then(|mut file| io::Write::write_all(&mut file, value.as_bytes()));
    let words = |text: &str| text.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
    let is = words(&tree.sysctl(name).unwrap_or_default());
    let error = match written {
        Err(error) => Some(error.to_string()),
        Ok(()) if is != words(value) => Some(format!("the kernel made {is} of it")),
        Ok(()) => None,
    };
    Applied { name, was: words(was), is, error }
}
