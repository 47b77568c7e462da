//! `cargo lab bench`: the SDK against the same ioctls in a plain loop, side by side in one boot.
//!
//! By two clocks: on a machine that counts instructions, whose ratios are the same everywhere and are judged, and on one
//! with a real clock, for a witness.

mod machines;
mod plot;
mod results;
mod steps;
mod table;
mod verdict;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::arch::X86_64;
use crate::boot::{self, Job};
use crate::cache;
use crate::cli::Options;
use crate::error::{Doing, Error, Result};
use crate::programs;
use crate::progress::{say, span};
use crate::setup::{self, Lab};
use machines::{Clock, HUGE_PAGES};
use results::Results;

/// The time limit of a boot.
const LIMIT: Duration = Duration::from_secs(1800);
const PROGRAM: &str = "bench";
/// What is compared with if nothing else is named.
const BASELINE: &str = "bench/baseline.json";
/// The exit status if something is wrong with the results.
const FELL_SHORT: u8 = 1;

/// `cargo lab bench`.
pub(crate) fn run(options: &Options) -> Result<u8> {
    let before = before(options)?;
    let mut results = Results::default();
    for arch in options.arches() {
        let lab = setup::prepare(options, arch)?;
        let program = build(&lab)?;
        let measure = |clock: Clock, what: &str| measure(options, &lab, &program, clock, what);
        let counted = Clock::Counted.name();
        if options.quick {
            results.add(arch.name, counted, &measure(Clock::Counted, "quick")?)?;
            continue;
        }
        results.add(arch.name, counted, &measure(Clock::Counted, "counted")?)?;
        results.add(
            arch.name,
            Clock::Real.name(),
            &measure(Clock::Real, "real")?,
        )?;
        // On others a step can end in the middle of what has to be one.
        if *arch == X86_64 {
            results.steps = steps::count(&measure(Clock::Counted, "steps")?, &program)?;
        }
    }
    println!("{}", table::table(&results, before.as_ref()));
    keep(options, &results)?;
    let wrong = verdict::wrong(&results, before.as_ref());
    for line in &wrong {
        say(format!("worse than it has to be: {line}"));
    }
    Ok(if wrong.is_empty() { 0 } else { FELL_SHORT })
}

/// The results to compare with.
fn before(options: &Options) -> Result<Option<Results>> {
    let baseline = programs::workspace().join(BASELINE);
    match &options.against {
        Some(path) => Results::read(path).map(Some),
        None if baseline.is_file() => Results::read(&baseline).map(Some),
        None => Ok(None),
    }
}

/// Keeps the results where every run does, and where the user wants them.
fn keep(options: &Options, results: &Results) -> Result<()> {
    let directory = programs::target_directory().join("bench");
    cache::create(&directory)?;
    results.write(&directory.join("results.json"))?;
    let plot = directory.join("plot.svg");
    fs::write(&plot, plot::plot(results)).doing(|| format!("cannot write {}", plot.display()))?;
    say(format!(
        "results.json and plot.svg are in {}",
        directory.display()
    ));
    match &options.save {
        Some(path) => results.write(path),
        None => Ok(()),
    }
}

/// Builds the program, as its users build theirs.
fn build(lab: &Lab) -> Result<PathBuf> {
    let build = [
        "build",
        "--release",
        "--package",
        PROGRAM,
        "--bin",
        PROGRAM,
        // So that it can be said where an instruction comes from. It makes none.
        "--config",
        "profile.release.debug='line-tables-only'",
    ];
    let built = programs::build(lab.arch, &build)?.pop();
    let program = built.ok_or_else(|| Error::new("cargo built no benchmark"))?;
    Ok(program.path)
}

/// What the program prints on the machine with that clock, told to measure that.
fn measure(
    options: &Options,
    lab: &Lab,
    program: &Path,
    clock: Clock,
    what: &str,
) -> Result<String> {
    let machine = clock.machine(lab.arch);
    let machine = machine
        .ok_or_else(|| Error::new(format!("there is no such machine for {}", lab.arch.name)))?;
    say(format!("measuring on {}: {what}", machine.name));
    let job = Job {
        machine,
        programs: vec![(PROGRAM.to_owned(), program.to_owned())],
        script: format!(
            "echo {HUGE_PAGES} >/proc/sys/vm/nr_hugepages\nlab_run /lab/bin/{PROGRAM} {what}\n"
        ),
        interactive: false,
        timeout: options.timeout.unwrap_or(LIMIT),
        silence: None,
        keeps: None,
        append: options.append.clone().unwrap_or_default(),
    };
    let mut printed = Vec::new();
    let outcome = boot::run(lab, &programs::target_directory(), &job, &mut |bytes| {
        printed.extend_from_slice(bytes);
    })?;
    boot::show_splats(&outcome);
    say(format!("that took {}", span(outcome.elapsed)));
    let printed = String::from_utf8_lossy(&printed).into_owned();
    if outcome.status != 0 {
        return Err(Error::new(format!(
            "the benchmark ended with status {}",
            outcome.status
        ))
        .because(printed));
    }
    Ok(printed)
}
