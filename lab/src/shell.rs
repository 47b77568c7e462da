//! `cargo lab shell`: a prompt in the lab.

use std::io::{IsTerminal, stdin};
use std::time::Duration;

use crate::boot::{self, Job};
use crate::cli::Options;
use crate::command::terminal_settings;
use crate::error::{Error, Result};
use crate::programs::{self, Program};
use crate::setup;

/// The time limit, for a terminal that somebody forgot.
const LIMIT: Duration = Duration::from_secs(8 * 60 * 60);

/// `cargo lab shell`.
pub(crate) fn run(options: &Options) -> Result<u8> {
    if !stdin().is_terminal() {
        return Err(Error::new("`cargo lab shell` needs a terminal")
            .because("its standard input is none")
            .next("to run one command: cargo lab run sh -c 'COMMAND'"));
    }
    let lab = setup::prepare(options, options.arch())?;
    let mut programs = Vec::new();
    for name in &options.words {
        if let Program::File(name, path) = programs::named(name, &lab)? {
            programs.push((name, path));
        }
    }
    let size = terminal_settings(&["size"]).unwrap_or_else(|| "24 80".to_owned());
    let job = Job {
        machine: lab.arch.machine(),
        programs,
        script: format!("lab_shell {size}\n"),
        interactive: true,
        timeout: options.timeout.unwrap_or(LIMIT),
        silence: None,
        append: options.append.clone().unwrap_or_default(),
        keeps: None,
    };
    let outcome = boot::run(&lab, &programs::target_directory(), &job, &mut |_| {})?;
    boot::show_splats(&outcome);
    Ok(outcome.status)
}
