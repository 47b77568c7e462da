//! `cargo lab codegen`: the bindings to the kernel's headers, regenerated or checked, and the README's table of features.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::arch::X86_64;
use crate::cache::Cache;
use crate::cli::Options;
use crate::command;
use crate::error::{Doing, Error, Result};
use crate::headers;
use crate::host;
use crate::programs::{self, workspace};
use crate::progress::say;
use crate::readme;
use crate::setup;

/// The package whose build script has the generator, under the feature `bindgen`.
const PACKAGE: &str = "iommufd-sys";
/// Where it looks for `linux/iommufd.h`.
const INCLUDE: &str = "IOMMUFD_SYS_INCLUDE";
/// What it generates, and where that is kept in the workspace.
const GENERATED: [&str; 2] = ["iommufd.rs", "vfio.rs"];
const KEPT: &str = "iommufd-sys/src/generated";
/// The tests that compare the crate with the headers themselves.
const TESTS: &str = "headers";
/// Their source, below the workspace.
pub(crate) const TESTS_SOURCE: &str = "iommufd-sys/tests/headers.rs";
/// The exit status for bindings that are not what the headers give.
const DRIFTED: u8 = 1;

/// `cargo lab codegen`.
pub(crate) fn run(options: &Options) -> Result<u8> {
    readme::table(!options.check)?;
    let cache = Cache::open()?;
    let include = {
        let lock = cache.lock()?;
        setup::install(&lock, &[host::LIBCLANG])?;
        let (version, include) = headers::make(&lock, &X86_64, options.update)?;
        say(format!(
            "generating from the headers of Linux {}",
            version.0
        ));
        include
    };
    let generated = generate(&include)?;
    let drift = drift(&generated, &workspace().join(KEPT))?;
    if options.check {
        for difference in &drift {
            print!("{}", difference.shown);
        }
        if !drift.is_empty() {
            return Err(
                Error::new(format!("{KEPT} is not what the kernel's headers give"))
                    .because(
                        "the difference is above: - is what is kept, + is what the headers give",
                    )
                    .next("run `cargo lab codegen` and look at what has changed")
                    .status(DRIFTED),
            );
        }
        test(&include)?;
        say(format!("{KEPT} is what the kernel's headers give"));
        return Ok(0);
    }
    for Difference { from, to, .. } in &drift {
        fs::copy(from, to).doing(|| format!("cannot write {}", to.display()))?;
        say(format!("wrote {}", to.display()));
    }
    if drift.is_empty() {
        say(format!("{KEPT} was up to date"));
    }
    Ok(0)
}

/// Runs the generator; answers where it has left what it made.
fn generate(include: &Path) -> Result<PathBuf> {
    let mut cargo = programs::cargo();
    cargo
        .args(["build", "--package", PACKAGE, "--features", "bindgen"])
        .env("CARGO_TARGET_DIR", programs::target_directory())
        .env(INCLUDE, include);
    let messages = programs::messages(&mut cargo)?;
    out_directory(&messages).ok_or_else(|| {
        Error::new(format!("the build of {PACKAGE} generated nothing"))
            .because("cargo reported no build script of it")
    })
}

/// The directory that the package's build script wrote to.
fn out_directory(messages: &[Value]) -> Option<PathBuf> {
    messages
        .iter()
        .filter(|message| message["reason"] == "build-script-executed")
        .filter(|message| message["package_id"].as_str().is_some_and(is_package))
        .find_map(|message| message["out_dir"].as_str().map(PathBuf::from))
}

/// Whether a package id, such as `path+file:///w/iommufd-sys#0.1.0`, is the package's.
fn is_package(id: &str) -> bool {
    let (path, version) = id.split_once('#').unwrap_or((id, ""));
    path.rsplit('/').next() == Some(PACKAGE) || version.split('@').next() == Some(PACKAGE)
}

/// A generated file that differs from the one that is kept.
#[derive(Debug)]
struct Difference {
    from: PathBuf,
    to: PathBuf,
    /// As a unified diff.
    shown: String,
}

fn drift(generated: &Path, kept: &Path) -> Result<Vec<Difference>> {
    let mut differences = Vec::new();
    for name in GENERATED {
        let (from, to) = (generated.join(name), kept.join(name));
        let new =
            fs::read(&from).doing(|| format!("the generator has not left {}", from.display()))?;
        if fs::read(&to).is_ok_and(|old| old == new) {
            continue;
        }
        let shown = difference(&to, &from, name)?;
        differences.push(Difference { from, to, shown });
    }
    Ok(differences)
}

/// A unified diff, in which a file that is not there counts as empty.
fn difference(old: &Path, new: &Path, name: &str) -> Result<String> {
    let output = Command::new("diff")
        .args([
            "-u",
            "-N",
            "--label",
            &format!("{KEPT}/{name}"),
            "--label",
            &format!("{name} from the headers"),
        ])
        .args([old, new])
        .output()
        .doing(|| "cannot start diff".to_owned())?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs the tests that compare the crate with the headers themselves.
fn test(include: &Path) -> Result<()> {
    if !workspace().join(TESTS_SOURCE).is_file() {
        return Ok(());
    }
    let mut cargo = programs::cargo();
    cargo
        .args([
            "test",
            "--package",
            PACKAGE,
            "--test",
            TESTS,
            "--",
            "--ignored",
        ])
        .env("CARGO_TARGET_DIR", programs::target_directory())
        .env(INCLUDE, include);
    let shown = command::show(&cargo);
    let status = cargo.status().doing(|| format!("cannot start `{shown}`"))?;
    if status.success() {
        return Ok(());
    }
    Err(Error::new(format!(
        "{PACKAGE} lacks something that the kernel's headers have"
    ))
    .because(format!("`{shown}`: {status}"))
    .status(DRIFTED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_where_the_generator_wrote() {
        let lines = [
            r#"{"reason":"build-script-executed","package_id":"registry+x#syn@3.0.0","out_dir":"/t/syn"}"#,
            r#"{"reason":"build-script-executed","package_id":"path+file:///w/iommufd-sys#0.1.0","out_dir":"/t/sys"}"#,
        ];
        let messages: Vec<Value> = lines
            .iter()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(out_directory(&messages).unwrap(), Path::new("/t/sys"));
        assert!(is_package("path+file:///w/x#iommufd-sys@0.1.0"));
        assert!(!is_package("path+file:///w/iommufd#0.1.0"));
    }

    #[test]
    fn drift_is_shown_as_a_diff() {
        let root = std::env::temp_dir().join(format!("lab-codegen-test-{}", std::process::id()));
        let (new, old) = (root.join("new"), root.join("old"));
        for directory in [&new, &old] {
            fs::create_dir_all(directory).unwrap();
            for name in GENERATED {
                fs::write(directory.join(name), "same\n").unwrap();
            }
        }
        assert!(drift(&new, &old).unwrap().is_empty());
        fs::write(new.join("vfio.rs"), "changed\n").unwrap();
        fs::remove_file(old.join("iommufd.rs")).unwrap();
        let found = drift(&new, &old).unwrap();
        assert_eq!(found.len(), 2);
        assert!(found[0].shown.contains("+same"));
        assert!(found[1].shown.contains("-same\n+changed"));
        fs::remove_dir_all(root).unwrap();
    }
}
