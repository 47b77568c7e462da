//! Building the fuzzers, with a nightly Rust if there is one.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::command::forget_cargo;
use crate::error::{Error, Result};
use crate::programs::{self, target_directory, workspace};
use crate::progress::say;
use crate::toolchain::{NIGHTLY, nightly};

/// What `cargo fuzz` builds with: libFuzzer's counters, and `AddressSanitizer`.
const FLAGS: [&str; 9] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "--cfg fuzzing",
    "-Zsanitizer=address",
    "-Ccodegen-units=1",
    "-Cdebuginfo=line-tables-only",
];

/// Named, so that the flags reach no build script and no procedural macro.
const TRIPLE: &str = "x86_64-unknown-linux-gnu";

/// The toolchain that takes a nightly's options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Toolchain {
    /// rustup's nightly.
    Nightly,
    /// The machine's own, which is told to.
    Bootstrap,
}

impl Toolchain {
    /// The one of this machine. A nightly that is missing is installed, if that can be.
    fn of_machine() -> Self {
        match nightly(&[], "AddressSanitizer") {
            true => Self::Nightly,
            false => Self::Bootstrap,
        }
    }

    /// Its cargo, in the workspace of the fuzzers.
    fn cargo(self) -> Command {
        let mut cargo = match self {
            Self::Nightly => {
                let mut cargo = Command::new("rustup");
                cargo.args(["run", NIGHTLY, "cargo"]);
                cargo
            }
            Self::Bootstrap => {
                let mut cargo = Command::new("cargo");
                cargo.env("RUSTC_BOOTSTRAP", "1");
                cargo
            }
        };
        forget_cargo(&mut cargo);
        for variable in ["CARGO", "RUSTUP_TOOLCHAIN", "CARGO_ENCODED_RUSTFLAGS"] {
            cargo.env_remove(variable);
        }
        cargo
            .current_dir(workspace().join("fuzz"))
            .env("CARGO_TARGET_DIR", target_directory().join("fuzz"))
            .stdin(Stdio::null());
        cargo
    }
}

/// Builds a fuzzer.
pub(super) fn build(target: &str) -> Result<PathBuf> {
    let toolchain = Toolchain::of_machine();
    say(match toolchain {
        Toolchain::Nightly => format!("building {target} with the nightly Rust"),
        Toolchain::Bootstrap => {
            format!("building {target} with the machine's Rust and RUSTC_BOOTSTRAP=1")
        }
    });
    let mut cargo = toolchain.cargo();
    cargo
        .args(["build", "--release", "--quiet", "--target", TRIPLE])
        .args(["--bin", target])
        .env("RUSTFLAGS", FLAGS.join(" "));
    artifact(cargo, "executable", target)
}

/// Builds what writes down what another program reaches in the kernel.
pub(super) fn preload() -> Result<PathBuf> {
    let mut cargo = Toolchain::of_machine().cargo();
    cargo
        .args(["build", "--release", "--quiet", "--package", "preload"])
        .env_remove("RUSTFLAGS");
    artifact(cargo, "filenames", "preload")
}

/// What cargo has built of that name.
fn artifact(mut cargo: Command, field: &str, name: &str) -> Result<PathBuf> {
    let messages = programs::messages(&mut cargo)?;
    let found = messages.iter().find_map(|message| {
        if message["target"]["name"] != name {
            return None;
        }
        let value = &message[field];
        value
            .as_str()
            .or_else(|| value[0].as_str())
            .map(PathBuf::from)
    });
    found.ok_or_else(|| Error::new(format!("cargo built no {name}")))
}
