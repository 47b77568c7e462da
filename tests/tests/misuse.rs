//! What the API is there to prevent does not compile, for the reason it should not.
//!
//! Every case in `tests/misuse/src/bin` is a program that compiles. The feature `misuse` adds what
//! stands under `#[cfg(feature = "misuse")]`, and then the compiler must refuse the program, there
//! and with the codes that the case's first line names: `//! Fails with E0382: …`. A lint is named
//! in backticks.

use std::collections::BTreeMap;
use std::io::{Write, stderr};
use std::path::Path;
use std::process::Command;
use std::{env, fs, io};

/// The cases; there are to be at least so many, lest a runner that finds none passes.
const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/misuse/src/bin");
const AT_LEAST: usize = 50;

#[test]
fn misuse_does_not_compile() {
    let refused = Compilation::of_all_cases(&["--features", "misuse"]).unwrap();
    let mut failed = Vec::new();
    for (name, source) in cases().unwrap() {
        match judge(&source, refused.of(&name)) {
            Ok(codes) => say(&format!("{name}: refused with {codes}")),
            Err(why) => failed.push(format!("{name}: {why}\n{}", refused.words_on(&name))),
        }
    }
    assert!(failed.is_empty(), "\n{}", failed.join("\n"));
}

#[test]
fn the_right_way_compiles() {
    let controls = Compilation::of_all_cases(&[]).unwrap();
    assert!(controls.success, "\n{}", controls.output);
    for name in cases().unwrap().keys() {
        say(&format!("{name}: its control compiles"));
    }
}

#[test]
fn a_case_is_judged_by_code_and_place() {
    let source = "//! Fails with E0382 and E0499: why.\n\
                  fn case() {\n    #[cfg(feature = \"misuse\")]\n    twice(\n        value,\n    );\n}\n";
    let at = |line, code: &str| Refusal {
        line,
        code: code.to_owned(),
    };
    let both = [at(4, "E0382"), at(5, "E0499")];
    assert_eq!(judge(source, &both).unwrap(), "E0382, E0499");

    let verdict = |source: &str, got: &[Refusal]| judge(source, got).unwrap_err();
    assert!(verdict(source, &[]).contains("it compiles"));
    assert!(verdict(source, &both[..1]).contains("expected E0382, E0499; got E0382"));
    assert!(verdict(source, &[at(4, "E0382"), at(7, "E0499")]).contains("at line 7"));
    assert!(verdict(&source.replace("Fails with", "Fails for"), &both).contains("first line"));
    assert!(verdict(&source.replace("misuse", "abuse"), &both).contains("marked"));
}

