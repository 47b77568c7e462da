//! The rules and the defects of `docs/misuse.md`.

use crate::text::{assert_clean, has_test, out_of_order, read, references, rows};

/// A row's fourth cell if there is nothing to be tested yet.
const NOT_BUILT: &str = "not built yet";

#[test]
fn every_rule_and_every_defect_has_a_row_with_tests_that_exist() {
    let rules = (1..=43).map(|n| n.to_string());
    let later = (44..=59).map(|n| n.to_string());
    let inserted = ('a'..='j').map(|letter| format!("43{letter}"));
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
    let this = "`tests/tests/tables/rules.rs::what_is_wrong_with_a_table_is_told`";
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
        &this.replace("rules", "chairs"),
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
