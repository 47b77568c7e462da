//! What `coverage.md` says does not contradict itself, nor the crate.

extern crate std;

use std::collections::BTreeSet;

const COVERAGE: &str = include_str!("coverage.md");

/// The names in backticks that begin as those of registers do.
fn registers(text: &str) -> impl Iterator<Item = &str> {
    text.split('`')
        .skip(1)
        .step_by(2)
        .filter(|name| name.starts_with("SMMU_") && !name.contains('.'))
}

/// The registers in the first column of the tables.
fn covered() -> BTreeSet<&'static str> {
    let rows = COVERAGE.lines().filter(|line| line.starts_with('|'));
    rows.filter_map(|row| row.split('|').nth(1))
        .flat_map(registers)
        .collect()
}

#[test]
fn no_register_is_both_covered_and_not() {
    let covered = covered();
    let mut paragraphs = 0;
    for text in COVERAGE.split("\n\n") {
        if text.starts_with("Not covered") {
            paragraphs += 1;
            for register in registers(text) {
                assert!(!covered.contains(register), "{register}");
            }
        }
    }
    assert_eq!(paragraphs, 3);
}

#[test]
fn every_register_that_has_a_type_is_listed() {
    let covered = covered();
    for register in [
        "SMMU_IDR0",
        "SMMU_IDR5",
        "SMMU_IIDR",
        "SMMU_AIDR",
        "SMMU_CR0",
        "SMMU_CR0ACK",
        "SMMU_CR1",
        "SMMU_CR2",
        "SMMU_GBPA",
        "SMMU_GERROR",
        "SMMU_GERRORN",
        "SMMU_STRTAB_BASE",
        "SMMU_STRTAB_BASE_CFG",
        "SMMU_CMDQ_BASE",
        "SMMU_CMDQ_PROD",
        "SMMU_CMDQ_CONS",
        "SMMU_EVENTQ_BASE",
        "SMMU_EVENTQ_PROD",
        "SMMU_EVENTQ_CONS",
        "SMMU_PRIQ_BASE",
        "SMMU_PRIQ_PROD",
        "SMMU_PRIQ_CONS",
    ] {
        assert!(covered.contains(register), "{register}");
    }
}
