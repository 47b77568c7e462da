//! The README's table of features by kernel: made from what the lab knows, written by `cargo lab codegen`.

use std::fs;
use std::path::PathBuf;

use crate::error::{Doing, Error, Result};
use crate::features;
use crate::programs::workspace;
use crate::progress::say;

/// How the table begins.
const BEGINS: &str = "| | since Linux |";

/// Sees that the README has the table as it is to be; puts it there, if `write` is set.
pub(crate) fn table(write: bool) -> Result<()> {
    let path = path();
    let text = fs::read_to_string(&path).doing(|| format!("cannot read {}", path.display()))?;
    let wanted = with_table(&text, &features::table())?;
    if wanted == text {
        return Ok(());
    }
    if !write {
        return Err(Error::new(
            "the README's table of features is not what lab/src/features.rs says",
        )
        .because(format!("it should be:\n{}", features::table()))
        .next("run `cargo lab codegen`")
        .status(1));
    }
    fs::write(&path, wanted).doing(|| format!("cannot write {}", path.display()))?;
    say(format!("wrote {}", path.display()));
    Ok(())
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
    fn nothing_but_the_table_changes() {
        let text = "# X\n\n| a |\n\n| | since Linux | y |\n|---|\n| old |\n\nend\n";
        assert_eq!(
            with_table(text, "| new |\n").unwrap(),
            "# X\n\n| a |\n\n| new |\n\nend\n"
        );
        assert!(with_table("# X\n", "| new |\n").is_err());
    }
}