#[test]
fn errors_are_read_off_the_short_output() {
    let output = "\
tests/misuse/src/bin/one.rs:9:16: error[E0382]: borrow of moved value: `mapping`
tests/misuse/src/bin/one.rs:3:5: warning: unused import: `std::sync::Arc`
tests/misuse/src/bin/two.rs:7:5: error: unused `Mapping` that must be used
tests/misuse/src/bin/two.rs:8:5: error: lifetime may not live long enough
error: could not compile `misuse` (bin \"one\") due to 1 previous error";
    let found: Vec<_> = output.lines().filter_map(refusal).collect();
    let read: Vec<_> = found.iter().map(|(n, r)| (*n, r.line, &*r.code)).collect();
    assert_eq!(
        read,
        [
            ("one", 9, "E0382"),
            ("two", 7, "unused_must_use"),
            ("two", 8, "lifetime may not live long enough"),
        ]
    );
    assert!(!output.lines().any(is_elsewhere));
    assert!(is_elsewhere(
        "error: no matching package named `misuse` found"
    ));
    assert!(is_elsewhere(
        "iommufd/src/ioas.rs:1:1: error[E0425]: cannot find value `x`"
    ));
}

/// One error of the compiler in a case.
struct Refusal {
    line: usize,
    code: String,
}

/// What cargo said of all cases.
struct Compilation {
    refusals: BTreeMap<String, Vec<Refusal>>,
    success: bool,
    output: String,
}

impl Compilation {
    /// Type-checks all cases, in a target directory of their own: the one in use may be locked.
    fn of_all_cases(options: &[&str]) -> io::Result<Self> {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into());
        let mut command = Command::new(cargo);
        command
            .args(["check", "--package", "misuse", "--bins", "--keep-going"])
            .args(["--color", "never", "--message-format", "short"])
            .args(options)
            .arg("--target-dir")
            .arg(Path::new(env!("CARGO_TARGET_TMPDIR")).join("misuse"))
            .current_dir(env!("CARGO_MANIFEST_DIR"));
        // How this test was built is no business of the cases': they are checked for the host,
        // with no flags.
        for (variable, _) in env::vars_os() {
            let name = variable.to_string_lossy();
            if name.ends_with("RUSTFLAGS") || name == "CARGO_BUILD_TARGET" {
                command.env_remove(&variable);
            }
        }
        let done = command.output()?;
        let output = String::from_utf8_lossy(&done.stderr).into_owned();
        // Where something else is broken, as a dependency may be, no case was so much as looked at.
        if let Some(elsewhere) = output.lines().find(|line| is_elsewhere(line)) {
            return Err(io::Error::other(format!("{elsewhere}\n{output}")));
        }
        let mut refusals: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (name, refusal) in output.lines().filter_map(refusal) {
            refusals.entry(name.to_owned()).or_default().push(refusal);
        }
        Ok(Self {
            refusals,
            success: done.status.success(),
            output,
        })
    }

    fn of(&self, name: &str) -> &[Refusal] {
        self.refusals.get(name).map_or(&[], Vec::as_slice)
    }

    /// What the compiler said of a case.
    fn words_on(&self, name: &str) -> String {
        let path = format!("/{name}.rs:");
        let lines = self.output.lines().filter(|line| line.contains(&path));
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// The case and the error that a line of the compiler's short output tells of:
/// `…/src/bin/case.rs:9:16: error[E0382]: …`.
fn refusal(line: &str) -> Option<(&str, Refusal)> {
    let (_, rest) = line.split_once("/misuse/src/bin/")?;
    let (name, rest) = rest.split_once(".rs:")?;
    let (line, rest) = rest.split_once(':')?;
    let (_, error) = rest.split_once(": error")?;
    let code = match error.strip_prefix('[') {
        Some(coded) => coded.split_once(']')?.0,
        // A lint: the short output has no name for it.
        None if error.ends_with("that must be used") => "unused_must_use",
        None => error.trim_start_matches(": "),
    };
    let line = line.parse().ok()?;
    let code = code.to_owned();
    Some((name, Refusal { line, code }))
}

/// Whether a line of the output is an error, and not of a case.
fn is_elsewhere(line: &str) -> bool {
    let of_a_case = "error: could not compile `misuse` (bin ";
    (line.starts_with("error") || line.contains(": error"))
        && !line.starts_with(of_a_case)
        && refusal(line).is_none()
}

/// Every case, by name, with its source.
fn cases() -> io::Result<BTreeMap<String, String>> {
    let mut cases = BTreeMap::new();
    for entry in fs::read_dir(CASES)? {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        cases.insert(name.into_owned(), fs::read_to_string(&path)?);
    }
    if cases.len() < AT_LEAST {
        return Err(io::Error::other(format!("only {} cases", cases.len())));
    }
    Ok(cases)
}

/// Whether a case was refused as it says: the codes, or what is wrong.
fn judge(source: &str, got: &[Refusal]) -> Result<String, String> {
    let mut expected = announced(source).ok_or("its first line is no `//! Fails with E….: why`")?;
    expected.sort_unstable();
    let marked = marked(source).ok_or("not one place is marked `#[cfg(feature = \"misuse\")]`")?;
    if got.is_empty() {
        return Err(format!("expected {}, but it compiles", expected.join(", ")));
    }
    let mut codes: Vec<&str> = got.iter().map(|refusal| &*refusal.code).collect();
    codes.sort_unstable();
    codes.dedup();
    if codes != expected {
        let (expected, got) = (expected.join(", "), codes.join(", "));
        return Err(format!("expected {expected}; got {got}"));
    }
    match got.iter().find(|refusal| !marked.contains(&refusal.line)) {
        Some(Refusal { line, code }) => Err(format!("{code} is at line {line}, not in {marked:?}")),
        None => Ok(codes.join(", ")),
    }
}

/// The codes that the first line of a case names.
fn announced(source: &str) -> Option<Vec<&str>> {
    let header = source.lines().next()?.strip_prefix("//! Fails with ")?;
    let (codes, _why) = header.split_once(": ")?;
    Some(
        codes
            .split(" and ")
            .map(|code| code.trim_matches('`'))
            .collect(),
    )
}

/// The lines of the one statement or item that is marked as misuse: the first after the mark, and
/// what is indented under it.
fn marked(source: &str) -> Option<std::ops::Range<usize>> {
    const MARK: &str = "#[cfg(feature = \"misuse\")]";
    let lines: Vec<&str> = source.lines().collect();
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut marks = (0..lines.len()).filter(|&at| lines[at].trim() == MARK);
    let (mark, None) = (marks.next()?, marks.next()) else {
        return None;
    };
    let inner = lines
        .iter()
        .skip(mark + 2)
        .take_while(|line| indent(line) > indent(lines[mark]))
        .count();
    // Lines are counted from 1, and the marked ones begin after the mark.
    Some(mark + 2..mark + 3 + inner)
}

/// Says it past the harness, which keeps what a passing test prints.
fn say(line: &str) {
    // A closed standard error is no reason to fail.
    writeln!(stderr(), "{line}").ok();
}
