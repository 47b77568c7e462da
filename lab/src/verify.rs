//! `cargo lab verify`: looks for undefined behaviour in what runs without a kernel, and goes through all cases of what is
//! small enough.

use std::process::{Command, Stdio};

use crate::arch::X86_64;
use crate::cli::Options;
use crate::command;
use crate::error::{Doing, Result};
use crate::programs;
use crate::progress::say;
use crate::toolchain::{NIGHTLY, nightly};

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

/// The package that Miri looks at: all of the unsafe code that runs without a device is in it.
const FOR_MIRI: &str = "iommufd";
/// The parts of it that have unsafe code, or issue ioctls by way of a kernel that is played.
const PARTS: &[&str] = &[
    "address::",
    "amd::bytes",
    "buffer::",
    "dirty::runs",
    "ledger::",
    "mapping::",
    "memory::",
    "pasids::",
    "space::",
    "volatile::",
    "vtd::bytes",
];
/// What of it Miri cannot run.
const NOT_BY_MIRI: &[&str] = &[
    // Files in memory.
    "a_buffer_is_whole_zeroed_pages",
    "what_was_written_survives_sharing_and_reclaiming",
    // What asks for the limit of locked memory.
    "a_map_that_is_refused_holds_nothing",
    // What goes after the kernel that is played: of the other it is asked to be destroyed.
    "pasids_are_those_that_the_device_has_and_the_vmm_wants",
    // Threads that wait for one another: the lock's call of `futex` passes a reference where Miri wants a pointer.
    "a_reading_waits_for_an_unmap_and_lets_who_waits_go_first",
    "a_source_is_not_emptied_while_it_is_copied",
    "an_exclusive_operation_waits_and_keeps_others_waiting",
    "for_ever",
    "opposite_copies",
    "readings_go_on_side_by_side",
    "what_is_under_way_is_in_nobodys_way",
    "who_waits_already_goes_before",
    // What would take hours.
    EVERY,
    "naive_model",
    "takes_no_more_room",
];

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
    if nightly(&["miri", "rust-src"], "Miri") {
        check("Miri", by_miri()?);
    } else {
        say("nothing was checked by Miri");
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
        // What is kept for good is kept on purpose, and counted by the tests; what no machine has is asked for on purpose.
        .env("ASAN_OPTIONS", "detect_leaks=0:allocator_may_return_null=1");
    for package in CRATES {
        cargo.args(["--package", package]);
    }
    succeeds(&mut cargo)
}

/// What Miri can run.
fn by_miri() -> Result<bool> {
    let mut cargo = Command::new("rustup");
    command::forget_cargo(&mut cargo);
    cargo
        .current_dir(programs::workspace())
        .args(["run", NIGHTLY, "cargo"])
        .args(["miri", "test", "--quiet", "--lib", "--package"])
        .args([FOR_MIRI, "--", "--test-threads=1"])
        .args(NOT_BY_MIRI.iter().flat_map(|name| ["--skip", name]))
        .args(PARTS)
        .stdin(Stdio::null())
        .env_remove("RUSTUP_TOOLCHAIN")
        .env_remove("RUSTC")
        // The time and the environment are the host's. The kernel takes addresses as numbers, and so do the tests that
        // play it. What is kept for good is kept on purpose.
        .env(
            "MIRIFLAGS",
            "-Zmiri-disable-isolation -Zmiri-permissive-provenance -Zmiri-ignore-leaks",
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
