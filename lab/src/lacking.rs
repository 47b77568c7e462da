//! Tests on a kernel that lacks what they need: they have to fail, and in the right way. Which these are, `needs` says.

use std::collections::BTreeMap;

use crate::error::Error;
use crate::needs::Lack;
use crate::progress::say;
use crate::series::Series;

/// What a test prints that ends in the SDK's own error for what a kernel lacks, as a pattern: as the error is shown to
/// people, or to programmers. Of VFIO's there are two more.
pub(crate) const TYPED: &str =
    r"this kernel has no |Unsupported \{|NotThere \{|\(Linux does since |NoVfTokens \{";
/// What the guest reports of one that has ended as it should.
const REFUSED: &str = "refused";

/// Says how many tests lack what on the kernel.
pub(crate) fn announce(series: Series, lacks: impl Iterator<Item = Lack>) {
    let counts = counts(lacks);
    let all: usize = counts.values().sum();
    if all > 0 {
        say(format!(
            "{all} other tests need more than Linux {series}, and have to fail for want of it:"
        ));
    }
    for (what, count) in counts {
        say(format!("  {count} need {what}"));
    }
}

/// How many lack what, and since when there is one.
fn counts(lacks: impl Iterator<Item = Lack>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for Lack { feature, .. } in lacks {
        let what = format!("{} (Linux {})", feature.what, feature.since);
        *counts.entry(what).or_insert(0) += 1;
    }
    counts
}

/// What is wrong with the end of such a test, if something is.
pub(crate) fn wrong(status: &str) -> Option<&'static str> {
    match status {
        REFUSED => None,
        "0" => Some("passes on a kernel that lacks what lab/src/needs/list.rs says that it needs"),
        "101" => Some("fails for want of something, but not by the error that says what"),
        _ => Some("does not end, or dies, on a kernel that lacks what it needs"),
    }
}

/// The failure of a boot with such tests.
pub(crate) fn error(count: usize) -> Error {
    Error::new(format!(
        "{count} tests did not end as they have to on a kernel that lacks what they need"
    ))
    .because("lab/src/needs/list.rs lists them; what they printed is above")
    .next("take a test that passes out of the list; where one fails by another error, have the SDK answer Unsupported, or mark the line .refused() if the test itself asks the kernel")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::{self, Told};

    #[test]
    fn counts_what_is_lacking() {
        let lack = |feature| Lack {
            feature,
            told: Told::Typed,
        };
        let lacks = [&features::PASIDS, &features::FILES, &features::PASIDS];
        let counts = counts(lacks.into_iter().map(lack));
        let counts: Vec<(String, usize)> = counts.into_iter().collect();
        assert_eq!(counts.len(), 2);
        assert_eq!(counts[0], ("PASIDs (Linux 6.15)".to_owned(), 2));
    }

    #[test]
    fn nothing_but_a_refusal_is_right() {
        assert_eq!(wrong("refused"), None);
        for status in ["0", "101", "137", "1"] {
            assert!(wrong(status).is_some(), "{status}");
        }
    }
}
