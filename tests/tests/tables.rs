//! The tables in `docs` are complete, and the tests that they name exist.
//!
//! Tables and sources are read as text. Every complaint says what to do.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, iter};

/// A row's fourth cell if there is nothing to be tested yet.
const NOT_BUILT: &str = "not built yet";

#[test]
fn every_rule_and_every_defect_has_a_row_with_tests_that_exist() {
    let rules = (1..=43).map(|n| n.to_string());
    let later = (44..=59).map(|n| n.to_string());
    let inserted = ["43a", "43b", "43c", "43d"].map(str::to_owned);
    let defects = (1..=30).map(|n| format!("P{n}"));
    let expected: Vec<_> = rules.chain(inserted).chain(later).chain(defects).collect();

    let text = read("docs/misuse.md").unwrap();
    let is_id = |cell: &str| cell.trim_start_matches('P').starts_with(char::is_numeric);
    let rows: Vec<_> = rows(&text).filter(|row| is_id(row[0])).collect();
    let ids: Vec<_> = rows.iter().map(|row| row[0]).collect();
    let mut complaints = out_of_order(&ids, &expected);
    complaints.extend(rows.iter().flat_map(|row| judge(row)));
    assert_clean("docs/misuse.md", &complaints);
}

#[test]
fn every_ioctl_field_and_constant_of_the_header_has_its_place() {
    let text = read("docs/misuse.md").unwrap();
    let header = read("iommufd-sys/src/generated/iommufd.rs").unwrap();
    let mut complaints = Vec::new();
    for ioctl in iommufd_sys::ioctl::iommufd::ALL {
        if !text.contains(&format!("\n### `{}`", ioctl.name)) {
            complaints.push(format!("add a section `### {}`", ioctl.name));
        }
    }
    for (name, fields) in structs(&header) {
        let Some((_, section)) = text.split_once(&format!("`{name}`\n")) else {
            complaints.push(format!("add a section whose heading ends in `{name}`"));
            continue;
        };
        let section = section.split("\n#").next().unwrap_or_default();
        let cells = rows(section).map(|row| row[0]);
        let found: Vec<_> = cells
            .filter_map(|cell| cell.strip_prefix('`')?.strip_suffix('`'))
            .collect();
        let wrong = out_of_order(&found, &fields);
        complaints.extend(wrong.iter().map(|wrong| format!("{name}: {wrong}")));
    }
    for name in constants(&header) {
        if !text.contains(&format!("`{name}`")) {
            complaints.push(format!("say where `{name}` is, in the row of its field"));
        }
    }
    assert_clean("docs/misuse.md", &complaints);
}

#[test]
fn every_function_that_is_named_exists() {
    let text = read("docs/misuse.md").unwrap();
    let sources = sources("iommufd/src").unwrap() + &sources("vfio/src").unwrap();
    let mut complaints = Vec::new();
    for (name, _) in text.lines().flat_map(references) {
        // `Type::function`: not `Type::Variant`, not `path::of::a::test`.
        let Some((_, function)) = name.split_once("::").filter(|(place, function)| {
            place.starts_with(char::is_uppercase) && function.starts_with(char::is_lowercase)
        }) else {
            continue;
        };
        if !sources.contains(&format!("fn {function}("))
            && !sources.contains(&format!("fn {function}<"))
        {
            complaints.push(format!("there is no `{name}`: correct the row"));
        }
    }
    assert_clean("docs/misuse.md", &complaints);
}

