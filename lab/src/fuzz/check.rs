//! `cargo lab fuzz --check`: fuzzers with a bug in them, to see that a bug is found.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use super::{CRASHED, Files};
use crate::cache;
use crate::cli::Options;
use crate::error::{Doing, Error, Result};
use crate::progress::say;

/// Those that need no kernel.
pub(super) const ON_HOST: [&str; 1] = ["planted_panic"];
/// Those that run in the lab: what `AddressSanitizer` sees, and what the kernel does.
pub(super) const IN_GUEST: [&str; 2] = ["planted_overrun", WARNS];
/// The one whose crash is not made smaller: a kernel that has complained cannot be asked again.
const WARNS: &str = "planted_warning";

/// What the bugs wait for.
const TRIGGER: &[u8] = b"bug";
/// For how long one is looked for.
const LIMIT: Duration = Duration::from_secs(60);

/// `cargo lab fuzz --check`.
pub(super) fn run(options: &Options) -> Result<u8> {
    for target in ON_HOST.iter().chain(&IN_GUEST) {
        let crash = find(options, target)?;
        let again = run_one(options, target, Some(crash.clone()))?;
        see(target, "does not come again", again == CRASHED)?;
        // A run of an input that is well ends well.
        let well = crash.with_extension("well");
        fs::write(&well, &TRIGGER[1..]).doing(|| format!("cannot write {}", well.display()))?;
        let status = run_one(options, target, Some(well))?;
        see(target, "comes without its cause", status == 0)?;
        say(format!("{target}: its bug was found, kept and reproduced"));
    }
    Ok(0)
}

/// The crash of a target, found from nothing.
fn find(options: &Options, target: &str) -> Result<PathBuf> {
    let files = Files::of(target)?;
    for directory in [&files.corpus, &files.artifacts] {
        fs::remove_dir_all(directory).doing(|| format!("cannot remove {}", directory.display()))?;
        cache::create(directory)?;
    }
    let status = run_one(options, target, None)?;
    see(target, "was not found", status == CRASHED)?;
    let entries = fs::read_dir(&files.artifacts).into_iter().flatten();
    let crashes: Vec<(PathBuf, Vec<u8>)> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter_map(|path| Some((path.clone(), fs::read(path).ok()?)))
        .collect();
    let smallest = crashes.into_iter().min_by_key(|(_, input)| input.len());
    let Some((crash, input)) = smallest else {
        return Err(failed(target, "was not kept"));
    };
    see(
        target,
        "was kept by another input",
        input.starts_with(TRIGGER),
    )?;
    let is_small = input == TRIGGER || target == WARNS;
    see(target, "was not made as small as it goes", is_small)?;
    Ok(crash)
}

fn run_one(options: &Options, target: &str, input: Option<PathBuf>) -> Result<u8> {
    super::run(&Options {
        check: false,
        seconds: Some(LIMIT),
        input,
        words: vec![target.to_owned()],
        ..options.clone()
    })
}

fn see(target: &str, what: &str, is_so: bool) -> Result<()> {
    match is_so {
        true => Ok(()),
        false => Err(failed(target, what)),
    }
}

fn failed(target: &str, what: &str) -> Error {
    Error::new(format!("the bug of {target} {what}"))
}
