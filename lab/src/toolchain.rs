//! The Rust that builds the guest's programs: whether it has the standard library of their target. And a nightly one,
//! for what only that does.

use std::path::Path;
use std::process::Command;

use crate::arch::Arch;
use crate::command::{self, find, forget_cargo};
use crate::error::{Error, Result};
use crate::programs::workspace;
use crate::progress::say;

/// Gets the standard library for the guest's programs, if it is not there.
pub(crate) fn complete(arch: &Arch) -> Result<()> {
    let target = arch.target.triple;
    let library =
        command::output(tool("rustc").args(["--print", "target-libdir", "--target", target]))?;
    if Path::new(library.trim()).is_dir() {
        return Ok(());
    }
    let missing = || {
        Error::new(format!("Rust lacks the standard library of {target}"))
            .because(format!("there is no {}", library.trim()))
    };
    if find("rustup").is_none() {
        return Err(missing().next(format!(
            "install it the way that this Rust was installed; with rustup it is `rustup target add {target}`"
        )));
    }
    say(format!("adding Rust's standard library for {target}"));
    command::output(tool("rustup").args(["target", "add", target]))
        .map_err(|error| missing().because(error))?;
    Ok(())
}

/// What rustup's nightly is called.
pub(crate) const NIGHTLY: &str = "nightly";

/// Sees that rustup has a nightly Rust with some components besides the usual ones, and installs what is missing. If it
/// cannot, says why; whether there is one then.
pub(crate) fn nightly(components: &[&str], purpose: &str) -> bool {
    if find("rustup").is_none() {
        say(format!(
            "there is no rustup to get a nightly Rust, for {purpose}"
        ));
        return false;
    }
    let list = ["component", "list", "--installed", "--toolchain", NIGHTLY];
    let installed = command::output(tool("rustup").args(list)).unwrap_or_default();
    // Most are listed with the machine that they are for behind their name.
    let has = |name: &&str| installed.lines().any(|line| line.starts_with(name));
    if ["rustc"].iter().chain(components).all(has) {
        return true;
    }
    say(format!("installing a nightly Rust, for {purpose}"));
    let mut install = tool("rustup");
    install.args(["toolchain", "install", NIGHTLY, "--profile", "minimal"]);
    for component in components {
        install.args(["--component", component]);
    }
    // What it says when it fails is for a user.
    install.env_remove("RUST_BACKTRACE");
    match command::output(&mut install) {
        Ok(_) => true,
        Err(error) => {
            say(format!("it is not to be had: {error}"));
            false
        }
    }
}

/// A program of the toolchain, which is chosen by the directory that it is called in.
fn tool(program: &str) -> Command {
    let mut tool = Command::new(program);
    tool.current_dir(workspace());
    forget_cargo(&mut tool);
    tool
}
