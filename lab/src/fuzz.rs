//! `cargo lab fuzz`: the fuzzers of `fuzz/`, on this machine and in the lab.

mod build;
mod check;
mod guest;
mod report;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::cache;
use crate::cli::{Options, USAGE};
use crate::command::command;
use crate::error::{Doing, Error, Result};
use crate::programs::workspace;
use crate::progress::say;

/// Those that need no kernel.
const HOST: [&str; 8] = [
    "capabilities",
    "events",
    "faults",
    "hw_info",
    "smmuv3_records",
    "smmuv3_relay",
    "vtd_records",
    "vtd_relay",
];
/// Those that run in the lab.
const GUEST: [&str; 2] = ["safe_calls", "raw_ioctls"];

/// For how long a fuzzer runs if nobody says.
const USUAL: Duration = Duration::from_secs(60);
/// For how long a crash is made smaller.
const MINIMISE: Duration = Duration::from_secs(30);
/// The exit status for a crash that was found.
const CRASHED: u8 = 1;

/// What libFuzzer is told in each run: how long an input may take, and how much memory.
const LIMITS: [&str; 2] = ["-timeout=120", "-rss_limit_mb=2560"];
/// What it is told when it makes inputs: how long they are, and that they are so at once, as most of what there is to find
/// takes several steps. (While it makes a crash smaller, it takes the length for another thing.)
const GROWTH: [&str; 2] = ["-max_len=2048", "-len_control=0"];

/// Where a target's files are, as `cargo fuzz` has them.
#[derive(Clone, Debug)]
struct Files {
    /// What its inputs are kept in.
    corpus: PathBuf,
    /// What its crashes are kept in.
    artifacts: PathBuf,
}

impl Files {
    fn of(target: &str) -> Result<Self> {
        let fuzz = workspace().join("fuzz");
        let files = Self {
            corpus: fuzz.join("corpus").join(target),
            artifacts: fuzz.join("artifacts").join(target),
        };
        cache::create(&files.corpus)?;
        cache::create(&files.artifacts)?;
        Ok(files)
    }

    /// How many inputs are kept.
    fn inputs(&self) -> usize {
        fs::read_dir(&self.corpus).into_iter().flatten().count()
    }

    /// The crashes that were kept after a time.
    fn crashes_since(&self, time: SystemTime) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.artifacts)
            .into_iter()
            .flatten()
            .flatten();
        let is_new = |path: &PathBuf| {
            let changed = path.metadata().and_then(|data| data.modified());
            changed.is_ok_and(|changed| changed >= time)
        };
        entries.map(|entry| entry.path()).filter(is_new).collect()
    }
}

/// `cargo lab fuzz`.
pub(crate) fn run(options: &Options) -> Result<u8> {
    if options.report {
        return report::run(options);
    }
    if options.check {
        return check::run(options);
    }
    let target = match options.words.first() {
        Some(name) => name.as_str(),
        None => return Err(unknown("no fuzzer was named")),
    };
    if let Some(input) = options.input.as_ref().filter(|input| !input.is_file()) {
        return Err(Error::new(format!("there is no input {}", input.display())).status(USAGE));
    }
    match place_of(target) {
        Some(Place::Host) => on_host(options, target),
        Some(Place::Guest) => guest::run(options, target),
        None => Err(unknown(&format!("there is no fuzzer `{target}`"))),
    }
}

/// Where a fuzzer runs.
enum Place {
    Host,
    Guest,
}

fn place_of(target: &str) -> Option<Place> {
    if HOST.contains(&target) || check::ON_HOST.contains(&target) {
        Some(Place::Host)
    } else if GUEST.contains(&target) || check::IN_GUEST.contains(&target) {
        Some(Place::Guest)
    } else {
        None
    }
}

fn unknown(what: &str) -> Error {
    Error::new(what)
        .next(format!(
            "on this machine: {}\nin the lab: {}",
            HOST.join(", "),
            GUEST.join(", ")
        ))
        .status(USAGE)
}

/// The arguments with which a fuzzer runs: on its corpus, in one or several directories, of which the first gets what is
/// new; or on one input.
fn arguments(options: &Options, corpus: &[&str], input: Option<&str>) -> Vec<String> {
    let mut arguments: Vec<String> = LIMITS.map(str::to_owned).to_vec();
    match input {
        Some(input) => arguments.push(input.to_owned()),
        None => {
            arguments.extend(GROWTH.map(str::to_owned));
            let seconds = options.seconds.unwrap_or(USUAL).as_secs();
            arguments.push(format!("-max_total_time={seconds}"));
            arguments.push("-print_final_stats=1".to_owned());
            arguments.extend(corpus.iter().map(|&directory| directory.to_owned()));
        }
    }
    arguments
}

/// The arguments with which a fuzzer makes a crash smaller.
fn minimising(crash: &str, smaller: &str) -> Vec<String> {
    let mut arguments: Vec<String> = LIMITS.map(str::to_owned).to_vec();
    arguments.extend([
        "-minimize_crash=1".to_owned(),
        format!("-max_total_time={}", MINIMISE.as_secs()),
        format!("-exact_artifact_path={smaller}"),
        crash.to_owned(),
    ]);
    arguments
}

fn on_host(options: &Options, target: &str) -> Result<u8> {
    let program = build::build(target)?;
    let files = Files::of(target)?;
    let (before, started) = (files.inputs(), SystemTime::now());
    let corpus = files.corpus.display().to_string();
    let input = options
        .input
        .as_ref()
        .map(|path| path.display().to_string());
    let mut fuzzer = command(&program);
    fuzzer
        .args(arguments(options, &[&corpus], input.as_deref()))
        .arg(format!("-artifact_prefix={}/", files.artifacts.display()))
        .current_dir(workspace());
    let status = fuzzer
        .status()
        .doing(|| format!("cannot start {}", program.display()))?;
    if input.is_none() {
        say_kept(target, before, &files);
    }
    if status.success() {
        return Ok(0);
    }
    let crashes = files.crashes_since(started);
    for crash in &crashes {
        let smaller = crash.with_extension("small");
        say("making it smaller");
        // That it does not get smaller is no failure.
        let _tried = command(&program)
            .args(minimising(
                &crash.display().to_string(),
                &smaller.display().to_string(),
            ))
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .status();
        say_crash(target, if smaller.is_file() { &smaller } else { crash });
    }
    if crashes.is_empty() && input.is_none() {
        return Err(Error::new(format!("the fuzzer {target} failed"))
            .because(format!("it ended with {status}, and left no crash")));
    }
    Ok(CRASHED)
}

fn say_kept(target: &str, before: usize, files: &Files) {
    let now = files.inputs();
    say(format!(
        "{target}: {now} inputs are kept, {} of them new",
        now.saturating_sub(before)
    ));
}

/// Says how a crash is reproduced.
fn say_crash(target: &str, crash: &Path) {
    let shown = crash.strip_prefix(workspace()).unwrap_or(crash);
    say(format!("a crash: {}", shown.display()));
    say(format!(
        "it is reproduced by: cargo lab fuzz --input {} {target}",
        shown.display()
    ));
}
