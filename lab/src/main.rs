//! `cargo lab`: boots a kernel with an emulated IOMMU in QEMU, and runs this workspace's programs and tests in it.
//!
//! A command prepares the machine ([`setup`]: packages, kernel, emulator), builds what is to run ([`programs`]) and boots
//! ([`boot`]). The rest is one file for each thing that takes part.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command prints: results on standard output, what it is doing on standard error"
)]

mod apt;
mod arch;
mod bench;
mod boot;
mod busybox;
mod cache;
mod cli;
mod codegen;
mod command;
mod console;
mod coverage;
mod demo;
mod elf;
mod emulator;
mod error;
mod features;
mod fuzz;
mod headers;
mod help;
mod host;
mod initramfs;
mod iort;
mod kernel;
mod lacking;
mod machine;
mod monitor;
mod needs;
mod places;
mod programs;
mod progress;
mod qemu;
mod readme;
mod run;
mod series;
mod setup;
mod shell;
mod source;
mod tally;
mod test;
mod toolchain;
mod verify;

use std::process::ExitCode;

use cli::{Command, Request};

fn main() -> ExitCode {
    let arguments = std::env::args_os()
        .skip(1)
        .map(|argument| argument.to_string_lossy().into_owned());
    let status = match cli::parse(arguments) {
        Ok(Request::Help(command)) => {
            print!("{}", command.map_or_else(help::all, help::of));
            Ok(0)
        }
        Ok(Request::Do(command, options)) => match command {
            Command::Demo => demo::run(&options),
            Command::Test => test::run(&options),
            Command::Bench => bench::run(&options),
            Command::Run => run::run(&options),
            Command::Shell => shell::run(&options),
            Command::Setup => setup::run(&options),
            Command::Codegen => codegen::run(&options),
            Command::Verify => verify::run(&options),
            Command::Source => setup::source(&options),
            Command::Fuzz => fuzz::run(&options),
        },
        Err(error) => Err(error),
    };
    match status {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(error.exit_status())
        }
    }
}
