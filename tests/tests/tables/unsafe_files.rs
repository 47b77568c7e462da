//! The files with unsafe code, of `SOUNDNESS.md`.

use std::collections::BTreeSet;

use crate::text::{assert_clean, files, read, references, rows};

/// What is built into a user's program.
const CRATES: [&str; 6] = [
    "hardware-records/src",
    "iommufd-sys/src",
    "iommufd/src",
    "smmuv3-types/src",
    "vfio/src",
    "vtd-types/src",
];

#[test]
fn every_file_with_unsafe_code_is_listed_and_no_other() {
    let path = "SOUNDNESS.md";
    let text = read(path).unwrap();
    let (_, list) = text.split_once("## The files").unwrap();
    let listed: BTreeSet<String> = rows(list)
        .flat_map(|row| references(row[0]).collect::<Vec<_>>())
        .map(|(file, _)| file.to_owned())
        .collect();
    let has_unsafe = |file: &String| read(file).unwrap().contains("// UNSAFETY: ");
    let all = CRATES.iter().flat_map(|folder| files(folder).unwrap());
    let there: BTreeSet<String> = all.filter(has_unsafe).collect();
    assert!(!there.is_empty());
    let missing = there
        .difference(&listed)
        .map(|file| format!("add {file}, and what is unsafe there"));
    let stale = listed
        .difference(&there)
        .map(|file| format!("take {file} out: it has no unsafe code"));
    let complaints: Vec<_> = missing.chain(stale).collect();
    assert_clean(path, &complaints);
}
