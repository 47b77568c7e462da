//! `lsiommu` on this very machine, whatever it has: no IOMMU, most often.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::fs;
use std::process::{Command, Output};

fn lsiommu(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lsiommu"))
        .args(arguments)
        .output()
        .unwrap()
}

fn told(arguments: &[&str]) -> String {
    let output = lsiommu(arguments);
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn names(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect()
}

#[test]
fn a_machine_is_told_whether_it_has_an_iommu_or_not() {
    let text = told(&[]);
    let has_none = names("/sys/class/iommu").is_empty();
    assert_eq!(text.contains("no IOMMU that is switched on"), has_none);
    assert!(text.contains(" functions can be assigned now."), "{text}");
    let (_, last) = text.trim_end().rsplit_once("\n\n").unwrap();
    assert!(last.contains("\nNext: "), "{text}");
    for function in names("/sys/bus/pci/devices") {
        assert!(text.contains(&function), "{function} is not in\n{text}");
        let detail = told(&[&function]);
        assert!(detail.starts_with(&function), "{detail}");
        assert!(detail.contains("\n  assignment  "), "{detail}");
    }
}

#[test]
fn programs_are_told_the_same() {
    let report: serde_json::Value = serde_json::from_str(&told(&["--json"])).unwrap();
    let mut functions = names("/sys/bus/pci/devices");
    functions.sort();
    let told: Vec<_> = report["functions"].as_array().unwrap().iter().collect();
    let addresses: Vec<_> = told
        .iter()
        .map(|function| function["address"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(addresses, functions);
    for function in told {
        let blockers = function["blockers"].as_array().unwrap();
        assert_eq!(function["ready"].as_bool().unwrap(), blockers.is_empty());
    }
}

#[test]
fn where_nothing_can_be_assigned_there_is_nobody_to_be_asked() {
    let report: serde_json::Value = serde_json::from_str(&told(&["--json"])).unwrap();
    let functions = report["functions"].as_array().unwrap();
    for function in functions
        .iter()
        .filter(|function| function["ready"] == false)
    {
        let address = function["address"].as_str().unwrap();
        assert_eq!(told(&["--probe", address]), told(&[address]));
    }
}

#[test]
fn who_has_read_enough_may_go() {
    for arguments in [&["--help"][..], &[], &["--json"]] {
        // The end that would read is closed already.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = Command::new(env!("CARGO_BIN_EXE_lsiommu"))
            .args(arguments)
            .stdout(writer)
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        assert!(output.stderr.is_empty(), "{arguments:?}: {output:?}");
    }
}

#[test]
fn what_makes_no_sense_is_an_error_that_says_so() {
    for (argument, words) in [
        ("--nonsense", "usage: lsiommu"),
        ("04.0", "is not a PCI address"),
        ("ffff:ff:1f.7", "there is no PCI function"),
    ] {
        let output = lsiommu(&[argument]);
        assert!(!output.status.success(), "{argument}");
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(
            error.starts_with("lsiommu: ") && error.contains(words),
            "{error}"
        );
    }
}