#[test]
fn what_is_wrong_with_a_table_is_told() {
    let expected = ["1", "2", "3"].map(str::to_owned);
    assert!(out_of_order(&["1", "2", "3"], &expected).is_empty());
    for wrong in [
        &["1", "3"][..],
        &["2", "1", "3"],
        &["1", "2"],
        &["1", "2", "3", "3"],
        &[],
    ] {
        assert_eq!(out_of_order(wrong, &expected).len(), 1, "{wrong:?}");
    }

    let judged = |tests: &str| judge(&["1", "a rule", "a way", tests]);
    let this = "`tests/tests/tables.rs::what_is_wrong_with_a_table_is_told`";
    let unit = "`iommufd::address::tests::the_last_address_belongs_to_the_range`";
    let case = "`misuse: mapping_cloned` (E0599)";
    for right in [this, unit, case, &format!("{this}, {case}"), NOT_BUILT] {
        assert_eq!(judged(right), [""; 0], "{right}");
    }
    for wrong in [
        "",
        "yes",
        &this.replace("told", "tol"),
        &this.replace("what_is_wrong_with_a_table_is_told", "judge"),
        &this.replace("tables", "chairs"),
        &unit.replace("address::", "addresses::"),
        &case.replace("E0599", "E0382"),
        &case.replace("(E0599)", ""),
        &case.replace("cloned", "clone"),
        &format!("{NOT_BUILT}, {this}"),
    ] {
        assert_eq!(judged(wrong).len(), 1, "{wrong}");
    }
    assert_eq!(judge(&["1", "a rule", this]).len(), 1);
    assert_eq!(judge(&["1", "a rule", case, NOT_BUILT]).len(), 1);
}

