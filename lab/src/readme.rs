//! The README's table of features by kernel: made from what the lab knows, and from what has to fail on older kernels;
//! written by `cargo lab codegen`.

use std::fs;
use std::path::PathBuf;

use crate::error::{Doing, Error, Result};
use crate::features::{ALL, Feature, KERNELS, Told};
use crate::needs;
use crate::programs::workspace;
use crate::progress::say;
use crate::series::Series;

/// How the table begins.
const BEGINS: &str = "| | since Linux |";

/// Sees that the README has the table as it is to be; puts it there, if `write` is set.
pub(crate) fn table(write: bool) -> Result<()> {
    let path = path();
    let text = fs::read_to_string(&path).doing(|| format!("cannot read {}", path.display()))?;
    let wanted = with_table(&text, &features())?;
    if wanted == text {
        return Ok(());
    }
    if !write {
        return Err(Error::new(
            "the README's table of features is not what lab/src/features.rs says",
        )
        .because(format!("it should be:\n{}", features()))
        .next("run `cargo lab codegen`")
        .status(1));
    }
    fs::write(&path, wanted).doing(|| format!("cannot write {}", path.display()))?;
    say(format!("wrote {}", path.display()));
    Ok(())
}

/// The table.
fn features() -> String {
    let [own, older @ ..] = &KERNELS;
    let titles: String = older
        .iter()
        .map(|series| format!(" on {series} |"))
        .collect();
    let lines = "|---".repeat(KERNELS.len() + 2);
    let mut table = format!("| | since Linux | tested on {own} |{titles}\n{lines}|\n");
    for feature in ALL {
        let note = match feature.note {
            "" => String::new(),
            note => format!(" ({note})"),
        };
        let Feature {
            what,
            since,
            tested,
            ..
        } = feature;
        let on: String = older
            .iter()
            .map(|series| format!(" {} |", on(*series, feature)))
            .collect();
        table.push_str(&format!("| {what} | {since}{note} | {tested} |{on}\n"));
    }
    table
}

/// What there is of a feature on an older Linux: what the same tests show there.
fn on(series: Series, feature: &Feature) -> &'static str {
    if feature.since <= series {
        return "yes";
    }
    match needs::told(feature) {
        Told::Typed => "no, by a typed error",
        Told::Refused => "no",
    }
}

fn path() -> PathBuf {
    workspace().join("README.md")
}

/// The text with another table in place of its own, which ends with its last row.
fn with_table(text: &str, table: &str) -> Result<String> {
    let is_row = |line: &&str| line.starts_with('|');
    let lines = || text.split_inclusive('\n');
    let before: usize = lines()
        .take_while(|line| !line.starts_with(BEGINS))
        .map(str::len)
        .sum();
    let (head, rest) = text.split_at(before);
    let rows: usize = rest
        .split_inclusive('\n')
        .take_while(is_row)
        .map(str::len)
        .sum();
    if rows == 0 {
        return Err(Error::new("the README has no table of features")
            .because(format!("no line of it starts with `{BEGINS}`")));
    }
    Ok([head, table, &rest[rows..]].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_has_the_table() {
        if let Err(error) = table(false) {
            panic!("{error}");
        }
    }

    #[test]
    fn a_row_says_what_since_when_and_on_what() {
        let table = features();
        let rows: Vec<&str> = table.lines().collect();
        assert_eq!(rows.len(), ALL.len() + 2);
        assert_eq!(rows[0], "| | since Linux | tested on 7.3 | on 6.12 |");
        for row in [
            "| dirty tracking | 6.7 | mock driver | yes |",
            "| PASIDs | 6.15 | mock driver | no, by a typed error |",
        ] {
            assert!(rows.contains(&row), "{row}");
        }
        assert!(table.contains("| 6.6 (as used here) | emulated"));
    }

    #[test]
    fn nothing_but_the_table_changes() {
        let text = "# X\n\n| a |\n\n| | since Linux | y |\n|---|\n| old |\n\nend\n";
        assert_eq!(
            with_table(text, "| new |\n").unwrap(),
            "# X\n\n| a |\n\n| new |\n\nend\n"
        );
        assert!(with_table("# X\n", "| new |\n").is_err());
    }
}
