//! The Rust that builds the guest's programs: whether it has the standard library of their target.

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

/// A program of the toolchain, which is chosen by the directory that it is called in.
fn tool(program: &str) -> Command {
    let mut tool = Command::new(program);
    tool.current_dir(workspace());
    forget_cargo(&mut tool);
    tool
}
