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
fn every_test_of_the_kernels_has_a_row_with_its_counterpart() {
    let path = "docs/kernel-selftests.md";
    // It is written beside this.
    let Ok(text) = read(path) else { return };
    let functions = KERNELS.iter().flat_map(|(fixture, functions)| {
        let functions = functions.split_whitespace();
        functions.map(move |function| format!("`{fixture}` `{function}`"))
    });
    let expected: Vec<_> = functions.collect();
    assert_eq!(expected.len(), 66 + 8, "as the kernel has them");

    let of_a_function = |row: &Vec<&str>| row.len() > 3 && row[1].starts_with('`');
    let rows: Vec<_> = rows(&text).filter(of_a_function).collect();
    let names: Vec<_> = rows.iter().map(|row| row[..2].join(" ")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let mut complaints = out_of_order(&names, &expected);
    complaints.extend(rows.iter().filter_map(|row| {
        // Those of the first table have a number of cases.
        let ours = row
            .iter()
            .skip(2)
            .find(|cell| cell.parse::<u32>().is_err())?;
        let (reference, _) = references(ours).next()?;
        not_a_counterpart(reference)
    }));
    assert_clean(path, &complaints);
}

/// The functions of the kernel's tests in their order, by fixture.
const KERNELS: &[(&str, &str)] = &[
    (
        "iommufd",
        "simple_close cmd_fail cmd_length cmd_ex_fail global_options",
    ),
    ("change_process", "basic"),
    (
        "iommufd_ioas",
        "ioas_auto_destroy ioas_destroy alloc_hwpt_nested hwpt_attach ioas_area_destroy \
         ioas_area_auto_destroy get_hw_info area unmap_fully_contained_areas area_auto_iova \
         reserved_overflow area_allowed copy_area iova_ranges access_domain_destory access_pin \
         access_pin_unmap access_rw access_rw_unaligned fork_gone fork_present \
         ioas_option_huge_pages ioas_iova_alloc ioas_align_change copy_sweep dmabuf_simple \
         dmabuf_revoke",
    ),
    (
        "iommufd_mock_domain",
        "basic ro_unshare all_aligns all_aligns_copy user_copy replace alloc_hwpt",
    ),
    (
        "iommufd_dirty_tracking",
        "enforce_dirty set_dirty_tracking pasid_set_dirty_tracking device_dirty_capability \
         get_dirty_bitmap get_dirty_bitmap_no_clear",
    ),
    (
        "iommufd",
        "simple_ioctls unmap_cmd map_cmd info_cmd set_iommu_cmd vfio_ioas",
    ),
    (
        "vfio_compat_mock_domain",
        "simple_close option_huge_pages get_info map huge_map",
    ),
    (
        "iommufd_viommu",
        "viommu_auto_destroy viommu_negative_tests viommu_alloc_nested_iopf \
         viommu_alloc_with_data vdevice_alloc vdevice_cache hw_queue vdevice_tombstone",
    ),
    ("iommufd_device_pasid", "pasid_attach"),
    (
        "basic_fail_nth",
        "basic map_domain map_file_domain map_two_domains access_rw access_pin \
         access_pin_domain device",
    ),
];

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
        let cells = line.strip_prefix("| ")?.strip_suffix("|")?;
        Some(cells.split('|').map(str::trim).collect())
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
    let found: Vec<_> = sources.map(|source| has_test(&source, name)).collect();
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

/// Why a reference is none to a test in `kernel_selftests`: `fixture::function`, or
/// `fixture::function::*` for one in as many variants as the fixture has.
fn not_a_counterpart(reference: &str) -> Option<String> {
    const FOLDER: &str = "tests/tests/kernel_selftests";
    let (test, every) = match reference.strip_suffix("::*") {
        Some(test) => (test, true),
        None => (reference, false),
    };
    let found = test.split_once("::").is_some_and(|(fixture, name)| {
        let module = read(&format!("{FOLDER}/{fixture}.rs")).unwrap_or_default();
        match every {
            true => is_per_variant(&module, name),
            false => has_test(&module, name),
        }
    });
    (!found).then(|| format!("no test in {FOLDER} is called {reference}: correct the reference"))
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

/// Whether a source has a test of this name.
fn has_test(source: &str, name: &str) -> bool {
    let head = format!("fn {name}(");
    source.split("#[test]").skip(1).any(|test| {
        let mut lines = test.lines().map(str::trim_start);
        let first = lines.find(|line| line.starts_with("fn "));
        first.is_some_and(|line| line.starts_with(&head))
    })
}

/// Whether the module of a fixture makes a test of this name for each variant.
fn is_per_variant(fixture: &str, name: &str) -> bool {
    let lists = fixture.split("per_variant! {").skip(1);
    let mut lists = lists.filter_map(|list| list.split_once('}'));
    lists.any(|(list, _)| list.split([' ', ',', '\n']).any(|word| word == name))
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
