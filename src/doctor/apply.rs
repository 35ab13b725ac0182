//! Applies the sysctls that a diagnosis proposes.

use super::fix::Fix;
use super::rows::Row;
use super::tree::{Tree, sysctl_path};
use serde::Serialize;
use std::fs;
use std::io;

/// The result of setting one sysctl.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Applied {
    /// The name of the sysctl.
    pub name: &'static str,
    /// The previous value.
    pub was: String,
    /// The value now, as read back from the kernel.
    pub is: String,
    /// Why the value is not the proposed one; `None` if it is.
    pub error: Option<String>,
}

/// Sets every sysctl that `rows` propose, as far as this process may. Other proposals are not applied.
pub fn apply(rows: &[Row], tree: &Tree) -> Vec<Applied> {
    let sysctls = rows.iter().filter_map(|row| match &row.fix {
        Some(Fix::Sysctl { name, value, was }) => Some((*name, value, was)),
        _ => None,
    });
    sysctls.map(|(name, value, was)| set(tree, name, value, was)).collect()
}

fn set(tree: &Tree, name: &'static str, value: &str, was: &str) -> Applied {
    let path = tree.place(sysctl_path(name));
    // Never create the file: a missing file means that the kernel has no such sysctl.
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
