//! `cargo lab verify`: looks for undefined behaviour in what runs without a kernel, and goes through all cases of what is
//! small enough.

use std::process::{Command, Stdio};

use crate::arch::X86_64;
use crate::cli::Options;
use crate::command::{self, command};
use crate::error::{Doing, Result};
use crate::programs;
use crate::progress::say;

/// The crates with unsafe code, or with arithmetic over what a guest or the kernel gave.
const CRATES: [&str; 6] = [
    "iommufd-sys",
    "iommufd",
    "hardware-records",
    "smmuv3-types",
    "vtd-types",
    "vfio",
];
/// The beginning of the names of tests that go through every case there is.
const EVERY: &str = "every_";

/// What Miri runs: of a crate, the tests with one of these in their names, all if none is named. The others need what Miri
/// has not: files in memory, other processes, system calls.
const FOR_MIRI: &[(&str, &[&str])] = &[("iommufd", &[])];

/// `cargo lab verify`.
pub(crate) fn run(_: &Options) -> Result<u8> {
    let mut failed = Vec::new();
    let mut check = |name: &str, passed: bool| {
        say(format!(
            "{name}: {}",
            if passed { "passed" } else { "FAILED" }
        ));
        if !passed {
            failed.push(name.to_owned());
        }
    };
    check("every case of small arithmetic", every_case()?);
    match miri() {
        Some(toolchain) => {
            for (package, tests) in FOR_MIRI {
                check(
                    &format!("Miri on {package}"),
                    by_miri(&toolchain, package, tests)?,
                );
            }
        }
        None => say(
            "Miri is not here, so nothing was checked by it: it comes with `rustup toolchain install nightly --component miri,rust-src`",
        ),
    }
    check("AddressSanitizer", by_sanitizer()?);
    Ok(u8::from(!failed.is_empty()))
}

/// The tests that go through every case.
fn every_case() -> Result<bool> {
    let mut cargo = programs::cargo();
    cargo.args(["test", "--quiet", "--lib"]);
    for package in CRATES {
        cargo.args(["--package", package]);
    }
    cargo.args(["--", EVERY]);
    succeeds(&mut cargo)
}

/// All unit tests, where each access is looked at by `AddressSanitizer`: on this machine, with its system calls.
fn by_sanitizer() -> Result<bool> {
    let mut cargo = programs::cargo();
    cargo
        .args(["test", "--quiet", "--lib", "--target", X86_64.target.triple])
        // A part of the stable compiler that is not stable.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", "-Zsanitizer=address")
        .env(
            "CARGO_TARGET_DIR",
            programs::target_directory().join("sanitizer"),
        )
        // What is kept for good is kept on purpose, and counted by the tests.
        .env("ASAN_OPTIONS", "detect_leaks=0");
    for package in CRATES {
        cargo.args(["--package", package]);
    }
    succeeds(&mut cargo)
}

/// The toolchain that has Miri, if there is one.
fn miri() -> Option<String> {
    let toolchain = "+nightly".to_owned();
    let mut rustup = command("cargo");
    let version = rustup.args([&toolchain, "miri", "--version"]);
    command::output(version).ok().map(|_| toolchain)
}

fn by_miri(toolchain: &str, package: &str, tests: &[&str]) -> Result<bool> {
    // Not this toolchain's cargo, but what chooses one.
    let mut cargo = Command::new("cargo");
    command::forget_cargo(&mut cargo);
    cargo
        .current_dir(programs::workspace())
        .args([
            toolchain,
            "miri",
            "test",
            "--quiet",
            "--lib",
            "--package",
            package,
            "--",
        ])
        .args(tests)
        .stdin(Stdio::null())
        .env_remove("RUSTUP_TOOLCHAIN")
        .env_remove("RUSTC")
        // The time and the environment are the host's. The kernel takes addresses as numbers, and so do the tests that
        // play it.
        .env(
            "MIRIFLAGS",
            "-Zmiri-disable-isolation -Zmiri-permissive-provenance",
        )
        .env(
            "CARGO_TARGET_DIR",
            programs::target_directory().join("miri"),
        );
    succeeds(&mut cargo)
}

/// Whether a command ends well, with its output shown.
fn succeeds(command: &mut Command) -> Result<bool> {
    let shown = command::show(command);
    say(format!("running `{shown}`"));
    let status = command
        .status()
        .doing(|| format!("cannot start `{shown}`"))?;
    Ok(status.success())
}
