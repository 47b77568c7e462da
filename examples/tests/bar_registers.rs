//! `bar_registers` on this very machine, whatever it has.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::process::Command;

fn refusal(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_bar_registers"))
        .args(arguments)
        .output()
        .unwrap();
    assert!(!output.status.success() && output.stdout.is_empty());
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn what_is_asked_for_and_not_there_is_told_before_what_else_is_missing() {
    for (arguments, words) in [
        (
            &["ffff:ff:1f.7", "bar0", "0..4"][..],
            "there is no PCI function",
        ),
        (&["04.0", "bar0", "0..4"], "is not a PCI address"),
        (&["00:04.0", "bar6", "0..4"], "usage: bar_registers"),
        (&["00:04.0", "bar0", "4"], "usage: bar_registers"),
        (&[], "usage: bar_registers"),
    ] {
        let error = refusal(arguments);
        assert!(
            error.starts_with("bar_registers: ") && error.contains(words),
            "{arguments:?}: {error}"
        );
    }
}
