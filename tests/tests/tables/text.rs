//! Text of the project, and tables in it.

use std::path::{Path, PathBuf};
use std::{fs, iter};

/// The text of a file of the project.
pub(crate) fn read(path: &str) -> Result<String, String> {
    fs::read_to_string(root().join(path)).map_err(|error| format!("{path}: {error}"))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The text of all sources in a folder.
pub(crate) fn sources(folder: &str) -> Result<String, String> {
    files(folder)?.iter().map(|path| read(path)).collect()
}

/// The paths of all sources in a folder.
pub(crate) fn files(folder: &str) -> Result<Vec<String>, String> {
    let entries =
        fs::read_dir(root().join(folder)).map_err(|error| format!("{folder}: {error}"))?;
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let path = format!("{folder}/{}", entry.file_name().display());
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(files(&path)?);
        } else if path.ends_with(".rs") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

#[track_caller]
pub(crate) fn assert_clean(path: &str, complaints: &[String]) {
    assert!(complaints.is_empty(), "{path}:\n{}", complaints.join("\n"));
}

/// The rows of all tables in a text, as their cells.
pub(crate) fn rows(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().filter_map(|line| {
        let cells = line.strip_prefix("| ")?.strip_suffix("|")?;
        Some(cells.split('|').map(str::trim).collect())
    })
}

/// The first that is missing among `found`, or not in its place.
pub(crate) fn out_of_order(found: &[&str], expected: &[String]) -> Vec<String> {
    let mut expected = expected.iter().map(String::as_str);
    let mut before = "the head of the table";
    for &found in found {
        match expected.next() {
            Some(name) if name == found => before = found,
            Some(name) => {
                return vec![format!("after {before} comes {name}, but {found} is there")];
            }
            None => {
                return vec![format!(
                    "after {before} comes nothing, but {found} is there"
                )];
            }
        }
    }
    let missing = expected
        .next()
        .map(|name| format!("after {before} add {name}"));
    missing.into_iter().collect()
}

/// What stands in backticks in a cell, each with what comes after it.
pub(crate) fn references(cell: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut pieces = cell.split('`').skip(1);
    iter::from_fn(move || Some((pieces.next()?, pieces.next().unwrap_or_default())))
}

/// Whether a source has a test of this name.
pub(crate) fn has_test(source: &str, name: &str) -> bool {
    let head = format!("fn {name}(");
    source.split("#[test]").skip(1).any(|test| {
        let mut lines = test.lines().map(str::trim_start);
        let first = lines.find(|line| line.starts_with("fn "));
        first.is_some_and(|line| line.starts_with(&head))
    })
}
