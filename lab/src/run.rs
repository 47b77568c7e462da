//! `cargo lab run`: one program in the lab.

use std::io::{Write, stdout};
use std::time::Duration;

use crate::boot::{self, Job, Outcome, quoted};
use crate::cli::Options;
use crate::error::Result;
use crate::programs::{self, Program};
use crate::progress::say;
use crate::setup::{self, Lab};

/// The time limit of a boot for one program.
const LIMIT: Duration = Duration::from_secs(120);

/// `cargo lab run`.
pub(crate) fn run(options: &Options) -> Result<u8> {
    let lab = setup::prepare(options, options.arch())?;
    let Some((name, arguments)) = options.words.split_first() else {
        return Ok(0); // The command line was refused without a name.
    };
    let program = programs::named(name, &lab)?;
    let outcome = one(&lab, options, program, arguments, &Around::default())?;
    Ok(outcome.status)
}

/// Lines of shell around a program. Descriptor 3 is the user's terminal.
#[derive(Clone, Debug, Default)]
pub(crate) struct Around {
    /// Before it.
    pub(crate) before: String,
    /// After it; `status` is what it ended with, and what the lab will.
    pub(crate) after: String,
}

/// Runs one program in a boot of its own.
pub(crate) fn one(
    lab: &Lab,
    options: &Options,
    program: Program,
    arguments: &[String],
    around: &Around,
) -> Result<Outcome> {
    let (word, programs) = match program {
        Program::File(name, path) => (format!("/lab/bin/{name}"), vec![(name, path)]),
        Program::Guest(name) => (name, Vec::new()),
    };
    let words: Vec<String> = std::iter::once(&word)
        .chain(arguments)
        .map(|word| quoted(word))
        .collect();
    let job = Job {
        machine: lab.arch.machine(),
        programs,
        script: format!(
            "{}lab_run {}\n{}",
            around.before,
            words.join(" "),
            around.after
        ),
        interactive: false,
        timeout: options.timeout.unwrap_or(LIMIT),
        silence: None,
        append: options.append.clone().unwrap_or_default(),
        keeps: None,
    };
    let outcome = boot::run(lab, &programs::target_directory(), &job, &mut hand_on)?;
    boot::show_splats(&outcome);
    if let Some(signal) = outcome
        .status
        .checked_sub(128)
        .filter(|signal| (1..=64).contains(signal))
    {
        say(format!(
            "the program ended with status {}, as one that signal {signal} killed does",
            outcome.status
        ));
    }
    Ok(outcome)
}

/// Hands the guest's output on as it comes.
pub(crate) fn hand_on(bytes: &[u8]) {
    let mut out = stdout().lock();
    // A reader that has gone away is no reason to stop the guest half way.
    out.write_all(bytes)
        .and_then(|()| out.flush())
        .unwrap_or_default();
}