/// The text of a file of the project.
fn read(path: &str) -> Result<String, String> {
    fs::read_to_string(root().join(path)).map_err(|error| format!("{path}: {error}"))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The text of all sources in a folder.
fn sources(folder: &str) -> Result<String, String> {
    let entries =
        fs::read_dir(root().join(folder)).map_err(|error| format!("{folder}: {error}"))?;
    let paths = entries
        .flatten()
        .map(|entry| format!("{folder}/{}", entry.file_name().display()));
    let texts = paths.map(|path| match path.ends_with(".rs") {
        true => read(&path),
        false => sources(&path),
    });
    texts.collect()
}

#[track_caller]
fn assert_clean(path: &str, complaints: &[String]) {
    assert!(complaints.is_empty(), "{path}:\n{}", complaints.join("\n"));
}

/// The rows of all tables in a text, as their cells.
fn rows(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().filter_map(|line| {
        let cells = line.strip_prefix("| ")?.strip_suffix(" |")?;
        Some(cells.split(" | ").map(str::trim).collect())
    })
}

/// The first that is missing among `found`, or not in its place.
fn out_of_order(found: &[&str], expected: &[String]) -> Vec<String> {
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

/// What is wrong with the row of a rule.
fn judge(row: &[&str]) -> Vec<String> {
    let [id, _rule, prevention, tests] = row else {
        return vec![format!("{}: write 4 cells, it has {}", row[0], row.len())];
    };
    if tests.contains(NOT_BUILT) {
        let is_test = |(text, _): (&str, &str)| {
            text.contains(": ") || text.contains("::") && !text.starts_with(char::is_uppercase)
        };
        let names_tests = *tests != NOT_BUILT || references(prevention).any(is_test);
        let complaint = format!("{id}: name the tests, or write `{NOT_BUILT}` and nothing else");
        return names_tests.then_some(complaint).into_iter().collect();
    }
    let mut complaints: Vec<_> = references(tests)
        .filter_map(|(reference, after)| not_a_test(reference, after))
        .map(|wrong| format!("{id}: {wrong}"))
        .collect();
    if references(tests).next().is_none() {
        complaints.push(format!(
            "{id}: name a test, in backticks, or write `{NOT_BUILT}`"
        ));
    }
    complaints
}

/// What stands in backticks in a cell, each with what comes after it.
fn references(cell: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut pieces = cell.split('`').skip(1);
    iter::from_fn(move || Some((pieces.next()?, pieces.next().unwrap_or_default())))
}

/// Why a reference is none to a test.
fn not_a_test(reference: &str, after: &str) -> Option<String> {
    if let Some(case) = reference.strip_prefix("misuse: ") {
        return not_a_case(case, after);
    }
    let Some((place, name)) = reference.rsplit_once("::") else {
        return Some(format!(
            "`{reference}` is no test; what is no test needs no backticks"
        ));
    };
    let sources = places(place)
        .into_iter()
        .filter_map(|path| read(&path).ok());
    let found: Vec<_> = sources
        .map(|source| is_test(&source, place, name))
        .collect();
    match &*found {
        [] => Some(format!("there is no {place}: correct the reference")),
        found if found.contains(&true) => None,
        _ => Some(format!(
            "no test in {place} is called {name}: correct the reference"
        )),
    }
}

/// A case is named with the codes that its first line has.
fn not_a_case(case: &str, after: &str) -> Option<String> {
    let path = format!("tests/misuse/src/bin/{case}.rs");
    let source = match read(&path) {
        Ok(source) => source,
        Err(error) => return Some(format!("{error}: correct the reference")),
    };
    let first = source.lines().next().unwrap_or_default();
    let codes = first.strip_prefix("//! Fails with ")?.split_once(": ")?.0;
    let codes = codes.replace('`', "").replace(" and ", ", ");
    let right = after.trim_start().starts_with(&format!("({codes})"));
    (!right).then(|| format!("write `misuse: {case}` ({codes})"))
}

/// The files in which the tests of a file, or of a module, can be.
fn places(place: &str) -> Vec<String> {
    match place.split_once("::") {
        None => vec![place.to_owned()],
        Some((package, module)) => {
            let path = format!("{package}/src/{module}").replace("::", "/");
            // They have a file of their own, or are in the file of what they test.
            [&path, path.trim_end_matches("/tests")]
                .map(|path| format!("{path}.rs"))
                .into()
        }
    }
}

/// Whether a test in a source has this name: one that is written out, or one that is made for every
/// variant of a fixture, by the source or by the module around it.
fn is_test(source: &str, place: &str, name: &str) -> bool {
    let head = format!("fn {name}(");
    let mut tests = source.split("#[test]").skip(1);
    let written = tests.any(|test| {
        let mut lines = test.lines().map(str::trim_start);
        lines
            .find(|line| line.starts_with("fn "))
            .is_some_and(|line| line.starts_with(&head))
    });
    let around = place
        .rsplit_once('/')
        .map(|(folder, _)| format!("{folder}.rs"));
    let around = around.and_then(|path| read(&path).ok()).unwrap_or_default();
    let is_made = |text: &str| {
        let lists = text
            .split("per_variant! {")
            .skip(1)
            .filter_map(|list| list.split_once('}'));
        let mut words = lists.flat_map(|(list, _)| list.split([' ', ',', '\n']));
        words.any(|word| word == name)
    };
    written || (source.contains(&head) && (is_made(source) || is_made(&around)))
}

/// Whether a name of the header is one vendor's.
fn is_a_vendors(name: &str) -> bool {
    let name = name.to_lowercase();
    let vendors = ["vtd", "smmuv3", "amd", "tegra241"];
    vendors.iter().any(|vendor| name.contains(vendor))
}

/// The structs that are no vendor's, with the fields that differ from struct to struct.
fn structs(header: &str) -> BTreeMap<&str, Vec<String>> {
    let parts = header.split("pub struct ").skip(1);
    let structs = parts.filter_map(|part| {
        let (name, rest) = part.split_once(" {")?;
        let body = rest.split_once('}')?.0;
        let fields = body.lines().filter_map(|line| {
            let name = line.trim().strip_prefix("pub ")?.split_once(':')?.0;
            // `type` is a word of Rust's.
            Some(name.trim_end_matches('_').to_owned())
        });
        let fields = fields.filter(|name| name != "size" && !name.starts_with("__reserved"));
        Some((name, fields.collect()))
    });
    structs.filter(|(name, _)| !is_a_vendors(name)).collect()
}

/// The constants that are no vendor's, but for the numbers of the ioctls.
fn constants(header: &str) -> impl Iterator<Item = &str> {
    let lines = header.lines();
    let names = lines.filter_map(|line| Some(line.strip_prefix("pub const ")?.split_once(':')?.0));
    names.filter(|name| {
        !is_a_vendors(name) && !name.starts_with("IOMMUFD_CMD_") && *name != "IOMMUFD_TYPE"
    })
}
